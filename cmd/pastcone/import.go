package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/render"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/file"
)

// importing is one run of import.
type importing struct {
	s      *screen
	out    string
	to     string
	strict bool
	again  bool
	from   settings
	set    *config.Settings
}

func newImport(s *screen) *cobra.Command {
	m := &importing{s: s}
	c := &cobra.Command{
		Use:   "import [-o REC] FILE...",
		Short: "Import Go execution traces and event lines",
		Long: `Imports Go execution traces (runtime/trace, flight recorder snapshots) and event lines (newline-delimited JSON), told apart by
content, gzip or zstd or neither; - is the standard input. Without -o it makes a new recording here.

A line that can not be used is reported with file, line and reason, kept in rejects.ndjson of the recording, and the rest
goes on. The same file is not imported twice. An import that was broken off, by an interrupt or a crash, goes on when it is given again:
the result is that of one that went through. Until then the recording has what was stored, and answers from it.`,
		Example: `  pastcone import trace.out
  pastcone import -o orders.rec events-*.ndjson.gz
  producer | pastcone import -
  pastcone import --to 127.0.0.1:7071 events.ndjson`,
		Args: arguments(1, -1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if m.set, err = m.from.load(); err != nil {
				return err
			}
			if m.to != "" && m.out != "" {
				return usagef("give -o or --to, not both")
			}
			if m.to != "" {
				return m.send(c.Context(), args)
			}
			return m.record(c.Context(), args)
		},
	}
	c.Flags().StringVarP(&m.out, "output", "o", "", "record into this `REC`, a new one or one that is there")
	c.Flags().StringVar(&m.to, "to", "", "send to the server at this `ADDRESS` in place of recording here")
	c.Flags().BoolVar(&m.strict, "strict", false, "stop at the first line that can not be used")
	c.Flags().BoolVar(&m.again, "again", false, "import a file also if the recording, or the server, has it already")
	m.from.bind(c)
	return c
}

// importDrain bounds how long the end of an import may take that was not interrupted.
const importDrain = 5 * time.Minute

// sending gives the time in which the sending of a file must come to its end.
func (m *importing) sending(ctx context.Context) (context.Context, context.CancelFunc) {
	bound := importDrain
	if ctx.Err() != nil {
		bound = m.set.Drain.Deadline
	}
	return context.WithTimeout(context.WithoutCancel(ctx), bound)
}

// batchEvents gives how many events a source puts in a batch: what a file may, what suits the load where it is not one.
func (m *importing) batchEvents(name string, rec *recorder.Recorder) func() int {
	if name == file.StandardInput && rec != nil {
		return rec.BatchEvents
	}
	return func() int { return m.set.Batch.EventsMax }
}

// record imports into a recording on this machine.
func (m *importing) record(ctx context.Context, names []string) (err error) {
	// Every file is looked at before the first is read: a wrong name costs no half-made recording.
	for _, name := range names {
		if name == file.StandardInput {
			continue
		}
		f, err := file.Open(name)
		if err != nil {
			return err
		}
		_ = f.Close()
	}
	dir := m.out
	if dir == "" {
		if dir, err = recorder.NewPlace("import", time.Now()); err != nil {
			return err
		}
	}
	options := recorder.FromSettings(m.set)
	options.Log = m.s.warnings()
	rec, err := recorder.Open(dir, options)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if err := m.one(ctx, rec, name); err != nil {
			failed = append(failed, err)
			if ctx.Err() != nil || m.strict {
				break
			}
		}
	}
	interrupted := m.set.Drain.Deadline
	if ctx.Err() != nil && rec.Stuck() {
		interrupted = 0 // the end of the file has waited for room already
	}
	within, cancel := rec.Ending(ctx, importDrain, interrupted)
	defer cancel()
	failed = append(failed, rec.Close(within))
	if c := rec.Status().Correlator; c.Evicted > 0 || c.Forgotten > 0 {
		fmt.Fprintf(m.s.err, "memory was short: %d waits were cut, %d things that later events may refer to were forgotten; see correlate.memory_bytes_max in the settings\n", c.Evicted, c.Forgotten)
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w\n(what was read is in %s)", err, dir)
	}
	if !m.s.json {
		fmt.Fprintf(m.s.out, "ask: pastcone why %s\n", dir)
	}
	return nil
}

