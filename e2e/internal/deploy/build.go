// Package deploy starts Hydrant for a test: the same suite runs against everything in one process and against the built
// programs, each a process of its own.
package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs are the built binaries.
type Programs struct{ dir string }

// Build builds every program into dir; tags are build tags, such as "faults".
func Build(ctx context.Context, dir, tags string) (Programs, error) {
	args := []string{"build", "-o", dir + string(filepath.Separator), "-tags", tags,
		"hydrant/hydrant",
		"hydrant/services/ingest/cmd/hydrant-ingest",
		"hydrant/services/buffer/cmd/hydrant-buffer",
		"hydrant/services/s3sink/cmd/hydrant-s3sink",
		"hydrant/services/es/cmd/hydrant-es",
		"hydrant/services/redshift/cmd/hydrant-redshift",
		"hydrant/e2e/cmd/redshift-standin",
		"github.com/nats-io/nats-server/v2",
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return Programs{}, fmt.Errorf("build the programs: %w", err)
	}
	return Programs{dir}, nil
}

// Path is where a program is.
func (p Programs) Path(name string) string { return filepath.Join(p.dir, name) }
