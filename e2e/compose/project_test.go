package compose

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

// project is an installation as compose.yaml has it, under a name and at ports of its own.
type project struct {
	t     *testing.T
	name  string
	env   []string
	scale map[string]int
	files []string // beside compose.yaml

	apiAddr, s3Addr, natsAddr, redshiftAddr, searchAddr string

	takenOver []takeover
}

// newProject starts nothing. Whatever becomes of the test, nothing of the project is left.
func newProject(t *testing.T, settings ...string) *project {
	t.Helper()
	p := &project{
		t: t, scale: map[string]int{}, apiAddr: freeAddr(t), s3Addr: freeAddr(t), natsAddr: freeAddr(t), redshiftAddr: freeAddr(t), searchAddr: freeAddr(t),
	}
	_, port, _ := strings.Cut(p.apiAddr, ":")
	p.name = "hydrant-test-" + port
	p.env = append(environment(), "HYDRANT_PUBLISH_API="+p.apiAddr, "HYDRANT_PUBLISH_S3="+p.s3Addr, "HYDRANT_PUBLISH_NATS="+p.natsAddr,
		"HYDRANT_PUBLISH_REDSHIFT="+p.redshiftAddr, "HYDRANT_PUBLISH_ELASTICSEARCH="+p.searchAddr, "COMPOSE_PROFILES="+profiles(), "HYDRANT_VERSION="+*version)
	p.env = append(p.env, settings...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.compose(context.Background(), "logs", "--no-color", "--tail", "40"))
		}
		p.compose(context.Background(), "down", "--volumes", "--remove-orphans", "--timeout", "20")
	})
	return p
}

func profiles() string {
	if *search {
		return "redshift,elasticsearch"
	}
	return "redshift"
}

// freeAddr is chosen here and not by the engine, which would choose another whenever a container starts again.
func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// environment is this process's own, without the settings of whoever runs the test, but for the tag of the images. The
// file .env could hold them too.
func environment() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HYDRANT_") && !strings.HasPrefix(v, "HYDRANT_VERSION=") || strings.HasPrefix(v, "COMPOSE_")
	})
	return append(own, "COMPOSE_DISABLE_ENV_FILE=1")
}

// up starts what is not running, with as many replicas as scale has, and waits until all of it is healthy.
func (p *project) up() {
	p.t.Helper()
	args := []string{"up", "--detach", "--wait", "--wait-timeout", "180", "--no-recreate"}
	for _, service := range slices.Sorted(maps.Keys(p.scale)) {
		args = append(args, "--scale", service+"="+strconv.Itoa(p.scale[service]))
	}
	p.compose(p.t.Context(), args...)
}

// containers are the running ones of a service.
func (p *project) containers(service string) []string {
	p.t.Helper()
	return strings.Fields(p.compose(p.t.Context(), "ps", "--quiet", "--status", "running", service))
}

// kill ends a container as a machine does that loses power, as far as the container can tell.
func (p *project) kill(container string) {
	p.t.Helper()
	p.docker(p.t.Context(), "kill", container)
}

func (p *project) compose(ctx context.Context, args ...string) string {
	p.t.Helper()
	command := []string{"compose", "--project-name", p.name}
	for _, file := range append([]string{"compose.yaml"}, p.files...) {
		command = append(command, "--file", filepath.Join("..", "..", file))
	}
	command = append(command, "--file", hurriedFile())
	return p.docker(ctx, append(command, args...)...)
}

func (p *project) docker(ctx context.Context, args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "docker", args...) // #nosec G204 -- the test's own arguments
	command.Env = p.env
	var out, errors bytes.Buffer
	command.Stdout, command.Stderr = &out, &errors
	if err := command.Run(); err != nil {
		p.t.Errorf("docker %s: %v\n%s", strings.Join(args, " "), err, errors.String())
	}
	return out.String()
}

// hurriedFile changes nothing but how often health is asked for.
func hurriedFile() string { return filepath.Join("testdata", "hurried.yaml") }
