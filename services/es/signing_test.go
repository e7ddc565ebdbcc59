package es

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/s3test"
)

const (
	account    = "000000000000"
	searchRole = "arn:aws:iam::000000000000:role/search"
	otherRole  = "arn:aws:iam::000000000000:role/other"
	s3Role     = "arn:aws:iam::000000000000:role/hydrant"
)

// signed is a rig whose cluster is one of Amazon's domains: roles are assumed, and requests signed.
type signed struct {
	*rig
	sts    *s3test.STS
	domain *fakees.Domain
	logged *logtest.Lines
}

// newSigned has an STS that trusts roles, besides the one that writes to S3.
func newSigned(t *testing.T, trusted ...string) *signed {
	t.Helper()
	x := &signed{rig: newRig(t), logged: new(logtest.Lines)}
	x.log = slog.New(slog.NewTextHandler(x.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	trust := map[string]string{s3Role: account}
	for _, role := range trusted {
		trust[role] = account
	}
	x.sts = s3test.StartSTS(x.s3, trust)
	x.domain = fakees.StartDomain(t, x.es, "eu-west-1", func(key string) (secret, token string) {
		if strings.HasPrefix(key, "ASIA-") {
			return s3test.TemporarySecret, s3test.TemporaryToken
		}
		return "", ""
	})
	x.cfg.ESSigV4, x.cfg.STSEndpoint, x.cfg.ESEndpoints = true, x.sts.URL(), map[string]string{domain: x.domain.URL()}
	t.Cleanup(func() { wantNoSecret(t, "the service's log", x.logged.String()) })
	return x
}

// to makes a delivery stream to the domain, with a role.
func (x *signed) to(name names.Stream, role string, options ...option) *deliveryStream {
	x.t.Helper()
	arn := domain
	return x.stream(name, append(options, func(d *types.AmazonopensearchserviceDestinationDescription) {
		d.ClusterEndpoint, d.DomainARN, d.RoleARN = nil, &arn, &role
	})...)
}

// asked is how often STS was asked for a role.
func (x *signed) asked(role string) (n int) {
	for _, q := range x.sts.Requests() {
		if q.Get("RoleArn") == role {
			n++
		}
	}
	return n
}

func wantNoSecret(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{s3test.TemporarySecret, s3test.TemporaryToken, s3test.SecretKey} {
		if strings.Contains(text, secret) {
			t.Errorf("a secret is in %s", where)
		}
	}
}

// wantRefused checks an attempt's error, and that no secret is in any part of it.
func wantRefused(t *testing.T, err error, class delivery.Class, code string, says ...string) {
	t.Helper()
	var e *delivery.Error
	if !errors.As(err, &e) || e.Class != class || e.Code != code {
		t.Fatalf("Deliver returned %+v, want %s", err, code)
	}
	for _, text := range says {
		if !strings.Contains(e.Message+e.Error(), text) {
			t.Errorf("%q and %q say nothing of %q", e.Message, e, text)
		}
	}
	wantNoSecret(t, "the error", fmt.Sprintf("%s %+v %#v", e.Message, e, e.Err))
}

// Each delivery stream's requests are signed by its own role, for the region of its domain.
func TestSignedByRole(t *testing.T) {
	x := newSigned(t, searchRole, otherRole)
	d := x.destination()
	for i, c := range []struct {
		name names.Stream
		role string
	}{{"demo", searchRole}, {"other", otherRole}, {"demo2", searchRole}} {
		s := x.to(c.name, c.role)
		got, err := d.Deliver(t.Context(), s.attempt(s.documents(3, 10)))
		check(t, err)
		wantEqual(t, "the records", got.Records, 3)
		letIn, refused := x.domain.Signers()
		wantEqual(t, "the refused requests", len(refused), 0)
		for _, key := range letIn[2*i:] {
			wantEqual(t, "who signed", key, s3test.TemporaryKey(c.role, i+1))
		}
		asked := x.sts.Requests()
		wantEqual(t, "the requests to STS", len(asked), i+1)
		wantEqual(t, "ExternalId", asked[i].Get("ExternalId"), account)
		wantEqual(t, "RoleSessionName", asked[i].Get("RoleSessionName"), "hydrant-"+string(c.name))
	}
}

// A role that may not be assumed is tried for the retry duration. Then the documents are set aside, and everybody is told why.
func TestRoleRefused(t *testing.T) {
	x := newSigned(t) // but not the search role
	stop := x.start()
	s := x.to("demo", searchRole, retryFor(1))
	d := s.documents(25, 20)
	s.hand(d)
	got := s.outcome(d)
	wantEqual(t, "the outcome", got.Outcome, batch.SetAside)
	wantEqual(t, "the failed", got.FailedRecords, 25)
	lines := x.failed()
	wantEqual(t, "the lines", len(lines), 25)
	for _, l := range lines {
		if l.ErrorCode != codeAccessDenied || !strings.Contains(l.ErrorMessage, searchRole) || l.AttemptsMade < 2 {
			t.Fatalf("a line is %+v", l)
		}
		wantNoSecret(t, "a line", l.ErrorMessage)
	}
	stop()
	letIn, refused := x.domain.Signers()
	wantEqual(t, "the requests to the domain", len(letIn)+len(refused), 0)
	entries := s.errorLog()
	first, failed := entries[0], slices.IndexFunc(entries, func(e delivery.LogEntry) bool { return e.ErrorCode == codeDocumentsFailed })
	wantEqual(t, "the code", first.ErrorCode, codeAccessDenied)
	if failed < 0 {
		t.Fatalf("the error log says nothing of the documents: %+v", entries)
	}
	wantEqual(t, "where they are", entries[failed].SetAsideAt, got.FailedLocation)
	if !strings.Contains(first.Message, "trust policy") || !strings.Contains(first.Detail, "AccessDenied") || !strings.Contains(first.Detail, searchRole) {
		t.Errorf("the error log has %+v", first)
	}
	wantNoSecret(t, "the error log", fmt.Sprintf("%+v", entries))
}

// errorLog is what a delivery stream's owner is told.
func (s *deliveryStream) errorLog() (entries []delivery.LogEntry) {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), names.ErrorsStream)
	check(s.t, err)
	for n := range stream.CachedInfo().State.LastSeq {
		m, err := stream.GetMsg(s.t.Context(), n+1)
		check(s.t, err)
		entry, err := delivery.DecodeLogEntry(m.Data)
		check(s.t, err)
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		s.t.Fatal("the error log is empty")
	}
	return entries
}

