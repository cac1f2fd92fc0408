package jsontext

import "testing"

var payloads = map[string]string{
	"small": `{"order":1234,"user":"u17","ok":true}`,
	"usual": `{"order":"ord-000123","customer":{"id":4711,"name":"Ann Other","email":"ann@example.org"},"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"total":1999,"ok":true}`,
	"text":  `{"message":"could not reserve 3 of A-1 in warehouse north: connection reset by peer after 3 attempts, giving up on it for now and for good"}`,
}

func BenchmarkValueEnd(b *testing.B) {
	for name, text := range payloads {
		b.Run(name, func(b *testing.B) {
			p := []byte(text)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, _, ok := ValueEnd(p, 0, 64); !ok {
					b.Fatal("invalid")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(p)), "ns/B")
		})
	}
}
