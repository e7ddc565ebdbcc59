package composed

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fakeDocker notes what it is asked, when it begins and when it is done. To "wait" it does until something is written to a pipe.
const fakeDocker = `#!/bin/sh
echo "begins $*" >>"$DIR/noted"
case $BEHAVES in
stuck) case $* in *down*) echo "the network has active endpoints" >&2; exit 1 ;; esac ;;
failing) case $* in *down*) echo "it does not answer" >&2; exit 1 ;; esac ;;
esac
[ "$1" = wait ] && read -r go <"$DIR/pipe"
echo "ends $*" >>"$DIR/noted"
`

const removed = "begins compose --project-name hydrant-test-1 down --volumes --remove-orphans --timeout 0\n" +
	"ends compose --project-name hydrant-test-1 down --volumes --remove-orphans --timeout 0\n"

// faked is a project of a docker that does nothing.
func faked(t *testing.T) (p *Project, dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	p = &Project{t: t, name: "hydrant-test-1", Env: append(os.Environ(), "DIR="+dir)}
	p.must(os.WriteFile(filepath.Join(dir, "docker"), []byte(fakeDocker), 0o700)) // #nosec G306 -- it is run
	p.must(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	p.reaper = startReaper(p)
	return p, dir
}

func noted(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "noted")) // #nosec G304 -- the test's own
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func TestReaper(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(*reaper)
		noted string
	}{
		{"of a test that removed its project", (*reaper).dismiss, ""},
		{"of a test whose process is gone", (*reaper).end, removed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, dir := faked(t)
			c.end(p.reaper)
			if got := noted(t, dir); got != c.noted {
				t.Errorf("docker was asked\n%swant\n%s", got, c.noted)
			}
		})
	}
}

// TestReaperWaits has a command outlive the test: what that still makes is removed too.
func TestReaperWaits(t *testing.T) {
	p, dir := faked(t)
	command := p.command(t.Context(), "wait")
	p.must(command.Start())
	pipe, err := os.OpenFile(filepath.Join(dir, "pipe"), os.O_WRONLY, 0) // which waits for its reader
	p.must(err)
	p.must(p.reaper.alive.Close())
	_, err = pipe.WriteString("go\n")
	p.must(err)
	p.must(pipe.Close())
	p.must(command.Wait())
	p.must(p.reaper.shell.Wait())
	if got, want := noted(t, dir), "begins wait\nends wait\n"+removed; got != want {
		t.Errorf("docker was asked\n%swant\n%s", got, want)
	}
}

// TestRemove has an engine that keeps a network, and one that does nothing.
func TestRemove(t *testing.T) {
	for behaves, fails := range map[string]bool{"": false, "stuck": false, "failing": true} {
		t.Run(behaves, func(t *testing.T) {
			p, _ := faked(t)
			p.Env = append(p.Env, "BEHAVES="+behaves)
			if err := p.remove(t.Context()); (err != nil) != fails {
				t.Errorf("removal ends with %v", err)
			}
			p.reaper.dismiss()
		})
	}
}

// TestEnvironment makes sure that settings of whoever runs a test are not those of the test.
func TestEnvironment(t *testing.T) {
	t.Setenv("HYDRANT_RETENTION", "1s")
	t.Setenv("COMPOSE_FILE", "other.yaml")
	t.Setenv("DOCKER_HOST", "unix:///nowhere")
	all := strings.Join(environment(), "\n")
	if strings.Contains(all, "HYDRANT_RETENTION") || strings.Contains(all, "COMPOSE_FILE") || !strings.Contains(all, "DOCKER_HOST=unix:///nowhere") {
		t.Errorf("it is %q", all)
	}
}
