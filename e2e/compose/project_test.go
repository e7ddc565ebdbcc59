package compose

import (
	"context"
	"testing"

	"hydrant/e2e/internal/composed"
)

// project is an installation as compose.yaml has it, with what this suite delivers to beside it.
type project struct {
	*composed.Project
	t      *testing.T
	scale  map[string]int // which is the project's
	search string         // the service that documents go to, by its name in compose.yaml; "" if there is none

	apiAddr, s3Addr, natsAddr, redshiftAddr, searchAddr string

	takenOver []takeover
}

// newProject starts nothing. Whatever becomes of the test, nothing of the project is left.
func newProject(t *testing.T, settings ...string) *project {
	t.Helper()
	if *search {
		return newProjectOf(t, "elasticsearch", "redshift,elasticsearch", settings...)
	}
	return newProjectOf(t, "", "redshift", settings...)
}

func newProjectOf(t *testing.T, search, profiles string, settings ...string) *project {
	t.Helper()
	redshift, node := composed.FreeAddr(t), composed.FreeAddr(t)
	own := []string{
		"COMPOSE_PROFILES=" + profiles, "HYDRANT_PUBLISH_REDSHIFT=" + redshift,
		"HYDRANT_PUBLISH_ELASTICSEARCH=" + node, "HYDRANT_PUBLISH_OPENSEARCH=" + node, // of which there is one at most
	}
	p := composed.New(t, *version, append(own, settings...)...)
	return &project{
		Project: p, t: t, scale: p.Scale, search: search,
		apiAddr: p.API, s3Addr: p.S3, natsAddr: p.NATS, redshiftAddr: redshift, searchAddr: node,
	}
}

func (p *project) up() {
	p.t.Helper()
	p.Up()
}

func (p *project) containers(service string) []string {
	p.t.Helper()
	return p.Containers(service)
}

func (p *project) kill(container string) {
	p.t.Helper()
	p.Kill(container)
}

func (p *project) compose(ctx context.Context, args ...string) string {
	p.t.Helper()
	return p.Compose(ctx, args...)
}

func (p *project) docker(ctx context.Context, args ...string) string {
	p.t.Helper()
	return p.Docker(ctx, args...)
}
