package instrument

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/internal/instrument/patch"
)

// filePlan is a plan and its file.
type filePlan struct {
	*sourceFile
	plan plan
}

// wanted is something that gets an id: a function or an assignment.
type wanted struct {
	entry TableEntry
	key   string // the same from build to build
	id    func(uint32)
}

// assign decides which functions are recorded, and gives them ids.
func (p *preparation) assign(ctx context.Context, inlinable map[string]bool, replace map[string]string, done *Prepared) ([]TableEntry, []*filePlan, error) {
	queues, err := queuesOf(p.Queue)
	if err != nil {
		return nil, nil, err
	}
	fields, err := fieldsOf(p.State)
	if err != nil {
		return nil, nil, err
	}
	states := map[*sourceFile][]assignment{}
	if len(fields) > 0 {
		p.step("looking for assignments", 0, 0)
		if states, err = p.assignments(ctx, fields, replace); err != nil {
			return nil, nil, err
		}
	}
	args := newPatterns(p.Args)

	var all []wanted
	var plans []*filePlan
	for _, pkg := range p.packages {
		facts := factsOf(pkg)
		for _, f := range pkg.Files {
			fp := &filePlan{f, plan{Private: facts.private, ShadowsError: facts.shadowsError, Original: p.original(f.Path)}}
			seen := map[string]int{}
			for i, fn := range f.scan.Functions {
				local := fn.Root + "#" + strconv.Itoa(fn.Number) + fn.Rest
				seen[local]++
				name := pkg.Symbol + "." + facts.name(f, fn)
				pr := probe{Index: i, Values: matchesFunction(args, pkg, name)}
				if q := queues.end(name); q != nil {
					if pr.Queue, err = q.take(name, fn); err != nil {
						return nil, nil, err
					}
				}
				// A function that does nothing is worth a call only if someone asks for its arguments.
				leave := fn.Leave != "" && (fn.Leave != leaveEmpty || !pr.Values)
				if leave || fn.Rest == "" && facts.linked[fn.Root] {
					if pr.Queue != "" {
						return nil, nil, fmt.Errorf("--queue: %s can not be recorded: %s", name, fn.why())
					}
					continue
				}
				always := pr.Values || pr.Queue != "" || fn.Handler || f.Test || fn.Rest == "" && (fn.Root == "init" || fn.Root == "main" && pkg.Name == "main")
				if !always && inlinable[fn.place()] {
					done.LeftOutInlinable++
					continue
				}
				entry := TableEntry{Func: name, File: f.Show, Line: fn.Line}
				if f.scan.LineDirectives && fn.File != f.Path {
					entry.File = filepath.ToSlash(filepath.Join(filepath.Dir(f.Show), filepath.Base(fn.File)))
				}
				if pr.Values {
					entry.Args = fn.Names
				}
				at := len(fp.plan.Probes)
				fp.plan.Probes = append(fp.plan.Probes, pr)
				all = append(all, wanted{entry, keyOf(pkg, f, local, seen[local]), func(id uint32) { fp.plan.Probes[at].ID = id }})
			}
			done.Recorded += len(fp.plan.Probes)
			for i, a := range states[f] {
				entry := TableEntry{File: f.Show, Line: a.line, State: a.field.shown(), Func: pkg.Symbol}
				around := ""
				if a.function >= 0 {
					fn := f.scan.Functions[a.function]
					entry.Func += "." + facts.name(f, fn)
					around = fn.Root + "#" + strconv.Itoa(fn.Number) + fn.Rest
				}
				local := "state " + entry.State + " " + around
				seen[local]++
				fp.plan.Sites = append(fp.plan.Sites, site{Offset: a.offset, Left: a.left})
				all = append(all, wanted{entry, keyOf(pkg, f, local, seen[local]), func(id uint32) { fp.plan.Sites[i].ID = id }})
			}
			if len(fp.plan.Probes)+len(fp.plan.Sites) > 0 || fp.plan.Original != "" {
				plans = append(plans, fp)
			}
		}
	}
	if err := queues.unused(); err != nil {
		return nil, nil, err
	}
	for _, fd := range fields {
		if fd.found == 0 {
			return nil, nil, fmt.Errorf("--state %s: no assignment to such a field in the packages that are recorded", fd.text)
		}
	}
	if len(fields) > 0 {
		p.miss("Of state, assignments to the fields themselves are recorded; not composite literals, assignments to whole structs, nor what goes through a pointer to the field.")
	}
	for _, a := range args {
		if !a.matched {
			p.miss("--args %s matches no function that is recorded.", a.text)
		}
	}
	table, count, err := p.number(all)
	if err != nil {
		return nil, nil, err
	}
	done.FunctionsCount = count
	return table, plans, nil
}

