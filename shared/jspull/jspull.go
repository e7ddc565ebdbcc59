// Package jspull is what a program has to know to pull messages of a JetStream consumer by itself.
//
// The NATS client tells JetStream's own answers to a pull from messages by their headers, and those of a message are its
// publisher's to choose. A message with a header Status is taken for JetStream's word, and whoever reads through the client
// never gets past it. Here a message is what can be acknowledged, which only JetStream decides, so no header that a client
// writes hides a message, ends a pull or miscounts a payload.
//
// Not promised: anything about a message whose publisher wrote the protocol by hand, with a header that is none. What
// JetStream appends to it cannot be told apart from the rest.
package jspull

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Request is what is asked of a consumer.
type Request struct {
	Messages  int           `json:"batch"`
	Expires   time.Duration `json:"expires,omitempty"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"` // JetStream says so often that it knows of the pull
	NoWait    bool          `json:"no_wait,omitempty"`        // for messages that are not there yet
	MaxBytes  int           `json:"max_bytes,omitempty"`      // of all the messages together; what is larger does not come

	// Group is that of a consumer which hands out to one pinned client at a time; Pin is what the client got with its first
	// message, and empty before.
	Group string `json:"group,omitempty"`
	Pin   string `json:"id,omitempty"`
}

// Send asks, and the answers arrive at inbox. Nobody says that the request arrived: a lost one shows as silence. The
// answers to one that is late, or repeated, arrive while somebody listens there, and are nobody's afterwards.
func (r Request) Send(conn *nats.Conn, stream, consumer, inbox string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+"."+consumer, inbox, data)
}

// IsMessage tells a message from JetStream's own answers, whatever headers it has.
func IsMessage(m *nats.Msg) bool { return strings.HasPrefix(m.Reply, "$JS.ACK.") }

// Pin returns what a pinned client has to name from now on, as it came with a message; empty if the consumer pins nobody.
// JetStream writes it behind the publisher's headers, which may have one of the same name.
func Pin(h nats.Header) string {
	values := h.Values("Nats-Pin-Id")
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// PayloadSize returns the size of the payload that a consumer of headers only leaves out. JetStream writes it behind the
// publisher's headers, which may have one of the same name.
func PayloadSize(h nats.Header) (int, error) {
	values := h.Values(nats.MsgSize)
	if len(values) == 0 {
		return 0, errNoSize
	}
	size, err := strconv.ParseUint(values[len(values)-1], 10, 31)
	if err != nil {
		return 0, fmt.Errorf("size of a payload: %w", err)
	}
	return int(size), nil
}

// Since is how long ago JetStream may have begun to count an ack wait, by the clock that says longer. The monotonic one stands
// still while a machine is suspended; JetStream counts by the wall clock, which may be set.
func Since(then time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

var errNoSize = errors.New("the size of a payload is not told")
