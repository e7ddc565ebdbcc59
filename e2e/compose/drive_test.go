package compose

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"time"
)

// longestDown is about an ack wait of the sinks, so that a killed one's batches are taken over before it is back, or just not.
const longestDown = 2 * ackWait

// step is something that is done to an installation under load.
type step struct {
	name string
	do   func(p *project, rng *rand.Rand)
}

// killedAmongOthers ends one of two or more replicas of a sink that certainly holds a batch: the others are stopped until it was handed
// one, which it keeps, as it is frozen by then. It is started again only when the others have delivered all that was handed out before.
func killedAmongOthers(service string) step {
	return step{"kill one " + service + " of several", func(p *project, rng *rand.Rand) {
		if p.scale[service] < 2 {
			p.scale[service] = 2
			p.up()
		}
		running := p.containers(service)
		n := rng.IntN(len(running))
		one, others := running[n], slices.Delete(slices.Clone(running), n, n+1)
		defer p.listen()()
		p.docker(p.t.Context(), append([]string{"stop"}, others...)...)
		handed := p.freeze(service, one)
		p.docker(p.t.Context(), append([]string{"start"}, others...)...)
		p.kill(one)
		p.takesOver(service, handed)
		p.up()
	}}
}

// killed ends one replica of a service, and starts it again some seconds later. What it had in hand is another's meanwhile, or
// waits for it.
func killed(service string) step {
	return step{"kill one " + service, func(p *project, rng *rand.Rand) {
		running := p.containers(service)
		if len(running) == 0 {
			p.t.Errorf("no %s is running", service)
			return
		}
		p.kill(running[rng.IntN(len(running))])
		p.wait(time.Duration(rng.Int64N(int64(longestDown))))
		p.up()
	}}
}

// replaced has another container in place of a service's only one, as for another version of its image, on the same volume.
func replaced(service string) step {
	return step{"replace " + service, func(p *project, _ *rand.Rand) {
		p.compose(p.t.Context(), "up", "--detach", "--wait", "--force-recreate", "--no-deps", service)
	}}
}

// scaled changes how many replicas there are of a service, from 1 to 3.
func scaled(service string) step {
	return step{"scale " + service, func(p *project, rng *rand.Rand) {
		was := max(p.scale[service], 1)
		p.scale[service] = 1 + (was+rng.IntN(2))%3 // another number than it was
		p.up()
		if running := len(p.containers(service)); running != p.scale[service] {
			p.t.Errorf("%d replicas of %s are running, want %d", running, service, p.scale[service])
		}
		p.shares(service)
	}}
}

// wait gives the load time to go on with what there is.
func (p *project) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.t.Context().Done():
	}
}

// chosen are what TestCompose does, of those that are asked for.
func (p *project) chosen() []step {
	all := []step{
		scaled("s3sink"), scaled("ingest"), scaled("buffer"), scaled("redshift"),
		killedAmongOthers("s3sink"), killedAmongOthers("redshift"), killed("ingest"), killed("buffer"), killed("api"), killed("s3"), killed("nats"),
	}
	if p.search != "" {
		all = append(all, p.searchSteps()...)
	}
	all = slices.DeleteFunc(all, func(s step) bool { return !regexp.MustCompile(*steps).MatchString(s.name) })
	if len(all) == 0 {
		p.t.Fatalf("there is no step %q", *steps)
	}
	return all
}

// searchSteps are what is done to the sink of documents, and to where they go.
func (p *project) searchSteps() []step {
	return []step{scaled("es"), killedAmongOthers("es"), killed(p.search), replaced(p.search)}
}

// drive does every step once, and then any of them, at random, for as long as it is told. In the end everything is running.
func (p *project) drive(rng *rand.Rand, steps []step, length time.Duration) {
	p.t.Helper()
	began := time.Now()
	for n := 0; n < len(steps) || time.Since(began) < length; n++ {
		s := steps[n%len(steps)]
		if n >= len(steps) {
			s = steps[rng.IntN(len(steps))]
		}
		p.t.Logf("%s: %s", time.Since(began).Round(100*time.Millisecond), s.name)
		s.do(p, rng)
		if p.t.Failed() {
			return
		}
	}
}
