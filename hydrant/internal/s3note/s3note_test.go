package s3note

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
)

// TestNoteThatCannotBeWritten must not end what delivers.
func TestNoteThatCannotBeWritten(t *testing.T) {
	s := natstest.Start(t)
	var out bytes.Buffer
	Write(t.Context(), s.URL(), "http://127.0.0.1:4572", slog.New(slog.NewTextHandler(&out, nil)))() // there is no bucket
	if !strings.Contains(out.String(), "--s3-endpoint") {
		t.Errorf("it is told as %q", out.String())
	}
}

func TestNoteIsWithdrawn(t *testing.T) {
	s := natstest.Start(t)
	_, err := s.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.InstallationBucket})
	must(t, err)
	found := func() (string, bool) {
		settings, ok, err := Find(context.Background(), s.JetStream(), objectstore.Settings{})
		must(t, err)
		return settings.S3Endpoint, ok
	}
	withdraw := Write(t.Context(), s.URL(), "http://127.0.0.1:4572", slog.New(slog.DiscardHandler))
	if at, ok := found(); !ok || at != "http://127.0.0.1:4572" {
		t.Errorf("the tools find %q, %v", at, ok)
	}
	withdraw()
	if at, ok := found(); ok {
		t.Errorf("after it was withdrawn the tools find %q", at)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
