// Package logs is `hydrant logs`: it reads and follows the error logs of a delivery stream. It asks NATS alone; no service
// of Hydrant needs to run.
//
// Guarantees: entries come in the order in which they were stored, each once, and with --follow none is left out that was
// stored after the look began, also when the connection was lost meanwhile and the entry was not pushed out before it is
// back. It changes nothing.
package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

const (
	longestSince = 14 * 24 * time.Hour // how long entries are kept
	followEvery  = 500 * time.Millisecond
)

// Command is the sub-command's settings.
type Command struct {
	NATS     broker.Config    `embed:""`
	Patience inspect.Patience `embed:""`

	Stream    names.Stream  `arg:"" name:"stream" help:"Delivery stream whose error logs are shown."`
	LogStream string        `name:"log-stream" help:"Show this log stream alone, such as S3Delivery, ElasticsearchDelivery or BackupDelivery."`
	Since     time.Duration `name:"since" default:"24h" help:"How far back entries are shown."`
	Last      int           `name:"last" short:"n" default:"100" help:"How many of the newest entries are shown. 0 means all."`
	Follow    bool          `name:"follow" short:"f" help:"Go on with what comes, until Ctrl-C."`
	JSON      bool          `name:"json" help:"Print entries as they are stored, JSON, one a line."`
}

// Validate finds wrong values.
func (c Command) Validate() error {
	if c.Since < time.Second || c.Since > longestSince {
		return fmt.Errorf("--since (HYDRANT_SINCE): %s is not accepted; use 1s to %s, which is how long entries are kept", c.Since, longestSince)
	}
	if c.Last < 0 {
		return fmt.Errorf("--last (HYDRANT_LAST): %d is not accepted; use 0 or more", c.Last)
	}
	return errors.Join(c.NATS.Validate(), c.Patience.Validate())
}

// Run prints the entries, and with --follow those that come, until ctx ends, which then is no error.
func (c Command) Run(ctx context.Context, stdout io.Writer) error {
	err := c.run(ctx, stdout)
	if c.Follow && done(ctx) {
		return nil
	}
	return err
}

func done(ctx context.Context) bool { return ctx.Err() != nil }

func (c Command) run(ctx context.Context, stdout io.Writer) error {
	var d *catalog.DeliveryStream
	var r *reader
	var entries []entry
	js, err := c.Patience.Open(ctx, c.NATS, "hydrant logs", func(js jetstream.JetStream) (err error) {
		if d, err = c.deliveryStream(ctx, js); err != nil {
			return err
		}
		r = newReader(js, c)
		entries, err = r.since(ctx, time.Now().Add(-c.Since))
		return err
	})
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	if left := len(entries) - c.Last; c.Last > 0 && left > 0 {
		entries = entries[left:]
	}
	if err := c.begin(stdout, d, entries); err != nil || !c.Follow {
		return err
	}
	return c.follow(ctx, r, stdout)
}

func (c Command) deliveryStream(ctx context.Context, js jetstream.JetStream) (*catalog.DeliveryStream, error) {
	documents, err := inspect.Catalog(ctx, js)
	if err != nil {
		return nil, err
	}
	return inspect.DeliveryStream(ctx, documents, c.Stream)
}

// begin prints what there is, and what a person should know of what there is not.
func (c Command) begin(stdout io.Writer, d *catalog.DeliveryStream, entries []entry) error {
	if err := c.print(stdout, entries); err != nil || c.JSON {
		return err
	}
	text := ""
	if len(entries) == 0 {
		text = fmt.Sprintf("no entries of %s in the last %s\n", c.Stream, c.Since)
	}
	text += advice(d)
	if c.Follow && len(entries) == 0 {
		text += "waiting for entries until Ctrl-C\n"
	}
	_, err := io.WriteString(stdout, text)
	return err
}

// follow prints what comes. While NATS is away it says so once, and goes on where it was.
func (c Command) follow(ctx context.Context, r *reader, stdout io.Writer) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	troubled := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		entries, err := r.more(ctx)
		if err != nil && !troubled && ctx.Err() == nil {
			err = c.complain(stdout, inspect.Explain(err, inspect.WithoutUser(c.NATS.NATSURL)))
			troubled = true
			if err != nil {
				return err
			}
			continue
		}
		troubled = troubled && err != nil
		if err := c.print(stdout, entries); err != nil {
			return err
		}
	}
}

func (c Command) complain(stdout io.Writer, problem error) error {
	said := fmt.Sprintf("%v; trying again until Ctrl-C", problem)
	if c.JSON {
		return json.NewEncoder(stdout).Encode(map[string]string{"error": said})
	}
	_, err := fmt.Fprintln(stdout, said)
	return err
}

// print writes all at once, so that a reader of a pipe gets whole entries.
func (c Command) print(stdout io.Writer, entries []entry) error {
	var page []byte
	for _, e := range entries {
		if c.JSON {
			page = e.appendJSON(page)
		} else {
			page = append(page, e.text()...)
		}
	}
	if len(page) == 0 {
		return nil
	}
	_, err := stdout.Write(page)
	return err
}

// reader reads one delivery stream's entries, and knows where it has got to.
type reader struct {
	js      jetstream.JetStream
	subject string
	next    uint64 // sequence in ERRORS from where on nothing was read
}

func newReader(js jetstream.JetStream, c Command) *reader {
	r := &reader{js: js, subject: names.StreamErrors(c.Stream)}
	if c.LogStream != "" {
		r.subject = names.ErrorsSubject(c.Stream, c.LogStream)
	}
	return r
}

// since reads what was stored after a time. What comes meanwhile is read by it or by more, not by both.
func (r *reader) since(ctx context.Context, from time.Time) ([]entry, error) {
	last, err := r.end(ctx)
	if err != nil {
		return nil, err
	}
	r.next = last + 1
	return r.read(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from})
}

// more reads what has come since. The end is asked for first, which costs little, since mostly nothing has.
func (r *reader) more(ctx context.Context) ([]entry, error) {
	last, err := r.end(ctx)
	if err != nil {
		return nil, err
	}
	if last+1 < r.next { // another stream, made anew
		r.next = 1
	}
	if last < r.next {
		return nil, nil
	}
	entries, err := r.read(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.next})
	if err == nil {
		r.next = max(r.next, last+1)
	}
	return entries, err
}

func (r *reader) end(ctx context.Context) (uint64, error) {
	stream, err := r.js.Stream(ctx, names.ErrorsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, inspect.ErrNoInstallation
	}
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

func (r *reader) read(ctx context.Context, config jetstream.ConsumerConfig) ([]entry, error) {
	config.FilterSubject = r.subject
	next := r.next
	var entries []entry
	_, err := inspect.Read(ctx, r.js, names.ErrorsStream, config, inspect.Everything, func(m *nats.Msg, meta *nats.MsgMetadata) error {
		entries = append(entries, newEntry(m.Data, meta.Timestamp))
		next = max(next, meta.Sequence.Stream+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.next = next
	return entries, nil
}
