package instrument

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// listed is a package as "go list" describes it.
type listed struct {
	ImportPath, Name, Dir, ForTest               string
	Standard, DepOnly                            bool
	GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
	Module                                       *listedModule
}

type listedModule struct {
	Path, Version, Dir, GoVersion string
	Main                          bool
	Replace                       *listedModule
}

const listFields = "ImportPath,Name,Dir,ForTest,Standard,DepOnly,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Module"

// sourcePackage is a package to record: what the compiler sees as one.
type sourcePackage struct {
	ImportPath string
	Symbol     string // begins the names of its functions: the import path as the linker writes it, or main
	Name       string
	Dir        string
	Module     *listedModule
	Asked      bool // named by the user, so its tests are built if tests are
	External   bool // the tests of a package that are a package of their own
	Files      []*sourceFile
}

// sourceFile is one file of one package.
type sourceFile struct {
	Path   string // as the go command knows it
	Source string // where its text is: Path, or what the user's own overlay has for it
	Show   string // how the table of functions calls it
	Cgo    bool
	Test   bool
	text   []byte
	hash   [32]byte
	scan   *scanned
}

// discover lists the packages that make up the program.
func discover(ctx context.Context, g *goCommand, patterns []string, test bool) ([]listed, []byte, error) {
	args := []string{"list", "-deps", "-json=" + listFields}
	if test {
		args = append(args, "-test")
	}
	args = append(append(args, g.flags...), "--")
	out, err := g.output(ctx, append(args, patterns...)...)
	if err != nil {
		return nil, nil, err
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
	}
	return all, out, nil
}

// chooser decides which packages are recorded.
type chooser struct {
	include, exclude []*pattern
}

// pattern is one of --include, --exclude and --args: a path or name in which "..." stands for
// anything, and so does "*" where it is not part of a receiver such as (*Queue).
type pattern struct {
	text    string
	match   *regexp.Regexp
	matched bool
}

func newPatterns(texts []string) []*pattern {
	var ps []*pattern
	for _, t := range texts {
		for part := range strings.SplitSeq(t, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			q := regexp.QuoteMeta(part)
			// A star after a parenthesis is that of a method's pointer receiver, any other stands for anything, too.
			q = strings.ReplaceAll(q, `\*`, ".*")
			q = strings.ReplaceAll(q, `\(.*`, `\(\*`)
			q = strings.ReplaceAll(q, `\.\.\.`, ".*")
			// As for the go command, x/... is x as well.
			if rest, ok := strings.CutSuffix(q, "/.*"); ok {
				q = rest + "(/.*)?"
			}
			ps = append(ps, &pattern{text: part, match: regexp.MustCompile("^(?:" + q + ")$")})
		}
	}
	return ps
}

func anyMatches(ps []*pattern, name string) bool {
	found := false
	for _, p := range ps {
		if p.match.MatchString(name) {
			p.matched, found = true, true
		}
	}
	return found
}

func (c *chooser) records(p *listed) bool {
	if p.Standard {
		return false
	}
	own := p.Module == nil || p.Module.Main
	asked := anyMatches(c.include, p.ImportPath)
	return (own || asked) && !anyMatches(c.exclude, p.ImportPath)
}

// choose makes the packages to record out of those that there are. A package that is compiled again for a test has the same
// files as the package itself.
func choose(all []listed, c *chooser, test bool, source func(path string) string) []*sourcePackage {
	byPath := map[string]*sourcePackage{}
	var packages []*sourcePackage
	for i := range all {
		p := &all[i]
		path, _, variant := strings.Cut(p.ImportPath, " [")
		if variant && p.ForTest != "" && strings.HasSuffix(p.Name, "_test") && path == p.ForTest+"_test" || strings.HasSuffix(path, ".test") && p.Name == "main" && len(p.GoFiles) == 1 && !filepath.IsLocal(p.GoFiles[0]) {
			continue // external tests come with their package; a test's main is made by the go command
		}
		p.ImportPath = path
		if !c.records(p) {
			continue
		}
		if known := byPath[path]; known != nil {
			known.Asked = known.Asked || !p.DepOnly
			continue
		}
		sp := &sourcePackage{ImportPath: path, Name: p.Name, Dir: p.Dir, Module: p.Module, Asked: !p.DepOnly, Symbol: symbolPath(path)}
		if p.Name == "main" && !test {
			sp.Symbol = "main"
		}
		byPath[path] = sp
		packages = append(packages, sp)
		add := func(to *sourcePackage, names []string, cgo, isTest bool) {
			for _, name := range names {
				file := name
				if !filepath.IsAbs(file) {
					file = filepath.Join(p.Dir, name)
				}
				to.Files = append(to.Files, &sourceFile{Path: file, Source: source(file), Show: shownFile(p, file), Cgo: cgo, Test: isTest})
			}
		}
		add(sp, p.GoFiles, false, false)
		add(sp, p.CgoFiles, true, false)
		if !test || p.DepOnly {
			continue
		}
		// A variant lists the files of tests among its own.
		add(sp, slices.DeleteFunc(slices.Clone(p.TestGoFiles), func(n string) bool { return slices.Contains(p.GoFiles, n) }), false, true)
		if len(p.XTestGoFiles) > 0 {
			x := &sourcePackage{ImportPath: path + "_test", Name: p.Name + "_test", Dir: p.Dir, Module: p.Module, Asked: true, External: true, Symbol: symbolPath(path + "_test")}
			add(x, p.XTestGoFiles, false, true)
			packages = append(packages, x)
		}
	}
	return packages
}

// shownFile is a file's path from its module's root; of a dependency, behind module@version.
func shownFile(p *listed, file string) string {
	if m := p.Module; m != nil && m.Dir != "" {
		if rel, err := filepath.Rel(m.Dir, file); err == nil && filepath.IsLocal(rel) {
			if !m.Main && m.Version != "" {
				return m.Path + "@" + m.Version + "/" + filepath.ToSlash(rel)
			}
			return filepath.ToSlash(rel)
		}
	}
	return filepath.ToSlash(filepath.Join(p.ImportPath, filepath.Base(file)))
}

// symbolPath writes an import path as the linker does in names of symbols: what could be taken for the dot before the
// function's name is escaped.
func symbolPath(path string) string {
	slash := strings.LastIndexByte(path, '/')
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c <= ' ' || i > slash && c == '.' || c == '%' || c == '"' || c >= 0x7F {
			fmt.Fprintf(&b, "%%%02x", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
