package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load lets the clients order, and counts what comes of it. Clients are not recorded: they stand for
// people elsewhere.
func load(ctx context.Context, c Config, url string) Summary {
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	transport := &http.Transport{MaxIdleConnsPerHost: c.Clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}

	var ordered atomic.Int64
	statuses := make([]map[int]int, c.Clients)
	var wg sync.WaitGroup
	for i := range c.Clients {
		statuses[i] = map[int]int{}
		wg.Go(func() {
			random := rand.New(rand.NewPCG(c.Seed, uint64(i))) // #nosec G404 G115 -- no secret
			for ctx.Err() == nil {
				n := ordered.Add(1)
				if n > int64(c.Requests) {
					return
				}
				statuses[i][order(client, url, fmt.Sprintf("r-%06d", n), random)]++
				time.Sleep(4*time.Millisecond + time.Duration(random.Int64N(int64(8*time.Millisecond)))) // makes up the mind
			}
		})
	}
	wg.Wait()

	var s Summary
	for _, counts := range statuses {
		for status, n := range counts {
			s.Requests += n
			switch status {
			case http.StatusOK:
				s.Fine += n
			case http.StatusConflict:
				s.SoldOut += n
			case http.StatusGatewayTimeout:
				s.TimedOut += n
			default:
				s.Broken += n
			}
		}
	}
	return s
}

var skus = func() (names []string) {
	for sku := range stock {
		names = append(names, sku)
	}
	slices.Sort(names)
	return names
}()

// order orders something, and gives the status of the answer, 0 if there is none.
func order(client *http.Client, url, id string, random *rand.Rand) int {
	body, _ := json.Marshal(Order{SKU: skus[random.IntN(len(skus))], N: 1 + random.IntN(3)})
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body)) //nolint:noctx // the client has a timeout
	if err != nil {
		return 0
	}
	r.Header.Set("X-Request-Id", id)
	answer, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()               //nolint:errcheck // read to its end
	_, _ = io.Copy(io.Discard, answer.Body) // so that the connection can be used again
	return answer.StatusCode
}
