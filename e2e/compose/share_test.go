package compose

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// work names the metric that grows with what a replica of a service does. Where it is not here, as of buffer, a replica may
// rightly have nothing to do.
func work() map[string]string {
	return map[string]string{"ingest": "hydrant_ingest_commits_total", "s3sink": "hydrant_delivery_to_s3_success_total", "es": "hydrant_delivery_to_elasticsearch_success_total"}
}

// shares waits until every replica of a service has done some of its work.
func (p *project) shares(service string) {
	p.t.Helper()
	metric, ok := work()[service]
	if !ok {
		return
	}
	p.eventually(fmt.Sprintf("every replica of %s has work", service), time.Minute, func() bool {
		for _, container := range p.containers(service) {
			if p.metric(container, metric) == 0 {
				return false
			}
		}
		return true
	})
}

// metric is the sum of a metric over its labels. Admin ports are not published, so it is asked from inside, by the one
// container that has a shell.
func (p *project) metric(container, name string) float64 {
	p.t.Helper()
	addr := strings.TrimSpace(p.docker(p.t.Context(), "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container))
	page := p.Page("api", "http://"+addr+":4574/metrics")
	sum := 0.0
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		of, _, _ := strings.Cut(line, "{")
		if of, _, _ = strings.Cut(of, " "); of != name {
			continue
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		p.must(err)
		sum += n
	}
	return sum
}
