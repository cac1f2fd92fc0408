//go:build !linux && !darwin

package runtime

func pastconeMap(path string) (uintptr, string) {
	return 0, "there is no recording on " + GOOS
}

func pastconeUnmap(base uintptr) {}

func pastconePid() int32 { return 0 }
