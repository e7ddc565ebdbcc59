// Package status is `hydrant status`: what of each delivery stream is buffered, pending, delivered, set aside and expired,
// and how old the oldest record is that is not delivered. It asks NATS alone; no service of Hydrant needs to run.
//
// Guarantees:
//   - It changes nothing: it reads through consumers of its own in the server's memory, and takes no batch from a sink.
//   - A record is counted in one place. The cursors are read first and the outcomes last: a batch that is cut in between
//     counts as buffered, one that is delivered in between as delivered.
//   - A batch with two entries in DELIVERIES, as a crash of a sink leaves them, is counted once.
//   - A number that is not the whole is marked: what is counted of one log or leg is bounded, so that a look ends in
//     seconds whatever the backlog. Ages are of the oldest record, bounded or not.
//
// Not guaranteed: that a look is one instant. Between its first and its last request records arrive and expire.
//
// What fails: on a NATS without an installation an error says so at once. Where NATS or JetStream does not answer it asks for --timeout,
// and then says so. A document or descriptor that cannot be read is a note on its leg, and the others are shown; NATS that goes away while
// --watch runs is shown and asked again.
package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/names"
)

// longestSince is how long outcomes are kept.
const longestSince = 14 * 24 * time.Hour

// Command is the sub-command's settings.
type Command struct {
	NATS     broker.Config    `embed:""`
	Patience inspect.Patience `embed:""`

	Streams       []names.Stream `arg:"" optional:"" name:"stream" help:"Delivery streams to show. All, if none is named."`
	Since         time.Duration  `name:"since" default:"24h" help:"How far back delivered, set aside and expired records are counted."`
	JSON          bool           `name:"json" help:"Print JSON instead of a table; with --watch one document a line."`
	Watch         bool           `name:"watch" help:"Show it again and again until Ctrl-C."`
	WatchInterval time.Duration  `name:"watch-interval" default:"2s" help:"How long --watch waits between two looks."`
}

// Validate finds wrong values.
func (c Command) Validate() error {
	if c.Since < time.Second || c.Since > longestSince {
		return fmt.Errorf("--since (HYDRANT_SINCE): %s is not accepted; use 1s to %s, which is how long outcomes are kept", c.Since, longestSince)
	}
	if c.WatchInterval < 100*time.Millisecond {
		return fmt.Errorf("--watch-interval (HYDRANT_WATCH_INTERVAL): %s is not accepted; use 100ms or more", c.WatchInterval)
	}
	return errors.Join(c.NATS.Validate(), c.Patience.Validate())
}

// Run prints the state once, or with --watch until ctx ends, which then is no error.
func (c Command) Run(ctx context.Context, stdout io.Writer) error {
	err := c.run(ctx, stdout)
	if c.Watch && done(ctx) {
		return nil
	}
	return err
}

func done(ctx context.Context) bool { return ctx.Err() != nil }

func (c Command) run(ctx context.Context, stdout io.Writer) error {
	var found *collector
	var r Report
	js, err := c.Patience.Open(ctx, c.NATS, "hydrant status", func(js jetstream.JetStream) (err error) {
		found = newCollector(js, Options{Streams: c.Streams, Since: c.Since})
		r, err = report(ctx, js, c.NATS, found)
		return err
	})
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	if !c.Watch {
		return c.print(r, stdout, false)
	}
	look := func() (Report, error) {
		r, err := report(ctx, js, c.NATS, found)
		return r, inspect.Explain(err, inspect.WithoutUser(c.NATS.NATSURL))
	}
	return c.watch(ctx, r, look, stdout)
}

// watch prints r, and what look returns from then on.
func (c Command) watch(ctx context.Context, r Report, look func() (Report, error), stdout io.Writer) error {
	cleared := !c.JSON && terminal(stdout)
	ticker := time.NewTicker(c.WatchInterval)
	defer ticker.Stop()
	var err error
	for ctx.Err() == nil {
		if err != nil {
			err = c.complain(err, stdout, cleared)
		} else {
			err = c.print(r, stdout, cleared)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r, err = look()
		}
	}
	return nil
}

// clearScreen moves the cursor to the top left and clears what follows.
const clearScreen = "\x1b[H\x1b[2J"

// print writes everything at once, so that a terminal does not flicker and a reader of a pipe gets whole documents.
func (c Command) print(r Report, stdout io.Writer, cleared bool) error {
	var page bytes.Buffer
	if cleared {
		page.WriteString(clearScreen)
	}
	var err error
	if c.JSON {
		err = r.encode(&page, c.Watch)
	} else {
		err = r.render(&page)
	}
	if err != nil {
		return err
	}
	if c.Watch && !c.JSON {
		fmt.Fprintf(&page, "%s, every %s until Ctrl-C\n\n", r.Time.Format(time.RFC3339), c.WatchInterval)
	}
	_, err = stdout.Write(page.Bytes())
	return err
}

// complain tells of a look that failed. The next may succeed.
func (c Command) complain(problem error, stdout io.Writer, cleared bool) error {
	text := fmt.Sprintf("%v; trying again every %s until Ctrl-C", problem, c.WatchInterval)
	if c.JSON {
		return json.NewEncoder(stdout).Encode(map[string]string{"error": text})
	}
	if cleared {
		text = clearScreen + text
	}
	_, err := fmt.Fprintln(stdout, text)
	return err
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}
