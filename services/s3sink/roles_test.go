package s3sink

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

const (
	accountA = "111111111111"
	accountB = "222222222222"
	roleA    = "arn:aws:iam::111111111111:role/a"
	roleB    = "arn:aws:iam::222222222222:role/b"
)

func trusting() map[string]string { return map[string]string{roleA: accountA, roleB: accountB} }

func deliveryError(t *testing.T, err error) *delivery.Error {
	t.Helper()
	var e *delivery.Error
	if !errors.As(err, &e) {
		t.Fatalf("Deliver returned %v, want a delivery.Error", err)
	}
	return e
}

func className(c delivery.Class) string {
	return map[delivery.Class]string{delivery.Retryable: "retryable", delivery.Permanent: "permanent", delivery.ShuttingDown: "shutting down"}[c]
}

// TestRoles delivers for two accounts, each with its own role, asked for with the account as external id.
func TestRoles(t *testing.T) {
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
	asked := sts.requests()
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
	keyA, keyB := temporaryKey(roleA, 1), temporaryKey(roleB, 2)
	if got := r.s3.signedBy("PutObject"); !slices.Equal(got, []string{keyA, keyB, keyA, keyB}) {
		t.Errorf("the objects were written by %q", got)
	}
}

// TestNoSTS keeps to the service's own credentials where no STS is named.
func TestNoSTS(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo", as(accountA, roleA))
	s.put([]byte("a record\n"))
	_, err := r.destination().Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err)
	if got := r.s3.signedBy("PutObject"); !slices.Equal(got, []string{accessKey}) {
		t.Errorf("the object was written by %q", got)
	}
}

// TestRoleRefused has STS refuse a role: S3 is not asked, and the owner is told what to look at.
func TestRoleRefused(t *testing.T) {
	tests := []struct {
		name    string
		account string
		do      action
		class   string
		code    string
		says    []string
	}{
		{"another external id", accountB, nil, "permanent", codeAccessDenied, []string{"trust policy", "external id " + accountB, roleA, "AccessDenied"}},
		{"403", accountA, stsError(http.StatusForbidden, "AccessDenied"), "permanent", codeAccessDenied, []string{"trust policy", "STS-REQUEST"}},
		{"400", accountA, stsError(http.StatusBadRequest, "ValidationError"), "permanent", codeAccessDenied, []string{"ValidationError"}},
		{"404, of something that is no STS", accountA, answer(http.StatusNotFound, "NoSuchBucket"), "permanent", codeAccessDenied, []string{"404"}},
		{"501", accountA, answer(http.StatusNotImplemented, "NotImplemented"), "permanent", codeAccessDenied, []string{"501"}},
		{"a clock that is wrong", accountA, stsError(http.StatusForbidden, "RequestTimeTooSkewed"), "retryable", codeInternal, []string{"--sts-endpoint"}},
		{"own credentials that have ended", accountA, stsError(http.StatusForbidden, "ExpiredToken"), "retryable", codeInternal, []string{"ExpiredToken"}},
		{"throttling", accountA, stsError(http.StatusBadRequest, "Throttling"), "retryable", codeInternal, nil},
		{"500", accountA, stsError(http.StatusInternalServerError, "InternalFailure"), "retryable", codeInternal, []string{"STS did not answer"}},
		{"reset", accountA, reset, "retryable", codeInternal, []string{"assume the role " + roleA}},
		{"no answer", accountA, hold(false, nil, nil), "retryable", codeInternal, []string{"timeout awaiting"}},
		{"credentials that have ended", accountA, nil, "retryable", codeInternal, []string{"clocks"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			sts := r.startSTS(trusting())
			sts.fail(tt.do)
			if tt.name == "credentials that have ended" {
				sts.live(-time.Minute)
			}
			s := r.stream("demo", as(tt.account, roleA))
			s.put([]byte("a record\n"))
			destination := r.destination(sts.assuming, func(c *Config) { c.S3Timeout, c.S3CreateBuckets = time.Second, true })
			for number := range 2 {
				a := s.attempt(s.batch())
				a.Number = number + 1
				_, err := destination.Deliver(t.Context(), a)
				wantError(t, err, tt.class, tt.code, tt.says...)
			}
			wantEqual(t, "the requests to S3", r.s3.count("PutObject")+r.s3.count("HeadObject")+r.s3.count("PUTBucket"), 0)
		})
	}
}

