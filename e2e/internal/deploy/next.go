package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit is one place in the sources that the next version has otherwise.
type edit struct{ file, here, next string }

// edits make a version of Hydrant in which everything stored has one format more, and which writes it.
func edits() []edit {
	raised := func(file, name string, from int) edit {
		return edit{file, fmt.Sprintf("const %s = %d\n", name, from), fmt.Sprintf("const %s = %d\n", name, from+1)}
	}
	return []edit{
		raised("shared/batch/batch.go", "Format", 1),
		raised("shared/record/record.go", "Format", 1),
		raised("shared/datapoints/datapoints.go", "Format", 1),
		raised("shared/delivery/retries.go", "RetriesFormat", 1),
		raised("shared/delivery/logentry.go", "LogFormat", 1),
		raised("shared/catalog/document.go", "Format", 4),
		{"shared/catalog/document.go", "\treturn needed\n", "\treturn max(needed, Format)\n"},
		raised("services/es/progress.go", "progressFormat", 1),
		raised("services/redshift/object.go", "progressFormat", 1),
		{"services/ingest/committer.go", "\theader[jetstream.MsgIDHeader] =", "\theader[record.FormatHeader] = []string{\"2\"}\n\theader[jetstream.MsgIDHeader] ="},
	}
}

// BuildNext builds the services of a version to come into dir: this one, with every format raised. Nothing in the
// sources knows of it; what differs is laid over them for the build.
func BuildNext(ctx context.Context, dir string) (Programs, error) {
	overlay, err := writeOverlay(ctx, dir)
	if err != nil {
		return Programs{}, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", dir+string(filepath.Separator), //nolint:gosec // its arguments are files of this test's
		"hydrant/services/ingest/cmd/hydrant-ingest",
		"hydrant/services/buffer/cmd/hydrant-buffer",
		"hydrant/services/s3sink/cmd/hydrant-s3sink",
		"hydrant/services/es/cmd/hydrant-es",
		"hydrant/services/redshift/cmd/hydrant-redshift")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return Programs{}, fmt.Errorf("build the next version: %w", err)
	}
	return Programs{dir: dir}, nil
}

// writeOverlay writes the edited files below dir, and what tells the go command of them.
func writeOverlay(ctx context.Context, dir string) (string, error) {
	root, err := repository(ctx)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, e := range edits() {
		original := filepath.Join(root, e.file)
		edited := filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		from := original
		if _, again := overlay.Replace[original]; again {
			from = edited
		}
		if err := apply(e, from, edited); err != nil {
			return "", err
		}
		overlay.Replace[original] = edited
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, data, 0o600)
}

func apply(e edit, from, to string) error {
	data, err := os.ReadFile(from) //nolint:gosec // a source file of this repository, or one written here
	if err != nil {
		return err
	}
	if n := strings.Count(string(data), e.here); n != 1 {
		return fmt.Errorf("%s has %q %d times: the next version is to be made otherwise", e.file, e.here, n)
	}
	return os.WriteFile(to, []byte(strings.Replace(string(data), e.here, e.next, 1)), 0o600)
}

// repository is the folder that holds the modules.
func repository(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "hydrant/e2e").Output()
	if err != nil {
		return "", fmt.Errorf("find the sources: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
