package broker

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/natstest"
)

// A server is left when it says for a while that it knows no leader, or when for a longer while it answers nothing.
func TestDoubt(t *testing.T) {
	t.Parallel()
	one, other := natstest.Start(t), natstest.Start(t)
	noLeader := fmt.Errorf("asked: %w", &nats.APIError{ErrorCode: notAvailable})
	silence, refused := context.DeadlineExceeded, &jetstream.APIError{ErrorCode: 10074}
	type note struct {
		after time.Duration
		err   error
	}
	tests := map[string]struct {
		notes []note
		left  bool
	}{
		"no leader, as long as an election lasts": {[]note{{0, noLeader}, {doubtTime, noLeader}}, false},
		"no leader, for longer":                   {[]note{{0, noLeader}, {doubtTime + 1, noLeader}}, true},
		"a leader between":                        {[]note{{0, noLeader}, {5, nil}, {doubtTime + 1, noLeader}}, false},
		"no leader, then silence":                 {[]note{{0, noLeader}, {doubtTime + 1, silence}}, false},
		"silence, as long as leaders give up":     {[]note{{0, silence}, {silenceTime, silence}}, false},
		"silence, for longer":                     {[]note{{0, silence}, {doubtTime, noLeader}, {silenceTime + 1, silence}}, true},
		"silence, and a refusal between":          {[]note{{0, silence}, {5, refused}, {silenceTime + 1, silence}}, false},
		"refusals":                                {[]note{{0, refused}, {silenceTime + 1, refused}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := nats.Connect(one.URL()+","+other.URL(), nats.DontRandomize())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			d := NewDoubt(conn, slog.New(slog.DiscardHandler))
			began := time.Now()
			for _, n := range test.notes {
				d.now = func() time.Time { return began.Add(n.after) }
				d.Note(n.err)
			}
			if !test.left {
				if !conn.IsConnected() || conn.ConnectedUrl() != one.URL() {
					t.Errorf("the server was left: %v", conn.Status())
				}
				return
			}
			natstest.WaitFor(t, "it is another server", func() bool { return conn.IsConnected() && conn.ConnectedUrl() == other.URL() })
		})
	}
}
