//go:build !((linux || darwin) && (amd64 || arm64 || loong64 || ppc64le || riscv64))

package runtime

func pastconeMap(path string) (uintptr, string) {
	return 0, "there is no recording on " + GOOS + "/" + GOARCH
}

func pastconeUnmap(base uintptr) {}

func pastconePid() int32 { return 0 }
