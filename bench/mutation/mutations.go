package main

// mutations is the list, in the order of the rules in ARCHITECTURE.md.
var mutations = []mutation{
	// Parents and further edges.
	{"return: its call is the innermost open one", "stream.go", "	i := len(s.frames) - 1\n	if !s.frames[i].tainted() {", "	i := 1\n	if !s.frames[i].tainted() {"},
	{"return: by reference", "judge.go", "		call = c.returnsFrom(s, r, &v)", "		call = c.returns(s, r, &v)"},
	{"return: a duration is never negative", "judge.go", "v.duration = max(0, r.Time-c.got.time)", "v.duration = r.Time - c.got.time"},
	{"start: its parent is the spawn", "judge.go", "	if first && (g.has(meetSpawn) || r.Kind == event.KindStart) {", "	if first && r.Kind == event.KindGap {"},
	{"receive that takes on work: its parent is the send", "judge.go", "v.parent, v.kind, v.conf = send, event.EdgeMessage,", "v.kind, v.conf = event.EdgeMessage,"},
	{"receive that does not: a further edge from the send", "judge.go", "if g.wants(meetSend) && (v.kind != event.EdgeMessage) {", "if false {"},
	{"receive from a closed channel: an edge from the close", "judge.go", "		c.metEdge(r, meetClose, id, event.EdgeClose)\n", ""},
	{"acquire: an edge from the release", "judge.go", "		c.metEdge(r, meetRelease, id, event.EdgeLock)\n", ""},
	{"wake: a further edge, not the parent", "judge.go", "	case r.Kind == event.KindWake:\n	case rest[0].there:", "	case rest[0].there:"},
	{"explicit cause: the parent in place of the context", "judge.go", "		v.parent, v.kind, v.conf = &rest[0].info, event.EdgeExplicit, event.Exact\n", ""},
	{"explicit causes: the rest are further edges", "judge.go", "		c.caused(s, r, &v, took)\n		rest = rest[1:]", "		c.caused(s, r, &v, took)\n		rest = nil"},

	// The same where nothing is in doubt, which has a way of its own.
	{"usual: a return's call is the innermost open one", "plain.go", "kind, duration = event.EdgeReturn,", "p, kind, duration = &s.frames[1].info, event.EdgeReturn,"},
	{"usual: a duration is never negative", "plain.go", "max(0, r.Time-f.time)", "r.Time-f.time"},
	{"usual: the context is the last receive that took on work", "plain.go", "			p = &x.info\n", ""},
	{"usual: the position is the number of parents up to the founder", "plain.go", "row.CorrConf = p.corr, p.position+1,", "row.CorrConf = p.corr, p.position,"},
	{"usual: confidence is the weakest on the way to the founder", "plain.go", "row.CorrConf = p.corr, p.position+1, p.corrConf", "row.CorrConf = p.corr, p.position+1, event.Exact"},
	{"usual: not in a call in which something is missing", "plain.go", "f.bits&bitTainted != 0 || ", ""},
	{"usual: not where perhaps work was taken on", "plain.go", "if x.bits&(bitUnsure|bitMere) != 0 {", "if false {"},
	{"usual: not where contexts have been forgotten", "plain.go", "} else if f.bits&bitForgotten != 0 {", "} else if false {"},
	{"usual: not out of turn", "plain.go", "r.Seq != s.next || ", ""},

	// Who meets whom.
	{"message: by ordinal first", "match.go", "	if r.Key != 0 && r.Ordinal != 0 {\n		return src.token(endSend", "	if r.Key != 0 && r.Ordinal != 0 && r.ExtLen == 0 {\n		return src.token(endSend"},
	{"message: by id", "match.go", "c.ext.Decode(b.Ext(r)) == nil && len(c.ext.Message) > 0 {", "c.ext.Decode(b.Ext(r)) == nil && len(c.ext.Message) > 1<<20 {"},
	{"first in, first out: in the order of time", "queue.go", "			return o.time > time\n", "			return o.time < time\n"},
	{"first in, first out: several senders are not exact", "queue.go", "!all.senders.many && ", ""},
	{"lock without ordinals: the k-th acquire follows the release before it", "queue.go", "if q.acquires++; q.acquires == 1 {", "if q.acquires++; q.acquires == 0 {"},
	{"lock with ordinals: who has none waited for nobody", "queue.go", "	if q.ordinals {\n		return true // it waited for nobody", "	if q.ordinals && q.lock == false {\n		return true // it waited for nobody"},
	{"sources share nothing", "ends.go", "return token{a, b, s.index<<tagKindBits | uint32(kind)}", "return token{a, b, 1<<tagKindBits | uint32(kind)}"},

	// Context.
	{"context: the last receive that took on work", "context.go", "			return &t.info, sure\n", "			return &f.info, sure\n"},
	{"context: a call hands what it took on to its caller", "stream.go", "		} else { // all that", "		} else if s.taken = s.taken[:f.from]; true { // all that"},
	{"context: a root call hands nothing", "stream.go", "			s.taken = s.taken[:f.from]\n		} else if", "		} else if"},
	{"exit: closes what is open", "judge.go", "		s.exit()\n", ""},
	{"closed channel: undoes what was taken on from it", "judge.go", "			s.foundClosed(r.Key)\n", ""},
	{"closed channel: no other", "context.go", "	return s.replace(low, high, key, false)", "	s.taken = append(s.taken[:low], s.taken[high:]...)\n	return high - low"},
	{"closed channel: in the callers too", "context.go", "	if !s.outerHas(n, key) {\n		return\n	}\n	closed :=", "	if n >= 0 {\n		return\n	}\n	closed :="},
	{"closed channel: in the callers only when they get the control back", "context.go", "	s.undo(int(s.frames[n].from), len(s.taken), key)", "	s.undo(0, len(s.taken), key)"},

	// Work and background.
	{"idle: background", "context.go", "belief{context.background() || context.founder", "belief{context.founder"},
	{"idle: founded by a send of its own", "context.go", "context.background() || context.founder == s.serial", "context.background()"},
	{"founding: a declared root", "judge.go", "		v.founds = v.founds || !open.is\n", ""},
	{"founding: no root in a root", "judge.go", "v.founds = v.founds || !open.is", "v.founds = true"},
	{"founding: no root whose cause is found", "judge.go", "if r.Flags&wire.FlagRoot != 0 && !explicit {", "if r.Flags&wire.FlagRoot != 0 {"},
	{"founding: a send with content from an idle stream", "judge.go", "	v.founds = true\n	if len(s.frames) == 0 {", "	if len(s.frames) == 0 {"},
	{"founding: no send without content", "judge.go", "		if r.Flags&wire.FlagEmpty == 0 {\n			idle =", "		if r.Kind != 0 {\n			idle ="},
	{"founding: the send's parent is the innermost open call", "judge.go", "	v.parent, v.conf = &top.info, confOf(", "	v.parent, v.conf = context, confOf("},
	{"founding: a timer's firing", "judge.go", "		v.founds, v.foundsBy = true, v.parent.corrConf", "		v.foundsBy = v.parent.corrConf"},
	{"founding: the start of a stream spawned from background", "emit.go", "	case v.kind == event.EdgeSpawn && p.background():\n", "	case v.kind == event.EdgeInvalid:\n"},
	{"position: the number of parents up to the founder", "emit.go", "i.corr, i.position, i.bits, i.founder = p.corr, p.position+1,", "i.corr, i.position, i.bits, i.founder = p.corr, p.position,"},

	// Taking on work.
	{"taking on: rule 1, the same correlation", "context.go", "			send.corr == context.corr,\n", "			send == context,\n"},
	{"taking on: rule 2, an idle stream", "context.go", "	works := s.idle(context, contextSure)\n", "	works := surelyNo\n"},
	{"taking on: rule 3, a place where it waits for work", "context.go", "works = works.or(s.waitsAt(c.got.place))", "works = works.or(surelyNo)"},
	{"taking on: rule 3, that place and no other", "context.go", "if p := &s.rare.places[i]; p.at == at {", "if p := &s.rare.places[i]; p.at != 0 {"},
	{"taking on: rule 3, while idle or as the first message", "context.go", "took.and(root.not()).and(idle.or(first))", "took.and(root.not()).and(idle.or(first.or(surely)))"},
	{"taking on: rule 3, as the first message", "context.go", ".and(idle.or(first))", ".and(idle.or(first.and(surelyNo)))"},
	{"taking on: not in a root call", "context.go", "	free := s.rootOpen().not()\n", "	free := surely\n"},
	{"taking on: not without content", "context.go", "	case r.Flags&wire.FlagTakesNot != 0, r.Flags&wire.FlagEmpty != 0:", "	case r.Flags&wire.FlagTakesNot != 0:"},
	{"taking on: a source that says yes", "context.go", "	case r.Flags&wire.FlagTakes != 0: //", "	case r.Flags&wire.FlagTakes == 1: //"},
	{"taking on: a source that says no", "context.go", "	case r.Flags&wire.FlagTakesNot != 0, r.Flags&wire.FlagEmpty != 0:", "	case r.Flags&wire.FlagEmpty != 0:"},

	// Loss.
	{"loss: a gap has the right count", "loss.go", "c.gap(src, s, b, r, r.Seq-s.next)", "c.gap(src, s, b, r, r.Seq-s.next+1)"},
	{"loss: a gap taints the calls open at it", "loss.go", "		s.frames[i].bits |= bitTainted\n", ""},
	{"loss: a gap taints them all, down to the first event", "loss.go", "i >= 0 && !s.frames[i].tainted(); i-- {", "i >= 1 && i > len(s.frames)-2; i-- {"},
	{"loss: a tainted call's return is matched by function", "stream.go", "	if !s.frames[i].tainted() {\n		return i, true", "	if s.frames != nil {\n		return i, true"},
	{"loss: a root call may be open that nobody saw", "context.go", "belief{s.roots > 0, !s.has(gapped) && s.deeper == 0}", "belief{s.roots > 0, true}"},
	{"loss: a place may have been learnt that nobody saw", "context.go", "	return belief{false, !s.has(placesOpen)}", "	return belief{false, true}"},
	{"loss: a missing send may be of the same correlation", "context.go", "		same = belief{false, false}\n", "		same = surelyNo\n"},
	{"loss: the freedom to take on work may rest on something tainted", "context.go", "			t.bits |= bitUnsure\n", ""},
	{"loss: it may have taken on work that nobody saw", "context.go", "		c.takeOn(s, r.Key, true).info = info{bits: bitMere}\n", ""},
	{"loss: a missing send founds work", "judge.go", "		v.founds, v.foundsBy = true, event.Gap\n", ""},
	{"loss: what left no record is missing at once", "match.go", "	if r.Flags&wire.FlagUnseen != 0 {", "	if false {"},
	{"loss: who takes a lock behind a release that left no record uses it", "match.go", "if q := c.lockOf(src, r); r.Ordinal == 0 && !q.ordinals {", "if q := c.lockOf(src, r); false {"},
	{"loss: a start whose spawn is missing is a gap", "judge.go", "	if v.parent == nil {\n		v.conf = event.Gap\n", "	if v.parent == nil {\n		v.conf = event.Inferred\n"},
	{"loss: a cause that is not found makes the parent inferred", "judge.go", "v.conf, v.foundsBy = max(v.conf, event.Inferred), event.Gap", "v.foundsBy = event.Gap"},
	{"loss: first in, first out is not exact after a gap", "queue.go", "	if s.has(gapped) {\n		q.tainted = true\n", "	if s.has(gapped) {\n		q.tainted = false\n"},
	{"confidence: the weakest on the way to the founder", "emit.go", "p.bits&bitBackground, p.founder\n		i.corrConf = max(p.corrConf, v.conf, v.foundsBy)", "p.bits&bitBackground, p.founder\n		i.corrConf = max(v.conf, v.foundsBy)"},
	{"loss: what is forgotten with a queue is counted", "queues.go", "		t.leave(q)\n", ""},
	{"loss: a lock that is forgotten had been taken", "queues.go", "acquired: q.acquires > 0, ", ""},
	{"loss: what comes for a gap of a stream that is over is too late", "memory.go", "c.refuse(src, name, b, r, c.ended.before(was, r.Seq))", "c.refuse(src, name, b, r, Duplicate)"},

	// Order.
	{"order: a stream waits up to the allowed lateness", "order.go", "		mark = c.high - c.lateness\n", "		mark = c.high\n"},
	{"order: a finite source waits to its end", "order.go", "		if src.finite {\n			continue\n		}\n", ""},
	{"order: a cause that comes late still yields its edge", "emit.go", "		c.block.Late = append(", "		_ = append("},
}
