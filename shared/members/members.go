// Package members lets the replicas of a service know of each other and share work without an election.
//
// Membership is a hint, not a lock: two replicas may for a while believe that the same piece of work is theirs, or
// neither. What they do must be safe when both do it; the compare-and-set on descriptors is what makes it so.
package members

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/internal/kvwatch"
	"hydrant/shared/names"
)

const beat = broker.MemberTTL / 4

// Group is the live replicas of one service, as one of them sees it.
type Group struct {
	js      jetstream.JetStream
	service string
	self    string
	log     *slog.Logger
	told    []string // the live replicas when changed was last called; Run's own

	mu   sync.RWMutex
	seen map[string]time.Time // when a replica was last heard of, by the local clock
}

// NewGroup returns the group of a service with a replica id that nobody else has.
func NewGroup(js jetstream.JetStream, service string, log *slog.Logger) *Group {
	return &Group{js: js, service: service, self: string(names.NewStreamID()), log: log, seen: map[string]time.Time{}}
}

// Owns reports whether this replica is the one to do the work called key: the live replica that a rendezvous hash of
// both ranks highest. A replica that hears of nobody owns everything.
func (g *Group) Owns(key string) bool {
	best, owner := uint64(0), g.self
	for _, id := range append(g.live(), g.self) {
		if rank := rank(key, id); rank > best || rank == best && id < owner {
			best, owner = rank, id
		}
	}
	return owner == g.self
}

func rank(key, member string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(member))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	// FNV's high bits hardly move with the last bytes; a finaliser spreads them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (g *Group) live() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var ids []string
	for id, at := range g.seen {
		if id != g.self && time.Since(at) < broker.MemberTTL {
			ids = append(ids, id)
		}
	}
	return ids
}

// Run keeps this replica a member until ctx ends, then takes it out, and calls changed whenever the live replicas are
// others than before.
func (g *Group) Run(ctx context.Context, changed func()) {
	defer g.leave(ctx)
	for ctx.Err() == nil {
		if err := g.follow(ctx, changed); err != nil && ctx.Err() == nil {
			g.log.Warn("membership interrupted", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(beat):
			}
		}
	}
}

func (g *Group) follow(ctx context.Context, changed func()) error {
	kv, err := g.js.KeyValue(ctx, names.MembersBucket)
	if err != nil {
		return fmt.Errorf("open the members: %w", err)
	}
	watch, err := kvwatch.Start(ctx, g.js.Conn(), kv, g.service+".*")
	if err != nil {
		return err
	}
	defer watch.Stop()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	if err := g.beat(ctx, kv); err != nil {
		return err
	}
	known := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			if err := g.beat(ctx, kv); err != nil {
				return err
			}
		case entry, open := <-watch.Updates():
			if !open {
				return errors.New("watch closed")
			}
			if entry == nil { // the end of what was there at the start
				known = true
			} else {
				g.hear(entry, known)
			}
		}
		if now := g.live(); !sameSet(g.told, now) {
			g.told = now
			changed()
		}
	}
}

func (g *Group) beat(ctx context.Context, kv jetstream.KeyValue) error {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	_, err := kv.Put(ctx, g.service+"."+g.self, nil)
	return err
}

// leave tells the others at once instead of letting them wait for the time to live. It is a courtesy: it may fail.
func (g *Group) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	kv, err := g.js.KeyValue(ctx, names.MembersBucket)
	if err == nil {
		err = kv.Delete(ctx, g.service+"."+g.self)
	}
	if err != nil {
		g.log.Debug("the others were not told of the end", "error", err)
	}
}

// hear takes in a sign of life, or of the end, of a replica. A beat found at the start may be as old as the bucket's time
// to live; its age is taken off so that a dead replica is not given that time again. Later ones are new, whatever the
// clocks of this machine and of the server say.
func (g *Group) hear(entry jetstream.KeyValueEntry, known bool) {
	id := strings.TrimPrefix(entry.Key(), g.service+".")
	age := time.Duration(0)
	if !known {
		age = min(max(time.Since(entry.Created()), 0), broker.MemberTTL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if entry.Operation() != jetstream.KeyValuePut {
		delete(g.seen, id)
		return
	}
	g.seen[id] = time.Now().Add(-age)
}

func sameSet(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
