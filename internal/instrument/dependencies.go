package instrument

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The go command refuses overlays of files in the module cache. So a module of which packages are to be recorded is copied
// once, as it is, and the program is built with a go.mod of ours (-modfile), or in a workspace of ours, that is the user's
// with one more line for each such module: replace it by the copy. Import paths, versions and names of functions stay.

// replacements is what makes the go command use copies of modules.
type replacements struct {
	Modules []replacedModule `json:"modules"`
	Flags   []string         `json:"flags"`
	Env     []string         `json:"env"`
	Files   []string         `json:"files"` // that have to be there
}

// replacedModule is a module that is copied.
type replacedModule struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	From    string `json:"from"` // in the module cache
	To      string `json:"to"`   // the copy
}

// replacementsKey names what is remembered of the modules to replace.
func (p *preparation) replacementsKey() string {
	parts := []any{p.env, optionsKey(p.Options)}
	for _, path := range p.moduleFiles() {
		if text, err := os.ReadFile(path); err == nil {
			parts = append(parts, path, sha256.Sum256(text))
		}
	}
	return key(parts...)
}

// moduleFiles are the files that say which modules the program is made of.
func (p *preparation) moduleFiles() []string {
	mod := p.modFile()
	return []string{mod, strings.TrimSuffix(mod, ".mod") + ".sum", p.env.GOWORK, p.env.GOWORK + ".sum"}
}

func (p *preparation) modFile() string {
	flags := append(strings.Fields(p.env.GOFLAGS), p.BuildFlags...)
	if file, ok := flagValue(flags, "modfile"); ok && file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(p.Dir, file)
		}
		return file
	}
	return p.env.GOMOD
}

// remembered are the replacements of the last time, as long as nothing that they follow from has changed.
func (p *preparation) remembered() {
	var r replacements
	if len(p.Include) == 0 || !p.cache.load("modules", p.replacementsKey(), &r) {
		return
	}
	for _, f := range r.Files {
		if !exists(f) {
			return
		}
	}
	p.use(r)
}

func (p *preparation) use(r replacements) {
	p.replaced = r
	if len(r.Flags) > 0 {
		p.go_.flags = append(withoutFlag(p.BuildFlags, "modfile"), r.Flags...)
	}
	p.go_.env = append(p.go_.env, r.Env...)
}

// replaceModules copies the modules in the module cache that have packages to record. It says whether there were any: the
// packages have to be listed anew then.
func (p *preparation) replaceModules(ctx context.Context) (bool, error) {
	r := p.replaced
	r.Modules = slices.Clone(r.Modules)
	fresh := false
	for _, pkg := range p.packages {
		m := pkg.Module
		if m == nil || m.Main || m.Version == "" || !inside(p.env.GOMODCACHE, pkg.Dir) || slices.ContainsFunc(r.Modules, func(r replacedModule) bool { return r.Path == m.Path }) {
			continue
		}
		rel, err := filepath.Rel(p.env.GOMODCACHE, m.Dir)
		if err != nil {
			return false, err
		}
		to := filepath.Join(p.CacheDir, "modules", rel)
		p.step("copying module "+m.Path, 0, 0)
		if err := copyModule(m, to); err != nil {
			return false, fmt.Errorf("a copy of module %s@%s to record: %w", m.Path, m.Version, err)
		}
		r.Modules = append(r.Modules, replacedModule{m.Path, m.Version, m.Dir, to})
		fresh = true
	}
	if !fresh {
		return false, nil
	}
	var err error
	if w := p.env.GOWORK; w != "" && w != "off" {
		err = p.replaceInWorkspace(ctx, &r)
	} else {
		err = p.replaceInModule(ctx, &r)
	}
	if err != nil {
		return false, err
	}
	for _, m := range r.Modules {
		r.Files = append(r.Files, m.To)
	}
	p.go_.env = nil
	p.use(r)
	return true, p.cache.store("modules", p.replacementsKey(), r)
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// copyModule copies a module's folder, if it is not there yet. A module of the time before go.mod gets one: a folder that
// replaces a module must have it.
func copyModule(m *listedModule, to string) error {
	if exists(to) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil { // #nosec G301 -- the umask decides, as for the go command's own caches; nothing recorded is in it
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(to), ".copy-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	if err := os.CopyFS(part, os.DirFS(m.Dir)); err != nil {
		return err
	}
	if mod := filepath.Join(part, "go.mod"); !exists(mod) {
		if err := os.WriteFile(mod, []byte("module "+m.Path+"\n"), 0o666); err != nil { // #nosec G306 -- the umask decides, as for the go command's own caches; nothing recorded is in it
			return err
		}
	}
	if err := os.Rename(part, to); err != nil && !exists(to) {
		return err
	}
	return nil
}

// replaceInModule writes a go.mod of ours and its go.sum.
func (p *preparation) replaceInModule(ctx context.Context, r *replacements) error {
	from := p.modFile()
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("dependencies can be recorded of a program in a module: %w", err)
	}
	sum, err := os.ReadFile(strings.TrimSuffix(from, ".mod") + ".sum")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to := filepath.Join(p.cache.path("modfile", key(from, sha256.Sum256(text), sha256.Sum256(sum), r.Modules), "go.mod"))
	if err := errors.Join(writeFile(to, text), writeFile(strings.TrimSuffix(to, ".mod")+".sum", sum)); err != nil {
		return err
	}
	args := []string{"mod", "edit"}
	for _, m := range r.Modules {
		args = append(args, "-replace="+m.Path+"@"+m.Version+"="+m.To)
	}
	if _, err := p.go_.output(ctx, append(args, to)...); err != nil {
		return err
	}
	r.Flags, r.Files = []string{"-modfile=" + to}, []string{to}
	return nil
}

