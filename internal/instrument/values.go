package instrument

import (
	"fmt"
	"go/ast"
	"strings"
)

// valuesMax is the number of values that an event can have.
const valuesMax = 8

// functionWithValues is the probe of a function whose arguments and results are recorded, or that is an end of a queue:
//
//	var _pastconeIn runtime.PastconeValues; _pastconeIn.Any(0, order); _pastconeIn.Error(1, cause)
//	_pastconeToken := runtime.PastconeEnterValues(17, false, &_pastconeIn)
//	defer func() { var _pastconeOut runtime.PastconeValues; _pastconeOut.Any(0, _pastconeR0); runtime.PastconeExitValues(_pastconeToken, &_pastconeOut, &err) }()
//
// The runtime looks at a value's kind, so that types need not be known here. The literal comes first in the function, and
// shifts the numbers of the function's own literals (func1, func2) in stacks by one.
func (r *rewriter) functionWithValues(v visited, pr probe) {
	r.usesRuntime = true
	our := r.plan.Private
	var b strings.Builder
	token := fmt.Sprintf("%s.PastconeEnter(%d)", our, pr.ID)
	if pr.Values {
		if list := r.values(our+"In", r.parameters(v.typ)); list != "" {
			fmt.Fprintf(&b, " var %sIn %s.PastconeValues;%s", our, our, list)
			token = fmt.Sprintf("%s.PastconeEnterValues(%d, false, &%sIn)", our, pr.ID, our)
		}
	}
	var results []variable
	if pr.Values || pr.Queue == queueReceive {
		results = r.results(v.typ)
	}
	last, isError := "nil", false
	if n := len(results); n > 0 {
		if isError = results[n-1].isError; isError {
			last = "&" + results[n-1].name
		}
	} else {
		var name string
		if name, isError = r.errorResult(v.typ); isError {
			last = "&" + name
		}
	}
	out := ""
	if pr.Values {
		out = r.values(our+"Out", results)
	}
	switch {
	case out != "":
		fmt.Fprintf(&b, " %sToken := %s; defer func() { var %sOut %s.PastconeValues;%s %s.PastconeExitValues(%sToken, &%sOut, %s) }();", our, token, our, our, out, our, our, our, last)
	case isError:
		fmt.Fprintf(&b, " defer %s.PastconeExitError(%s, %s);", our, token, last)
	default:
		fmt.Fprintf(&b, " defer %s.PastconeExit(%s);", our, token)
	}
	switch pr.Queue {
	case queueSend:
		if e, ok := r.element(v); ok {
			fmt.Fprintf(&b, " %s.PastconeQueueSend(%d, %s.PastconeIdentity(%s));", our, pr.ID, our, e)
		}
	case queueReceive:
		// The last defer runs first: the element is received within the call.
		fmt.Fprintf(&b, " defer func() { if %sE := %s.PastconeIdentity(%s); %sE != 0%s { %s.PastconeQueueReceive(%d, %sE) } }();",
			our, our, results[0].name, our, r.received(v.typ, results), our, pr.ID, our)
	}
	r.insert(v.body.Lbrace+1, b.String())
}

// received is the condition, beside an element that is not nil, under which a queue's result is one.
func (r *rewriter) received(t *ast.FuncType, results []variable) string {
	last := results[len(results)-1]
	switch {
	case len(results) == 1:
		return ""
	case last.isError:
		return " && " + last.name + " == nil"
	case last.isBool:
		return " && " + last.name
	}
	return ""
}

// variable is a parameter or result.
type variable struct {
	name            string
	isError, isBool bool
}

// parameters returns the parameters, giving names to those that have none.
func (r *rewriter) parameters(t *ast.FuncType) []variable { return r.named(t.Params, "P", false) }

// results returns the results, giving names to those that have none.
func (r *rewriter) results(t *ast.FuncType) []variable {
	if t.Results == nil {
		return nil
	}
	return r.named(t.Results, "R", !t.Results.Opening.IsValid())
}

func (r *rewriter) named(fields *ast.FieldList, letter string, parenthesize bool) []variable {
	var list []variable
	open := ""
	if parenthesize {
		open = "("
		defer func() { r.insert(fields.End(), ")") }()
	}
	for _, field := range fields.List {
		v := variable{}
		if id, ok := field.Type.(*ast.Ident); ok {
			v.isError = id.Name == "error" && !r.plan.ShadowsError
			v.isBool = id.Name == "bool"
		}
		next := func() string { return fmt.Sprintf("%s%s%d", r.plan.Private, letter, len(list)) }
		if len(field.Names) == 0 {
			v.name = next()
			if !r.isNamed(field.Type.Pos()) {
				r.insert(field.Type.Pos(), open+v.name+" ")
			}
			open = ""
			list = append(list, v)
		}
		for _, id := range field.Names {
			if v.name = id.Name; v.name == "_" {
				v.name = next()
				if !r.isNamed(id.Pos()) {
					r.replace(id.Pos(), id.End(), v.name)
				}
			}
			list = append(list, v)
		}
	}
	return list
}

// values writes the statements that put variables into values.
func (r *rewriter) values(into string, list []variable) string {
	var b strings.Builder
	for i, v := range list[:min(len(list), valuesMax)] {
		method := "Any"
		if v.isError {
			method = "Error"
		}
		fmt.Fprintf(&b, " %s.%s(%d, %s);", into, method, i, v.name)
	}
	return b.String()
}

// element is the parameter that a queue's sending end sends: of a method the first, of a function of several the second,
// since the first is the queue then; a context before it does not count.
func (r *rewriter) element(v visited) (string, bool) {
	list := r.parameters(v.typ)
	skip := 0
	if len(v.typ.Params.List) > 0 && len(list) > 1 && isContext(v.typ.Params.List[0].Type) {
		skip++
	}
	if v.decl != nil && v.decl.Recv == nil && len(list) > skip+1 {
		skip++
	}
	if len(list) <= skip {
		return "", false
	}
	return list[skip].name, true
}

func isContext(t ast.Expr) bool {
	s, ok := t.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "context" && s.Sel.Name == "Context"
}
