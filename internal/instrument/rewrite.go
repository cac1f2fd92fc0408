package instrument

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// plan says what to put into one file. It holds all that the copy depends on beside the text itself.
type plan struct {
	Private      string  `json:"private"`      // begins the names that are added: no file of the package has one like it
	ShadowsError bool    `json:"shadowsError"` // "error" may be another type in this package
	Probes       []probe `json:"probes"`
	Sites        []site  `json:"sites,omitempty"`
	Original     string  `json:"original,omitempty"` // the path to show in positions, if it is not the file's own
}

// probe is one function that is recorded.
type probe struct {
	Index  int      `json:"index"` // among the file's functions
	ID     uint32   `json:"id"`
	Values bool     `json:"values,omitempty"` // arguments and results are recorded
	Queue  queueEnd `json:"queue,omitempty"`
}

// queueEnd says that a function is an end of a queue.
type queueEnd string

const (
	queueSend    queueEnd = "send"    // puts its argument into the queue
	queueReceive queueEnd = "receive" // gets its first result out of it
)

// rewrite returns the text of a file with the plan's probes in it.
func rewrite(path string, text []byte, p plan) ([]byte, error) {
	fset, f, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	e := newEdited(fset, f, text)
	probes := map[int]probe{}
	for _, pr := range p.Probes {
		probes[pr.Index] = pr
	}
	r := &rewriter{edited: e, plan: p, namedAt: map[token.Pos]bool{}}
	index := 0
	visitFunctions(f, func(v visited) {
		if pr, ok := probes[index]; ok {
			if pr.Values || pr.Queue != "" {
				r.functionWithValues(v, pr)
			} else {
				r.function(v, pr)
			}
			delete(probes, index)
		}
		index++
	})
	if len(probes) > 0 {
		return nil, fmt.Errorf("%s: the plan names %d functions that are not there; please report this file", path, len(probes))
	}
	if err := r.sites(f); err != nil {
		return nil, err
	}
	if r.usesRuntime {
		// The string at the end makes the semicolon that may be missing, as the package's name did.
		r.insert(f.Name.End(), fmt.Sprintf("; import %s \"runtime\"", p.Private))
	}
	if p.Original != "" {
		path = p.Original
	}
	// The go command tells the compiler which file the copy stands for, but vet shows the copy's name unless told here. All
	// code is behind it.
	if at := fset.PositionFor(f.Package, false); fset.Position(f.Package) == at && !strings.Contains(path, "*/") {
		e.edits = append(e.edits, edit{at.Offset, at.Offset, fmt.Sprintf("/*line %s:%d:%d*/", path, at.Line, at.Column), true})
	}
	return e.bytes()
}

type rewriter struct {
	*edited
	plan        plan
	usesRuntime bool
	namedAt     map[token.Pos]bool // parameters and results that were given a name
}

// isNamed says whether what is at pos was given a name before, and notes that it is now.
func (r *rewriter) isNamed(pos token.Pos) bool {
	was := r.namedAt[pos]
	r.namedAt[pos] = true
	return was
}

// function puts the probe of one function behind its opening brace.
func (r *rewriter) function(v visited, pr probe) {
	r.usesRuntime = true
	enter := fmt.Sprintf("%s.PastconeEnter(%d)", r.plan.Private, pr.ID)
	statement := fmt.Sprintf(" defer %s.PastconeExit(%s);", r.plan.Private, enter)
	if name, ok := r.errorResult(v.typ); ok {
		statement = fmt.Sprintf(" defer %s.PastconeExitError(%s, &%s);", r.plan.Private, enter, name)
	}
	r.insert(v.body.Lbrace+1, statement)
}

// errorResult returns the name of the last result if it is an error, and gives it one if it has none.
func (r *rewriter) errorResult(t *ast.FuncType) (string, bool) {
	if r.plan.ShadowsError || t.Results == nil || len(t.Results.List) == 0 {
		return "", false
	}
	last := t.Results.List[len(t.Results.List)-1]
	if id, ok := last.Type.(*ast.Ident); !ok || id.Name != "error" {
		return "", false
	}
	name := r.plan.Private + "Err"
	if n := len(last.Names); n > 0 {
		id := last.Names[n-1]
		if id.Name != "_" {
			return id.Name, true
		}
		r.replace(id.Pos(), id.End(), name)
		return name, true
	}
	r.nameResults(t, func(i, n int) string {
		if i == n-1 {
			return name
		}
		return "_"
	})
	return name, true
}

// nameResults gives names to results that have none.
func (r *rewriter) nameResults(t *ast.FuncType, name func(i, n int) string) {
	list := t.Results.List
	open, end := "", ""
	if !t.Results.Opening.IsValid() {
		open, end = "(", ")"
	}
	for i, field := range list {
		r.insert(field.Type.Pos(), open+name(i, len(list))+" ")
	}
	if end != "" {
		r.insert(t.Results.End(), end)
	}
}

// privateName finds a beginning for the names that we add such that none of the package's identifiers begins with it.
func privateName(taken []string) string {
	for n := 0; ; n++ {
		name := privatePrefix
		if n > 0 {
			name += strings.Repeat("A", n)
		}
		free := true
		for _, t := range taken {
			free = free && !strings.HasPrefix(t, name)
		}
		if free {
			return name
		}
	}
}