// TestSTSDown has STS fail for a while: the batch waits, and is then delivered once.
func TestSTSDown(t *testing.T) {
	for name, size := range map[string]int{"single put": 1000, "multipart": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			sts := r.startSTS(trusting())
			sts.fail(reset)
			r.start(sts.assuming)
			s := r.stream("demo", as(accountA, roleA))
			s.fill(size)
			d := s.hand(s.batch())
			eventually(t, "a failure is logged", func() bool { return len(r.messages("ERRORS")) > 0 })
			sts.fail(nil)
			wantEqual(t, "the outcome", s.delivered(d).Outcome, batch.Delivered)
			r.wantOne("data")
		})
	}
}

// TestRolesAtOnce has all workers want a role at the same time: STS is asked once, and fails them all at once.
func TestRolesAtOnce(t *testing.T) {
	r := newRig(t)
	sts := r.startSTS(trusting())
	s := r.stream("demo", as(accountA, roleA))
	s.put([]byte("a record\n"))
	a := s.attempt(s.batch())
	destination := r.destination(sts.assuming)
	destination.clients.now = new(clock).now // which stands still
	atOnce := func() (failures int64) {
		var failed atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := destination.Deliver(t.Context(), a); err != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		return failed.Load()
	}
	sts.fail(stsError(http.StatusForbidden, "AccessDenied"))
	wantEqual(t, "the failures", atOnce(), 4)
	wantEqual(t, "the requests", len(sts.requests()), 1)
	sts.fail(nil)
	destination.clients.now = time.Now
	wantEqual(t, "the failures", atOnce(), 0)
	wantEqual(t, "the requests", len(sts.requests()), 2)
	r.wantOne("data")
}

// TestRoleAndShutdown ends an attempt that waits for STS: it returns, and nobody is left behind who asks.
func TestRoleAndShutdown(t *testing.T) {
	r := newRig(t)
	sts := r.startSTS(trusting())
	reached := make(chan struct{}, 1)
	sts.fail(hold(false, reached, nil))
	s := r.stream("demo", as(accountA, roleA))
	s.put([]byte("a record\n"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	destination := r.destination(sts.assuming)
	if _, err := destination.Deliver(ctx, s.attempt(s.batch())); !errors.Is(err, context.Canceled) {
		t.Errorf("Deliver returned %v, want that it was cancelled", err)
	}
	sts.fail(nil)
	_, err := destination.Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err) // the end of the first is no answer for the second
}

// clock is a time that a test sets.
type clock struct{ since atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(c.since.Load()))
}
func (c *clock) at(since time.Duration) { c.since.Store(int64(since)) }

