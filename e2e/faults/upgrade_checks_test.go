package faults

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// awaitDeliveries waits until each kind of destination has been delivered to again.
func (u *upgrade) awaitDeliveries() {
	u.t.Helper()
	before := u.deliveries()
	deploy.Eventually(u.t, "deliveries go on", func() bool {
		now := u.deliveries()
		for _, subject := range u.watched() {
			if now[subject] == before[subject] {
				return false
			}
		}
		return true
	})
}

// watched are where the deliveries to each kind of destination are told.
func (u *upgrade) watched() []string {
	return []string{
		names.DeliveriesSubject(names.LegS3, "plain"), names.DeliveriesSubject(names.LegES, "documents"), names.DeliveriesSubject(names.LegRedshift, "rows"),
	}
}

// deliveries counts them by their subjects.
func (u *upgrade) deliveries() map[string]uint64 {
	u.t.Helper()
	s, err := u.js.Stream(u.t.Context(), names.DeliveriesStream)
	u.must(err)
	info, err := s.Info(u.t.Context(), jetstream.WithSubjectFilter("deliveries.>"))
	u.must(err)
	return info.State.Subjects
}

// awaitRefusal waits until a replica says that it is ready, and leaves something alone for the reason that has these words.
func (u *upgrade) awaitRefusal(kind, thing, reason string) {
	u.t.Helper()
	deploy.Eventually(u.t, kind+" leaves alone "+thing, func() bool {
		for name, p := range u.parts {
			if !strings.HasPrefix(name, kind+"-") {
				continue
			}
			for line := range strings.Lines(u.readyz(p)) {
				if strings.HasPrefix(line, "left alone: "+thing) && strings.Contains(line, "newer version") && strings.Contains(line, reason) {
					return true
				}
			}
		}
		return false
	})
}

// leavesAlone fails if the part leaves anything alone.
func (u *upgrade) leavesAlone(p *part) {
	u.t.Helper()
	if answer := u.readyz(p); answer != "ready\n" {
		u.t.Errorf("%s says %q", p.Name(), answer)
	}
}

func (u *upgrade) readyz(p *part) string {
	u.t.Helper()
	request, err := http.NewRequestWithContext(u.t.Context(), http.MethodGet, p.ready, nil)
	u.must(err)
	answer, err := http.DefaultClient.Do(request)
	u.must(err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	u.must(err)
	if answer.StatusCode != http.StatusOK {
		u.t.Logf("%s is not ready: %s", p.Name(), body)
	}
	return string(body)
}

// toldByStatus looks at the installation with the tools of this version.
func (u *upgrade) toldByStatus(stream, words string) {
	u.t.Helper()
	deploy.Eventually(u.t, "hydrant status tells why "+stream+" waits", func() bool {
		status := exec.CommandContext(u.t.Context(), programs.Path("hydrant"), "status", stream) //nolint:gosec // our own program
		status.Env = append(os.Environ(), u.env...)
		out, err := status.CombinedOutput()
		if err != nil {
			u.t.Logf("status: %v\n%s", err, out)
		}
		return strings.Contains(string(out), words)
	})
}

func (u *upgrade) objectsOf(of string) int {
	u.t.Helper()
	list, err := u.direct.ListObjectsV2(u.t.Context(), &s3.ListObjectsV2Input{Bucket: &of})
	if err != nil {
		return 0
	}
	return len(list.Contents)
}

// verdict counts every record in S3, in the index and in the table. Nothing may be set aside.
func (u *upgrade) verdict() {
	u.t.Helper()
	if aside := slices.Concat(u.objects(u.t, failedPrefix), u.objects(u.t, manifestPrefix)); len(aside) > 0 {
		u.t.Errorf("%d files or manifests name what was set aside", len(aside))
	}
	u.rig.verdict(u.t, checker.Options{})
	u.countDocuments(u.t, u.documents)
	u.countRows(u.t, u.rows)
}

// wasNewer makes sure that the next version wrote what this one cannot read, or nothing was tested.
func (u *upgrade) wasNewer() {
	u.t.Helper()
	for leg, stream := range map[names.Leg]names.Stream{names.LegS3: "plain", names.LegES: "documents"} {
		u.batchIsNewer(names.BatchesSubject(leg, stream, 0))
		u.recordIsNewer(names.RecordsSubject(stream, 0))
	}
	u.recordIsNewer(names.RecordsSubject("rows", 0))
	for _, subject := range u.watched() {
		u.deliveryIsNewer(subject)
	}
}

func (u *upgrade) batchIsNewer(subject string) {
	u.t.Helper()
	var d struct {
		Format       int
		RecordFormat int `json:"record_format"`
	}
	u.last(names.BatchesStream, subject, &d)
	if d.Format != 2 || d.RecordFormat != 2 {
		u.t.Errorf("the last batch at %s is %+v", subject, d)
	}
}

func (u *upgrade) deliveryIsNewer(subject string) {
	u.t.Helper()
	var d struct{ Format int }
	u.last(names.DeliveriesStream, subject, &d)
	if d.Format != 2 {
		u.t.Errorf("the last delivery at %s is %+v", subject, d)
	}
}

// last reads the last message with a subject.
func (u *upgrade) last(stream, subject string, into any) {
	u.t.Helper()
	s, err := u.js.Stream(u.t.Context(), stream)
	u.must(err)
	m, err := s.GetLastMsgForSubject(u.t.Context(), subject)
	u.must(err)
	u.must(json.Unmarshal(m.Data, into))
}

func (u *upgrade) recordIsNewer(subject string) {
	u.t.Helper()
	logs := u.js.ListStreams(u.t.Context(), jetstream.WithStreamListSubject(subject))
	for info := range logs.Info() {
		log, err := u.js.Stream(u.t.Context(), info.Config.Name)
		u.must(err)
		last, err := log.GetMsg(u.t.Context(), info.State.LastSeq)
		u.must(err)
		if record.CheckFormat(last.Header) == nil {
			u.t.Errorf("the last message has the headers %v", last.Header)
		}
	}
	u.must(logs.Err())
}
