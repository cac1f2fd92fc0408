package instrument

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pastcone/pastcone/internal/instrument/patch"
)

// Options says what to build and what of it to record.
type Options struct {
	Dir        string   // where the go command runs; "" is the working directory
	Packages   []string // as for go build; none is "."
	Test       bool     // for go test: files of tests too
	BuildFlags []string // the user's own flags for go build or go test: -tags, -race, -mod, …

	Include []string // import paths ("..." stands for anything) to record beside the main module's packages
	Exclude []string // import paths not to record; stronger than Include
	Args    []string // functions whose arguments and results are recorded: "example.com/shop/orders.(*Queue).*"
	State   []string // "example.com/shop/orders.Order.Status": assignments to the field are recorded
	Queue   []string // "example.com/shop/orders.(*Q).Push,example.com/shop/orders.(*Q).Pop"

	Inlinable bool // record functions, too, that the compiler would inline
	NoRuntime bool // leave the standard library as it is: only calls and returns are recorded

	TempDir  string                             // where the go command may leave what it does not clear up; may be ""
	CacheDir string                             // "" is "pastcone" in the user's directory for caches
	Progress func(step string, done, total int) // may be nil; is called from one goroutine at a time

	library standardLibrary // nil: standardOverlay
}

// Prepared is what to build with.
type Prepared struct {
	GoCommand string   // path of the go command to build with
	Env       []string // to set for it beside the environment, as NAME=value
	Flags     []string // all flags for go build or go test: the user's, and -overlay and its like
	Overlay   string   // the overlay: a file of JSON
	Functions string   // the table of functions: a file of JSON lines

	FunctionsCount    int // ids are below it
	Recorded          int // functions with a probe
	Rewritten         int // files with probes
	LeftOutInlinable  int // functions that the compiler can inline
	Packages          int // packages that are recorded
	Missing           []string
	GoVersion         string
	UsedPreviousBuild bool // nothing has changed since the last time

	Asked []AskedPackage // the packages that Options.Packages stand for
}

// AskedPackage is a package that the user named.
type AskedPackage struct {
	ImportPath string
	Name       string // main if it is a program
}

