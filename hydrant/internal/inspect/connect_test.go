package inspect

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"hydrant/shared/catalog"
)

func TestWithoutUser(t *testing.T) {
	const addresses, want = "nats://u:p@a:4222, b:4222,tls://t@c:1", "nats://a:4222,b:4222,tls://c:1"
	if got := WithoutUser(addresses); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "<nil>"},
		{fmt.Errorf("%w: demo", catalog.ErrNotFound), "delivery stream not found: demo"},
		{ErrNoInstallation, ErrNoInstallation.Error()},
		{nats.ErrDisconnected, "the connection to NATS at nats://a is lost"},
		{context.DeadlineExceeded, "JetStream at nats://a does not answer: context deadline exceeded"},
		{errors.New("odd"), "NATS at nats://a: odd"},
	} {
		if got := fmt.Sprint(Explain(c.err, "nats://a")); got != c.want {
			t.Errorf("%v is explained as %q, want %q", c.err, got, c.want)
		}
	}
}
