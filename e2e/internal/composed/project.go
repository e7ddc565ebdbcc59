// Package composed starts Hydrant for a test as compose.yaml has it, with the images that Dockerfile makes. Each installation has a
// name, addresses, networks and volumes of its own, so that several may run beside each other, and beside a user's.
package composed

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hydrant/shared/proc"
)

// Project is an installation, of one replica of each service unless Scale says otherwise.
type Project struct {
	Env   []string // of docker, and so the settings of compose.yaml
	Files []string // beside compose.yaml, and where it is
	Scale map[string]int

	API, S3, NATS string // where they are published, as host:port

	t      testing.TB
	name   string
	root   string // of the repository
	reaper *reaper
}

// New starts nothing. The images have to be there, with version as their tag. Settings are environment variables of compose.yaml.
// Whatever becomes of the test, and of its process, nothing of the project is left.
func New(t testing.TB, version string, settings ...string) *Project {
	t.Helper()
	p := &Project{t: t, root: repository(t), Scale: map[string]int{}, API: FreeAddr(t), S3: FreeAddr(t), NATS: FreeAddr(t)}
	_, port, _ := strings.Cut(p.API, ":")
	p.name = "hydrant-test-" + port
	p.Env = append(environment(), "HYDRANT_VERSION="+version,
		"HYDRANT_PUBLISH_API="+p.API, "HYDRANT_PUBLISH_S3="+p.S3, "HYDRANT_PUBLISH_NATS="+p.NATS)
	p.Env = append(p.Env, settings...)
	p.removedWithTest()
	return p
}

// FreeAddr is where something may be published. It is chosen here and not by the engine, which would choose another whenever a
// container starts again.
func FreeAddr(t testing.TB) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// environment is this process's own, without the settings of whoever runs the test. The file .env could hold them too.
func environment() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HYDRANT_") || strings.HasPrefix(v, "COMPOSE_")
	})
	return append(own, "COMPOSE_DISABLE_ENV_FILE=1")
}

// repository is the folder that has compose.yaml, above the one of the test.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "compose.yaml")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no folder above this one has compose.yaml")
		}
		dir = filepath.Dir(dir)
	}
}

// Up starts what is not running, with as many replicas as Scale has, and waits until all of it is healthy. Where it is not, the test
// ends.
func (p *Project) Up() {
	p.t.Helper()
	args := []string{"up", "--detach", "--wait", "--wait-timeout", "180", "--no-recreate"}
	for _, service := range slices.Sorted(maps.Keys(p.Scale)) {
		args = append(args, "--scale", service+"="+strconv.Itoa(p.Scale[service]))
	}
	_, err := p.run(p.t.Context(), p.arguments(args)...)
	p.must(err)
}

// Restart ends everything, as its user would, and starts it again on the same data.
func (p *Project) Restart() {
	p.t.Helper()
	p.Compose(p.t.Context(), "stop")
	p.Up()
}

// Containers are the running ones of a service.
func (p *Project) Containers(service string) []string {
	p.t.Helper()
	return strings.Fields(p.Compose(p.t.Context(), "ps", "--quiet", "--status", "running", service))
}

// Kill ends a container as a machine does that loses power, as far as the container can tell. It stays away until Up.
func (p *Project) Kill(container string) {
	p.t.Helper()
	p.Docker(p.t.Context(), "kill", container)
}

// Page reads a page of a service, which is not published, by the container of one that has a shell.
func (p *Project) Page(by, url string) string {
	p.t.Helper()
	return p.Compose(p.t.Context(), "exec", "-T", by, "wget", "-q", "-O", "-", url)
}

// Compose runs a command of docker compose. Where that fails, so has the test, which goes on.
func (p *Project) Compose(ctx context.Context, args ...string) string {
	p.t.Helper()
	return p.Docker(ctx, p.arguments(args)...)
}

// Ask runs Hydrant's command-line tool, as an operator does.
func (p *Project) Ask(ctx context.Context, args ...string) string {
	p.t.Helper()
	return p.Compose(ctx, append([]string{"run", "--rm", "--no-deps", "hydrant"}, args...)...)
}

// Docker runs any other command.
func (p *Project) Docker(ctx context.Context, args ...string) string {
	p.t.Helper()
	out, err := p.run(ctx, args...)
	if err != nil {
		p.t.Error(err)
	}
	return out
}

// arguments are those of docker for a command of docker compose. The last file changes nothing but how often health is asked for.
func (p *Project) arguments(command []string) []string {
	args := []string{"compose", "--project-name", p.name}
	for _, file := range slices.Concat([]string{"compose.yaml"}, p.Files, []string{"e2e/internal/composed/hurried.yaml"}) {
		args = append(args, "--file", filepath.Join(p.root, file))
	}
	return append(args, command...)
}

func (p *Project) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	command := p.command(ctx, args...)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	return out.String(), nil
}

func (p *Project) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "docker", args...) // #nosec G204 -- the test's own arguments
	command.Env, command.ExtraFiles = p.Env, []*os.File{p.reaper.alive}
	return command
}
