package natstest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is NATS servers that are one JetStream. Each may be stopped and restarted like a Server of its own.
type Cluster struct {
	Servers []*Server

	t testing.TB
}

// StartCluster runs a cluster of n servers until the test ends, and returns when it takes requests. Each change is applied to the
// options of every server.
func StartCluster(t testing.TB, n int, changes ...func(*server.Options)) *Cluster {
	t.Helper()
	c := newCluster(t, n, changes...)
	routes := make([]*url.URL, n)
	for i, s := range c.Servers {
		routes[i] = &url.URL{Scheme: "nats", Host: s.routeAddress()}
	}
	for _, s := range c.Servers {
		s.options.Routes = routes
	}
	c.start()
	return c
}

// newCluster returns servers that have no routes to each other yet.
func newCluster(t testing.TB, n int, changes ...func(*server.Options)) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for i := range n {
		s := &Server{t: t, options: clusteredOptions(t, i)}
		for _, change := range changes {
			change(&s.options)
		}
		c.Servers = append(c.Servers, s)
	}
	return c
}

func (c *Cluster) start() {
	c.t.Helper()
	for _, s := range c.Servers {
		c.t.Cleanup(s.Stop)
		if err := s.start(); err != nil {
			c.t.Fatalf("natstest: %v", err)
		}
	}
	c.WaitReady()
}

func clusteredOptions(t testing.TB, i int) server.Options {
	t.Helper()
	options := hydrantOptions(t)
	options.ServerName = fmt.Sprintf("natstest-%d", i+1)
	options.Port, options.HTTPPort = freePort(t), freePort(t)
	options.Cluster = server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: freePort(t)}
	return options
}

// WaitReady returns when the servers that run have a leader, which can put a stream on each, and JetStream answers each of them.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	running := 0
	for _, s := range c.Servers {
		if s.running == nil {
			continue
		}
		running++
		WaitFor(c.t, s.options.ServerName+" is current", func() bool {
			return s.running.JetStreamEnabled() && s.running.JetStreamIsCurrent() && s.running.NumRoutes() > 0
		})
	}
	// Until the others have told it of themselves a new leader refuses a stream: "no suitable peers for placement".
	WaitFor(c.t, "the cluster has a leader that knows the others", func() bool {
		leader := c.MetaLeader()
		return leader != nil && len(leader.running.JetStreamClusterPeers()) >= running
	})
}

// MetaLeader is the server that decides where streams are, or nil while there is none.
func (c *Cluster) MetaLeader() *Server {
	for _, s := range c.Servers {
		if s.running != nil && s.running.JetStreamIsLeader() {
			return s
		}
	}
	return nil
}

// Lead has a stream led by that server, which has a replica of it.
func (c *Cluster) Lead(js jetstream.JetStream, stream string, leader *Server) {
	c.t.Helper()
	request := fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, leader.Name())
	WaitFor(c.t, stream+" is led by "+leader.Name(), func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		found, err := js.Stream(ctx, stream)
		if err == nil && found.CachedInfo().Cluster.Leader == leader.Name() {
			return true
		}
		_, _ = js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, request) // refused while there is no leader
		return false
	})
}

// Named returns the server of that name, as JetStream calls leaders and peers.
func (c *Cluster) Named(name string) *Server {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.options.ServerName == name {
			return s
		}
	}
	c.t.Fatalf("natstest: there is no server %q", name)
	return nil
}

// URL is where clients connect, to whichever server runs.
func (c *Cluster) URL() string { return c.list((*Server).URL) }

// MonitorURL is the monitoring addresses of all.
func (c *Cluster) MonitorURL() string { return c.list((*Server).MonitorURL) }

func (c *Cluster) list(address func(*Server) string) string {
	all := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		all[i] = address(s)
	}
	return strings.Join(all, ",")
}

// Conn is Server.Conn, to whichever server runs.
func (c *Cluster) Conn() *nats.Conn { c.t.Helper(); return connect(c.t, c.URL()) }

// JetStream is Server.JetStream, by whichever server runs.
func (c *Cluster) JetStream() jetstream.JetStream {
	c.t.Helper()
	js, err := jetstream.New(c.Conn())
	if err != nil {
		c.t.Fatalf("natstest: %v", err)
	}
	return js
}
