package natstest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

type ends struct{ from, to string }

// What a cut does not hold back arrives, and what it does when it is healed, whoever of two connected.
func TestLinks(t *testing.T) {
	t.Parallel()
	cuts := map[string]struct {
		cut  func(*Links)
		held map[ends]bool
	}{
		"a server": {func(l *Links) { l.Cut("a") }, map[ends]bool{{"a", "b"}: true, {"b", "a"}: true, {"a", "c"}: true, {"c", "a"}: true}},
		"a pair":   {func(l *Links) { l.CutPair("a", "b") }, map[ends]bool{{"a", "b"}: true, {"b", "a"}: true}},
		"one way":  {func(l *Links) { l.CutWays(func(from, to string) bool { return from == "a" && to == "b" }) }, map[ends]bool{{"a", "b"}: true}},
	}
	for name, test := range cuts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			links, wires := wired(t)
			test.cut(links)
			for _, w := range wires {
				w.say(t)
			}
			for _, w := range wires {
				if test.held[w.ends] {
					w.hearNothing(t)
				} else {
					w.hear(t)
				}
			}
			links.Heal()
			for _, w := range wires {
				if test.held[w.ends] {
					w.hear(t)
				}
			}
		})
	}
}

// The end of a connection is held back as what is sent on it, though the other side goes on sending.
func TestLinksHoldTheEndBack(t *testing.T) {
	t.Parallel()
	links, wires := wired(t)
	links.CutWays(func(from, to string) bool { return from == "a" && to == "b" })
	for _, w := range wires {
		if w.ends != (ends{"a", "b"}) {
			continue
		}
		_ = w.from.Close()
		for range 100 { // which nobody takes
			if _, err := w.to.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		w.hearNothing(t)
	}
	links.Heal()
	for _, w := range wires {
		if w.ends == (ends{"a", "b"}) {
			w.hearTheEnd(t)
		}
	}
}

// Connections that are refused, and those of which something is held back that is lost, end at both sides, and no others.
func TestLinksReset(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*Links){
		"refused": func(l *Links) { l.Refuse("a", "b") },
		"lost": func(l *Links) {
			l.CutPair("a", "b")
			l.Lose()
		},
	}
	for name, reset := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			links, wires := wired(t)
			reset(links)
			for _, w := range wires {
				if w.ends != (ends{"a", "b"}) && w.ends != (ends{"b", "a"}) {
					w.say(t)
					w.hear(t)
				} else {
					w.hearTheEnd(t)
				}
			}
			again := dial(t, links.between[[2]string{"a", "b"}].Addr())
			wire{from: nil, to: again}.hearTheEnd(t)
			links.Heal()
		})
	}
}

// wire is one direction of a connection by way of a link.
type wire struct {
	ends
	from, to net.Conn
}

// wired is links between three, each of which has a connection with each.
func wired(t *testing.T) (*Links, []wire) {
	t.Helper()
	listeners, addresses := map[string]net.Listener{}, map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		listeners[name], addresses[name] = l, l.Addr().String()
	}
	links := NewLinks(t, addresses)
	var wires []wire
	for between, link := range links.between {
		one := dial(t, link.Addr())
		other, err := listeners[between[1]].Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Close() })
		wires = append(wires, wire{ends{between[0], between[1]}, one, other}, wire{ends{between[1], between[0]}, other, one})
	}
	return links, wires
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

const said = "something"

func (w wire) say(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(w.from, said); err != nil {
		t.Error(err)
	}
}

func (w wire) hear(t *testing.T) {
	t.Helper()
	_ = w.to.SetReadDeadline(time.Now().Add(waitTime))
	heard := make([]byte, len(said))
	if _, err := io.ReadFull(w.to, heard); err != nil || string(heard) != said {
		t.Errorf("%v: %q, %v", w.ends, heard, err)
	}
}

func (w wire) hearNothing(t *testing.T) {
	t.Helper()
	_ = w.to.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := w.to.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: %d bytes, %v", w.ends, n, err)
	}
}

func (w wire) hearTheEnd(t *testing.T) {
	t.Helper()
	_ = w.to.SetReadDeadline(time.Now().Add(waitTime))
	if n, err := w.to.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: %d bytes, %v", w.ends, n, err)
	}
}
