package capture

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func openProcess(id int) (int, error) {
	fd, err := unix.PidfdOpen(id, 0)
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// executable gives the path of the process's program: one that names the file itself, also if its name is gone.
func (p *process) executable() string {
	link := fmt.Sprintf("/proc/%d/exe", p.id)
	if path, err := os.Readlink(link); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return link
}
