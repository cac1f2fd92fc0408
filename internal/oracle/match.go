package oracle

import (
	"sort"
	"strings"

	"github.com/pastcone/pastcone/event"
)

// byOrdinal is the k-th operation on one end of a key.
type byOrdinal struct {
	key     string
	ordinal uint64
}

// match finds, among all events of one source, who meets whom.
func match(nodes []*node) {
	nodes = byTime(nodes)
	matchSpawns(nodes)
	matchReferences(nodes)
	matchMessages(nodes)
	matchCloses(nodes)
	matchLocks(nodes)
}

// byTime gives the nodes in the order of (time, stream, seq).
func byTime(nodes []*node) []*node {
	sorted := append([]*node(nil), nodes...)
	sort.SliceStable(sorted, func(i, j int) bool {
		a, b := sorted[i].Event, sorted[j].Event
		switch {
		case a.Time != b.Time:
			return a.Time < b.Time
		case a.Stream != b.Stream:
			return a.Stream < b.Stream
		}
		return a.Seq < b.Seq
	})
	return sorted
}

// matchSpawns: "the first event of a spawned stream: the spawn, by child stream".
func matchSpawns(nodes []*node) {
	spawns := map[string]*node{}
	for _, n := range nodes {
		if n.Event.Kind == event.KindSpawn && n.Event.Child != "" && spawns[n.Event.Child] == nil {
			spawns[n.Event.Child] = n
		}
	}
	for _, n := range nodes {
		if n.prev == nil {
			n.spawn = spawns[n.Event.Stream]
		}
	}
}

// matchReferences: "ref names this event, cause names another event's ref, or lists several".
func matchReferences(nodes []*node) {
	named := namedNodes(nodes)
	for _, n := range nodes {
		for _, cause := range n.Event.Cause {
			n.referred = append(n.referred, named[cause])
		}
	}
}

// matchGlobalReferences: "a reference that begins with trace: is global: it joins the events of all sources".
func matchGlobalReferences(nodes []*node) {
	named := namedNodes(byTime(nodes))
	for _, n := range nodes {
		for i, cause := range n.Event.Cause {
			if isGlobal(cause) {
				n.referred[i] = named[cause]
			}
		}
	}
}

func isGlobal(ref string) bool { return strings.HasPrefix(ref, event.GlobalRef) }

// namedNodes gives the nodes by their refs: the first that has one keeps it.
func namedNodes(nodes []*node) map[string]*node {
	named := map[string]*node{}
	for _, n := range nodes {
		if n.Event.Ref != "" && named[n.Event.Ref] == nil {
			named[n.Event.Ref] = n
		}
	}
	return named
}

// matchMessages: "a send and its receive meet by (key, ordinal), else by message id, else FIFO by
// (sender, receiver, key)".
func matchMessages(nodes []*node) {
	ordinals, messages := map[byOrdinal]*node{}, map[string]*node{}
	waiting := map[string][]*node{} // sends without either, by key, the earliest first
	senders, receivers := map[string]map[string]bool{}, map[string]map[string]bool{}
	note := func(m map[string]map[string]bool, key, stream string) {
		if m[key] == nil {
			m[key] = map[string]bool{}
		}
		m[key][stream] = true
	}
	for _, n := range nodes {
		e := n.Event
		switch {
		case e.Kind == event.KindSend && e.Key != "" && e.Ordinal > 0:
			ordinals[byOrdinal{e.Key, e.Ordinal}] = n
		case e.Kind == event.KindSend && e.Message != "":
			messages[e.Message] = n
		case e.Kind == event.KindSend:
			waiting[e.Key] = append(waiting[e.Key], n)
			note(senders, e.Key, e.Stream)
		case e.Kind == event.KindReceive && !e.Closed && !e.Unseen && e.Ordinal == 0 && e.Message == "":
			note(receivers, e.Key, e.Stream)
		}
	}
	for _, n := range nodes {
		e := n.Event
		if e.Kind != event.KindReceive || e.Closed {
			continue
		}
		n.send.wanted = true
		switch {
		case e.Unseen: // "what it came from left no record"
		case e.Key != "" && e.Ordinal > 0:
			n.send.with = ordinals[byOrdinal{e.Key, e.Ordinal}]
		case e.Message != "":
			n.send.with = messages[e.Message]
		default:
			n.send.byOrder = true
			queue := waiting[e.Key]
			for i, s := range queue {
				if peersAgree(s.Event, e) {
					n.send.with = s
					waiting[e.Key] = append(append([]*node(nil), queue[:i]...), queue[i+1:]...)
					break
				}
			}
			// "exact only with one sender and one receiver": either the key has no others, or both ends
			// name each other.
			alone := len(senders[e.Key]) == 1 && len(receivers[e.Key]) == 1
			named := n.send.with != nil && e.Peer != "" && n.send.with.Event.Peer != ""
			n.send.inferred = !alone && !named
		}
	}
}

// peersAgree says whether a send and a receive can be the two ends of one message, as far as they name
// each other.
func peersAgree(send, receive event.Event) bool {
	return (send.Peer == "" || send.Peer == receive.Stream) && (receive.Peer == "" || receive.Peer == send.Stream)
}

// matchCloses: "on a closed channel, from the close".
func matchCloses(nodes []*node) {
	closes := map[string]*node{}
	for _, n := range nodes {
		if n.Event.Kind == event.KindClose && closes[n.Event.Key] == nil {
			closes[n.Event.Key] = n
		}
	}
	for _, n := range nodes {
		if n.Event.Kind == event.KindReceive && n.Event.Closed {
			n.close = meeting{wanted: true}
			if !n.Event.Unseen {
				n.close.with = closes[n.Event.Key]
			}
		}
	}
}

// matchLocks: "an acquire has the ordinal of the release that let it in; one without an ordinal on a
// lock that uses ordinals waited for nobody; where a lock uses none, the k-th acquire follows the
// release k-1".
func matchLocks(nodes []*node) {
	usesOrdinals := map[string]bool{}
	ordinals := map[byOrdinal]*node{}
	releases := map[string][]*node{} // by key, in the order of time
	users := map[string]map[string]bool{}
	for _, n := range nodes {
		e := n.Event
		if e.Kind != event.KindAcquire && e.Kind != event.KindRelease {
			continue
		}
		if users[e.Key] == nil {
			users[e.Key] = map[string]bool{}
		}
		users[e.Key][e.Stream] = true
		usesOrdinals[e.Key] = usesOrdinals[e.Key] || e.Ordinal > 0
		if e.Kind == event.KindRelease {
			releases[e.Key] = append(releases[e.Key], n)
			if e.Ordinal > 0 {
				ordinals[byOrdinal{e.Key, e.Ordinal}] = n
			}
		}
	}
	acquires := map[string]int{}
	for _, n := range nodes {
		e := n.Event
		if e.Kind != event.KindAcquire {
			continue
		}
		if e.Unseen { // what let it in is not among the releases, so it does not count either
			n.release = meeting{wanted: true}
			continue
		}
		acquires[e.Key]++
		switch k := acquires[e.Key]; {
		case e.Ordinal > 0:
			n.release = meeting{wanted: true, with: ordinals[byOrdinal{e.Key, e.Ordinal}]}
		case usesOrdinals[e.Key] || k == 1:
		case k-1 <= len(releases[e.Key]):
			n.release = meeting{wanted: true, with: releases[e.Key][k-2], byOrder: true, inferred: len(users[e.Key]) > 1}
		default:
			n.release = meeting{wanted: true}
		}
	}
}