// one imports one file as a source of its own.
func (m *importing) one(ctx context.Context, rec *recorder.Recorder, name string) error {
	sum, err := file.Sum(ctx, name)
	if err != nil {
		return err
	}
	fingerprint := ""
	if sum != nil {
		fingerprint = recorder.Fingerprint(sum)
	}
	known, brokenOff := rec.Earlier(fingerprint)
	if known != nil && !m.again {
		note := "the recording has it already, as " + known.Name
		if why, is := recorder.Broken(known); is {
			note = fmt.Sprintf("the recording has what can be read of it already, as %s (%s)", known.Name, why)
		}
		m.say(name, file.Summary{Format: known.Format}, note+"; --again imports it all the same")
		return nil
	}
	f, err := file.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var in *recorder.Input
	if brokenOff != nil {
		in, err = rec.GoOn(ctx, *brokenOff)
	} else {
		in, err = rec.Source(recorder.Spec{Name: sourceName(name), Format: f.Format(), Fingerprint: fingerprint, Finite: name != file.StandardInput})
	}
	if err != nil {
		return err
	}
	streams, err := f.Spawned(ctx, in.Table())
	if err == nil && streams != nil {
		err = in.Spawns(ctx, streams)
	}
	if err != nil {
		return errors.Join(err, in.Close(context.WithoutCancel(ctx), false))
	}
	bar := render.NewProgress(m.s.err, m.s.progress, "importing "+name)
	began := time.Now()
	summary, err := f.Read(ctx, file.Options{Strict: m.strict, BatchEvents: m.batchEvents(name, rec), Progress: func(bytes, events, rejected int64) {
		bar.Set(bytes, f.Size(), fmt.Sprintf("%d events, %.0f k/s, %d rejected", events, float64(events)/1e3/time.Since(began).Seconds(), rejected))
	}}, reporting{in, m.s})
	bar.End()
	within, cancel := rec.Ending(ctx, importDrain, m.set.Drain.Deadline)
	defer cancel()
	if f.Broken(err) && ctx.Err() == nil {
		in.EndsAt(err) // to read it again would bring no more
	}
	closing := in.Close(within, err == nil)
	a := in.Account()
	before := uint64(0)
	if brokenOff != nil {
		before = brokenOff.Events
	}
	summary.Events, summary.Rejected = int64(before+a.Stored), int64(a.Rejected) // #nosec G115 -- counts
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%s: interrupted; %d events of it are recorded", name, summary.Events)
		if a.InFlight > 0 {
			err = fmt.Errorf("%w; %d that were read are not stored", err, a.InFlight)
		}
		if fingerprint != "" {
			err = fmt.Errorf("%w; 'pastcone import -o %s %s' goes on with it", err, rec.Dir(), name)
		}
	}
	if err := errors.Join(err, closing); err != nil {
		return err
	}
	note := summary.Note
	if brokenOff != nil {
		note = fmt.Sprintf("gone on with: an earlier import had stored %d of them", before)
	}
	if a.Shed > 0 {
		note = fmt.Sprintf("%d events were dropped (%s)", a.Shed, reasons(a.ShedBy))
	}
	if a.Rejected > 0 {
		note = fmt.Sprintf("rejected: %s; see %s", reasons(a.RejectedBy), filepath.Join(rec.Dir(), "rejects.ndjson"))
	}
	m.say(name, summary, note)
	if summary.Events == 0 && a.Accepted > 0 {
		return fmt.Errorf("%s: nothing of it could be used", name)
	}
	return nil
}

// reasons tells how many there are for which reason; the explanation behind a reason's colon is left to stats.
func reasons(by map[string]uint64) string {
	short := map[string]uint64{}
	for reason, n := range by {
		name, _, _ := strings.Cut(reason, ":")
		short[name] += n
	}
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(short)) {
		all = append(all, fmt.Sprintf("%d %s", short[reason], reason))
	}
	return strings.Join(all, ", ")
}

func sourceName(name string) string {
	if name == file.StandardInput {
		return "standard input"
	}
	return name
}

