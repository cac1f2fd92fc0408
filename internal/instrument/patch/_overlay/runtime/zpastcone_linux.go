//go:build amd64 || arm64 || loong64 || ppc64le || riscv64

package runtime

func pastconePid() int32 { return int32(getpid()) }
