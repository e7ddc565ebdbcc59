package natstest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Links are the ways between the servers of a cluster, each of which may be cut off from the others.
type Links struct {
	between map[[2]string]*Proxy // who connects, to whom
}

// Nowhere is where the servers of a linked cluster say that they can be reached: they are to take the links, not what they
// hear of each other.
const Nowhere = "127.0.0.1:1"

// NewLinks returns links between servers of which it is told the names and where each listens for the others.
func NewLinks(t testing.TB, listening map[string]string) *Links {
	t.Helper()
	l := &Links{between: map[[2]string]*Proxy{}}
	for from := range listening {
		for to, address := range listening {
			if from != to {
				l.between[[2]string{from, to}] = NewProxy(t, address)
			}
		}
	}
	return l
}

// From returns the addresses at which a server reaches the others.
func (l *Links) From(name string) (addresses []string) {
	for ends, link := range l.between {
		if ends[0] == name {
			addresses = append(addresses, link.Addr())
		}
	}
	return addresses
}

// Cut cuts a server off from the others, until Heal. Its clients still reach it.
func (l *Links) Cut(name string) {
	l.CutWays(func(from, to string) bool { return from == name || to == name })
}

// CutPair cuts two servers off from each other, until Heal. A third still reaches both.
func (l *Links) CutPair(one, other string) {
	l.CutWays(func(from, to string) bool { return from == one && to == other || from == other && to == one })
}

// CutWays holds back, until Heal, what one server sends to another, for each two of which that is to be so. What those send that are
// not to be cut arrives.
func (l *Links) CutWays(cut func(from, to string) bool) {
	for ends, link := range l.between {
		if cut(ends[0], ends[1]) {
			link.toServer.stall()
		}
		if cut(ends[1], ends[0]) {
			link.toClient.stall()
		}
	}
}

// Refuse resets the connections between two servers, and each that they make, until Heal. What was under way is lost.
func (l *Links) Refuse(one, other string) {
	l.between[[2]string{one, other}].Refuse()
	l.between[[2]string{other, one}].Refuse()
}

// Lose resets every connection from which something is held back: it is lost, as where a network that is back knows nothing of former
// connections. It is called before Heal.
func (l *Links) Lose() {
	for _, link := range l.between {
		if link.toServer.isStalled() || link.toClient.isStalled() {
			link.Refuse()
		}
	}
}

// Heal brings all links back, with what was held back meanwhile.
func (l *Links) Heal() {
	for _, link := range l.between {
		link.Resume()
		link.Accept()
	}
}

// StartLinkedCluster is StartCluster with links between the servers, which the test can cut.
func StartLinkedCluster(t testing.TB, n int, changes ...func(*server.Options)) (*Cluster, *Links) {
	t.Helper()
	c := newCluster(t, n, changes...)
	listening := map[string]string{}
	for _, s := range c.Servers {
		listening[s.Name()] = s.routeAddress()
	}
	links := NewLinks(t, listening)
	for _, s := range c.Servers {
		s.options.Cluster.Advertise = Nowhere
		for _, address := range links.From(s.Name()) {
			s.options.Routes = append(s.options.Routes, &url.URL{Scheme: "nats", Host: address})
		}
	}
	c.start()
	return c, links
}

// Name is what JetStream calls the server.
func (s *Server) Name() string { return s.options.ServerName }

func (s *Server) routeAddress() string { return fmt.Sprintf("127.0.0.1:%d", s.options.Cluster.Port) }
