package access

import (
	"fmt"
	"strings"
)

// Role is what somebody may do; several of them are or-ed.
type Role uint8

// The roles.
const (
	Write Role = 1 << iota // send events
	Read                   // ask, and see the metrics
	Admin                  // all of it, and profiles and settings of the server

	None Role = 0
	All       = Write | Read | Admin
)

// roleNames are the names of roles, in their order.
var roleNames = [...]struct {
	role Role
	name string
}{{Write, "write"}, {Read, "read"}, {Admin, "admin"}}

// Has says whether all of want is given.
func (r Role) Has(want Role) bool {
	if r&Admin != 0 {
		r |= Write | Read
	}
	return r&want == want
}

// Names lists the roles.
func (r Role) Names() (names []string) {
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// String lists the roles with commas between; "none" if there is none.
func (r Role) String() string {
	if names := r.Names(); len(names) > 0 {
		return strings.Join(names, ",")
	}
	return "none"
}

// ParseRole reads the name of one role.
func ParseRole(name string) (Role, error) {
	for _, n := range roleNames {
		if n.name == name {
			return n.role, nil
		}
	}
	return None, fmt.Errorf("there is no role %.32q: they are write (send events), read (ask) and admin (all of it)", name)
}

// ParseRoles reads several names.
func ParseRoles(names []string) (roles Role, err error) {
	for _, name := range names {
		r, err := ParseRole(strings.TrimSpace(name))
		if err != nil {
			return None, err
		}
		roles |= r
	}
	if roles == None {
		return None, fmt.Errorf("no role is given: they are write (send events), read (ask) and admin (all of it)")
	}
	return roles, nil
}

// Grant is what somebody was let in with.
type Grant struct {
	Who   string // for logs and limits: "token 3f9c… (billing)", "certificate CN=…", an address; never a secret
	Roles Role

	id string // of the token; empty: another way in
}