// TestRenewal follows credentials over their life.
func TestRenewal(t *testing.T) {
	type step struct {
		at    time.Duration
		down  bool
		key   int // of the request to STS which the credentials are of that S3 sees; 0 if the delivery fails
		asked int // of STS, by then
	}
	tests := []struct {
		name     string
		lifetime time.Duration
		steps    []step
	}{
		{"an hour", time.Hour, []step{
			{0, false, 1, 1}, {54 * time.Minute, false, 1, 1}, {55*time.Minute + time.Second, false, 2, 2}, {100 * time.Minute, false, 2, 2},
		}},
		{"ten seconds", 10 * time.Second, []step{
			{0, false, 1, 1}, {8 * time.Second, false, 1, 1}, {9*time.Second + time.Millisecond, false, 2, 2},
		}},
		{"not renewed for a while", time.Hour, []step{
			{0, false, 1, 1}, {56 * time.Minute, true, 1, 2}, {56*time.Minute + time.Second, false, 1, 2}, {57 * time.Minute, false, 3, 3},
		}},
		{"not renewed for longer", time.Hour, []step{
			{0, false, 1, 1}, {56 * time.Minute, true, 1, 2}, {time.Hour, true, 0, 3}, {time.Hour + 2*time.Second, false, 4, 4},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			sts := r.startSTS(trusting())
			watch := new(clock)
			sts.now = watch.now
			sts.live(tt.lifetime)
			s := r.stream("demo", as(accountA, roleA))
			destination := r.destination(sts.assuming)
			destination.clients.now = watch.now
			for i, step := range tt.steps {
				watch.at(step.at)
				sts.fail(nil)
				if step.down {
					sts.fail(stsError(http.StatusForbidden, "AccessDenied")) // which is not repeated
				}
				seq := s.put([]byte("a record\n"))
				_, err := destination.Deliver(t.Context(), s.attempt(s.describe(seq, seq)))
				wantEqual(t, "whether step "+strconv.Itoa(i)+" is delivered", err == nil, step.key != 0)
				if by := r.s3.signedBy("PutObject"); step.key != 0 {
					wantEqual(t, "who wrote in step "+strconv.Itoa(i), by[len(by)-1], temporaryKey(roleA, step.key))
				}
				wantEqual(t, "the requests by step "+strconv.Itoa(i), len(sts.requests()), step.asked)
			}
		})
	}
}

// TestCredentialsNotTaken has S3 say that credentials have ended: the next attempt is made with others.
func TestCredentialsNotTaken(t *testing.T) {
	for code, status := range map[string]int{"ExpiredToken": http.StatusBadRequest, "InvalidToken": http.StatusBadRequest, "InvalidAccessKeyId": http.StatusForbidden} {
		t.Run(code, func(t *testing.T) {
			r := newRig(t)
			sts := r.startSTS(trusting())
			r.s3.fail("PutObject", 1, answer(status, code))
			r.start(sts.assuming)
			s := r.stream("demo", as(accountA, roleA))
			s.put([]byte("a record\n"))
			s.delivered(s.hand(s.batch()))
			if got := r.s3.signedBy("PutObject"); !slices.Equal(got, []string{temporaryKey(roleA, 1), temporaryKey(roleA, 2)}) {
				t.Errorf("written by %q", got)
			}
		})
	}
}

// TestEarlierRole looks under an earlier configuration with the role that it names.
func TestEarlierRole(t *testing.T) {
	tests := []struct {
		name  string
		trust map[string]string
		want  []string // who asked for the object of the earlier configuration
		as    string   // who wrote
		made  int      // objects under the newer configuration
	}{
		{"both may be assumed", trusting(), []string{temporaryKey(roleA, 1)}, "", 0},
		{"the earlier one no longer", map[string]string{roleB: accountA}, nil, temporaryKey(roleB, 2), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.s3.bucket("other")
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
			if got := r.s3.signedBy("HeadObject"); !slices.Equal(got, tt.want) {
				t.Errorf("looked for by %q, want %q", got, tt.want)
			}
			wantEqual(t, "the objects elsewhere", len(r.keys("other")), tt.made)
			if writers := r.s3.signedBy("PutObject"); tt.as != "" {
				wantEqual(t, "who wrote", writers[len(writers)-1], tt.as)
			}
		})
	}
}

// TestManyRoles makes sure that what is remembered of roles is bounded, and that who is in use is not forgotten.
func TestManyRoles(t *testing.T) {
	r := newRig(t)
	sts := r.startSTS(nil)
	c := r.destination(sts.assuming).clients
	first := role{arn: roleA, externalID: accountA, session: "first"}
	client := c.as(first)
	for i := range maxRoles + 100 {
		c.as(role{arn: roleA, externalID: accountA, session: strconv.Itoa(i)})
		if c.as(first) != client {
			t.Fatalf("after %d roles the one in use was forgotten", i)
		}
	}
	wantEqual(t, "the roles remembered", len(c.roles), maxRoles)
	wantEqual(t, "the requests", len(sts.requests()), 0)
}