// goWork is what "go work edit -json" prints.
type goWork struct {
	Go, Toolchain string
	Godebug       []struct{ Key, Value string }
	Use           []struct{ DiskPath string }
	Replace       []struct {
		Old, New struct{ Path, Version string }
	}
}

// replaceInWorkspace writes a go.work of ours: the user's, with paths that are right wherever it is.
func (p *preparation) replaceInWorkspace(ctx context.Context, r *replacements) error {
	out, err := p.go_.output(ctx, "work", "edit", "-json", p.env.GOWORK)
	if err != nil {
		return err
	}
	var w goWork
	if err := json.Unmarshal(out, &w); err != nil {
		return fmt.Errorf("go work edit -json: %w", err)
	}
	dir := filepath.Dir(p.env.GOWORK)
	absolute := func(path string) string {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path
	}
	var b strings.Builder
	fmt.Fprintf(&b, "go %s\n", w.Go)
	if w.Toolchain != "" {
		fmt.Fprintf(&b, "toolchain %s\n", w.Toolchain)
	}
	for _, g := range w.Godebug {
		fmt.Fprintf(&b, "godebug %s=%s\n", g.Key, g.Value)
	}
	for _, u := range w.Use {
		fmt.Fprintf(&b, "use %q\n", absolute(u.DiskPath))
	}
	for _, x := range w.Replace {
		if slices.ContainsFunc(r.Modules, func(m replacedModule) bool {
			return m.Path == x.Old.Path && (x.Old.Version == "" || x.Old.Version == m.Version)
		}) {
			continue // the copy is one of what it was replaced by
		}
		to := fmt.Sprintf("%q %s", x.New.Path, x.New.Version)
		if x.New.Version == "" {
			to = fmt.Sprintf("%q", absolute(x.New.Path))
		}
		fmt.Fprintf(&b, "replace %s %s => %s\n", x.Old.Path, x.Old.Version, to)
	}
	for _, m := range r.Modules {
		fmt.Fprintf(&b, "replace %s %s => %q\n", m.Path, m.Version, m.To)
	}
	to, err := p.keep("workspace", "go.work", []byte(b.String()))
	if err != nil {
		return err
	}
	if sum, err := os.ReadFile(p.env.GOWORK + ".sum"); err == nil {
		if err := writeFile(to+".sum", sum); err != nil {
			return err
		}
	}
	r.Env, r.Files = []string{"GOWORK=" + to}, []string{to}
	return nil
}

// original is the path that a file of a copied module had, for positions; "" if it is in no copy.
func (p *preparation) original(path string) string {
	for _, m := range p.replaced.Modules {
		rel, err := filepath.Rel(m.To, path)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		if flagSet(append(strings.Fields(p.env.GOFLAGS), p.BuildFlags...), "trimpath") {
			return m.Path + "@" + m.Version + "/" + filepath.ToSlash(rel)
		}
		return filepath.Join(m.From, rel)
	}
	return ""
}
