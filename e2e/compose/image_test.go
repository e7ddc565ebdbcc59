package compose

import (
	"encoding/json"
	"strings"
)

// largest is how many bytes an image of a service may have.
const largest = 40e6

// image is what the engine says of an image.
type image struct {
	Size   int64
	Config struct {
		User        string
		Labels      map[string]string
		Healthcheck struct{ Test []string }
	}
}

// looksInto finds what is wrong with the image and the container of a service.
func (p *project) looksInto(service string) {
	p.t.Helper()
	container := p.containers(service)[0]
	id := strings.TrimSpace(p.docker(p.t.Context(), "inspect", "--format", "{{.Image}} {{.HostConfig.ReadonlyRootfs}}", container))
	id, readOnly, _ := strings.Cut(id, " ")
	if readOnly != "true" {
		p.t.Errorf("%s can write to its own files", service)
	}
	var images []image
	p.must(json.Unmarshal([]byte(p.docker(p.t.Context(), "image", "inspect", id)), &images))
	of := images[0]
	p.t.Logf("the image of %s is of %.1f MB", service, float64(of.Size)/1e6)
	if of.Size >= largest || of.Config.User != "65532:65532" || len(of.Config.Healthcheck.Test) != 3 {
		p.t.Errorf("the image of %s is %+v", service, of)
	}
	for _, label := range []string{"version", "revision", "title"} {
		if of.Config.Labels["org.opencontainers.image."+label] == "" {
			p.t.Errorf("the image of %s has no label for its %s", service, label)
		}
	}
}
