package replicas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
)

// atOnce is how many streams are asked at a time.
const atOnce = 16

// looked is what a look at everything found.
type looked struct {
	replicas int
	streams  int
	others   []string // streams with another number
	behind   []string // streams, and consumers of theirs, of which not every replica is current
}

func (l *looked) done() bool { return len(l.others)+len(l.behind) == 0 }

// String is the state in a line.
func (l *looked) String() string {
	line := fmt.Sprintf("%d streams, %d with another number of replicas than %d", l.streams, len(l.others), l.replicas)
	if len(l.behind) > 0 {
		return fmt.Sprintf("%s, %d not current yet", line, len(l.behind))
	}
	return line + ", all current"
}

// look asks for every stream by its name, because a listing with details leaves out whichever has no leader at the moment.
func look(ctx context.Context, js jetstream.JetStream, replicas int) (*looked, error) {
	all, err := owned(ctx, js)
	if err != nil {
		return nil, err
	}
	l := &looked{replicas: replicas, streams: len(all)}
	found := make([]finding, len(all))
	slots := make(chan struct{}, atOnce)
	var asking sync.WaitGroup
	for i, name := range all {
		slots <- struct{}{}
		asking.Go(func() {
			found[i] = examine(ctx, js, name, replicas)
			<-slots
		})
	}
	asking.Wait()
	for _, f := range found {
		l.others, l.behind = append(l.others, f.others...), append(l.behind, f.behind...)
	}
	return l, ctx.Err()
}

// owned returns the names of the installation's streams.
func owned(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	var all []string
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		if broker.IsHydrants(name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	return all, nil
}

// finding is what is not as it should be of a stream.
type finding struct{ others, behind []string }

// examine counts a stream that does not answer as one that is not current, which it is: it has no leader.
func examine(ctx context.Context, js jetstream.JetStream, name string, replicas int) finding {
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // deleted meanwhile
		return finding{}
	}
	if err != nil {
		return finding{behind: []string{fmt.Sprintf("%s: %v", name, err)}}
	}
	info := stream.CachedInfo()
	if info.Config.Replicas != replicas {
		return finding{others: []string{name}}
	}
	var behind []string
	if !current(info.Cluster, replicas) {
		behind = append(behind, name)
	}
	consumers, err := lagging(ctx, stream, replicas)
	if err != nil {
		behind = append(behind, fmt.Sprintf("%s: its consumers: %v", name, err))
	}
	return finding{behind: append(behind, consumers...)}
}

// lagging returns the durable consumers of which not every replica is current. The others are of a reader that makes a new one
// when its server is gone.
func lagging(ctx context.Context, stream jetstream.Stream, replicas int) (behind []string, err error) {
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable != "" && !current(info.Cluster, replicas) {
			behind = append(behind, strings.Join([]string{info.Stream, info.Name}, " > "))
		}
	}
	return behind, list.Err()
}

// current tells whether there are all replicas, and each has what the leader has. A server that is alone tells of no cluster.
func current(cluster *jetstream.ClusterInfo, replicas int) bool {
	if cluster == nil || cluster.Name == "" {
		return replicas == 1
	}
	if cluster.Leader == "" || len(cluster.Replicas) != replicas-1 {
		return false
	}
	return !slices.ContainsFunc(cluster.Replicas, func(p *jetstream.PeerInfo) bool { return p.Offline || !p.Current })
}
