package instrument

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// judge asks the compiler which functions it can inline, by compiling the packages as they are with -m. It compiles against
// the patched standard library, which has to be built for the program anyway, so that only the packages to record
// are compiled once more; and the go command keeps what it said, so that next time only what has changed is.
//
// Packages named main are compiled under another name: as main they would be linked, for nothing.
//
// Places are "file:line:column" as positions have them.
func judge(ctx context.Context, g *goCommand, c cache, packages []*sourcePackage, base map[string]string, overlay func(map[string]string) (string, error)) (map[string]bool, error) {
	replace := map[string]string{}
	for from, to := range base {
		replace[from] = to
	}
	var paths, files []string
	for _, p := range packages {
		if p.External {
			continue
		}
		var own []string
		if p.Name == "main" {
			// Its tests would have another package name than it has now.
			tests, err := filepath.Glob(filepath.Join(globQuoted(p.Dir), "*_test.go"))
			if err != nil {
				return nil, err
			}
			for _, t := range tests {
				replace[t] = "" // as if it was not there
			}
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			own = append(own, f.Path)
			if p.Name != "main" {
				continue
			}
			to := c.path("renamed", key(f.Path, f.hash), filepath.Base(f.Path))
			text, err := renamed(f)
			if err != nil {
				return nil, err
			}
			if err := writeFile(to, text); err != nil {
				return nil, err
			}
			replace[f.Path] = to
		}
		switch {
		case len(own) == 0:
		case p.ImportPath == "command-line-arguments":
			files = append(files, own...)
		default:
			paths = append(paths, p.ImportPath)
		}
	}
	inlinable := map[string]bool{}
	file, err := overlay(replace)
	if err != nil {
		return nil, err
	}
	for _, what := range [][]string{paths, files} {
		if len(what) == 0 {
			continue
		}
		if err := g.judge(ctx, what, file, inlinable); err != nil {
			return nil, err
		}
	}
	return inlinable, nil
}

func (g *goCommand) judge(ctx context.Context, what []string, overlay string, inlinable map[string]bool) error {
	compiler := "-m"
	if user, ok := flagValue(g.flags, "gcflags"); ok {
		compiler = user + " -m"
	}
	// For coverage the go command adds a file to each package, under the name that the package has.
	args := append([]string{"build"}, withoutFlag(withoutFlag(withoutCoverage(g.flags), "overlay"), "gcflags")...)
	args = append(args, "-overlay="+overlay)
	told := append(append(args, "-gcflags="+compiler, "--"), what...)
	cmd := g.command(ctx, told...)
	said, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	done := make(chan error, 1)
	go func() { done <- readJudgements(said, g.dir, inlinable) }()
	err := cmd.Run()
	w.Close()
	if read := <-done; read != nil && err == nil {
		err = read
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What is wrong stands somewhere among all the rest that -m says: ask again without.
	if _, plain := g.output(ctx, append(append(args, "--"), what...)...); plain != nil {
		return plain
	}
	return fmt.Errorf("the compiler's judgement of what it can inline: go build -gcflags=%q: %w", compiler, err)
}

// readJudgements reads "file:line:column: can inline F". Lines of any length are read; what is longer than those that
// matter is left unread.
func readJudgements(r io.Reader, dir string, inlinable map[string]bool) error {
	defer func() { _, _ = io.Copy(io.Discard, r) }() // or the compiler would wait for us
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, more, err := br.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		place, name, ok := bytes.Cut(line, []byte(": can inline "))
		// Of a generic function, the form for a shape of types is the function itself; that for the types is a wrapper that
		// passes a dictionary, and can always be inlined.
		if ok && (!bytes.ContainsRune(name, '[') || bytes.Contains(name, []byte("go.shape."))) {
			if file, at, ok := cutPlace(string(place)); ok {
				if !filepath.IsAbs(file) {
					file = filepath.Join(dir, file)
				}
				inlinable[file+":"+at] = true
			}
		}
		for more && err == nil {
			_, more, err = br.ReadLine()
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
}

// cutPlace splits "file:12:6" into the file and "12:6".
func cutPlace(place string) (file, at string, ok bool) {
	j, _, ok := cutNumber(place)
	if !ok {
		return "", "", false
	}
	i, _, ok := cutNumber(place[:j])
	if !ok {
		return "", "", false
	}
	return place[:i], place[i+1:], true
}

func (f function) place() string {
	return f.File + ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column)
}

// renamed is a file of package main under another package name.
func renamed(f *sourceFile) ([]byte, error) {
	fset, tree, err := parse(f.Path, f.text)
	if err != nil {
		return nil, err
	}
	e := newEdited(fset, tree, f.text)
	e.replace(tree.Name.Pos(), tree.Name.End(), strings.ToLower(privatePrefix[1:])+"_main")
	return e.bytes()
}

// globQuoted is a directory as a pattern that matches it alone.
func globQuoted(dir string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(dir)
}
