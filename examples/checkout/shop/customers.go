package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Customers order from the service at url as fast as people in a hurry, and say what came of it.
func Customers(ctx context.Context, c Config, url string, say io.Writer) error {
	transport := &http.Transport{MaxIdleConnsPerHost: c.Clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	skus := slices.Sorted(maps.Keys(stock))
	began := time.Now()

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
				what := Order{SKU: skus[random.IntN(len(skus))], N: 1 + random.IntN(3)}
				statuses[i][order(client, url, fmt.Sprintf("r-%06d", n), what)]++
				time.Sleep(4*time.Millisecond + time.Duration(random.Int64N(int64(8*time.Millisecond)))) // makes up the mind
			}
		})
	}
	wg.Wait()

	all := map[int]int{}
	requests := 0
	for _, counts := range statuses {
		for status, n := range counts {
			all[status] += n
			requests += n
		}
	}
	fine, soldOut, late := all[http.StatusOK], all[http.StatusConflict], all[http.StatusGatewayTimeout]
	_, err := fmt.Fprintf(say, "%d requests in %.1f s: %d fine, %d sold out, %d timed out, %d broken\n",
		requests, time.Since(began).Seconds(), fine, soldOut, late, requests-fine-soldOut-late)
	return err
}

// order orders something, and gives the status of the answer, 0 if there is none.
func order(client *http.Client, url, id string, what Order) int {
	body, _ := json.Marshal(what)
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
