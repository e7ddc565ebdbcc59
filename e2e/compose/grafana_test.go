package compose

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	promql "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"go.yaml.in/yaml/v3"
)

// grafanas is Grafana's model of a dashboard as a file of Grafana 12 has it.
type grafanas = dashboard.Dashboard //nolint:staticcheck // what it is deprecated for is stored otherwise

const dashboardFile = "deploy/grafana/dashboards/hydrant.json"

// TestDashboard makes sure that Grafana's model of a dashboard has everything that is in ours, that nothing is missing which Grafana
// would save, and that no two panels are one or lie over each other.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if *d.Uid != "hydrant" || len(d.Panels) == 0 || len(d.Templating.List) == 0 {
		t.Errorf("it is %q with %d panels and %d variables", *d.Uid, len(d.Panels), len(d.Templating.List))
	}
	ids, taken := map[uint32]bool{}, map[[2]uint32]string{}
	for _, p := range panels(t, d) {
		if _, known := cog.ConfigForPanelcfgVariant(p.Type); !known || ids[*p.Id] || len(p.Targets) == 0 {
			t.Errorf("panel %d, %q, is there twice, asks for nothing, or is of an unknown type %q", *p.Id, *p.Title, p.Type)
		}
		ids[*p.Id] = true
		at := p.GridPos
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, ok := taken[[2]uint32{x, y}]; ok || x >= 24 {
					t.Fatalf("%q is beyond the 24 columns, or where %q is", *p.Title, other)
				}
				taken[[2]uint32{x, y}] = *p.Title
			}
		}
	}
}

// TestGrafanaFindsItsFiles makes sure that compose.yaml, what Grafana is provisioned with, and the dashboard name the same things.
func TestGrafanaFindsItsFiles(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Environment map[string]any
			Volumes     []string
		}
	}
	var provided struct {
		Providers []struct{ Options struct{ Path string } }
	}
	var sources struct {
		Datasources []struct {
			UID, Type, URL string
			JSONData       struct {
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	var scraped struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
	}
	readYAML(t, "compose.yaml", &compose)
	readYAML(t, "deploy/grafana/provisioning/dashboards/hydrant.yml", &provided)
	readYAML(t, "deploy/grafana/provisioning/datasources/prometheus.yml", &sources)
	readYAML(t, "deploy/prometheus/prometheus.yml", &scraped)

	grafana, folder := compose.Services["grafana"], provided.Providers[0].Options.Path
	if mount := "./" + path.Dir(dashboardFile) + ":" + folder + ":ro"; !slices.Contains(grafana.Volumes, mount) {
		t.Errorf("compose.yaml mounts %v, not %s", grafana.Volumes, mount)
	}
	if home := grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]; home != path.Join(folder, path.Base(dashboardFile)) {
		t.Errorf("Grafana begins with %v", home)
	}
	source := sources.Datasources[0]
	host, _, _ := strings.Cut(strings.TrimPrefix(source.URL, "http://"), ":")
	if _, ok := compose.Services[host]; !ok || source.JSONData.TimeInterval != scraped.Global.ScrapeInterval {
		t.Errorf("the data source is %+v, and Prometheus scrapes every %s", source, scraped.Global.ScrapeInterval)
	}
	d := readDashboard(t)
	asked := []any{*d.Templating.List[0].Datasource.Uid, *d.Templating.List[0].Datasource.Type}
	for _, p := range panels(t, d) {
		asked = append(asked, *p.Datasource.Uid, *p.Datasource.Type)
	}
	for _, q := range queries(t) {
		asked = append(asked, *q.Datasource.Uid, *q.Datasource.Type)
	}
	for n, name := range asked {
		if want := []string{source.UID, source.Type}[n%2]; name != want {
			t.Errorf("the dashboard asks %v, and not %s", name, want)
		}
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// readDashboard makes sure that it is the same when Grafana's model is written again: then nothing in it is unknown, or left out.
func readDashboard(t *testing.T) (d grafanas) {
	t.Helper()
	plugins.RegisterDefaultPlugins() // or the model does not know what a panel of a type has
	raw := read(t, dashboardFile)
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := sortedLines(t, raw), sortedLines(t, written)
	for n := range min(len(ours), len(theirs)) {
		if ours[n] != theirs[n] {
			t.Fatalf("Grafana has\n%s\nand the dashboard\n%s", around(theirs, n), around(ours, n))
		}
	}
	return d
}

// sortedLines are those of JSON whose members are in order.
func sortedLines(t *testing.T, raw []byte) []string {
	t.Helper()
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

func around(lines []string, n int) string {
	return strings.Join(lines[max(n-3, 0):min(n+3, len(lines))], "\n")
}

func panels(t *testing.T, d grafanas) (all []*dashboard.Panel) {
	t.Helper()
	for _, p := range d.Panels {
		if p.Panel == nil {
			t.Fatal("it has rows, in which panels would not be found")
		}
		all = append(all, p.Panel)
	}
	return all
}

// queries are what the panels ask of Prometheus.
func queries(t *testing.T) (all []*promql.Dataquery) {
	t.Helper()
	for _, p := range panels(t, readDashboard(t)) {
		for _, target := range p.Targets {
			query, ok := target.(*promql.Dataquery)
			if !ok {
				t.Fatalf("%q asks %T", *p.Title, target)
			}
			all = append(all, query)
		}
	}
	return all
}
