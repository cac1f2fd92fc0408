package patch

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// aloneFiles are those of the added files that need no edit of the runtime's own, once the fields that a patched g and p have
// are looked for elsewhere.
var aloneFiles = []string{
	"runtime/zpastcone.go",
	"runtime/zpastcone_map.go",
	"runtime/zpastcone_nomap.go",
	"runtime/zpastcone_linux.go",
	"runtime/zpastcone_darwin.go",
	"runtime/zpastcone_darwin_amd64.s",
	"runtime/zpastcone_darwin_arm64.s",
	"runtime/zpastcone_amd64.go",
	"runtime/zpastcone_amd64.s",
	"runtime/zpastcone_arm64.go",
	"runtime/zpastcone_arm64.s",
	"runtime/zpastcone_noclock.go",
	"runtime/zpastcone_ring.go",
	"runtime/zpastcone_probe.go",
	"runtime/zpastcone_any.go",
	"runtime/zpastcone_error.go",
}

// gField and pField are the uses of those fields. The variables are called gp and pp throughout.
var (
	gField = regexp.MustCompile(`\bgp\.(pc[A-Z])`)
	pField = regexp.MustCompile(`\bpp\.(pc[A-Z])`)
)

// Alone is Overlay for a Go whose standard library is left as it is: files are added to package runtime, none is edited, so
// there is no anchor to be missed. Calls, returns, errors, values, assignments and ends of queues are recorded then.
func Alone(goroot, outDir string) (map[string]string, error) {
	files := map[string]string{}
	for _, path := range append([]string{"alone/zpastcone_alone.go"}, aloneFiles...) {
		text, err := added.ReadFile("_overlay/" + path)
		if err != nil {
			return nil, fmt.Errorf("a file to add to the runtime: %w", err)
		}
		s := gField.ReplaceAllString(string(text), "pastconeG(gp).$1")
		s = pField.ReplaceAllString(s, "pastconeP(pp).$1")
		name := filepath.Base(path)
		to := filepath.Join(outDir, name)
		if err := writeIfChanged(to, s); err != nil {
			return nil, fmt.Errorf("the added %s: %w", name, err)
		}
		files[filepath.Join(goroot, "src", "runtime", name)] = to
	}
	return files, nil
}

// AloneMisses says what is not recorded then.
func AloneMisses() []string {
	return []string{strings.Join([]string{
		"The standard library is not patched: calls, returns and returned errors are recorded, with the values, assignments and queues that are asked for",
		"but no goroutine's spawn, no channel, lock or timer, no panic, no root of net/http or testing, and not how the program ends; each goroutine stands alone.",
	}, ", ")}
}
