package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"hydrant/e2e/internal/deploy"
)

// TestRedrive has rows set aside since their table is missing for longer than they are tried; then it is there, and a person loads them
// from another terminal, while the service loads others. Nothing but the delivery stream's name says where anything is.
func TestRedrive(t *testing.T) {
	d := deploy.Start(t, deploy.OneProcess, programs, deploy.Options{Settings: impatient()})
	w := startWarehouse(t, d)
	createRedshift(t, d, "aside", w.to("aside", "JSON 'auto'", 1))
	putAll(t, d, "aside", rowsFrom(0, 1000))
	deploy.Eventually(t, "all is set aside", func() bool { return redriveReport(t, d, "--dry-run").Records == 1000 })
	before := d.Objects(stagingBucket, "")
	wantText(t, tool(t, d, "redrive", "aside", "--dry-run"), "set aside, with 1000 records; nothing was changed")
	wantText(t, tool(t, d, "redrive", "aside", "--to", "2026-01-01T00:00:00Z"), "nothing of aside is set aside there")
	if after := d.Objects(stagingBucket, ""); len(after) != len(before) {
		t.Errorf("there were %d objects, and are %d", len(before), len(after))
	}

	w.exec("CREATE TABLE aside (n INT, text VARCHAR(100))")
	putAll(t, d, "aside", rowsFrom(1000, 500))
	if r := redriveReport(t, d); r.Records != 1000 || r.Delivered != 1000 || r.Already != 0 || r.Left != 0 || r.Kept != 0 || r.Done == 0 {
		t.Errorf("the report is %+v", r)
	}
	w.want("aside", 1500)
	wantText(t, tool(t, d, "redrive", "aside"), "nothing of aside is set aside there")
	w.want("aside", 1500)
	moved := d.Objects(stagingBucket, "redriven/errors/manifests/")
	if left := d.Objects(stagingBucket, "errors/"); len(left) != 0 || len(moved) == 0 {
		t.Errorf("%d manifests are left, %d moved", len(left), len(moved))
	}

	create(t, d, "plain", destination("plain", "", 1))
	wantText(t, tool(t, d, "redrive", "plain"), "plain delivers to S3, and nothing of it is set aside")
}

func wantText(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// redriven is what `hydrant redrive --json` says at last.
type redriven struct{ Items, Done, Kept, Records, Delivered, Already, Left int }

func redriveReport(t *testing.T, d *deploy.Deployment, args ...string) redriven {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(tool(t, d, append([]string{"redrive", "aside", "--json"}, args...)...)), "\n")
	var last struct {
		Stream string
		Report *redriven
	}
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if last.Report == nil || last.Stream != "aside" || len(lines) != last.Report.Items+1 {
		t.Fatalf("it says %v", fmt.Sprint(lines))
	}
	return *last.Report
}
