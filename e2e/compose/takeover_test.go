package compose

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
)

// takesOver waits until the replicas of a sink that are left have delivered everything that was handed out so far, to them and to
// the one that was killed just now. The killed one stays away meanwhile, so what it held cannot have been waiting for it.
//
// That this is after the ack wait, and not later, is JetStream's to keep: it has the wait, which is compared with the setting, and
// hands a batch out again when that is over. What is asserted here is the order of events. A bound on the time by the clock would
// measure this machine.
func (p *project) takesOver(service string) {
	p.t.Helper()
	began := time.Now()
	handedOut := map[string]uint64{}
	held := 0
	for _, c := range p.consumers(service) {
		handedOut[c.Name] = c.Delivered.Stream
		held += c.NumAckPending
		if c.Config.AckWait != ackWait {
			p.t.Errorf("the ack wait of %s is %s, want %s", c.Name, c.Config.AckWait, ackWait)
		}
	}
	if len(handedOut) == 0 {
		p.t.Fatalf("%s has no consumers", service)
	}
	p.eventually(fmt.Sprintf("what a killed %s held is delivered by another", service), time.Minute, func() bool {
		for _, c := range p.consumers(service) {
			if c.AckFloor.Stream < handedOut[c.Name] {
				return false
			}
		}
		return true
	})
	p.inHand += held
	p.t.Logf("%d batches were in hand when one %s was killed, all delivered by others %s later", held, service, time.Since(began).Round(100*time.Millisecond))
}

// awaitInHand waits until a sink has batches in hand, for as long as a replica that is paused may be given one that it asked for.
// That the others alone have some, or nobody, is possible and no failure.
func (p *project) awaitInHand(service string) {
	p.t.Helper()
	deadline := time.Now().Add(ackWait / 2)
	for time.Now().Before(deadline) {
		for _, c := range p.consumers(service) {
			if c.NumAckPending > 0 {
				return
			}
		}
		p.wait(100 * time.Millisecond)
	}
}

// consumers are what JetStream knows of the consumers of a sink.
func (p *project) consumers(service string) (found []*jetstream.ConsumerInfo) {
	p.t.Helper()
	name := names.BatchesStream
	if service == "redshift" {
		name = names.StagingStream
	}
	p.inspect(func(js jetstream.JetStream) {
		stream, err := js.Stream(p.t.Context(), name)
		p.must(err)
		all := stream.ListConsumers(p.t.Context())
		for c := range all.Info() {
			if strings.HasPrefix(c.Name, service+"_") {
				found = append(found, c)
			}
		}
		p.must(all.Err())
	})
	return found
}

// inspect connects for one look, since NATS may be killed between two.
func (p *project) inspect(look func(jetstream.JetStream)) {
	p.t.Helper()
	conn, err := nats.Connect("nats://" + p.natsAddr)
	p.must(err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	p.must(err)
	look(js)
}

// streamID is the id of a delivery stream, which is in the name of its log.
func (p *project) streamID(stream string) (id string) {
	p.t.Helper()
	p.inspect(func(js jetstream.JetStream) {
		logs := js.ListStreams(p.t.Context(), jetstream.WithStreamListSubject(names.AllRecords))
		for info := range logs.Info() {
			if log, ok := names.ParseLog(info.Config.Name); ok && string(log.Stream) == stream {
				id = string(log.ID)
			}
		}
		p.must(logs.Err())
	})
	return id
}
