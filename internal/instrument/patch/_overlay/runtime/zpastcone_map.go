//go:build (linux || darwin) && (amd64 || arm64 || loong64 || ppc64le || riscv64)

package runtime

import "unsafe"

// pastconeMap maps a ring. The problem is worth a word to the user; without a ring and without a problem there is nothing that
// could be mapped.
func pastconeMap(path string) (base uintptr, problem string) {
	var name [1024]byte
	if len(path) >= len(name) {
		return 0, "is too long a name"
	}
	copy(name[:], path)
	const readWrite, shared = 2, 1
	fd := open(&name[0], readWrite, 0)
	if fd < 0 {
		return 0, ""
	}
	header, errno := pastconeMmap(pastconeHeaderBytes, _PROT_READ|_PROT_WRITE, shared, fd)
	if errno != 0 {
		closefd(fd)
		return 0, ""
	}
	bytes, problem := pastconeFit(uintptr(header))
	munmap(header, pastconeHeaderBytes)
	if problem == "" {
		all, errno := pastconeMmap(bytes, _PROT_READ|_PROT_WRITE, shared, fd)
		if errno != 0 {
			problem = "can not be mapped"
		} else {
			base = uintptr(all)
		}
	}
	closefd(fd)
	return base, problem
}

func pastconeMmap(bytes uintptr, protection, flags, fd int32) (at unsafe.Pointer, errno int) {
	systemstack(func() { at, errno = mmap(nil, bytes, protection, flags, fd, 0) })
	return at, errno
}

func pastconeUnmap(base uintptr) {
	bytes, problem := pastconeFit(base)
	if problem == "" {
		systemstack(func() { munmap(unsafe.Pointer(base), bytes) })
	}
}
