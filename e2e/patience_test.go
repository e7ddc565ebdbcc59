package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"hydrant/e2e/internal/deploy"
	"hydrant/shared/logtest"
)

// TestToolsAskOn has a NATS server that is stopped when an operator asks, and wakes: the answer comes, and standard output has nothing else.
func TestToolsAskOn(t *testing.T) {
	against(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "asked", destination("asked", "", 1))
		wake := d.Pause("nats")
		var out bytes.Buffer
		var told logtest.Lines
		command := exec.CommandContext(t.Context(), programs.Path("hydrant"), "status", "--json", "--timeout=10m", "--nats-url", d.NATS)
		command.Stdout, command.Stderr = &out, &told
		must(t, command.Start())
		deploy.Eventually(t, "it says that nobody answers", func() bool { return told.String() != "" })
		wake()
		must(t, command.Wait())
		var report struct{ Legs []struct{ Stream string } }
		if err := json.Unmarshal(out.Bytes(), &report); err != nil || len(report.Legs) != 1 || report.Legs[0].Stream != "asked" {
			t.Errorf("%v: it prints %s", err, &out)
		}
		if said := told.String(); strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "hydrant: no NATS at "+d.NATS) {
			t.Errorf("it says %q", said)
		}
	}, deploy.Processes)
}
