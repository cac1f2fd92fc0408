package launch

import "strings"

// testFlags are go test's own flags, those that tell it what to do with a test binary and not how to build it; true are those
// that take no value. -cover and its like change the build, so they are not here.
var testFlags = map[string]bool{
	"args": true, "artifacts": true, "bench": false, "benchmem": true, "benchtime": false, "blockprofile": false, "blockprofilerate": false,
	"c": true, "count": false, "coverprofile": false, "cpu": false, "cpuprofile": false, "exec": false, "failfast": true, "fullpath": true,
	"fuzz": false, "fuzzminimizetime": false, "fuzztime": false, "i": true, "json": true, "list": false, "memprofile": false,
	"memprofilerate": false, "mutexprofile": false, "mutexprofilefraction": false, "o": false, "outputdir": false, "paniconexit0": true,
	"parallel": false, "run": false, "short": true, "shuffle": false, "skip": false, "timeout": false, "trace": false, "v": true,
	"vet": false,
}

// splitTestFlags tells the flags of a build from go test's own: go list, which says what is to be recorded, knows the first only.
func splitTestFlags(flags []string) (build, test []string) {
	for i := 0; i < len(flags); i++ {
		name, _, valued := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(flags[i], "-"), "-"), "=")
		alone, own := testFlags[strings.TrimPrefix(name, "test.")]
		if !own || !strings.HasPrefix(flags[i], "-") {
			build = append(build, flags[i])
			continue
		}
		test = append(test, flags[i])
		if !alone && !valued && i+1 < len(flags) {
			i++
			test = append(test, flags[i])
		}
	}
	return build, test
}
