package launch

import (
	"slices"
	"strings"
	"testing"
)

func TestFlagsOfTestsAreNotThoseOfTheBuild(t *testing.T) {
	for _, c := range []struct{ name, flags, build, test string }{
		{"none", "", "", ""},
		{"a build's only", "-race -tags=a,b -mod vendor", "-race -tags=a,b -mod vendor", ""},
		{"both, with values in both ways", "-count=1 -race -run A|B -tags x --v -timeout=5s", "-race -tags x", "-count=1 -run A|B --v -timeout=5s"},
		{"a value that looks like a flag", "-run -x -race", "-race", "-run -x"},
		{"the long names", "-test.run=A -test.v", "", "-test.run=A -test.v"},
		{"coverage is the build's, its file is not", "-cover -coverprofile c.out -coverpkg ./...", "-cover -coverpkg ./...", "-coverprofile c.out"},
		{"a value that is a test flag's name", "-tags run -run tags", "-tags run", "-run tags"},
		{"a value is missing: go test will say so", "-race -run", "-race", "-run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			build, test := splitTestFlags(strings.Fields(c.flags))
			if !slices.Equal(build, strings.Fields(c.build)) || !slices.Equal(test, strings.Fields(c.test)) {
				t.Errorf("build %q, test %q", build, test)
			}
		})
	}
}
