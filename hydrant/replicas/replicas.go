// Package replicas is `hydrant replicas`: on how many NATS servers each stream and bucket of an installation is kept, and the
// change of that number. Services run on meanwhile, and records are put and delivered.
//
// Guarantees:
//   - The change ends well only after a look has found every stream of the installation, and every durable consumer, with that
//     number of replicas, all of them current. Delivery streams that are made meanwhile or later have it too.
//   - It may be killed and repeated at any time, also with another number: the number is changed in the catalog's bucket first,
//     by which everything that is made goes, and each run looks at everything.
//   - A number that the cluster has no servers for is refused, by NATS itself, before anything is changed.
//
// Each write sets a number of replicas in a stream's settings. Its lost answer and its repeat change nothing more. A process that
// wakes late, between reading those settings and writing them, puts back what was changed there in between, as an update of
// Hydrant's does: services started later see to their streams again, and another run sees to all.
//
// While a stream gets or loses replicas its leader may change, and puts wait for some moments.
package replicas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/pause"
)

// Command is the sub-command's settings.
type Command struct {
	NATS     broker.Config    `embed:""`
	Patience inspect.Patience `embed:""`

	Count int `arg:"" optional:"" name:"count" help:"Keep everything on this many servers: 1, 3 or 5. Without, show how it is."`
}

// Validate finds wrong values.
func (c Command) Validate() error {
	if c.Count != 0 && c.Count != 1 && c.Count != 3 && c.Count != 5 {
		return fmt.Errorf("count: %d is not accepted; use 1, 3 or 5", c.Count)
	}
	return errors.Join(c.NATS.Validate(), c.Patience.Validate())
}

// lookEvery is how long a change waits before it looks again at what was not done.
const lookEvery = time.Second

// Run changes the number, and returns when everything has it; or shows what there is.
func (c Command) Run(ctx context.Context, stdout io.Writer) error {
	var found *looked
	var refusal error
	js, err := c.Patience.Open(ctx, c.NATS, "hydrant replicas", func(js jetstream.JetStream) error {
		now, err := broker.Replicas(ctx, js)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return inspect.ErrNoInstallation
		case err != nil:
			return err
		case c.Count != 0:
			if err = begin(ctx, js, c.Count); !inspect.Unanswered(err) {
				refusal, err = err, nil
			}
			return err
		}
		found, err = look(ctx, js, now)
		return err
	})
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	if refusal != nil {
		return refusal
	}
	if c.Count == 0 {
		return show(found, stdout)
	}
	return (&change{js: js, replicas: c.Count, out: stdout}).run(ctx)
}

func show(l *looked, out io.Writer) error {
	_, err := fmt.Fprintf(out, "replicas of the installation: %d\n%s\n", l.replicas, l)
	if err != nil || l.done() {
		return err
	}
	for _, name := range l.others {
		if _, err := fmt.Fprintln(out, "  another number:", name); err != nil {
			return err
		}
	}
	for _, name := range l.behind {
		if _, err := fmt.Fprintln(out, "  not current:", name); err != nil {
			return err
		}
	}
	return nil
}

// change brings everything to a number of replicas.
type change struct {
	js       jetstream.JetStream
	replicas int
	out      io.Writer
	said     string
}

func (c *change) run(ctx context.Context) error {
	for {
		done, err := c.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("not finished, repeat it: %w", ctx.Err())
		case err != nil && refused(err):
			return err
		case err != nil:
			err = c.say("waiting for JetStream: " + err.Error())
		case done:
			return nil
		}
		if err != nil {
			return err
		}
		pause.For(ctx, lookEvery)
	}
}

// begin changes the number by which everything that is made goes. What it answers is what the cluster can do. To repeat it, where the
// answer was lost, sets the same number.
func begin(ctx context.Context, js jetstream.JetStream, replicas int) error {
	_, err := broker.SetReplicas(ctx, js, broker.CatalogStream, replicas)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case inspect.Unanswered(err):
		return fmt.Errorf("%d replicas: whether that has begun is not known, repeat it: %w", replicas, err)
	default:
		return fmt.Errorf("%d replicas: NATS refuses (nothing was changed): %w", replicas, err)
	}
}

// pass sets the number where it is another, and tells whether everything had it and was current before.
func (c *change) pass(ctx context.Context) (done bool, err error) {
	l, err := look(ctx, c.js, c.replicas)
	if err != nil {
		return false, err
	}
	if err := c.say(l.String()); err != nil {
		return false, err
	}
	return l.done(), c.set(ctx, l.others)
}

// set goes on where one stream cannot be changed now: the next pass finds it again.
func (c *change) set(ctx context.Context, streams []string) error {
	var errs []error
	for _, name := range streams {
		_, err := broker.SetReplicas(ctx, c.js, name, c.replicas)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) { // deleted meanwhile
			errs = append(errs, fmt.Errorf("stream %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// say prints a line that is not the last one again.
func (c *change) say(line string) error {
	if line == c.said {
		return nil
	}
	c.said = line
	_, err := fmt.Fprintln(c.out, line)
	return err
}

// refused tells an answer that no waiting will change.
func refused(err error) bool { return broker.Permanent(err) }
