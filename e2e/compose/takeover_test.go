package compose

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
)

// handOut is a batch that JetStream handed to a replica of a sink which was frozen, and the only one there was.
type handOut struct {
	stream, consumer string
	sequence         uint64    // of the batch in the stream
	at               time.Time // by JetStream's clock
}

// takeover is a batch of a replica that was killed, as another had it.
type takeover struct {
	service          string
	again, delivered time.Duration // since it was handed to the killed one: until JetStream heard of the other, and of the end
}

// freeze pauses the only replica of a sink when it has asked for batches, and waits until JetStream has handed it some. A replica
// that has not asked, as it is busy, is let go on and tried again when it has nothing left to do.
func (p *project) freeze(service, one string) []handOut {
	p.t.Helper()
	for range 20 {
		p.awaitIdle(service)
		p.pause(one)
		before := p.consumers(service)
		if handed := p.awaitHandOut(service, before); len(handed) > 0 {
			return handed
		}
		p.docker(p.t.Context(), "unpause", one)
	}
	p.t.Fatalf("a frozen %s was never handed a batch", service)
	return nil
}

// awaitIdle gives a sink some time to deliver all that there is, so that it has asked for more.
func (p *project) awaitIdle(service string) {
	p.t.Helper()
	busy := func(c *jetstream.ConsumerInfo) bool { return c.NumPending > 0 || c.NumAckPending > 0 }
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); p.wait(50 * time.Millisecond) {
		if !slices.ContainsFunc(p.consumers(service), busy) {
			return
		}
	}
}

// pause repeats what an engine on a busy machine may not get done in the time that it has for it.
func (p *project) pause(one string) {
	p.t.Helper()
	p.eventually("the container is paused", time.Minute, func() bool {
		out, err := exec.CommandContext(p.t.Context(), "docker", "pause", one).CombinedOutput() // #nosec G204 -- the test's own argument
		if err != nil {
			p.t.Logf("docker pause: %v\n%s", err, out)
		}
		return err == nil
	})
}

// awaitHandOut waits for as long as what a replica asked for may be granted, and returns what was.
func (p *project) awaitHandOut(service string, before []*jetstream.ConsumerInfo) (handed []handOut) {
	p.t.Helper()
	deadline := time.Now().Add(ackWait / 2)
	for len(handed) == 0 && time.Now().Before(deadline) {
		p.wait(50 * time.Millisecond)
		handed = p.handedOut(before, p.consumers(service))
	}
	return handed
}

// handedOut are the batches that were handed out once between two looks. A consumer has the time of its last hand-out alone, so
// one that made more than one is left out; so is one that handed out again what somebody had before.
func (p *project) handedOut(before, after []*jetstream.ConsumerInfo) (handed []handOut) {
	p.t.Helper()
	was := map[string]jetstream.SequenceInfo{}
	for _, c := range before {
		was[c.Name] = c.Delivered
	}
	p.inspect(func(js jetstream.JetStream) {
		for _, c := range after {
			from, known := was[c.Name]
			if !known || c.Delivered.Consumer != from.Consumer+1 {
				continue
			}
			if first := p.firstAfter(js, c, from.Stream); first != 0 && first <= c.Delivered.Stream {
				handed = append(handed, handOut{c.Stream, c.Name, first, *c.Delivered.Last})
			}
		}
	})
	return handed
}

// firstAfter is the first batch of a consumer's behind a sequence; 0 if there is none.
func (p *project) firstAfter(js jetstream.JetStream, c *jetstream.ConsumerInfo, sequence uint64) uint64 {
	p.t.Helper()
	stream, err := js.Stream(p.t.Context(), c.Stream)
	p.must(err)
	m, err := stream.GetMsg(p.t.Context(), sequence+1, jetstream.WithGetMsgSubject(c.Config.FilterSubject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0
	}
	p.must(err)
	return m.Sequence
}

// takesOver waits until the replicas of a sink that are left have delivered everything that was handed out so far, to them and to
// the one that was killed just now. The killed one stays away meanwhile, so what it held cannot have been waiting for it. Each
// batch of its own was handed out again after the ack wait, by JetStream's clock, and seen off once.
//
// Not asserted is how much later that was, which would measure this machine.
func (p *project) takesOver(service string, handed []handOut) {
	p.t.Helper()
	p.deliversAll(service)
	for _, h := range handed {
		var said []word
		p.eventually("JetStream has heard that "+h.String()+" is delivered", time.Minute, func() bool {
			said = p.wordsOf(h)
			return len(ends(said)) > 0
		})
		p.t.Log(h, "was held by a killed", service+":", p.judge(service, h, said))
	}
}

// judge compares what was said of a batch with what has to be.
func (p *project) judge(service string, h handOut, said []word) string {
	p.t.Helper()
	first, end := said[0], ends(said)
	if first.handedOut < 2 {
		p.t.Errorf("%s was not held by the killed %s alone: somebody spoke of it when it was handed out first", h, service)
	}
	if len(end) != 1 {
		p.t.Errorf("%s was acknowledged %d times", h, len(end))
	}
	over := takeover{service, first.at.Sub(h.at), end[0].at.Sub(h.at)}
	if over.again < ackWait {
		p.t.Errorf("%s was handed out again after %s, before the ack wait of %s was over", h, over.again, ackWait)
	}
	p.takenOver = append(p.takenOver, over)
	return fmt.Sprintf("another had it by hand-out %d, %s after the first, the ack wait is %s, and delivered it by %s",
		first.handedOut, over.again.Round(time.Millisecond), ackWait, over.delivered.Round(time.Millisecond))
}

// logTakeovers says how long the takeovers took, of each sink.
func (p *project) logTakeovers() {
	of := map[string][]takeover{}
	for _, over := range p.takenOver {
		of[over.service] = append(of[over.service], over)
	}
	for service, all := range of {
		p.t.Logf("%d batches of a killed %s were handed out again after %s and delivered after %s, with an ack wait of %s", len(all), service,
			spread(all, func(o takeover) time.Duration { return o.again }), spread(all, func(o takeover) time.Duration { return o.delivered }), ackWait)
	}
}

// spread is the median of some durations, the least and the most.
func spread(all []takeover, of func(takeover) time.Duration) string {
	var sorted []time.Duration
	for _, over := range all {
		sorted = append(sorted, of(over).Round(10*time.Millisecond))
	}
	slices.Sort(sorted)
	return fmt.Sprintf("%s (%s to %s)", sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
}

func (h handOut) String() string { return fmt.Sprintf("batch %d of %s", h.sequence, h.consumer) }

// deliversAll waits until a sink has delivered everything that was handed out so far.
func (p *project) deliversAll(service string) {
	p.t.Helper()
	handedOut := map[string]uint64{}
	for _, c := range p.consumers(service) {
		handedOut[c.Name] = c.Delivered.Stream
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
	conn, err := nats.Connect("nats://"+p.natsAddr, nats.Timeout(time.Minute))
	p.must(err)
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(time.Minute))
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
