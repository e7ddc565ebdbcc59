package main

import (
	"strings"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/pgtest"
)

// An entry of the sink that staged an object has the same batch id as the one of its load.
func TestBacklogOfOneSubjectIgnoresTheOthers(t *testing.T) {
	conn := natstest.Start(t).Conn()
	back := newBacklog(0, 0)
	back.ack(100)
	stop, err := back.watchOne(conn, names.DeliveriesSubject(names.LegRedshift, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, subject := range []string{
		names.StagingSubject("demo"), names.DeliveriesSubject(names.LegS3, "demo"), names.DeliveriesSubject(names.LegRedshift, "other"),
		names.DeliveriesSubject(names.LegRedshift, "demo"),
	} {
		if err := conn.Publish(subject, entry(t, "one", 100, batch.Delivered)); err != nil {
			t.Fatal(err)
		}
	}
	if err := back.drained(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := back.history(); len(got) != 1 || back.undelivered() != 0 {
		t.Errorf("%d entries were counted, and %d bytes are left", len(got), back.undelivered())
	}
}

func TestManifestNamesWhatIsStaged(t *testing.T) {
	got, err := manifestOf([]batch.Delivery{{Location: "s3://b/one"}, {Location: "s3://b/two"}})
	want := `{"entries":[{"url":"s3://b/one","mandatory":true},{"url":"s3://b/two","mandatory":true}]}`
	if err != nil || string(got) != want {
		t.Errorf("the manifest is %s, %v", got, err)
	}
}

func TestCopiesAreReadOutOfMetrics(t *testing.T) {
	const others = "# TYPE hydrant_delivery_to_redshift_success_total counter\n" +
		`hydrant_delivery_to_redshift_success_total{stream="other"} 7` + "\n"
	for _, c := range []struct {
		name, metrics string
		want          int
		says          string
	}{
		{"two", others + `hydrant_delivery_to_redshift_success_total{stream="s"} 2` + "\n", 2, ""},
		{"none", others, 0, ""},
		{"one failed", others + `hydrant_delivery_to_redshift_failures_total{code="Redshift.X",stream="s"} 1` + "\n", 0, "a COPY failed"},
		{"no number", `hydrant_delivery_to_redshift_success_total{stream="s"} two` + "\n", 0, "two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := copiesIn(c.metrics, "s")
			if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

// A process that was there before counts for what it used since, a new one for all it used, and one that has ended for nothing.
func TestGrown(t *testing.T) {
	before := map[int]time.Duration{1: time.Second, 2: time.Minute}
	after := map[int]time.Duration{1: 3 * time.Second, 3: time.Second}
	if got := grown(before, after); got != 3*time.Second {
		t.Errorf("they used %s", got)
	}
}

// A table that lacks rows fails the row, whoever was to load them.
func TestWarehouseCountsRows(t *testing.T) {
	t.Parallel()
	w, err := startWarehouse(t.Context())
	if err != nil {
		pgtest.Missing(t, err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	if err := w.make(ctx, "counted"); err != nil {
		t.Fatal(err)
	}
	if err := w.exec(ctx, "INSERT INTO counted (sequence) VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	if err := w.want(ctx, "counted", 2); err != nil {
		t.Error(err)
	}
	if err := w.want(ctx, "counted", 3); err == nil || !strings.Contains(err.Error(), "2 rows, and should have 3") {
		t.Errorf("a row that is missing gives %v", err)
	}
	if err := w.empty(ctx, "counted"); err != nil {
		t.Error(err)
	}
	if err := w.want(ctx, "counted", 0); err != nil {
		t.Error(err)
	}
	if pids, err := w.pids(); err != nil || len(pids) < 2 {
		t.Errorf("PostgreSQL has the processes %v, %v", pids, err)
	}
}
