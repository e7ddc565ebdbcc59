// Package schedule draws up which fault happens when, from a seed.
//
// The same Spec gives the same Schedule, on every machine, so that a run that failed can be repeated. A process is
// never hurt twice at a time, and of each kind at most one process is, unless the action takes them all: a service is
// meant to survive the loss of a replica, and the loss of all its replicas, and those are two different tests.
package schedule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Target is a process that something can be done to.
type Target struct {
	// Kind is what its replicas have in common, such as ingest.
	Kind string
	// Name is its own, such as ingest-1.
	Name string
}

// Action is something that can be done.
type Action struct {
	Name string
	// Reach is how many processes it concerns.
	Reach Reach
	// Kinds are the kinds of process that it may concern; all if empty.
	Kinds []string
	// MinLength and MaxLength bound how long it lasts: how long a process is paused, or down before it is started again.
	MinLength, MaxLength time.Duration
	// Weight is how often it comes up compared to the others; 1 if 0.
	Weight int
}

// Reach is how many processes an action concerns.
type Reach string

const (
	// One is one process, drawn from those of the action's kinds.
	One Reach = "one"
	// Replicas is every process of one kind, drawn from the action's kinds.
	Replicas Reach = "replicas"
	// Everything is every process of all the action's kinds.
	Everything Reach = "everything"
	// Nothing is no process: the action changes something else, such as what a proxy does.
	Nothing Reach = "nothing"
)

// Spec is what a schedule is made from.
type Spec struct {
	Seed     uint64
	Duration time.Duration
	Targets  []Target
	Actions  []Action
	// MinGap and MaxGap bound the time from the beginning of one action to that of the next.
	MinGap, MaxGap time.Duration
}

// Event is an action that begins at a time and ends, with everything as it was, after its length.
type Event struct {
	At      time.Duration
	Action  string
	Targets []Target
	Length  time.Duration
}

// End returns when the event is over.
func (e Event) End() time.Duration { return e.At + e.Length }

// String returns the event on one line.
func (e Event) String() string {
	names := make([]string, len(e.Targets))
	for i, target := range e.Targets {
		names[i] = target.Name
	}
	line := fmt.Sprintf("%9.3fs  %-26s for %6.3fs  %s", e.At.Seconds(), e.Action, e.Length.Seconds(), strings.Join(names, " "))
	return strings.TrimRight(line, " ")
}

// Schedule is a list of events in the order of their beginnings. Events of different kinds may overlap.
type Schedule struct {
	Seed     uint64
	Duration time.Duration
	Events   []Event
}

// String returns the schedule as text, with all that is needed to repeat it.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schedule SEED=%d DURATION=%v: %d events\n", s.Seed, s.Duration, len(s.Events))
	for _, event := range s.Events {
		fmt.Fprintf(&b, "%s\n", event)
	}
	return b.String()
}

