package jspull

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What JetStream's own answers to a pull say.
var (
	ErrOver     = errors.New("the pull is over")              // with or without messages: ask again
	ErrGone     = errors.New("the consumer is not there")     // somebody deleted it, or the store was made anew
	ErrUnpinned = errors.New("another client may be pinned")  // the pin that the pull named is not the present one
	ErrTooLarge = errors.New("the next message is too large") // for the pull's MaxBytes
)

// Answer reads an answer of JetStream's own; nil is a heartbeat.
func Answer(m *nats.Msg) error {
	description := m.Header.Get("Description")
	switch status := m.Header.Get("Status"); {
	case status == "100":
		return nil
	case status == "404" || status == "408":
		return ErrOver
	case status == "423":
		return ErrUnpinned
	case status == "503" || strings.EqualFold(description, "Consumer Deleted"):
		return ErrGone
	case strings.EqualFold(description, "Message Size Exceeds MaxBytes"):
		return ErrTooLarge
	default:
		return fmt.Errorf("JetStream answered a pull with %q, %q", status, description)
	}
}

// settleTime is how long Settle waits for JetStream.
const settleTime = time.Second

// Settle ends the subscription of pulls that are given up when JetStream has heard of it. What it handed out until then is
// in the subscription's channel afterwards. Without a connection it ends at once.
func Settle(conn *nats.Conn, sub *nats.Subscription) {
	ended := make(chan struct{})
	sub.SetClosedHandler(func() func(string) {
		end := sync.OnceFunc(func() { close(ended) })
		return func(string) { end() }
	}())
	if conn.IsConnected() && sub.Drain() == nil {
		select {
		case <-ended:
		case <-time.After(settleTime):
		}
	}
}
