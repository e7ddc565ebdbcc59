// Package natscli runs commands of NATS' own command line as a user types them.
package natscli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// programVariable is the program nats, which the Makefile builds.
const programVariable = "HYDRANT_TEST_NATS_CLI"

// Terminal is one with nats on its path, of a user who has configured nothing.
type Terminal struct{ path, home string }

// New opens one. Without nats the test is skipped, in CI it fails.
func New(t testing.TB) Terminal {
	t.Helper()
	program := os.Getenv(programVariable)
	switch {
	case program == "" && os.Getenv("CI") != "":
		t.Fatalf("%s is not set: make test sets it", programVariable)
	case program == "":
		t.Skipf("%s is not set (make test sets it)", programVariable)
	}
	return Terminal{filepath.Dir(program) + string(filepath.ListSeparator) + os.Getenv("PATH"), t.TempDir()}
}

// Run returns what a command shows, in UTC and without the blanks that end a line.
func (term Terminal) Run(t testing.TB, server, command string) string {
	t.Helper()
	// The shell becomes the command, so that nothing is left where it is ended.
	out, err := term.shell(t, server, "exec "+command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(out, ""))
}

func (term Terminal) shell(t testing.TB, server, command string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // nats sub waits where it finds nothing
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", command)
	shell.Dir = term.home
	shell.Env = []string{"PATH=" + term.path, "HOME=" + term.home, "XDG_CONFIG_HOME=" + term.home, "TZ=UTC", "NATS_URL=" + server}
	out, err := shell.CombinedOutput()
	return string(out), err
}

// Backup saves everything of a server in a directory of the terminal's, where Restore finds it; without --force it asks.
func (term Terminal) Backup(t testing.TB, server string) {
	term.Run(t, server, "nats backup account --force ./backup")
}

// Restore brings it into the servers of a cluster, by the commands of docs/operations.md, of which the path is given. One stream's
// restoring has begun there and goes no further, as it happens where servers race, so that what the page says of that is done too.
func (term Terminal) Restore(t testing.TB, server, page string) {
	t.Helper()
	loop := loopOf(t, page)
	begun := term.Run(t, server, `nats req --raw '$JS.API.STREAM.RESTORE.BATCHES' "$(cat ./backup/BATCHES/backup.json)"`)
	if !strings.Contains(begun, "deliver_subject") {
		t.Fatalf("NATS restores nothing: %s", begun)
	}
	for range 5 {
		out, err := term.shell(t, server, loop)
		if err != nil {
			t.Fatalf("%s: %v: %s", loop, err, out)
		}
		broken := brokenOff(out)
		t.Logf("restored until %q", broken)
		if broken == "" {
			return
		}
		term.Run(t, server, "nats stream rm --force "+broken)
	}
	t.Fatal("the loop broke off five times")
}

// loopOf is the one of the page that restores what was backed up.
func loopOf(t testing.TB, page string) string {
	t.Helper()
	text, err := os.ReadFile(page) // #nosec G304 -- the test's own path
	if err != nil {
		t.Fatal(err)
	}
	loop := regexp.MustCompile(`(?ms)^ {4}for stream in \./backup.*?^ {4}done$`).Find(text)
	if loop == nil {
		t.Fatalf("%s has no loop that restores", page)
	}
	return string(loop)
}

// brokenOff is the stream at which the loop ended; empty if it came to its end.
func brokenOff(output string) string {
	if !strings.Contains(output, "nats: error:") {
		return ""
	}
	all := regexp.MustCompile(`Starting restore of Stream "([^"]+)"`).FindAllStringSubmatch(output, -1)
	if all == nil {
		return fmt.Sprintf("none of them: %s", output)
	}
	return all[len(all)-1][1]
}