// keyOf is what the register knows a function by. Lines are not in it: they change with everything above.
func keyOf(pkg *sourcePackage, f *sourceFile, local string, nth int) string {
	return strings.Join([]string{pkg.ImportPath, filepath.Base(f.Path), local, strconv.Itoa(nth)}, "\t")
}

// number gives ids to all that wants one, in the order of the keys, and returns the table of what has one.
func (p *preparation) number(all []wanted) ([]TableEntry, int, error) {
	reg, err := openRegister(filepath.Join(p.home, "ids"))
	if err != nil {
		return nil, 0, err
	}
	reg.begin(len(all))
	slices.SortFunc(all, func(a, b wanted) int { return strings.Compare(a.key, b.key) })
	var table []TableEntry
	for _, fn := range patch.Functions() {
		table = append(table, TableEntry{ID: fn.ID, Func: fn.Func, File: fn.File, Root: fn.Root})
	}
	for _, w := range all {
		if w.entry.ID, err = reg.id(w.key); err != nil {
			return nil, 0, err
		}
		w.id(w.entry.ID)
		table = append(table, w.entry)
	}
	if err := reg.save(); err != nil {
		return nil, 0, err
	}
	slices.SortFunc(table, func(a, b TableEntry) int { return int(a.ID) - int(b.ID) })
	return table, int(reg.next()), nil
}

// why says in words why a function has no probe.
func (fn function) why() string {
	switch fn.Leave {
	case leaveEmpty:
		return "it does nothing"
	case leaveExport:
		return "it is called by C"
	case leaveBlank:
		return "it has no name"
	case leavePragma:
		return "it runs where no probe may"
	}
	return "another package links to it by name"
}

// matchesFunction says whether one of the patterns is that of a function or of its package.
func matchesFunction(ps []*pattern, pkg *sourcePackage, name string) bool {
	found := false
	for _, n := range append(namesOf(name), pkg.ImportPath) {
		found = anyMatches(ps, n) || found
	}
	return found
}

// namesOf are the names that a user may call a function by: as the runtime prints it, without the type parameters' place,
// and with the last element of the package's path alone.
func namesOf(name string) []string {
	plain := strings.ReplaceAll(name, "[...]", "")
	names := []string{name, plain}
	for _, n := range []string{name, plain} {
		if i := strings.LastIndexByte(n, '/'); i >= 0 {
			names = append(names, n[i+1:])
		}
	}
	return names
}

// facts are what the files of a package say together.
type facts struct {
	private      string
	shadowsError bool
	linked       map[string]bool
	inits        map[*sourceFile]int // number of init functions in the files before
	literals     map[*sourceFile]int
}

func factsOf(pkg *sourcePackage) facts {
	fs := facts{linked: map[string]bool{}, inits: map[*sourceFile]int{}, literals: map[*sourceFile]int{}}
	var taken []string
	inits, literals := 0, 0
	// The compiler is given the files in the order of their names.
	files := slices.Clone(pkg.Files)
	slices.SortStableFunc(files, func(a, b *sourceFile) int {
		return strings.Compare(filepath.Base(a.Path), filepath.Base(b.Path))
	})
	for _, f := range files {
		taken = append(taken, f.scan.PrivateNames...)
		fs.shadowsError = fs.shadowsError || f.scan.ShadowsError
		for _, name := range f.scan.Linknames {
			fs.linked[name] = true
		}
		fs.inits[f], fs.literals[f] = inits, literals
		inits += f.scan.InitFunctions
		literals += f.scan.InitLiterals
	}
	fs.private = privateName(taken)
	return fs
}

// name is a function's name as the runtime has it, without the package.
func (fs facts) name(f *sourceFile, fn function) string {
	switch fn.Root {
	case "":
		return "init.func" + strconv.Itoa(fs.literals[f]+fn.Number+1) + fn.Rest
	case "init":
		return "init." + strconv.Itoa(fs.inits[f]+fn.Number) + fn.Rest
	}
	return fn.Root + fn.Rest
}
