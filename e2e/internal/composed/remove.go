package composed

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// removedWithTest has the project removed when the test ends, and its logs shown where it failed.
func (p *Project) removedWithTest() {
	p.t.Helper()
	p.reaper = startReaper(p)
	p.t.Cleanup(func() {
		ctx := context.Background()
		if p.t.Failed() {
			p.t.Log(p.Compose(ctx, "logs", "--no-color", "--tail", "40"))
		}
		if err := p.remove(ctx); err != nil {
			p.t.Error(err)
			return // the reaper tries it again when the process ends
		}
		p.reaper.dismiss()
	})
}

// remove repeats what an engine may need some time for. A network that it takes for used when all containers are gone is its own
// mistake (20.10 makes it on a busy machine), stays until it is started again, and says nothing about what is tested.
func (p *Project) remove(ctx context.Context) error {
	var err error
	for range 3 {
		if _, err = p.run(ctx, removal(p.name)...); err == nil {
			return nil
		}
	}
	label := "label=com.docker.compose.project=" + p.name
	left := p.Docker(ctx, "ps", "--all", "--quiet", "--filter", label) + p.Docker(ctx, "volume", "ls", "--quiet", "--filter", label)
	if left == "" && strings.Contains(err.Error(), "has active endpoints") {
		p.t.Logf("nothing is left but a network that the engine keeps: %v", err)
		return nil
	}
	return err
}

// removal is by the name alone: with files, what they have in another profile, or do not use, would be left. Nothing is looked at any
// more, so nothing is waited for.
func removal(name string) []string {
	return []string{"compose", "--project-name", name, "down", "--volumes", "--remove-orphans", "--timeout", "0"}
}

// reaper is a shell that removes a project whose test cannot: a process that is killed, or ended by go test's timeout, runs no cleanup.
// What it waits for is a line, and what it gets in place of that is the end of its input.
type reaper struct {
	p     *Project
	shell *exec.Cmd
	alive *os.File // every command of the project holds it open too, so that none is still at work when it ends
}

func startReaper(p *Project) *reaper {
	p.t.Helper()
	waits := append([]string{"-c", `read -r dismissed || exec docker "$@"`, "reaper"}, removal(p.name)...)
	shell := exec.CommandContext(context.Background(), "sh", waits...) // #nosec G204 -- the name is made here
	shell.Env = p.Env
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what is sent to the test's process group is not for it
	input, alive, err := os.Pipe()
	p.must(err)
	shell.Stdin = input
	p.must(shell.Start())
	p.must(input.Close())
	return &reaper{p: p, shell: shell, alive: alive}
}

// dismiss ends it, without anything to do.
func (r *reaper) dismiss() {
	_, err := r.alive.WriteString("dismissed\n")
	r.p.must(err)
	r.end()
}

func (r *reaper) end() {
	r.p.must(r.alive.Close())
	r.p.must(r.shell.Wait())
}

func (p *Project) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}
