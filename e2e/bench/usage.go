package main

import (
	"time"

	"hydrant/e2e/bench/internal/machine"
)

// partLoad is the name of this process among the parts.
const partLoad = "load generator"

// usage is what parts have used of the cores.
type usage map[string]time.Duration

// cpu looks at all parts, and at this process.
func (i *installation) cpu() (usage, error) {
	used := usage{}
	for name, pid := range i.pids() {
		var err error
		if used[name], err = machine.CPU(pid); err != nil {
			return nil, err
		}
	}
	own, err := machine.OwnCPU()
	used[partLoad] = own
	return used, err
}

// since is what was used after an earlier look.
func (u usage) since(before usage) usage {
	grown := usage{}
	for name, total := range u {
		grown[name] = total - before[name]
	}
	return grown
}

// sum is what some parts have used together.
func (u usage) sum(parts ...string) time.Duration {
	var total time.Duration
	for _, name := range parts {
		total += u[name]
	}
	return total
}
