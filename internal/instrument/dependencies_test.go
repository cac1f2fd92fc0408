package instrument

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// A program that uses a module of the module cache: one that this project uses too, so that it is there.
func usesPflag(t *testing.T, work bool) *txtar.Archive {
	t.Helper()
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`github.com/spf13/pflag (v\S+)`).FindSubmatch(mod)
	if found == nil {
		t.Fatal("this project does not use pflag any more: take another module")
	}
	version := string(found[1])
	all, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	var sums strings.Builder
	for line := range strings.Lines(string(all)) {
		if strings.HasPrefix(line, "github.com/spf13/pflag "+version) {
			sums.WriteString(line)
		}
	}
	a := &txtar.Archive{Files: []txtar.File{
		{Name: "go.mod", Data: fmt.Appendf(nil, "module example.com/uses\n\ngo 1.25\n\nrequire github.com/spf13/pflag %s\n", version)},
		{Name: "go.sum", Data: []byte(sums.String())},
		{Name: "main.go", Data: []byte(`package main

import (
	"fmt"

	"github.com/spf13/pflag"
)

func main() {
	f := pflag.NewFlagSet("uses", pflag.PanicOnError)
	n := f.Int("n", 1, "a number")
	fmt.Println(f.Parse([]string{"--n=7"}), *n)
	f.Parse([]string{"--nope"})
}
`)},
	}}
	if work {
		a.Files = append(a.Files, txtar.File{Name: "go.work", Data: []byte("go 1.25\n\nuse .\n\nreplace example.com/not => ./used\n")},
			txtar.File{Name: "used/go.mod", Data: []byte("module example.com/not\n")})
	}
	return a
}

// What a module's copy is built from is not the module cache, but a panic in it says so all the same, and go.mod is as before.
func TestADependencyIsRecordedFromACopy(t *testing.T) {
	for _, c := range []struct {
		name  string
		work  bool
		flags []string
	}{
		{"in a module", false, nil},
		{"in a workspace", true, nil},
		{"with -trimpath", false, []string{"-trimpath"}},
	} {
		if len(c.flags) > 0 && !everyForm {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := unpack(t, usesPflag(t, c.work))
			o := Options{Include: []string{"github.com/spf13/..."}, BuildFlags: c.flags}
			done := p.prepare(o)
			var out [2]ran
			for i := range out {
				bin := filepath.Join(p.cache, fmt.Sprint("program", i))
				flags, env := c.flags, []string(nil)
				if i == 1 {
					flags, env = done.Flags, done.Env
				}
				if b := p.run(done.GoCommand, env, append(append([]string{"build", "-o", bin}, flags...), ".")...); b.code != 0 {
					t.Fatal(b.err)
				}
				out[i] = p.run(bin, nil)
			}
			if out[0].err != out[1].err || out[0].out != out[1].out {
				t.Errorf("plain:\n%s%s\nrecorded:\n%s%s", out[0].out, out[0].err, out[1].out, out[1].err)
			}
			story := p.story(done, out[1].probes)
			if !strings.Contains(story, "call main.main\n") || !strings.Contains(story, "call github.com/spf13/pflag.(*FlagSet).Parse\n") || !strings.Contains(story, "return github.com/spf13/pflag.(*FlagSet).parseArgs error") {
				t.Errorf("not all is recorded:\n%s", story)
			}
			for _, e := range p.table(done) {
				if strings.Contains(e.Func, "pflag.") && !strings.HasPrefix(e.File, "github.com/spf13/pflag@v") {
					t.Errorf("a file of a dependency is shown as %s", e.File)
				}
			}
			if again := p.prepare(o); !again.UsedPreviousBuild {
				t.Error("nothing has changed, and Prepare did it all again")
			}
			for name, want := range map[string]string{"go.mod": string(usesPflag(t, false).Files[0].Data), "go.sum": string(usesPflag(t, false).Files[1].Data)} {
				if got, err := os.ReadFile(filepath.Join(p.dir, name)); err != nil || string(got) != want {
					t.Errorf("%s is not what it was: %v\n%s", name, err, got)
				}
			}
		})
	}
}
