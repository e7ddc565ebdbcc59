package compose

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"hydrant/services/buffer"
	"hydrant/services/es"
	"hydrant/services/ingest"
	"hydrant/services/redshift"
	"hydrant/services/s3sink"
	"hydrant/shared/service"
	"hydrant/shared/settings"
)

// Settings that .env does not have: what the images set, and files, which have to be mounted as well.
func notInEnv() []string {
	return []string{"HYDRANT_LISTEN", "HYDRANT_NATS_CREDS", "HYDRANT_NATS_CA", "HYDRANT_ES_CA_FILE", "HYDRANT_REDSHIFT_CA"}
}

// configs are the settings of each service's program.
func configs() map[string]any {
	all := map[string]any{
		"ingest": &ingest.Config{}, "buffer": &buffer.Config{}, "s3sink": &s3sink.Config{}, "es": &es.Config{}, "redshift": &redshift.Config{},
	}
	for name, config := range all {
		all[name] = &struct {
			Service any               `embed:""`
			Log     service.LogConfig `embed:""`
		}{Service: config}
	}
	return all
}

// TestSettings makes sure that each setting of a service reaches it, and that no service is given another's.
func TestSettings(t *testing.T) {
	given := environments(t)
	for name, config := range configs() {
		t.Run(name, func(t *testing.T) {
			has := variables(t, config)
			for _, variable := range has {
				if _, ok := given[name][variable]; !ok && !slices.Contains(notInEnv(), variable) {
					t.Errorf("compose.yaml does not give %s to %s", variable, name)
				}
			}
			for variable := range given[name] {
				if !slices.Contains(has, variable) {
					t.Errorf("compose.yaml gives %s to %s, which has no such setting", variable, name)
				}
			}
		})
	}
}

// TestToolsAreSetAsTheServices makes sure that "hydrant redrive", which delivers what the sinks set aside, reaches what they reach.
func TestToolsAreSetAsTheServices(t *testing.T) {
	given := environments(t)
	for _, service := range []string{"es", "redshift"} {
		for variable, value := range given[service] {
			if of, ok := given["hydrant"][variable]; !ok || of != value {
				t.Errorf("compose.yaml gives %s=%v to %s, and %v to hydrant", variable, value, service, of)
			}
		}
	}
}

func flags(t *testing.T, config any) []*kong.Flag {
	t.Helper()
	parser, err := settings.Parser("hydrant", "", config, io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Flags
}

// variables are the environment variables of a program's flags.
func variables(t *testing.T, config any) []string {
	t.Helper()
	var all []string
	for _, flag := range flags(t, config) {
		all = append(all, flag.Envs...)
	}
	if len(all) < 5 {
		t.Fatalf("it has the settings %v", all)
	}
	return all
}

// environments are what compose.yaml has of each service.
func environments(t *testing.T) map[string]map[string]any {
	t.Helper()
	var file struct {
		Services map[string]struct{ Environment map[string]any }
	}
	if err := yaml.Unmarshal(read(t, "compose.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for name, s := range file.Services {
		all[name] = s.Environment
	}
	return all
}

// TestExampleIsComplete makes sure that .env.example has what can be set, nothing else, and sets nothing.
func TestExampleIsComplete(t *testing.T) {
	example := string(read(t, ".env.example"))
	can := map[string]bool{}
	for _, name := range []string{"compose.yaml", "compose.cluster.yaml"} {
		for _, match := range regexp.MustCompile(`\$\{(HYDRANT_\w+)`).FindAllStringSubmatch(string(read(t, name)), -1) {
			can[match[1]] = true
		}
	}
	for _, environment := range environments(t) {
		for variable, value := range environment {
			if value == nil {
				can[variable] = true
			}
		}
	}
	for variable := range can {
		if !strings.Contains(example, "\n#"+variable+"=") {
			t.Errorf(".env.example has no %s", variable)
		}
	}
	for line := range strings.Lines(example) {
		variable, _, isSetting := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		if isSetting && strings.HasPrefix(variable, "HYDRANT_") && !can[variable] {
			t.Errorf(".env.example has %s, which compose.yaml does not read", variable)
		}
		if strings.HasPrefix(line, "HYDRANT_") {
			t.Errorf(".env.example sets %s", line)
		}
	}
}

// TestExampleHasDefaults makes sure that what stands behind a # is what a service does without it: by compose.yaml, or by the service
// itself. Of a setting of several services it is the first one's; the comments tell the others.
func TestExampleHasDefaults(t *testing.T) {
	defaults := map[string]string{}
	for _, name := range []string{"redshift", "es", "buffer", "ingest", "s3sink"} {
		maps.Copy(defaults, serviceDefaults(t, configs()[name]))
	}
	for _, match := range regexp.MustCompile(`\$\{(HYDRANT_\w+):?-([^}]*)\}`).FindAllStringSubmatch(string(read(t, "compose.yaml")), -1) {
		defaults[match[1]] = match[2]
	}
	defaults["HYDRANT_REVISION"], defaults["HYDRANT_VERSION"] = "unknown", "local"
	for _, match := range regexp.MustCompile(`(?m)^#(HYDRANT_\w+)=(.*)$`).FindAllStringSubmatch(string(read(t, ".env.example")), -1) {
		if want, ok := defaults[match[1]]; !ok || match[2] != want {
			t.Errorf(".env.example has %s, and the default is %q", match[0], want)
		}
	}
}

// serviceDefaults are the values of a service's settings that are not set.
func serviceDefaults(t *testing.T, config any) map[string]string {
	t.Helper()
	defaults := map[string]string{}
	for _, flag := range flags(t, config) {
		for _, variable := range flag.Envs {
			defaults[variable] = flag.Default
			if flag.IsBool() && flag.Default == "" {
				defaults[variable] = "false"
			}
		}
	}
	return defaults
}

// TestMetricsAreDocumented makes sure that alerts and dashboard ask for metrics that there are.
func TestMetricsAreDocumented(t *testing.T) {
	documented := documentedMetrics(t)
	for _, name := range []string{"deploy/prometheus/rules.yml", "deploy/grafana/dashboards/hydrant.json"} {
		asked := regexp.MustCompile(`hydrant_\w+`).FindAllString(string(read(t, name)), -1)
		if len(asked) == 0 {
			t.Errorf("%s asks for nothing", name)
		}
		for _, metric := range asked {
			if !documented(strings.TrimSuffix(metric, "_bucket")) {
				t.Errorf("%s has %s, which docs/operations.md does not", name, metric)
			}
		}
	}
}

// documentedMetrics reads the names in docs/operations.md. A name that begins with … has its beginning from the one before it
// in the row, and one that ends with … stands for all that begin so.
func documentedMetrics(t *testing.T) func(string) bool {
	t.Helper()
	var forms []string
	for line := range strings.Lines(string(read(t, "docs/operations.md"))) {
		whole := ""
		for _, match := range regexp.MustCompile("`(hydrant_\\w+…?|…_\\w+)`").FindAllStringSubmatch(line, -1) {
			name := match[1]
			if end, isEnd := strings.CutPrefix(name, "…"); isEnd {
				name = `\w+` + end
				if before := regexp.MustCompile(`^hydrant_(delivery_to_[a-z0-9]+|backup_to_s3|put_record_batch|buffer|undelivered)`).FindString(whole); before != "" {
					name = before + end
				}
			} else {
				whole = name
			}
			forms = append(forms, strings.ReplaceAll(name, "…", `\w+`))
		}
	}
	form := regexp.MustCompile("^(" + strings.Join(forms, "|") + ")$")
	return form.MatchString
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
