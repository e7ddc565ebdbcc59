package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"time"
)

// Hydrant runs a command-line tool on the installation, which must end well, and returns what it says.
func (d *Deployment) Hydrant(args ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, d.Program("hydrant"), args...) // #nosec G204 -- the test's own arguments
	command.Env = append(command.Environ(), "HYDRANT_NATS_URL="+d.NATS)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		d.t.Fatalf("hydrant %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), problems.String())
	}
	return out.String()
}

// Delivered tells whether no message and no batch of the delivery streams waits, by the tool that an operator would ask. What
// is lost in spite of its word, a checker finds.
func (d *Deployment) Delivered(streams ...string) bool {
	d.t.Helper()
	said := d.Hydrant(append([]string{"status", "--json"}, streams...)...)
	var status struct {
		Legs []struct {
			Buffered struct{ Messages int64 }
			Pending  struct{ Batches int64 }
		}
	}
	must(d.t, json.Unmarshal([]byte(said), &status))
	if len(status.Legs) != len(streams) {
		d.t.Fatalf("there are %d legs", len(status.Legs))
	}
	var waiting int64
	for _, leg := range status.Legs {
		waiting += leg.Buffered.Messages + leg.Pending.Batches
	}
	return waiting == 0
}
