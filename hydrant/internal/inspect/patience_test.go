package inspect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/logtest"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// long is a timeout that no test reaches.
const long = 10 * time.Minute

// opened is an Open that runs.
type opened struct {
	told  logtest.Lines
	ended chan error
}

// openLater has it open, and ask what a leader has to answer, while the test does something else.
func openLater(ctx context.Context, t *testing.T, url string) *opened {
	t.Helper()
	o := &opened{ended: make(chan error, 1)}
	go func() {
		js, err := Patience{Timeout: long, Told: &o.told}.Open(ctx, broker.Config{NATSURL: url}, "test", func(js jetstream.JetStream) error {
			_, err := js.AccountInfo(ctx)
			return err
		})
		if err == nil {
			js.Conn().Close()
		}
		o.ended <- err
	}()
	return o
}

// mustTell waits until it has told of what is wrong.
func (o *opened) mustTell(t *testing.T, what string) {
	t.Helper()
	natstest.WaitFor(t, "it tells", func() bool { return o.told.String() != "" })
	if said := o.told.String(); !strings.HasPrefix(said, "hydrant: ") || !strings.Contains(said, what) || !strings.Contains(said, "(--timeout)") {
		t.Errorf("it says %q, want %q", said, what)
	}
}

// mustEnd waits until it has ended, and it has told nothing more.
func (o *opened) mustEnd(t *testing.T, want error) {
	t.Helper()
	var err error
	natstest.WaitFor(t, "it ends", func() bool {
		select {
		case err = <-o.ended:
			return true
		default:
			return false
		}
	})
	if !errors.Is(err, want) {
		t.Errorf("it ended with %v, want %v", err, want)
	}
	if said := o.told.String(); strings.Count(said, "\n") != 1 {
		t.Errorf("it says %q", said)
	}
}

// A server that is absent, and then there.
func TestOpenWaitsForAServer(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	s.Stop()
	o := openLater(t.Context(), t, s.URL())
	o.mustTell(t, "no NATS at "+s.URL()+": is Hydrant running?")
	s.Restart()
	o.mustEnd(t, nil)
}

// Of three servers one is left, so that nobody leads and JetStream does not answer, until another is back.
func TestOpenWaitsForAnElection(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	// Of servers that have nothing yet NATS lets none lead until all of them are there.
	cfg := broker.Config{NATSURL: c.URL(), Replicas: 3, Retention: time.Hour}
	if err := broker.Prepare(t.Context(), c.JetStream(), cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	c.Servers[0].Stop()
	c.Servers[1].Stop()
	natstest.WaitFor(t, "nobody leads", func() bool { return c.MetaLeader() == nil })
	o := openLater(t.Context(), t, c.URL())
	o.mustTell(t, " at "+c.URL()) // does not answer, or says that it cannot for now
	c.Servers[0].Restart()
	o.mustEnd(t, nil)
}

func TestOpenEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := openLater(ctx, t, "nats://127.0.0.1:1")
	o.mustTell(t, "is Hydrant running?")
	cancel()
	o.mustEnd(t, context.Canceled)
}

// What never answers is an error, the one that there is without patience.
func TestOpenGivesUp(t *testing.T) {
	t.Parallel()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	s := natstest.Start(t)
	for _, c := range []struct{ name, url, want string }{
		{"nobody there", "nats://me:hidden@127.0.0.1:1", "no NATS at nats://127.0.0.1:1: is Hydrant running? (--nats-url, HYDRANT_NATS_URL)"},
		{"nobody says anything", "nats://" + silent.Addr().String(), "no NATS at nats://" + silent.Addr().String() + ": is Hydrant running? (--nats-url, HYDRANT_NATS_URL)"},
		{"no JetStream", s.URL(), "JetStream at " + s.URL() + " does not answer: nats: no responders available for request"},
	} {
		for _, timeout := range []time.Duration{0, 2 * time.Second} {
			t.Run(fmt.Sprint(c.name, " ", timeout), func(t *testing.T) {
				t.Parallel()
				var told logtest.Lines
				_, err := Patience{Timeout: timeout, Told: &told}.Open(t.Context(), broker.Config{NATSURL: c.url}, "test", func(jetstream.JetStream) error { return nats.ErrNoResponders })
				if err == nil || err.Error() != c.want {
					t.Errorf("it ended with %v, want %s", err, c.want)
				}
				if said := told.String(); timeout == 0 && said != "" || strings.Contains(said, "hidden") {
					t.Errorf("it says %q", said)
				}
			})
		}
	}
}

// What NATS answers is not asked for again.
func TestOpenTakesAnAnswer(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	refusing := natstest.Start(t, func(o *server.Options) { o.Username, o.Password = "hydrant", "secret" })
	for _, c := range []struct {
		name, url string
		answer    error
		want      string
	}{
		{"no installation", s.URL(), ErrNoInstallation, ErrNoInstallation.Error()},
		{"no such delivery stream", s.URL(), catalog.ErrNotFound, catalog.ErrNotFound.Error()},
		{"no JetStream for the user", s.URL(), jetstream.ErrJetStreamNotEnabledForAccount, "has no JetStream for this user"},
		{"refused", s.URL(), &jetstream.APIError{Code: 400, ErrorCode: 10052, Description: "odd"}, "odd"},
		{"another user", strings.Replace(refusing.URL(), "//", "//hydrant:wrong@", 1), nil, "Authorization Violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			_, err := Patience{Timeout: long}.Open(t.Context(), broker.Config{NATSURL: c.url}, "test", func(jetstream.JetStream) error {
				asked++
				return c.answer
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || asked > 1 {
				t.Errorf("it asked %d times, and ended with %v", asked, err)
			}
		})
	}
}

// What is no answer is asked for again, on another connection.
func TestOpenAsksAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	for _, silence := range []error{
		context.DeadlineExceeded, nats.ErrNoResponders, nats.ErrDisconnected, errStalled, broker.ErrLeaderless, jetstream.ErrConsumerNotFound,
		&jetstream.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"},
	} {
		t.Run(silence.Error(), func(t *testing.T) {
			t.Parallel()
			var tried []*nats.Conn
			js, err := Patience{Timeout: long}.Open(t.Context(), broker.Config{NATSURL: s.URL()}, "test", func(js jetstream.JetStream) error {
				tried = append(tried, js.Conn())
				if len(tried) == 1 {
					return fmt.Errorf("read: %w", silence)
				}
				return nil
			})
			if err != nil || len(tried) != 2 {
				t.Fatalf("it asked %d times, and ended with %v", len(tried), err)
			}
			defer js.Conn().Close()
			if !tried[0].IsClosed() || js.Conn() != tried[1] {
				t.Error("the connections are not one after the other")
			}
		})
	}
}

func TestPatienceIsNotNegative(t *testing.T) {
	if err := (Patience{Timeout: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "--timeout (HYDRANT_TIMEOUT): -1ns is not accepted") {
		t.Errorf("it is taken: %v", err)
	}
	if err := (Patience{}).Validate(); err != nil {
		t.Error(err)
	}
}
