package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/e2e/internal/schedule"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// standard is what the fault suite runs in CI.
func standard(seed uint64) schedule.Spec {
	return schedule.Spec{
		Seed:     seed,
		Duration: 2 * time.Minute,
		Targets: []schedule.Target{
			{Kind: "nats", Name: "nats"}, {Kind: "s3", Name: "s3"},
			{Kind: "ingest", Name: "ingest-1"}, {Kind: "ingest", Name: "ingest-2"},
			{Kind: "buffer", Name: "buffer-1"}, {Kind: "buffer", Name: "buffer-2"},
			{Kind: "s3sink", Name: "s3sink-1"}, {Kind: "s3sink", Name: "s3sink-2"},
		},
		Actions: schedule.Standard("s3sink"),
		MinGap:  500 * time.Millisecond,
		MaxGap:  3 * time.Second,
	}
}

func draw(t *testing.T, spec schedule.Spec) schedule.Schedule {
	t.Helper()
	s, err := schedule.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSeedDecides(t *testing.T) {
	first, again, other := draw(t, standard(1)).String(), draw(t, standard(1)).String(), draw(t, standard(2)).String()
	if first != again {
		t.Errorf("the same seed gives\n%s\nand\n%s", first, again)
	}
	if first == other {
		t.Errorf("another seed gives the same\n%s", first)
	}
}

func TestEveryActionInTwoMinutes(t *testing.T) {
	for seed := range uint64(500) {
		s := draw(t, standard(seed))
		for _, action := range standard(seed).Actions {
			if !slices.ContainsFunc(s.Events, func(e schedule.Event) bool { return e.Action == action.Name }) {
				t.Errorf("seed %d: no %s in\n%s", seed, action.Name, s)
			}
		}
	}
}

// With a search node there is a schedule as well, in which every action comes up.
func TestSearchActions(t *testing.T) {
	for seed := range uint64(100) {
		spec := standard(seed)
		spec.Duration = 3 * time.Minute
		spec.Targets = append(spec.Targets, schedule.Target{Kind: "es", Name: "es-1"}, schedule.Target{Kind: "es", Name: "es-2"}, schedule.Target{Kind: "search", Name: "search"})
		spec.Actions = schedule.Search([]string{"es"}, []string{"search"})
		seen := map[string]int{}
		for _, event := range draw(t, spec).Events {
			seen[event.Action]++
			for _, target := range event.Targets {
				if node := event.Action == schedule.BlockWrites; node != (target.Kind == "search") || !node && target.Kind != "es" {
					t.Errorf("seed %d: %s", seed, event)
				}
			}
		}
		for _, action := range spec.Actions {
			if seen[action.Name] == 0 {
				t.Errorf("seed %d: no %s", seed, action.Name)
			}
		}
	}
}

// With a database there is a schedule as well, in which every action comes up, and each concerns whom it is for.
func TestWarehouseActions(t *testing.T) {
	targets := []schedule.Target{
		{Kind: "redshift", Name: "redshift-1"}, {Kind: "redshift", Name: "redshift-2"}, {Kind: "standin", Name: "standin-1"},
		{Kind: "standin", Name: "standin-2"}, {Kind: "database", Name: "database"},
	}
	kinds := map[string][]string{
		schedule.KillInCopy: {"redshift", "redshift"}, schedule.KillAfterCopy: {"redshift", "redshift"}, schedule.PauseInCopy: {"redshift", "redshift"},
		schedule.RepeatInCopy: {"redshift", "redshift"}, schedule.KillSetAside: {"redshift", "redshift"},
		schedule.KillGivingUp:       {"redshift", "redshift"},
		schedule.KillDatabaseInside: {"standin", "standin", "database"}, schedule.PauseStandInInside: {"standin", "standin"},
	}
	for seed := range uint64(100) {
		spec := standard(seed)
		spec.Targets = append(spec.Targets, targets...)
		spec.Actions = schedule.Warehouse([]string{"redshift"}, []string{"standin"}, []string{"database"})
		seen := map[string]int{}
		for _, event := range draw(t, spec).Events {
			seen[event.Action]++
			var concerned []string
			for _, target := range event.Targets {
				concerned = append(concerned, target.Kind)
			}
			if !slices.Equal(concerned, kinds[event.Action]) {
				t.Errorf("seed %d: %s", seed, event)
			}
		}
		for _, action := range spec.Actions {
			if seen[action.Name] == 0 {
				t.Errorf("seed %d: no %s", seed, action.Name)
			}
		}
	}
}

// At no time is more than one process of a kind hurt, unless one action took all of them.
func TestAtMostOneOfAKind(t *testing.T) {
	for seed := range uint64(500) {
		s := draw(t, standard(seed))
		for i, event := range s.Events {
			for _, later := range s.Events[i+1:] {
				if later.At < event.End() && shareAKind(event, later) {
					t.Fatalf("seed %d: %s\nand %s", seed, event, later)
				}
			}
		}
	}
}

func shareAKind(a, b schedule.Event) bool {
	for _, target := range a.Targets {
		for _, other := range b.Targets {
			if target.Kind == other.Kind {
				return true
			}
		}
	}
	return false
}

func TestReach(t *testing.T) {
	spec := standard(3)
	spec.Duration = 20 * time.Minute
	kinds := make(map[string]map[string]bool)
	for _, event := range draw(t, spec).Events {
		if kinds[event.Action] == nil {
			kinds[event.Action] = make(map[string]bool)
		}
		for _, target := range event.Targets {
			kinds[event.Action][target.Kind] = true
		}
		want := map[string][]int{
			schedule.Kill: {1}, schedule.Pause: {1}, schedule.KillInComplete: {1}, schedule.KillAfterUpload: {1},
			schedule.KillReplicas: {1, 2}, schedule.PauseReplicas: {1, 2}, schedule.KillEverything: {8},
			schedule.S3Storm: {0}, schedule.Reconfigure: {0},
		}[event.Action]
		if !slices.Contains(want, len(event.Targets)) {
			t.Errorf("%d targets: %s", len(event.Targets), event)
		}
	}
	for action, want := range map[string]int{
		schedule.Kill: 5, schedule.Pause: 5, schedule.KillReplicas: 5, schedule.KillInComplete: 1, schedule.Reconfigure: 0,
	} {
		if len(kinds[action]) != want {
			t.Errorf("%s concerns %v, want %d kinds", action, kinds[action], want)
		}
	}
}

func TestEventsKeepTheirBounds(t *testing.T) {
	for seed := range uint64(100) {
		spec := standard(seed)
		var before time.Duration
		for _, event := range draw(t, spec).Events {
			i := slices.IndexFunc(spec.Actions, func(a schedule.Action) bool { return a.Name == event.Action })
			action := spec.Actions[i]
			if event.Length < action.MinLength || event.Length > action.MaxLength {
				t.Errorf("seed %d: length of %s", seed, event)
			}
			if event.At < before+spec.MinGap || event.End() > spec.Duration {
				t.Errorf("seed %d: time of %s", seed, event)
			}
			before = event.At
		}
	}
}

func TestString(t *testing.T) {
	s := schedule.Schedule{Seed: 42, Duration: time.Minute, Events: []schedule.Event{
		{At: 1500 * time.Millisecond, Action: schedule.Kill, Length: time.Second, Targets: []schedule.Target{{Kind: "nats", Name: "nats-1"}}},
		{At: 12 * time.Second, Action: schedule.Reconfigure},
	}}
	want := "schedule SEED=42 DURATION=1m0s: 2 events\n" +
		"    1.500s  kill                       for  1.000s  nats-1\n" +
		"   12.000s  reconfigure                for  0.000s\n"
	if got := s.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*schedule.Spec){
		"no duration":       func(s *schedule.Spec) { s.Duration = 0 },
		"no gap":            func(s *schedule.Spec) { s.MinGap = 0 },
		"gaps crossed":      func(s *schedule.Spec) { s.MaxGap = s.MinGap - 1 },
		"no actions":        func(s *schedule.Spec) { s.Actions = nil },
		"no targets":        func(s *schedule.Spec) { s.Targets = nil },
		"no such kind":      func(s *schedule.Spec) { s.Actions = schedule.Standard("redshift") },
		"no such reach":     func(s *schedule.Spec) { s.Actions[0].Reach = "some" },
		"lengths crossed":   func(s *schedule.Spec) { s.Actions[0].MinLength = time.Hour },
		"longer than a run": func(s *schedule.Spec) { s.Duration = 50 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			spec := standard(1)
			spoil(&spec)
			if s, err := schedule.New(spec); err == nil || !strings.HasPrefix(err.Error(), "schedule: ") {
				t.Errorf("got %v and %v", s, err)
			}
		})
	}
}

func ExampleNew() {
	s, err := schedule.New(schedule.Spec{
		Seed:     1,
		Duration: 10 * time.Second,
		Targets:  []schedule.Target{{Kind: "ingest", Name: "ingest-1"}, {Kind: "ingest", Name: "ingest-2"}},
		Actions: []schedule.Action{
			{Name: schedule.Kill, Reach: schedule.One, MaxLength: time.Second},
			{Name: schedule.PauseReplicas, Reach: schedule.Replicas, MinLength: time.Second, MaxLength: 2 * time.Second},
		},
		MinGap: time.Second,
		MaxGap: 3 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(s)
	// Output:
	// schedule SEED=1 DURATION=10s: 4 events
	//     1.663s  kill                       for  0.451s  ingest-2
	//     3.837s  pause replicas             for  1.689s  ingest-1 ingest-2
	//     6.725s  pause replicas             for  1.860s  ingest-1 ingest-2
	//     8.628s  kill                       for  0.187s  ingest-1
}
