package format

import (
	"errors"
	"maps"
	"slices"
	"sync"
)

// Refused is what a process leaves alone because a newer version wrote it. The process goes on with everything else, and is
// ready; whoever runs it is told here what waits for an upgrade. A nil Refused takes notes of nothing.
type Refused struct {
	mu sync.Mutex
	of map[string]string
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
		r.of = map[string]string{}
	}
	r.of[thing] = thing + ": " + err.Error()
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
		list = append(list, r.of[thing])
	}
	return list
}
