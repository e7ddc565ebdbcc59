// Package redrive is `hydrant redrive`: it delivers anew what a delivery stream's destination did not take and was set aside in S3,
// as shared/redrive says. It asks NATS, S3 and the destination; no service of Hydrant needs to run, and all may.
//
// Ctrl-C ends it at once and cleanly: what is not finished by then is finished by the next run.
package redrive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/hydrant/internal/s3note"
	"hydrant/services/es"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
)

// Command is the sub-command's settings.
type Command struct {
	NATS     broker.Config        `embed:""`
	Patience inspect.Patience     `embed:""`
	S3       objectstore.Settings `embed:""`

	Stream names.Stream  `arg:"" name:"stream" help:"Delivery stream whose failed records are delivered anew."`
	Since  time.Duration `name:"since" help:"How far back to look, such as 24h: for what was set aside within that time. Without it, and without --from, for all."`
	From   time.Time     `name:"from" help:"Look for what was set aside at this time or later, such as 2026-11-27T08:00:00Z."`
	To     time.Time     `name:"to" help:"Look for what was set aside before this time."`
	DryRun bool          `name:"dry-run" help:"Show what there is, and change nothing."`
	Limit  int           `name:"limit" help:"How many objects are dealt with, at most, the oldest first. 0 means all."`
	JSON   bool          `name:"json" help:"Print JSON, one document an object, and at last one of all."`

	Redshift Redshift    `embed:""`
	Clusters es.Clusters `embed:""`

	// Progress receives what is told on the way. nil means standard error.
	Progress io.Writer `kong:"-"`
}

// Validate finds wrong values and contradictions.
func (c Command) Validate() error {
	switch {
	case c.Since < 0:
		return fmt.Errorf("--since (HYDRANT_SINCE): %s is not accepted; use a time such as 24h", c.Since)
	case c.Since > 0 && (!c.From.IsZero() || !c.To.IsZero()):
		return errors.New("--since (HYDRANT_SINCE): set beside --from or --to; use the one or the others")
	case !c.To.IsZero() && !c.From.Before(c.To):
		return fmt.Errorf("--to (HYDRANT_TO): %s is not accepted; use a time after --from", c.To.Format(time.RFC3339))
	case c.Limit < 0:
		return fmt.Errorf("--limit (HYDRANT_LIMIT): %d is not accepted; use 0 or more", c.Limit)
	}
	return errors.Join(c.NATS.Validate(), c.Patience.Validate(), c.S3.Validate(), c.Clusters.Validate())
}

// Run delivers, and tells what became of it. Its error says also that something is left.
func (c Command) Run(ctx context.Context, stdout io.Writer) error {
	if c.Progress == nil {
		c.Progress = os.Stderr
	}
	log := slog.New(slog.NewTextHandler(c.Progress, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var stream *catalog.DeliveryStream
	js, err := c.Patience.Open(ctx, c.NATS, "hydrant redrive", func(js jetstream.JetStream) (err error) {
		stream, err = c.read(ctx, js, log)
		return err
	})
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	if why := nothingToDo(stream); why != "" {
		_, err := fmt.Fprintln(stdout, why)
		return err
	}
	err = c.redrive(ctx, js, stream, log, stdout)
	if ctx.Err() != nil {
		return errors.New("ended early: what is not finished is where it was, and another run goes on with it")
	}
	return err
}

// read returns the delivery stream. Where nothing says which S3 server is meant, and one is embedded in the installation, it is that.
//
// What a run before this one delivered is known where that delivered it to. So it is proved that the document is the newest, unless
// nothing is to be delivered. The proof is a mark, of which a second one, by a repeat, says nothing to anybody; nothing else
// is written to NATS.
func (c *Command) read(ctx context.Context, js jetstream.JetStream, log *slog.Logger) (*catalog.DeliveryStream, error) {
	documents, err := inspect.Catalog(ctx, js)
	if err != nil {
		return nil, err
	}
	stream, err := inspect.DeliveryStream(ctx, documents, c.Stream)
	if err == nil && !c.DryRun && nothingToDo(stream) == "" {
		stream, err = documents.ReadProved(ctx, stream.Name, log)
	}
	if err != nil || c.S3.S3Endpoint != "" {
		return stream, err
	}
	c.S3, _, err = s3note.Find(ctx, js, c.S3)
	return stream, err
}

// nothingToDo says why a delivery stream has nothing to deliver anew.
func nothingToDo(d *catalog.DeliveryStream) string {
	if d.Destination.Redshift != nil || d.Destination.Search != nil {
		return ""
	}
	return fmt.Sprintf("%s delivers to S3, and nothing of it is set aside: what S3 does not take waits, and is tried again by itself until it is "+
		"delivered or its retention is over. What waits, and what expired, is in: hydrant status %s", d.Name, d.Name)
}

func (c Command) redrive(ctx context.Context, js jetstream.JetStream, stream *catalog.DeliveryStream, log *slog.Logger, stdout io.Writer) error {
	to, err := c.open(ctx, js, stream, log)
	if err != nil {
		return err
	}
	defer to.Close()
	t := &teller{progress: c.Progress, dry: c.DryRun, now: time.Now}
	if c.JSON {
		t.documents = stdout
	}
	walk := redrive.Walk{Store: to.Store(), Range: c.span(time.Now()), DryRun: c.DryRun, Limit: c.Limit, Found: t.found, Told: t.tell}
	report, err := walk.Run(ctx, to)
	if err := errors.Join(err, t.sum(stdout, stream.Name, report)); err != nil {
		return explained(err)
	}
	if !report.Clean() {
		return errors.New("something is left: see above")
	}
	return nil
}

func (c Command) span(now time.Time) redrive.Range {
	if c.Since > 0 {
		return redrive.Range{From: now.Add(-c.Since)}
	}
	return redrive.Range{From: c.From, To: c.To}
}