// send hands the files to a server.
func (m *importing) send(ctx context.Context, names []string) error {
	for _, name := range names {
		f, err := file.Open(name)
		if err != nil {
			return err
		}
		err = m.sendOne(ctx, f)
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *importing) sendOne(ctx context.Context, f *file.File) error {
	// The session is named after the content: the same file sent again, also after a broken connection or a restart
	// on either side, is recognised by the server event by event.
	sum, err := file.Sum(ctx, f.Name())
	if err != nil {
		return err
	}
	options := client.SenderOptions{Source: sourceName(f.Name()), Format: f.Format(), Finite: f.Name() != file.StandardInput}
	if sum != nil && !m.again {
		options.Session = recorder.Fingerprint(sum)
	}
	if options.Access, err = showing(); err != nil {
		return err
	}
	sender, err := client.NewSender(ctx, m.to, options)
	if err != nil {
		return fmt.Errorf("the server at %s: %w", m.to, err)
	}
	bar := render.NewProgress(m.s.err, m.s.progress, "sending "+f.Name())
	summary, err := f.Read(ctx, file.Options{Strict: m.strict, BatchEvents: m.batchEvents(f.Name(), nil), Progress: func(bytes, events, rejected int64) {
		bar.Set(bytes, f.Size(), fmt.Sprintf("%d events, %d rejected", events, rejected))
	}}, sender.Sink(func(r source.Rejected) error {
		fmt.Fprintln(m.s.err, "rejected:", r.Error())
		return nil
	}))
	bar.End()
	within, cancel := m.sending(ctx)
	defer cancel()
	if err != nil { // the source has not ended: what is left of it can come later
		leaving := sender.Leave(within)
		if leaving == nil && errors.Is(err, context.Canceled) {
			err = fmt.Errorf("interrupted; %d events of it are durable at %s; the same command sends the rest", summary.Events, m.to)
		}
		err = errors.Join(err, leaving)
	} else {
		err = sender.Close(within)
	}
	if errors.Is(err, client.ErrEnded) {
		m.say(f.Name(), file.Summary{Format: f.Format()}, "the server at "+m.to+" has it already; --again sends it all the same")
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	note := "durable at " + m.to
	outcome, told := sender.Outcome()
	if told { // what the server has, not what was sent
		again, useless := uint64(0), map[string]uint64{}
		for reason, n := range outcome.Reasons {
			if name, _, _ := strings.Cut(reason, ":"); name == duplicate {
				again += n
			} else {
				useless[reason] = n
			}
		}
		note += came(again)
		if len(useless) > 0 {
			note += "; the server did not take: " + reasons(useless)
		}
		unread := summary.Rejected
		summary.Events, summary.Rejected = int64(outcome.Stored), unread+int64(outcome.Rejected-min(again, outcome.Rejected)) // #nosec G115 -- counts
	} else if n := sender.Stats().Rejected; n > 0 { // an older server
		note += fmt.Sprintf("; %d events the server could not use, or had already", n)
	}
	m.say(f.Name(), summary, note)
	if told && outcome.Stored == 0 && outcome.Rejected > 0 {
		return fmt.Errorf("%s: nothing of it could be used", f.Name())
	}
	return nil
}

// duplicate is the reason, up to its colon, of an event that the recording has already.
const duplicate = "duplicate"

func came(again uint64) string {
	if again == 0 {
		return ""
	}
	return fmt.Sprintf("; %d came again, and are stored once", again)
}

// reportMax is how many rejected lines are shown; all are in the rejects file.
const reportMax = 10

// reporting shows the first rejects to the person while they are kept.
type reporting struct {
	*recorder.Input
	s *screen
}

// Reject shows and keeps a reject.
func (r reporting) Reject(why source.Rejected) error {
	if n := r.Rejects(); n < reportMax {
		fmt.Fprintln(r.s.err, "rejected:", why.Error())
	} else if n == reportMax {
		fmt.Fprintln(r.s.err, "rejected: more, which are in the rejects file only")
	}
	return r.Input.Reject(why)
}

// say tells what became of a file.
func (m *importing) say(name string, summary file.Summary, note string) {
	if m.s.json {
		_ = json.NewEncoder(m.s.out).Encode(struct {
			Type string `json:"type"`
			File string `json:"file"`
			file.Summary
			Note string `json:"note,omitempty"`
		}{"import", name, summary, note})
		return
	}
	text := fmt.Sprintf("%s: %s", name, summary.Format)
	if summary.Events > 0 || summary.Bytes > 0 {
		text += fmt.Sprintf(", %d events", summary.Events)
	}
	if summary.Rejected > 0 {
		text += fmt.Sprintf(", %d rejected", summary.Rejected)
	}
	if note != "" {
		text += "; " + note
	}
	fmt.Fprintln(m.s.out, text)
}