// Validate returns an error that names what is wrong.
func (s Spec) Validate() error {
	if s.Duration <= 0 || s.MinGap <= 0 || s.MaxGap < s.MinGap {
		return fmt.Errorf("schedule: duration %v and gaps from %v to %v are not usable", s.Duration, s.MinGap, s.MaxGap)
	}
	if len(s.Actions) == 0 {
		return errors.New("schedule: there are no actions")
	}
	for _, action := range s.Actions {
		if err := s.validateAction(action); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) validateAction(action Action) error {
	if action.MinLength < 0 || action.MaxLength < action.MinLength || action.MinLength > s.Duration {
		return fmt.Errorf("schedule: action %s lasts from %v to %v, which is not usable",
			action.Name, action.MinLength, action.MaxLength)
	}
	switch action.Reach {
	case Nothing:
		return nil
	case One, Replicas, Everything:
	default:
		return fmt.Errorf("schedule: action %s has the reach %q", action.Name, action.Reach)
	}
	if len(s.kindsOf(action)) == 0 {
		return fmt.Errorf("schedule: action %s has no target of %v", action.Name, action.Kinds)
	}
	return nil
}

// kindsOf returns the kinds of process that are there and that the action may concern, in the order of the targets.
func (s Spec) kindsOf(action Action) []string {
	var kinds []string
	for _, target := range s.Targets {
		wanted := len(action.Kinds) == 0 || slices.Contains(action.Kinds, target.Kind)
		if wanted && !slices.Contains(kinds, target.Kind) {
			kinds = append(kinds, target.Kind)
		}
	}
	return kinds
}

// New draws up a schedule. Every action comes up once, by its weight, before any comes up again, so that all do when
// the duration is long enough. All events are over when the duration is.
func New(spec Spec) (Schedule, error) {
	if err := spec.Validate(); err != nil {
		return Schedule{}, err
	}
	d := &drawing{
		spec:      spec,
		rng:       rand.New(rand.NewPCG(spec.Seed, 0x68796472616e74)),
		busyUntil: make(map[string]time.Duration),
	}
	return Schedule{Seed: spec.Seed, Duration: spec.Duration, Events: d.events()}, nil
}

// drawing is a schedule in the making.
type drawing struct {
	spec Spec
	rng  *rand.Rand
	deck []Action
	// busyUntil holds when a kind of process, or an action that concerns none, is free again.
	busyUntil map[string]time.Duration
}

func (d *drawing) events() []Event {
	var events []Event
	action := d.deal()
	for at := d.gap(); at < d.spec.Duration; at += d.gap() {
		length := d.between(action.MinLength, action.MaxLength)
		if left := d.spec.Duration - at; length > left {
			if action.MinLength > left {
				action = d.deal()
				continue
			}
			length = left
		}
		// An action that has to wait for others to be over keeps its turn, or a rare one might never come up.
		resources, targets := d.choose(action, at)
		if resources == nil {
			continue
		}
		for _, resource := range resources {
			d.busyUntil[resource] = at + length
		}
		events = append(events, Event{At: at, Action: action.Name, Targets: targets, Length: length})
		action = d.deal()
	}
	return events
}

// deal takes the next action from a shuffled deck, in which each is as often as it weighs.
func (d *drawing) deal() Action {
	if len(d.deck) == 0 {
		for _, action := range d.spec.Actions {
			for range max(1, action.Weight) {
				d.deck = append(d.deck, action)
			}
		}
		d.rng.Shuffle(len(d.deck), func(i, j int) { d.deck[i], d.deck[j] = d.deck[j], d.deck[i] })
	}
	action := d.deck[0]
	d.deck = d.deck[1:]
	return action
}

// choose returns what the action keeps busy and which processes it concerns; no resources mean that it has to wait.
func (d *drawing) choose(action Action, at time.Duration) ([]string, []Target) {
	if action.Reach == Nothing {
		return d.free([]string{"action " + action.Name}, at), nil
	}
	kinds := d.spec.kindsOf(action)
	free := d.free(kinds, at)
	switch {
	case len(free) == 0, action.Reach == Everything && len(free) < len(kinds):
		return nil, nil
	case action.Reach == Everything:
		return kinds, d.targets(kinds)
	}
	kind := []string{free[d.rng.IntN(len(free))]}
	targets := d.targets(kind)
	if action.Reach == One {
		targets = []Target{targets[d.rng.IntN(len(targets))]}
	}
	return kind, targets
}

// free returns those of the resources that are not busy.
func (d *drawing) free(resources []string, at time.Duration) []string {
	var free []string
	for _, resource := range resources {
		if d.busyUntil[resource] <= at {
			free = append(free, resource)
		}
	}
	return free
}

func (d *drawing) targets(kinds []string) []Target {
	var targets []Target
	for _, target := range d.spec.Targets {
		if slices.Contains(kinds, target.Kind) {
			targets = append(targets, target)
		}
	}
	return targets
}

func (d *drawing) gap() time.Duration { return d.between(d.spec.MinGap, d.spec.MaxGap) }

// between returns a length in whole milliseconds, which is what a schedule is printed in.
func (d *drawing) between(least, most time.Duration) time.Duration {
	drawn := least + time.Duration(d.rng.Int64N(int64(most-least)+1))
	return max(least, drawn.Truncate(time.Millisecond))
}
