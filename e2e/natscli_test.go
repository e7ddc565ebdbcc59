package e2e

import (
	"flag"
	"os"
	"testing"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/natscli"
	"hydrant/e2e/internal/natspage"
)

var rewritePage = flag.Bool("natscli.rewrite", false, "write what the commands of docs/nats-cli.md print into it")

const natsPage = "../docs/nats-cli.md"

// TestNATSCLI runs each command of docs/nats-cli.md, as a shell does, against an installation that has what its examples show, and
// compares. It must not show a secret either.
func TestNATSCLI(t *testing.T) {
	apart(t, deploy.Options{Settings: impatient()}, func(t *testing.T, d *deploy.Deployment) {
		terminal := natscli.New(t)
		text, err := os.ReadFile(natsPage)
		must(t, err)
		wantNoSecrets(t, string(text))
		page, err := natspage.Parse(string(text))
		must(t, err)
		prepareExamples(t, d)
		for _, e := range page.Examples() {
			t.Run(e.Command, func(t *testing.T) {
				got := terminal.Run(t, d.NATS, e.Command)
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
