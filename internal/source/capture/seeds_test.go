package capture

import (
	"fmt"
	"os"
	"testing"
)

// TestWriteSeeds makes the seeds of the fuzz targets anew where PASTCONE_WRITE_SEEDS is set.
func TestWriteSeeds(t *testing.T) {
	seeds := map[string][]byte{"FuzzRead/whole": fixture(), "FuzzRead/torn": fixture()[:700], "FuzzRead/header": fixture()[:fileHeaderBytes]}
	for name, text := range seeds {
		path := "testdata/fuzz/" + name
		if os.Getenv("PASTCONE_WRITE_SEEDS") != "" {
			if err := os.MkdirAll("testdata/fuzz/FuzzRead", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
