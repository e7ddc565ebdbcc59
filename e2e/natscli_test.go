package e2e

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/natspage"
)

var rewritePage = flag.Bool("natscli.rewrite", false, "write what the commands of docs/nats-cli.md print into it")

const natsPage = "../docs/nats-cli.md"

// TestNATSCLI runs each command of docs/nats-cli.md, as a shell does, against an installation that has what its examples show, and
// compares. It must not show a secret either.
func TestNATSCLI(t *testing.T) {
	apart(t, deploy.Options{Settings: impatient()}, func(t *testing.T, d *deploy.Deployment) {
		program := newTerminal(t)
		text, err := os.ReadFile(natsPage)
		must(t, err)
		wantNoSecrets(t, string(text))
		page, err := natspage.Parse(string(text))
		must(t, err)
		prepareExamples(t, d)
		for _, e := range page.Examples() {
			t.Run(e.Command, func(t *testing.T) {
				got := program.run(t, d, e.Command)
				wantNoSecrets(t, got)
				if *rewritePage {
					e.Output = got
				}
				if diff := natspage.Diff(e.Output, got); diff != "" {
					t.Errorf("%s shows another output; with -natscli.rewrite this one\n%s", natsPage, diff)
				}
			})
		}
		if *rewritePage {
			must(t, os.WriteFile(natsPage, []byte(page.String()), 0o600))
		}
	})
}

// natsVariable is the program nats, which the Makefile builds.
const natsVariable = "HYDRANT_TEST_NATS_CLI"

// terminal is one with nats on its path, of a user who has configured nothing.
type terminal struct{ path, home string }

func newTerminal(t *testing.T) terminal {
	t.Helper()
	program := os.Getenv(natsVariable)
	switch {
	case program == "" && os.Getenv("CI") != "":
		t.Fatalf("%s is not set: make test sets it", natsVariable)
	case program == "":
		t.Skipf("%s is not set (make test sets it)", natsVariable)
	}
	return terminal{filepath.Dir(program) + string(filepath.ListSeparator) + os.Getenv("PATH"), t.TempDir()}
}

// run returns what a command shows, in UTC and without the blanks that end a line. The shell becomes the command, so that nothing is
// left where it is ended.
func (term terminal) run(t *testing.T, d *deploy.Deployment, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // nats sub waits where it finds nothing
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", "exec "+command)
	shell.Env = []string{"PATH=" + term.path, "HOME=" + term.home, "XDG_CONFIG_HOME=" + term.home, "TZ=UTC", "NATS_URL=" + d.NATS}
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(string(out), ""))
}
