package composed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHeir has a shell in place of docker, which notes what it is asked.
func TestHeir(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*heir)
		asks string
	}{
		{"of a test that removed its project", (*heir).dismiss, ""},
		{"of a test whose process is gone", (*heir).end, "compose --project-name hydrant-test-1 down --volumes --remove-orphans --timeout 0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			noted := filepath.Join(dir, "noted")
			const docker = "#!/bin/sh\necho \"$*\" >\"$NOTED\"\n"
			if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(docker), 0o700); err != nil { // #nosec G306 -- it is run
				t.Fatal(err)
			}
			p := &Project{t: t, name: "hydrant-test-1", Env: []string{"NOTED=" + noted, "PATH=" + dir + ":" + os.Getenv("PATH")}}
			c.end(startHeir(p))
			asked, err := os.ReadFile(noted) // #nosec G304 -- the test's own
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if string(asked) != c.asks {
				t.Errorf("it asked for %q, want %q", asked, c.asks)
			}
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
