package store

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
)

// Sealing writes a closed segment's index behind its blocks, in the background. A segment that can not be
// sealed stays closed: it is read by its blocks, a little slower to open.

// sealJob is a closed segment. The job owns a reference of it.
type sealJob struct {
	seg       viewSegment
	meta      segmentMeta
	tails     []byte // of all streams, as they were at its end
	tailCount int
}

// sealer is one goroutine that seals segments and applies retention.
type sealer struct {
	w    *Writer
	mu   sync.Mutex
	jobs []sealJob
	done bool
	kick chan struct{}
	ends chan struct{}
	errs []error
}

const retentionEvery = time.Minute

func (s *sealer) start(w *Writer) {
	s.w, s.kick, s.ends = w, make(chan struct{}, 1), make(chan struct{})
	go s.run()
}

func (s *sealer) add(j sealJob) {
	s.mu.Lock()
	s.jobs = append(s.jobs, j)
	s.mu.Unlock()
	s.wake()
}

func (s *sealer) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// stop seals what is left, and ends.
func (s *sealer) stop() error {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.wake()
	<-s.ends
	return errors.Join(s.errs...)
}

func (s *sealer) run() {
	defer close(s.ends)
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		s.mu.Lock()
		var job *sealJob
		if len(s.jobs) > 0 {
			job = &s.jobs[0]
		}
		done := s.done
		s.mu.Unlock()
		if job == nil {
			if err := s.w.retain(); err != nil {
				s.w.o.Log.Error("retention failed; it is tried again", "error", err)
			}
			if done {
				return
			}
			select {
			case <-s.kick:
			case <-tick.C:
			}
			continue
		}
		err := s.w.seal(job)
		if err != nil && isNoSpace(err) && !done {
			time.Sleep(noSpaceRetry)
			if rerr := s.w.retain(); rerr != nil {
				s.w.o.Log.Error("retention failed; it is tried again", "error", rerr)
			}
			continue
		}
		if err != nil {
			s.w.o.Log.Error("a segment could not be sealed; it can still be read", "segment", job.meta.File, "error", err)
			s.errs = append(s.errs, err)
		}
		_ = job.seg.s.release()
		s.mu.Lock()
		s.jobs = s.jobs[1:]
		s.mu.Unlock()
	}
}

// seal writes the index, says so in the manifest, and gives readers the sealed segment. If the segment has many small blocks,
// they are merged first.
func (w *Writer) seal(j *sealJob) error {
	switch done, err := w.sealMerged(j); {
	case done:
		return err
	case err != nil:
		w.o.Log.Warn("the small blocks of a segment could not be merged; it is sealed as it is", "segment", j.meta.File, "error", err)
	}
	size, err := writeIndex(w.dir, j)
	if err != nil {
		return fmt.Errorf("%s: index: %w", j.meta.File, spaceError(err))
	}
	sealed := j.meta
	sealed.State, sealed.Bytes = segmentSealed, size
	err = w.replaceSegment(j.meta.File, sealed)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	w.stats.sealed.Add(1)
	return w.show(j.meta.File, sealed)
}

// errGone says that retention was faster.
var errGone = errors.New("the segment has been removed")

// errNothing says that retention has nothing to do.
var errNothing = errors.New("nothing to remove")

// writeIndex writes the index of a closed segment durably, and gives the file's length.
func writeIndex(dir fsys, j *sealJob) (int64, error) {
	var late []wire.LateEdge
	var unindexed []int
	refs := new(postingsBuilder)
	for i, e := range j.seg.entries {
		if !refs.add(j.seg.s, e) {
			unindexed = append(unindexed, i)
		}
		l, err := j.seg.s.lateOf(e)
		if err == nil { // of a damaged block, the edges are lost
			late = append(late, l...)
		}
	}
	refs.flush()
	texts, places := 0, 0
	if err := j.seg.s.guard(&blockEntry{}, func() error {
		texts, places = j.seg.s.stringsOf(j.seg.entries)
		return nil
	}); err != nil {
		return 0, err
	}
	p := appendIndex(nil, &indexInput{
		base: j.meta.Base, end: j.meta.End, entries: j.seg.entries, late: late, tails: j.tails, tailCount: j.tailCount,
		postings: refs, unindexed: unindexed, texts: texts, places: places,
	}, j.meta.Bytes)
	f, err := dir.Open(j.meta.File, true, false)
	if err != nil {
		return 0, err
	}
	err = writeAll(f, p, j.meta.Bytes)
	if err == nil {
		err = f.Truncate(j.meta.Bytes + int64(len(p)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Truncate(j.meta.Bytes)
	}
	return j.meta.Bytes + int64(len(p)), errors.Join(err, f.Close())
}
