// Command reference puts the events of the engine's benchmark into Pebble, a good key-value store, with the three indexes that the same
// questions need: what one builds who does not build a store. It is a module of its own, so that the project does not depend on Pebble.
//
// An event's value is its fixed fields and its data under its id. The indexes are by function and time, by stream and seq, and by
// correlation (of which the founder is not known here: the stream and a number stand for it, of 33 events each). A batch
// of 1,024 events is one write; every 10 ms one of them is synced, as the engine's group commit does it.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pastcone/pastcone/bench/busy"
	"github.com/pastcone/pastcone/internal/wire"
)

func main() {
	events := flag.Int("events", 1_000_000, "events to write")
	dir := flag.String("dir", os.TempDir(), "where")
	flag.Parse()
	got, err := run(*events, *dir)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

const commitInterval = 10 * time.Millisecond

func run(events int, parent string) (got map[string]float64, err error) {
	dir, err := os.MkdirTemp(parent, "pebble")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := pebble.Open(dir, &pebble.Options{MemTableSize: 64 << 20, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	p, err := busy.New(1, wire.NewTable(1<<26))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	var b wire.Batch
	var key, value []byte
	id, synced := uint64(0), time.Now()
	began, computed := time.Now(), processorTime()
	for id < uint64(events) { // #nosec G115 -- positive
		b.Reset()
		p.Fill(&b, 1024)
		w := db.NewBatch()
		at := 0
		for _, run := range b.Runs {
			for range run.Len {
				r := &b.Records[at]
				at++
				id++
				key, value = keyOf(key[:0], 'e', id, 0, 0), valueOf(value[:0], run.Stream, r, b.Data(r))
				err = errors.Join(err, w.Set(key, value, nil))
				for _, k := range [...]struct {
					index byte
					a, b  uint64
				}{
					{'f', uint64(r.Site), uint64(r.Time)}, // #nosec G115 -- positive
					{'s', uint64(run.Stream), r.Seq},
					{'c', uint64(run.Stream), r.Seq / 33},
				} {
					key = keyOf(key[:0], k.index, k.a, k.b, id)
					err = errors.Join(err, w.Set(key, nil, nil))
				}
			}
		}
		how := pebble.NoSync
		if time.Since(synced) >= commitInterval {
			how, synced = pebble.Sync, time.Now()
		}
		if err = errors.Join(err, w.Commit(how), w.Close()); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if err := db.LogData(nil, pebble.Sync); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	took := time.Since(began)
	if err := errors.Join(db.Flush(), db.Close()); err != nil {
		return nil, err
	}
	computed = processorTime() - computed
	bytes, err := bytesBelow(dir)
	return map[string]float64{
		"pebble events/s": float64(id) / took.Seconds(),
		"pebble cpu ns":   float64(computed.Nanoseconds()) / float64(id),
		"pebble bytes":    float64(bytes) / float64(id),
	}, err
}

func keyOf(dst []byte, kind byte, a, b, id uint64) []byte {
	be := binary.BigEndian
	dst = be.AppendUint64(append(dst, kind), a)
	if kind == 'e' {
		return dst
	}
	return be.AppendUint64(be.AppendUint64(dst, b), id)
}

func valueOf(dst []byte, stream wire.Name, r *wire.Record, data []byte) []byte {
	for _, v := range [...]uint64{
		uint64(stream), uint64(r.Time), r.Seq, uint64(r.Key), r.Ordinal, uint64(r.Peer), uint64(r.Child), uint64(r.Site), // #nosec G115 -- positive
		uint64(r.Flags), uint64(r.Kind),
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	return append(dst, data...)
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func bytesBelow(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// quiet is a logger that says nothing but the worst.
type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
