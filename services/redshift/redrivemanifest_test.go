package redshift

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"hydrant/shared/redrive"
)

// TestRedriveChoosesWhatIsMeant has a dry run, a time range, a limit, and what is not the delivery stream's.
func TestRedriveChoosesWhatIsMeant(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	mine := y.setAside("a b")
	other := *y.doc
	other.ID, other.Name = "another-incarnation", "clicks-2" // its name goes on as that of a version would
	others := &yard{warehouse: y.warehouse, doc: &other}
	theirs := others.setAside("c")
	y.put("errors/manifests/2026/11/27/04/clicks-1-by-hand", `{"entries":[{"url":"s3://data/staged/d"}]}`, nil)
	y.put("errors/manifests/2026/11/27/04/readme", "…", nil)
	before := y.s3.Keys("data")

	for name, tt := range map[string]struct {
		change func(*redrive.Walk)
		want   redrive.Report
	}{
		"dry":        {func(w *redrive.Walk) { w.DryRun = true }, redrive.Report{DryRun: true, Items: 1, Records: 20, Others: 2}},
		"earlier":    {func(w *redrive.Walk) { w.Range.To = time.Now().Add(-time.Hour) }, redrive.Report{}},
		"later":      {func(w *redrive.Walk) { w.Range.From = time.Now().Add(time.Hour) }, redrive.Report{}},
		"dry, today": {func(w *redrive.Walk) { w.DryRun, w.Range.From = true, time.Now().Add(-time.Hour) }, redrive.Report{DryRun: true, Items: 1, Records: 20, Others: 2}},
	} {
		report, err := y.walk(tt.change).Run(t.Context(), y.redriver())
		check(t, err)
		if report != tt.want {
			t.Errorf("%s: the report is %+v, want %+v", name, report, tt.want)
		}
		wantEqual(t, "the bucket after "+name, fmt.Sprint(y.s3.Keys("data")), fmt.Sprint(before))
	}
	wantEqual(t, "the COPYs", len(y.front.Copies()), 0)

	wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Records: 20, Delivered: 20, Others: 2})
	wantEqual(t, "the table", y.rows(), "a b")
	wantEqual(t, "whether its own is there", slices.Contains(y.s3.Keys("data"), mine), false)
	wantEqual(t, "whether the other's is there", slices.Contains(y.s3.Keys("data"), theirs), true)
}

// TestRedriveReportsOtherForms leaves a manifest that somebody changed, with a reason.
func TestRedriveReportsOtherForms(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	key := y.setAside("a")
	_, object := y.s3.Content("data", key)
	y.put(key, `{"entries":[{"url":"s3://data/staged/a","mandatory":true,"meta":{"content_length":2}}]}`, object.Metadata)
	var steps []redrive.Step
	report, err := y.walk(func(w *redrive.Walk) { w.Told = func(s redrive.Step) { steps = append(steps, s) } }).Run(t.Context(), y.redriver())
	check(t, err)
	wantReport(t, report, redrive.Report{Items: 1, Kept: 1, Records: 10})
	wantEqual(t, "whether nothing is left", report.Clean(), false)
	if len(steps) != 1 || steps[0].Outcome.Why == nil || !errors.Is(steps[0].Outcome.Why, errOtherForm) {
		t.Errorf("it is told as %+v", steps)
	}
}

// TestRedriveUnderAPrefix has the delivery stream's error manifests in a folder of its owner's choice.
func TestRedriveUnderAPrefix(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.doc.Destination.Redshift.Description.S3DestinationDescription.ErrorOutputPrefix = aws.String("redriven/failed+1/é ")
	key := y.setAside("a")
	wantEqual(t, "whether it is there", strings.HasPrefix(key, "redriven/failed+1/é errors/manifests/2026/11/27/04/clicks-"), true)
	wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Records: 10, Delivered: 10})
	wantEqual(t, "what is moved aside", fmt.Sprint(y.keys("redriven/redriven/")), fmt.Sprint([]string{strings.TrimPrefix(key, "redriven/")}))
	wantReport(t, y.run(), redrive.Report{})
	wantEqual(t, "the table", y.rows(), "a")
}

func TestReadManifest(t *testing.T) {
	t.Parallel()
	const good = `{"entries":[{"url":"s3://b/k&<>","mandatory":true},{"url":"s3://b/l/ä","mandatory":true}]}` + "\n"
	found, err := readManifest([]byte(good))
	check(t, err)
	wantEqual(t, "the locations", strings.Join(found, " "), "s3://b/k&<> s3://b/l/ä")
	for name, bad := range map[string]string{
		"nothing": "", "no JSON": "x", "no entries": `{"entries":[]}`, "another member": `{"entries":[{"url":"s3://b/k","x":1}]}`,
		"no object": `{"entries":[{"url":"s3://b/"}]}`, "no S3": `{"entries":[{"url":"http://b/k"}]}`, "cut": good[:40],
		"twice": `{"entries":[{"url":"s3://b/k"},{"url":"s3://b/k"}]}`, "more behind it": good + "{}",
	} {
		if found, err := readManifest([]byte(bad)); !errors.Is(err, errOtherForm) {
			t.Errorf("%s: read as %v, %v", name, found, err)
		}
	}
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(`{"entries":[{"url":"s3://b/k","mandatory":true}]}`))
	f.Add([]byte(`{"entries":[{"url":"s3://b/k"}],"entries":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := readManifest(data)
		if err != nil {
			if !errors.Is(err, errOtherForm) || found != nil {
				t.Fatalf("%v, %v", found, err)
			}
			return
		}
		again, err := manifestOf(at(found)).encode()
		check(t, err)
		same, err := readManifest(again)
		check(t, err)
		if !slices.Equal(found, same) {
			t.Fatalf("%q became %q", found, same)
		}
	})
}

// at is objects at locations.
func at(locations []string) (objects []*object) {
	for _, l := range locations {
		o := (&Redriver{}).found(l, nil)
		objects = append(objects, o)
	}
	return objects
}
