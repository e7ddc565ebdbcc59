package format

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Refused is what a process leaves alone because a newer version wrote it. The process goes on with everything else, and is
// ready; whoever runs it is told here what waits for an upgrade. A nil Refused takes notes of nothing.
type Refused struct {
	mu sync.Mutex
	of map[string]refusal
}

type refusal struct {
	why  string
	last time.Time
}

// Note keeps that a thing is refused, if err is ErrNewer, and forgets it for any other error and for none.
func (r *Refused) Note(thing string, err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !errors.Is(err, ErrNewer) {
		delete(r.of, thing)
		return
	}
	if r.of == nil {
		r.of = map[string]refusal{}
	}
	r.of[thing] = refusal{why: thing + ": " + err.Error(), last: time.Now()}
}

// Read says that one of several that are called by one name could be read. What was refused of them is looked at again after the rest
// at the latest, so the name is forgotten when none was refused for twice as long: a thing that waits does not vanish from the list
// whenever another of its name is delivered.
func (r *Refused) Read(thing string, rest time.Duration) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.of[thing].last) > 2*rest {
		delete(r.of, thing)
	}
}

// List returns what is refused now, and why, in the order of the things' names.
func (r *Refused) List() []string {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]string, 0, len(r.of))
	for _, thing := range slices.Sorted(maps.Keys(r.of)) {
		list = append(list, r.of[thing].why)
	}
	return list
}
