package recorder

import (
	"bytes"
	"os"
	"strconv"
)

// residentBytes gives the anonymous and shared resident memory of the process, 0 if it can not be read.
func residentBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return kibOf(status, "RssAnon:") + kibOf(status, "RssShmem:")
}

// kibOf gives the bytes of a line of that file.
func kibOf(status []byte, name string) int64 {
	at := bytes.Index(status, []byte(name))
	if at < 0 {
		return 0
	}
	line, _, _ := bytes.Cut(status[at+len(name):], []byte("kB"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
