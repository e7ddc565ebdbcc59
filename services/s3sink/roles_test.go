package s3sink

import (
	"net/http"
	"slices"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/s3test"
)

const (
	accountA = "111111111111"
	accountB = "222222222222"
	roleA    = "arn:aws:iam::111111111111:role/a"
	roleB    = "arn:aws:iam::222222222222:role/b"
)

func trusting() map[string]string { return map[string]string{roleA: accountA, roleB: accountB} }

// TestRoles delivers for two accounts, each with its own role, asked for with the account as external id.
func TestRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sts := r.startSTS(trusting())
	r.start(sts.assuming)
	long := names.Stream("a-delivery-stream-of-the-longest-name-that-is-accepted-64-chars0")
	a, b := r.stream(long, as(accountA, roleA)), r.stream("b", as(accountB, roleB))
	for range 2 {
		for _, s := range []*deliveryStream{a, b} {
			seq := s.put([]byte("a record\n"))
			wantEqual(t, "the outcome", s.delivered(s.hand(s.describe(seq, seq))).Outcome, batch.Delivered)
		}
	}
	wantEqual(t, "the objects", len(r.keys("data")), 4)
	asked := sts.Requests()
	wantEqual(t, "the roles asked for", len(asked), 2)
	for i, want := range []struct{ role, account, session string }{
		{roleA, accountA, "hydrant-a-delivery-stream-of-the-longest-name-that-is-accepted-6"},
		{roleB, accountB, "hydrant-b"},
	} {
		wantEqual(t, "RoleArn", asked[i].Get("RoleArn"), want.role)
		wantEqual(t, "ExternalId", asked[i].Get("ExternalId"), want.account)
		wantEqual(t, "RoleSessionName", asked[i].Get("RoleSessionName"), want.session)
		wantEqual(t, "DurationSeconds", asked[i].Get("DurationSeconds"), "3600")
	}
	keyA, keyB := s3test.TemporaryKey(roleA, 1), s3test.TemporaryKey(roleB, 2)
	if got := r.s3.SignedBy("PutObject"); !slices.Equal(got, []string{keyA, keyB, keyA, keyB}) {
		t.Errorf("the objects were written by %q", got)
	}
}

// TestNoSTS keeps to the service's own credentials where no STS is named.
func TestNoSTS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo", as(accountA, roleA))
	s.put([]byte("a record\n"))
	_, err := r.destination().Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err)
	if got := r.s3.SignedBy("PutObject"); !slices.Equal(got, []string{accessKey}) {
		t.Errorf("the object was written by %q", got)
	}
}

// TestSTSDown has STS fail for a while: the batch waits, and is then delivered once.
func TestSTSDown(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"single put": 1000, "multipart": several} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			sts := r.startSTS(trusting())
			sts.Fail(reset)
			r.start(sts.assuming)
			s := r.stream("demo", as(accountA, roleA))
			s.fill(size)
			d := s.hand(s.batch())
			natstest.WaitFor(t, "a failure is logged", func() bool { return len(r.messages("ERRORS")) > 0 })
			sts.Fail(nil)
			wantEqual(t, "the outcome", s.delivered(d).Outcome, batch.Delivered)
			r.wantOne("data")
		})
	}
}

// TestCredentialsNotTaken has S3 say that credentials have ended: the next attempt is made with others.
func TestCredentialsNotTaken(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"ExpiredToken": http.StatusBadRequest, "InvalidToken": http.StatusBadRequest, "InvalidAccessKeyId": http.StatusForbidden} {
		t.Run(code, func(t *testing.T) {
			r := newRig(t)
			sts := r.startSTS(trusting())
			r.s3.Fail("PutObject", 1, answer(status, code))
			r.start(sts.assuming)
			s := r.stream("demo", as(accountA, roleA))
			s.put([]byte("a record\n"))
			s.delivered(s.hand(s.batch()))
			if got := r.s3.SignedBy("PutObject"); !slices.Equal(got, []string{s3test.TemporaryKey(roleA, 1), s3test.TemporaryKey(roleA, 2)}) {
				t.Errorf("written by %q", got)
			}
		})
	}
}

// TestEarlierRole looks under an earlier configuration with the role that it names.
func TestEarlierRole(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		trust map[string]string
		want  []string // who asked for the object of the earlier configuration
		as    string   // who wrote
		made  int      // objects under the newer configuration
	}{
		{"both may be assumed", trusting(), []string{s3test.TemporaryKey(roleA, 1)}, "", 0},
		{"the earlier one no longer", map[string]string{roleB: accountA}, nil, s3test.TemporaryKey(roleB, 2), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.s3.Bucket("other")
			s := r.stream("demo", as(accountA, roleA))
			s.put([]byte("a record\n"))
			d := s.batch()
			_, err := r.destination().Deliver(t.Context(), s.attempt(d)) // with the service's own credentials
			check(t, err)
			s.update(toBucket("other"))
			role := roleB
			s.doc.Destination.S3.RoleARN = &role
			sts := r.startSTS(tt.trust)
			result, err := r.destination(sts.assuming).Deliver(t.Context(), s.attempt(d))
			check(t, err)
			wantEqual(t, "the outcome", result.Outcome, batch.Delivered)
			if got := r.s3.SignedBy("HeadObject"); !slices.Equal(got, tt.want) {
				t.Errorf("looked for by %q, want %q", got, tt.want)
			}
			wantEqual(t, "the objects elsewhere", len(r.keys("other")), tt.made)
			if writers := r.s3.SignedBy("PutObject"); tt.as != "" {
				wantEqual(t, "who wrote", writers[len(writers)-1], tt.as)
			}
		})
	}
}