// TableEntry is a line of the table of functions.
type TableEntry struct {
	ID    uint32 `json:"id"`
	Func  string `json:"func"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Root  bool   `json:"root,omitempty"`
	State string `json:"state,omitempty"`
	// Args names the arguments, in order, of a function whose arguments are recorded. "" and "_" are no names.
	Args []string `json:"args,omitempty"`
}

// preparation is one run of Prepare.
type preparation struct {
	Options
	go_      *goCommand
	env      goEnvironment
	cache    cache
	userMap  map[string]string // the user's own overlay
	home     string            // of what is kept for this program
	packages []*sourcePackage
	files    []*sourceFile
	asked    []AskedPackage
	missing  []string
	replaced replacements
}

// Prepare rewrites the program's sources and patches the standard library, all in the cache, and says how to build with
// them. When nothing has changed since the last time it does no more than to see that.
func Prepare(ctx context.Context, o Options) (*Prepared, error) {
	p := &preparation{Options: o}
	if err := p.defaults(); err != nil {
		return nil, err
	}
	p.step("looking for the packages of the program", 0, 0)
	if err := p.environment(ctx); err != nil {
		return nil, err
	}
	p.remembered()
	chosen := &chooser{newPatterns(o.Include), newPatterns(o.Exclude)}
	said, err := p.choose(ctx, chosen)
	if err != nil {
		return nil, err
	}
	if again, err := p.replaceModules(ctx); err != nil {
		return nil, err
	} else if again {
		if said, err = p.choose(ctx, chosen); err != nil {
			return nil, err
		}
	}
	unlock, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	stamp, err := p.stamp(said)
	if err != nil {
		return nil, err
	}
	if done := p.previous(stamp); done != nil {
		return done, nil
	}
	if len(p.replaced.Modules) > 0 {
		p.miss("Modules that are recorded beside the main one are built from copies: runtime/debug.ReadBuildInfo tells that they are replaced.")
	}
	for _, i := range chosen.include {
		if !i.matched {
			p.miss("--include %s matches no package of this program.", i.text)
		}
	}
	done, err := p.make(ctx)
	if err != nil {
		return nil, err
	}
	p.cache.trim("scan", "source", "renamed", "judgement", "overlay", "table", "done", "library", "modfile", "workspace")
	return done, p.cache.store("done", stamp, done)
}

// choose lists the program's packages and chooses those to record.
func (p *preparation) choose(ctx context.Context, chosen *chooser) (said []byte, err error) {
	all, said, err := discover(ctx, p.go_, p.Options.Packages, p.Test)
	if err != nil {
		return nil, err
	}
	p.asked = nil
	for _, one := range all {
		if !one.DepOnly {
			p.asked = append(p.asked, AskedPackage{one.ImportPath, one.Name})
		}
	}
	p.packages, p.files = choose(all, chosen, p.Test, p.source), nil
	for _, pkg := range p.packages {
		p.files = append(p.files, pkg.Files...)
	}
	if len(p.files) == 0 {
		return nil, fmt.Errorf("%s: no package to record among the %d of the program: the main module's are recorded unless excluded; --include names others", strings.Join(p.Options.Packages, " "), len(all))
	}
	return said, nil
}

func (p *preparation) defaults() error {
	if p.Dir == "" {
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		p.Dir = wd
	}
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return err
	}
	p.Dir = dir
	if len(p.Options.Packages) == 0 {
		p.Options.Packages = []string{"."}
	}
	if p.CacheDir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("a place for the cache: %w: set HOME or XDG_CACHE_HOME", err)
		}
		p.CacheDir = filepath.Join(base, "pastcone")
	}
	if p.CacheDir, err = filepath.Abs(p.CacheDir); err != nil {
		return err
	}
	if slices.ContainsFunc(p.BuildFlags, func(f string) bool { return f == "-C" || strings.HasPrefix(f, "-C=") || f == "--C" }) {
		return errors.New("-C can not be given to a recorded build: change to the directory instead")
	}
	p.cache = cache{p.CacheDir}
	return nil
}

func (p *preparation) step(name string, done, total int) {
	if p.Progress != nil {
		p.Progress(name, done, total)
	}
}

func (p *preparation) miss(format string, args ...any) {
	p.missing = append(p.missing, fmt.Sprintf(format, args...))
}

// environment finds the go command, and the user's own overlay.
func (p *preparation) environment(ctx context.Context) error {
	p.go_ = &goCommand{path: "go", dir: p.Dir, tmp: p.TempDir, flags: p.BuildFlags}
	env, err := p.go_.environment(ctx)
	if err != nil {
		return err
	}
	p.env = env
	if path := filepath.Join(env.GOROOT, "bin", "go"); exists(path) {
		p.go_.path = path
	}
	flags := append(strings.Fields(env.GOFLAGS), p.BuildFlags...)
	if file, ok := flagValue(flags, "overlay"); ok && file != "" {
		if p.userMap, err = readOverlay(p.Dir, file); err != nil {
			return err
		}
	}
	if flagSet(flags, "cover") {
		p.miss("With -cover the go command counts in the files as they are on disk: functions of the packages that it covers are not recorded; those of tests and of other packages are.")
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readOverlay reads the user's own overlay.
func readOverlay(dir, file string) (map[string]string, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-overlay: %w", err)
	}
	var o struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("-overlay: %s: %w", file, err)
	}
	absolute := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	files := map[string]string{}
	for from, to := range o.Replace {
		files[absolute(from)] = absolute(to)
	}
	return files, nil
}

// source is where the text of a file is.
func (p *preparation) source(path string) string {
	if to, ok := p.userMap[path]; ok {
		return to
	}
	return path
}

// open makes the place where the register of this program is, and locks it.
func (p *preparation) open(ctx context.Context) (unlock func(), err error) {
	// A program is known by the module or the workspace that it is built in.
	root := p.env.GOWORK
	if root == "" || root == "off" {
		root = p.env.GOMOD
	}
	if root == "" || root == os.DevNull {
		root = p.Dir
	}
	name := "program"
	for _, pkg := range p.packages {
		if m := pkg.Module; m != nil && m.Main {
			name = m.Path[strings.LastIndexByte(m.Path, '/')+1:]
			break
		}
	}
	sum := sha256.Sum256([]byte(root))
	p.home = filepath.Join(p.CacheDir, "programs", fmt.Sprintf("%s-%x", name, sum[:6]))
	if err := os.MkdirAll(p.home, 0o777); err != nil { // #nosec G301 -- the umask decides, as for the go command's own caches; nothing recorded is in it
		return nil, fmt.Errorf("a place for the cache: %w", err)
	}
	// A cache inside of a module is none of its packages.
	if mod := filepath.Join(p.CacheDir, "go.mod"); !exists(mod) {
		if err := os.WriteFile(mod, []byte("module pastcone.invalid/cache\n"), 0o666); err != nil { // #nosec G306 -- nothing secret
			return nil, fmt.Errorf("a place for the cache: %w", err)
		}
	}
	return lock(ctx, filepath.Join(p.home, "lock"))
}

// stamp is the hash of all that Prepare depends on: files by size and time of change, as the go command does it.
func (p *preparation) stamp(said []byte) (string, error) {
	var self string
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			self = fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
		}
	}
	o := p.Options
	o.Progress = nil
	var files []string
	for _, f := range p.files {
		info, err := os.Stat(f.Source)
		if err != nil {
			return "", fmt.Errorf("a source file: %w", err)
		}
		files = append(files, fmt.Sprintf("%s %s %d %d", f.Path, f.Source, info.Size(), info.ModTime().UnixNano()))
	}
	return key(self, optionsKey(o), p.env, sha256.Sum256(said), files, p.userMap, p.replaced), nil
}

// optionsKey is the options without what can not be encoded.
func optionsKey(o Options) any {
	return []any{o.Dir, o.Packages, o.Test, o.BuildFlags, o.Include, o.Exclude, o.Args, o.State, o.Queue, o.Inlinable, o.NoRuntime}
}

// previous is the result of the last run with the same stamp, if all of it is still there.
func (p *preparation) previous(stamp string) *Prepared {
	var done Prepared
	if !p.cache.load("done", stamp, &done) {
		return nil
	}
	var o struct{ Replace map[string]string }
	text, err := os.ReadFile(done.Overlay)
	if err != nil || json.Unmarshal(text, &o) != nil || !exists(done.Functions) {
		return nil
	}
	for _, to := range o.Replace {
		if to != "" && !exists(to) {
			return nil
		}
	}
	for _, to := range o.Replace {
		p.cache.use(to)
	}
	p.cache.use(done.Overlay)
	p.cache.use(done.Functions)
	done.UsedPreviousBuild = true
	return &done
}

// make does the work.
func (p *preparation) make(ctx context.Context) (*Prepared, error) {
	p.step("patching the standard library", 0, 0)
	replace, err := p.standardLibrary()
	if err != nil {
		return nil, err
	}
	p.step("reading sources", 0, len(p.files))
	if err := p.scan(ctx); err != nil {
		return nil, err
	}
	inlinable := map[string]bool{}
	if !p.Inlinable {
		p.step("asking the compiler what it inlines", 0, 0)
		if inlinable, err = p.judgement(ctx, replace); err != nil {
			return nil, err
		}
	}
	done := &Prepared{GoVersion: p.env.GOVERSION, Asked: p.asked, Packages: len(p.packages), GoCommand: p.go_.path, Env: p.go_.env}
	table, plans, err := p.assign(ctx, inlinable, replace, done)
	if err != nil {
		return nil, err
	}
	p.step("rewriting sources", 0, len(plans))
	if err := p.rewrite(ctx, plans, replace); err != nil {
		return nil, err
	}
	done.Rewritten = len(plans)
	if done.Functions, err = p.writeTable(table); err != nil {
		return nil, err
	}
	if done.Overlay, err = p.overlay(replace); err != nil {
		return nil, err
	}
	done.Flags = append(withoutFlag(p.go_.flags, "overlay"), "-overlay="+done.Overlay)
	done.Missing = p.missing
	return done, nil
}

// standardLibrary patches it, and returns what replaces what, the user's own overlay included.
func (p *preparation) standardLibrary() (map[string]string, error) {
	goroot, err := patch.Toolchain(p.env.GOROOT, p.CacheDir, func(copied int) { p.step("copying the toolchain", copied, 0) })
	if err != nil {
		return nil, err
	}
	if goroot != p.env.GOROOT {
		p.go_.path = filepath.Join(goroot, "bin", "go")
		p.go_.env = append(p.go_.env, "GOTOOLCHAIN=local", "GOROOT="+goroot)
	}
	replace := maps.Clone(p.userMap)
	if replace == nil {
		replace = map[string]string{}
	}
	files, err := p.keptLibrary(goroot)
	if _, anchor := errors.AsType[*patch.AnchorError](err); anchor {
		return nil, fmt.Errorf("%w; with --no-runtime calls are recorded all the same", err)
	}
	if err != nil {
		return nil, err
	}
	if p.NoRuntime {
		p.missing = append(p.missing, patch.AloneMisses()...)
	}
	for from, to := range files {
		if _, both := replace[from]; both {
			return nil, fmt.Errorf("the overlay given by -overlay replaces %s, which recording has to patch: record without it", from)
		}
		replace[from] = to
	}
	return replace, nil
}

// standardLibrary returns what replaces what in the standard library.
type standardLibrary func(goroot, goVersion, outDir string, noRuntime bool) (map[string]string, error)

// standardOverlay is the patched standard library. A variable, so that tests of rewriting need not wait for all of it to
// be built.
var standardOverlay standardLibrary = func(goroot, goVersion, outDir string, noRuntime bool) (map[string]string, error) {
	if noRuntime {
		return patch.Alone(goroot, outDir)
	}
	return patch.Overlay(goroot, goVersion, outDir)
}

// keptLibrary has the library written, and keeps its files by what is in them: another version of this program, with another
// patch, may use the same cache.
func (p *preparation) keptLibrary(goroot string) (map[string]string, error) {
	library := p.library
	if library == nil {
		library = standardOverlay
	}
	dir, err := os.MkdirTemp(p.home, ".library-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files, err := library(goroot, p.env.GOVERSION, dir, p.NoRuntime)
	if err != nil {
		return nil, err
	}
	for from, to := range files {
		text, err := os.ReadFile(to)
		if err != nil {
			return nil, err
		}
		if files[from], err = p.keep("library", filepath.Base(from), text); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// each calls do for every index, on all cores. The first error counts.
func (p *preparation) each(ctx context.Context, step string, n int, do func(i int) error) error {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		next   int
		failed error
	)
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				if i >= n || failed != nil || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				next++
				if i%64 == 0 {
					p.step(step, i, n)
				}
				mu.Unlock()
				if err := do(i); err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// scan reads all files and lists their functions.
func (p *preparation) scan(ctx context.Context) error {
	return p.each(ctx, "reading sources", len(p.files), func(i int) error {
		f := p.files[i]
		text, err := os.ReadFile(f.Source)
		if err != nil {
			return fmt.Errorf("a source file: %w", err)
		}
		f.text, f.hash = text, sha256.Sum256(text)
		k := key(f.Path, f.hash)
		f.scan = new(scanned)
		if p.cache.load("scan", k, f.scan) {
			return nil
		}
		if f.scan, err = scan(f.Path, text); err != nil {
			return err
		}
		return p.cache.store("scan", k, f.scan)
	})
}

// judgement asks the compiler, or remembers what it said about the same sources.
func (p *preparation) judgement(ctx context.Context, replace map[string]string) (map[string]bool, error) {
	parts := []any{p.env, p.BuildFlags, p.go_.env, replace}
	for _, f := range p.files {
		if !f.Test {
			parts = append(parts, f.Path, f.hash)
		}
	}
	for _, name := range p.moduleFiles() {
		if text, err := os.ReadFile(name); err == nil {
			parts = append(parts, sha256.Sum256(text))
		}
	}
	k := key(parts...)
	var places []string
	inlinable := map[string]bool{}
	if !p.cache.load("judgement", k, &places) {
		var err error
		if inlinable, err = judge(ctx, p.go_, p.cache, p.packages, replace, p.overlay); err != nil {
			return nil, err
		}
		return inlinable, p.cache.store("judgement", k, slices.Sorted(maps.Keys(inlinable)))
	}
	for _, place := range places {
		inlinable[place] = true
	}
	return inlinable, nil
}

// rewrite writes the copies and adds them to what is replaced.
func (p *preparation) rewrite(ctx context.Context, plans []*filePlan, replace map[string]string) error {
	var mu sync.Mutex
	return p.each(ctx, "rewriting sources", len(plans), func(i int) error {
		fp := plans[i]
		// The name ends in .go, or cgo would not take it.
		to := p.cache.path("source", key(fp.Path, fp.hash, fp.plan), filepath.Base(fp.Path))
		if exists(to) {
			p.cache.use(to)
		} else {
			text, err := rewrite(fp.Path, fp.text, fp.plan)
			if err != nil {
				return err
			}
			if err := writeFile(to, text); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		replace[fp.Path] = to
		return nil
	})
}

// overlay writes a file for the go command's -overlay.
func (p *preparation) overlay(replace map[string]string) (string, error) {
	text, err := json.MarshalIndent(struct{ Replace map[string]string }{replace}, "", " ")
	if err != nil {
		return "", err
	}
	return p.keep("overlay", "overlay.json", text)
}

// keep writes a file of the cache, named by what is in it.
func (p *preparation) keep(kind, name string, text []byte) (string, error) {
	path := p.cache.path(kind, key(sha256.Sum256(text)), name)
	if exists(path) {
		p.cache.use(path)
		return path, nil
	}
	return path, writeFile(path, text)
}

func (p *preparation) writeTable(table []TableEntry) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range table {
		if err := enc.Encode(e); err != nil {
			return "", err
		}
	}
	return p.keep("table", "functions.jsonl", []byte(b.String()))
}
