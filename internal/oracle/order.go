package oracle

import (
	"fmt"
	"sort"
	"strings"
)

// causes gives everything that has to come before a node: the event before it in its stream, and
// whatever it was matched with.
func (n *node) causes() []*node {
	var all []*node
	for _, c := range append([]*node{n.prev, n.spawn, n.send.with, n.close.with, n.release.with}, n.referred...) {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// order gives the nodes in an order in which causes come first (Kahn's algorithm). Among those that are
// free to come next, the earliest comes first, so that the order can be read.
func order(nodes []*node) ([]*node, error) {
	waitsFor := map[*node]int{}
	effects := map[*node][]*node{}
	for _, n := range nodes {
		for _, c := range n.causes() {
			waitsFor[n]++
			effects[c] = append(effects[c], n)
		}
	}
	var free []*node
	for _, n := range byTime(nodes) {
		if waitsFor[n] == 0 {
			free = append(free, n)
		}
	}
	ordered := make([]*node, 0, len(nodes))
	for len(free) > 0 {
		n := free[0]
		free = free[1:]
		ordered = append(ordered, n)
		for _, e := range effects[n] {
			if waitsFor[e]--; waitsFor[e] == 0 {
				free = append(free, e)
			}
		}
	}
	if len(ordered) < len(nodes) {
		var stuck []string
		for _, n := range nodes {
			if waitsFor[n] > 0 {
				stuck = append(stuck, n.At.String())
			}
		}
		sort.Strings(stuck)
		return nil, fmt.Errorf("%w: %d events wait for one another: %s", ErrCycle, len(stuck), strings.Join(stuck[:min(len(stuck), 10)], ", "))
	}
	return ordered, nil
}
