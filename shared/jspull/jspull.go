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

var errNoSize = errors.New("the size of a payload is not told")
