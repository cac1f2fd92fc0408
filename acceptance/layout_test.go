package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed is what go list tells of a package; the imports of its tests are not among Imports.
type listed struct {
	ImportPath, Dir, Doc string
	Imports              []string
	GoFiles              []string
}

func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	out, err := output(nil, "go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles", "../...")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = p
	}
}

// onlyImportedBy says who may import a stage: the recorder wires them, benchmarks and the oracle's tools measure them.
var onlyImportedBy = map[string][]string{
	"internal/correlate": {"internal/recorder", "internal/oracle", "bench"},
	"internal/store":     {"internal/recorder", "bench"},
	"internal/pipeline":  {"internal/recorder", "bench"},
	"internal/ring":      {"internal/recorder", "internal/pipeline", "bench"},
	"internal/intake":    {"internal/recorder", "bench"},
}

// standardOnly are the public packages that any program can import without a dependency: they need each other at most.
var standardOnly = []string{"event", "probe", "probe/probehttp"}

func TestLayout_ImportsFollowTheFlow(t *testing.T) {
	all := listPackages(t)
	for name, p := range all {
		for _, imported := range p.Imports {
			short, ours := strings.CutPrefix(imported, module+"/")
			if slices.Contains(standardOnly, name) && strings.Contains(strings.Split(imported, "/")[0], ".") && !slices.Contains(standardOnly, short) {
				t.Errorf("%s imports %s: it may import the standard library only", name, imported)
			}
			if !ours {
				continue
			}
			if allowed, limited := onlyImportedBy[short]; limited && !strings.HasPrefix(name, short+"/") &&
				!slices.ContainsFunc(allowed, func(a string) bool { return name == a || strings.HasPrefix(name, a+"/") }) {
				t.Errorf("%s imports %s: only %v may; wire it in internal/recorder", name, short, allowed)
			}
			if strings.HasPrefix(name, "cmd/") && !slices.Contains([]string{"event", "client", "examples",
				"internal/access", "internal/answer", "internal/capture", "internal/instrument", "internal/launch", "internal/recorder", "internal/query", "internal/render", "internal/config", "internal/export", "internal/server", "internal/server/monitor"}, short) &&
				!strings.HasPrefix(short, "internal/source") {
				t.Errorf("%s imports %s: a command has no logic of its own", name, short)
			}
		}
	}
	for _, must := range []string{"event", "internal/correlate", "internal/store", "internal/recorder"} {
		if _, ok := all[must]; !ok {
			t.Errorf("package %s is missing from the list: the test would hold nothing", must)
		}
	}
}

func TestLayout_PackagesTeachAndNamesSay(t *testing.T) {
	for name, p := range listPackages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", name)
		}
		for _, bad := range []string{"util", "utils", "common", "helpers", "manager", "v2"} {
			if filepath.Base(name) == bad {
				t.Errorf("%s: a package is named after what it does", name)
			}
		}
		for _, file := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > 700 {
				t.Errorf("%s/%s has %d lines: split it so that it reads as the algorithm", name, file, n)
			}
		}
	}
}