// What STS says for a while is told as what it is, and forgotten when it lets the role be assumed.
func TestSTSFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(http.Handler, http.ResponseWriter, *http.Request)
		class delivery.Class
		code  string
		says  string
	}{
		{"refused", s3test.STSError(http.StatusForbidden, "AccessDenied"), delivery.Permanent, codeAccessDenied, "trust policy"},
		{"no such role", s3test.STSError(http.StatusBadRequest, "ValidationError"), delivery.Permanent, codeAccessDenied, "ValidationError"},
		{"throttled", s3test.STSError(http.StatusBadRequest, "Throttling"), delivery.Retryable, objectstore.CodeInternal, "cannot be signed"},
		{"broken", s3test.STSError(http.StatusInternalServerError, "InternalFailure"), delivery.Retryable, objectstore.CodeInternal, "cannot be signed"},
		{"away", s3test.Reset, delivery.Retryable, objectstore.CodeInternal, "assume the role " + searchRole},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newSigned(t, searchRole)
			s := x.to("demo", searchRole)
			d := s.documents(3, 10)
			x.sts.Fail(c.do)
			destination := x.destination()
			_, err := destination.Deliver(t.Context(), s.attempt(d))
			wantRefused(t, err, c.class, c.code, c.says)
			x.sts.Fail(nil)
			natstest.WaitFor(t, "the role is assumed", func() bool {
				got, err := destination.Deliver(t.Context(), s.attempt(d))
				return err == nil && got.Records == 3
			})
			wantEqual(t, "how often one was written", x.es.Writes(), 1)
		})
	}
}

// A session that the domain does not take any more is replaced, once for all requests, and no attempt fails for it.
func TestSessionRevoked(t *testing.T) {
	x := newSigned(t, searchRole)
	s := x.to("demo", searchRole)
	destination := x.destination(func(c *Config) { c.BulkRecords = 10 })
	_, err := destination.Deliver(t.Context(), s.attempt(s.documents(10, 20)))
	check(t, err)
	x.domain.Revoke(s3test.TemporaryKey(searchRole, 1))
	for range 6 {
		s.documents(10, 20)
	}
	got, err := destination.Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err)
	wantEqual(t, "the records", got.Records, 70)
	wantEqual(t, "how often STS was asked", x.asked(searchRole), 2)
	letIn, refused := x.domain.Signers()
	if len(refused) == 0 {
		t.Error("nobody used the session that was revoked")
	}
	wantEqual(t, "who signed the last", letIn[len(letIn)-1], s3test.TemporaryKey(searchRole, 2))
	wantEqual(t, "how often one was written", x.es.Writes(), 1)
}

// A domain that takes no session at all is not asked more than twice for each request.
func TestSessionNeverTaken(t *testing.T) {
	x := newSigned(t, searchRole)
	s := x.to("demo", searchRole)
	for n := range 20 {
		x.domain.Revoke(s3test.TemporaryKey(searchRole, n+1))
	}
	_, err := x.destination().Deliver(t.Context(), s.attempt(s.documents(3, 10)))
	wantRefused(t, err, delivery.Permanent, codeAccessDenied, "security token included in the request is expired")
	_, refused := x.domain.Signers()
	if len(refused) > 2*2*fruitless { // to look and to index, in each pass
		t.Errorf("it was asked %d times", len(refused))
	}
}

// Credentials that end are renewed before they do.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, sessionEnds)
}

func sessionEnds(t *testing.T, within time.Duration) bool {
	x := newSigned(t, searchRole)
	x.sts.Live(3 * within)
	s := x.to("demo", searchRole)
	d := s.documents(3, 10)
	destination := x.destination()
	natstest.WaitFor(t, "the credentials are renewed", func() bool {
		_, err := destination.Deliver(t.Context(), s.attempt(d))
		return err == nil && x.asked(searchRole) >= 2
	})
	letIn, refused := x.domain.Signers()
	if len(refused) > 0 {
		t.Logf("signed in time, and late: %q", refused)
		return false
	}
	signers := slices.Compact(letIn)
	if sessions := slices.Compact(slices.Sorted(slices.Values(signers))); len(sessions) < 2 || len(sessions) < len(signers) {
		t.Errorf("signed by %q: want two sessions, one after the other", signers)
	}
	wantEqual(t, "how often one was written", x.es.Writes(), 1)
	return true
}
