package natstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is one that Restore puts into a stream.
type Message struct {
	At      time.Time // when it arrived
	Subject string
	Header  nats.Header
	Data    []byte
}

// Restore makes a stream with messages that arrived when the test says, which no publisher can decide: it has the server
// restore a backup that consists of them. Their sequences begin at 1. What the stream's limits do not keep is gone soon, so a
// stream of old messages needs a MaxAge that is long enough, or none.
func (s *Server) Restore(cfg jetstream.StreamConfig, messages ...Message) {
	s.t.Helper()
	backup, err := backupOf(messages)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	same, err := json.Marshal(cfg)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	var config server.StreamConfig // the server's own type has the same form
	if err := json.Unmarshal(same, &config); err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	if _, err := s.running.GlobalAccount().RestoreStreamV2(&config, backup); err != nil {
		s.t.Fatalf("natstest: restore %s: %v", cfg.Name, err)
	}
}

// backupOf is a backup in the server's form: the state of the stream, the messages, and an empty entry as the end.
func backupOf(messages []Message) (io.Reader, error) {
	var out bytes.Buffer
	packed := s2.NewWriter(&out)
	b := backup{to: archive.NewWriter(packed)}
	count := uint64(len(messages))
	state, err := json.Marshal(server.StreamState{Msgs: count, FirstSeq: 1, LastSeq: count})
	if err != nil {
		return nil, err
	}
	b.add(archive.Header{Name: "state.json"}, nil, state)
	for i, m := range messages {
		b.add(archive.Header{Name: m.Subject, Timestamp: m.At.UnixNano(), Sequence: uint64(i + 1)}, headerOf(m.Header), m.Data)
	}
	b.add(archive.Header{}, nil, nil)
	return &out, errors.Join(b.err, b.to.Close(), packed.Close())
}

// backup writes entries until one fails.
type backup struct {
	to  *archive.Writer
	err error
}

func (b *backup) add(as archive.Header, header, data []byte) {
	as.HeaderSize, as.PayloadSize = int64(len(header)), int64(len(data))
	if b.err == nil {
		b.err = b.to.WriteHeader(&as)
	}
	if b.err == nil && len(header)+len(data) > 0 {
		_, b.err = b.to.Write(append(header, data...))
	}
}

// headerOf is a message's header as it is sent and stored.
func headerOf(header nats.Header) []byte {
	if len(header) == 0 {
		return nil
	}
	out := bytes.NewBufferString("NATS/1.0\r\n")
	_ = http.Header(header).Write(out) // into memory
	out.WriteString("\r\n")
	return out.Bytes()
}
