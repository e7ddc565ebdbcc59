package compose

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// clusterFile is what compose.yaml or compose.cluster.yaml has of the services.
type clusterFile struct {
	Services map[string]clusterService
	Volumes  map[string]any
}

type clusterService struct {
	Image       string
	Command     []string
	Ports       []string
	Volumes     []string
	Environment map[string]string
	Depends     map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct{ Test []string }
}

func readCluster(t *testing.T, name string) (f clusterFile) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, name), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func clusterServers() []string { return []string{"nats", "nats-2", "nats-3"} }

// TestClusterIsKnown makes sure that whoever is told of the one NATS server is told of all three, waits for them, and looks at
// each one's settings.
func TestClusterIsKnown(t *testing.T) {
	alone, cluster := readCluster(t, "compose.yaml"), readCluster(t, "compose.cluster.yaml")
	told := 0
	for name, service := range alone.Services {
		if service.Environment["HYDRANT_NATS_URL"] == "" {
			continue
		}
		told++
		has := cluster.Services[name]
		for _, server := range clusterServers() {
			for variable, address := range map[string]string{"HYDRANT_NATS_URL": "nats://" + server + ":4222", "HYDRANT_NATS_MONITOR_URL": "http://" + server + ":8222"} {
				if !slices.Contains(strings.Split(has.Environment[variable], ","), address) {
					t.Errorf("%s does not know %s: %s is %q", name, address, variable, has.Environment[variable])
				}
			}
			if _, waits := service.Depends["nats"]; waits && has.Depends[server].Condition != "service_healthy" {
				t.Errorf("%s does not wait for %s", name, server)
			}
		}
		if has.Environment["HYDRANT_REPLICAS"] != "${HYDRANT_REPLICAS:-3}" {
			t.Errorf("%s has HYDRANT_REPLICAS %q", name, has.Environment["HYDRANT_REPLICAS"])
		}
	}
	if told < 6 {
		t.Errorf("%d services know NATS", told)
	}
}

// TestClusterServers makes sure that each server has a name, a store and a health of its own, the limits of compose.yaml, and
// a route to the others.
func TestClusterServers(t *testing.T) {
	alone, cluster := readCluster(t, "compose.yaml").Services["nats"], readCluster(t, "compose.cluster.yaml")
	routes := string(read(t, "deploy/nats-cluster.conf"))
	stores := map[string]bool{"nats:/data": true} // which is of the server that is alone
	for _, name := range clusterServers() {
		s := cluster.Services[name]
		if s.Environment["HYDRANT_NATS_NAME"] != name || s.Environment["HYDRANT_STORE_BYTES"] != alone.Environment["HYDRANT_STORE_BYTES"] {
			t.Errorf("the environment of %s is %v", name, s.Environment)
		}
		if !slices.Equal(s.Command, []string{"--config", "/etc/hydrant/nats-cluster.conf"}) || !strings.Contains(routes, "nats://"+name+":6222") {
			t.Errorf("%s is started with %v, or has no route to it", name, s.Command)
		}
		store := s.Volumes[len(s.Volumes)-1]
		volume, isStore := strings.CutSuffix(store, ":/data")
		if _, declared := cluster.Volumes[volume]; stores[store] || !isStore || !declared {
			t.Errorf("the store of %s is %q", name, store)
		}
		stores[store] = true
		if name != "nats" && (s.Image != alone.Image || !slices.Equal(s.Healthcheck.Test, alone.Healthcheck.Test) || len(s.Ports) > 0) {
			t.Errorf("%s is %+v", name, s)
		}
	}
	if !strings.Contains(routes, "include ./nats.conf") || !strings.Contains(string(read(t, "deploy/nats.conf")), "sync_interval: always") {
		t.Error("the servers do not sync what they acknowledge")
	}
}

// TestClusterHasNoSecrets makes sure that what the override reads is in .env.example, and is no secret.
func TestClusterHasNoSecrets(t *testing.T) {
	file, example := string(read(t, "compose.cluster.yaml")), string(read(t, ".env.example"))
	for _, match := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(file, -1) {
		if !strings.Contains(example, "\n#"+match[1]+"=") {
			t.Errorf(".env.example has no %s", match[1])
		}
	}
	if found := regexp.MustCompile(`(?i)password|secret|_key|token|creds`).FindString(file + string(read(t, "deploy/nats-cluster.conf"))); found != "" {
		t.Errorf("the cluster's files have a %s", found)
	}
}
