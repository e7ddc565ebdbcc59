// Package deploy starts Hydrant for a test: the same suite runs against everything in one process, against the built programs, each a
// process of its own, and against the containers of compose.yaml.
package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Programs are the built binaries, and images.
type Programs struct {
	dir    string
	images string // their tag, where containers are what is tested
}

func everything() []string {
	return []string{
		"hydrant/hydrant",
		"hydrant/services/ingest/cmd/hydrant-ingest",
		"hydrant/services/buffer/cmd/hydrant-buffer",
		"hydrant/services/s3sink/cmd/hydrant-s3sink",
		"hydrant/services/es/cmd/hydrant-es",
		"hydrant/services/redshift/cmd/hydrant-redshift",
		"hydrant/e2e/cmd/redshift-standin",
		"github.com/nats-io/nats-server/v2",
	}
}

// Build builds every program into dir; tags are build tags, such as "faults".
func Build(ctx context.Context, dir, tags string) (Programs, error) {
	return build(ctx, dir, []string{"-tags", tags}, everything()...)
}

// Images are those with a tag, which have to be there, and the command-line tools, which are built into dir. With them Compose is the
// only kind that can be started.
func Images(ctx context.Context, dir, tag string) (Programs, error) {
	p, err := build(ctx, dir, []string{"-tags", "toolsonly"}, "hydrant/hydrant")
	p.images = tag
	return p, err
}

func build(ctx context.Context, dir string, how []string, packages ...string) (Programs, error) {
	args := slices.Concat([]string{"build", "-o", dir + string(filepath.Separator)}, how, packages)
	command := exec.CommandContext(ctx, "go", args...) // #nosec G204 -- its arguments are written here
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return Programs{}, fmt.Errorf("build the programs: %w", err)
	}
	return Programs{dir: dir}, nil
}

// Start tells whether a kind can be started with them.
func (p Programs) Start(kind Kind) bool { return (kind == Compose) == (p.images != "") }

// Path is where a program is.
func (p Programs) Path(name string) string { return filepath.Join(p.dir, name) }
