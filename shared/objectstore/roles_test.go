package objectstore

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

// trusting is what STS checks: a role, and the external id that it asks for.
var trusting = map[string]string{roleA: accountA}

// assuming is the setting to take roles from an STS server.
func assuming(sts *s3test.STS) func(*Settings) {
	return func(c *Settings) { c.STSEndpoint = sts.URL() }
}

// by has an object of an account's delivery stream written by a role.
func by(account, role string) func(*Write) {
	return func(w *Write) { w.Object.ARN, w.Object.Role = arnOf(account), role }
}

// TestRolesAtOnce has all workers want a role at the same time: STS is asked once, and fails them all at once.
func TestRolesAtOnce(t *testing.T) {
	r := newRig(t)
	sts := s3test.StartSTS(r.s3, trusting)
	store := r.store(assuming(sts))
	store.clients.now = new(clock).now // which stands still
	atOnce := func() (failures int64) {
		var failed atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := store.Create(t.Context(), writing(9, by(accountA, roleA))); err != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		return failed.Load()
	}
	sts.Fail(s3test.STSError(http.StatusForbidden, "AccessDenied"))
	wantEqual(t, "the failures", atOnce(), 4)
	wantEqual(t, "the requests", len(sts.Requests()), 1)
	sts.Fail(nil)
	store.clients.now = time.Now
	wantEqual(t, "the failures", atOnce(), 0)
	wantEqual(t, "the requests", len(sts.Requests()), 2)
	r.wantObject(9)
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
			sts := s3test.StartSTS(r.s3, trusting)
			watch := new(clock)
			sts.Clock(watch.now)
			sts.Live(tt.lifetime)
			store := r.store(assuming(sts))
			store.clients.now = watch.now
			for i, step := range tt.steps {
				watch.at(step.at)
				sts.Fail(nil)
				if step.down {
					sts.Fail(s3test.STSError(http.StatusForbidden, "AccessDenied")) // which is not repeated
				}
				_, err := store.Create(t.Context(), writing(9, by(accountA, roleA), func(w *Write) { w.Object.Key += strconv.Itoa(i) }))
				wantEqual(t, "whether step "+strconv.Itoa(i)+" is delivered", err == nil, step.key != 0)
				if by := r.s3.SignedBy("PutObject"); step.key != 0 {
					wantEqual(t, "who wrote in step "+strconv.Itoa(i), by[len(by)-1], s3test.TemporaryKey(roleA, step.key))
				}
				wantEqual(t, "the requests by step "+strconv.Itoa(i), len(sts.Requests()), step.asked)
			}
		})
	}
}

// TestManyRoles makes sure that what is remembered of roles is bounded, and that who is in use is not forgotten.
func TestManyRoles(t *testing.T) {
	r := newRig(t)
	sts := s3test.StartSTS(r.s3, nil)
	c := r.store(assuming(sts)).clients
	first := role{arn: roleA, externalID: accountA, session: "first"}
	client := c.as(first)
	for i := range maxRoles + 100 {
		c.as(role{arn: roleA, externalID: accountA, session: strconv.Itoa(i)})
		if c.as(first) != client {
			t.Fatalf("after %d roles the one in use was forgotten", i)
		}
	}
	wantEqual(t, "the roles remembered", len(c.roles), maxRoles)
	wantEqual(t, "the requests", len(sts.Requests()), 0)
}

// TestRoleRefused has STS refuse a role: S3 is not asked, and the owner is told what to look at.
func TestRoleRefused(t *testing.T) {
	tests := []struct {
		name    string
		account string
		do      action
		class   delivery.Class
		code    string
		says    []string
	}{
		{"another external id", accountB, nil, delivery.Permanent, CodeAccessDenied, []string{"trust policy", "external id " + accountB, roleA, "AccessDenied"}},
		{"403", accountA, s3test.STSError(http.StatusForbidden, "AccessDenied"), delivery.Permanent, CodeAccessDenied, []string{"trust policy", "STS-REQUEST"}},
		{"400", accountA, s3test.STSError(http.StatusBadRequest, "ValidationError"), delivery.Permanent, CodeAccessDenied, []string{"ValidationError"}},
		{"404, of something that is no STS", accountA, s3test.Answer(http.StatusNotFound, "NoSuchBucket"), delivery.Permanent, CodeAccessDenied, []string{"404"}},
		{"501", accountA, s3test.Answer(http.StatusNotImplemented, "NotImplemented"), delivery.Permanent, CodeAccessDenied, []string{"501"}},
		{"a clock that is wrong", accountA, s3test.STSError(http.StatusForbidden, "RequestTimeTooSkewed"), delivery.Retryable, CodeInternal, []string{"--sts-endpoint"}},
		{"own credentials that have ended", accountA, s3test.STSError(http.StatusForbidden, "ExpiredToken"), delivery.Retryable, CodeInternal, []string{"ExpiredToken"}},
		{"throttling", accountA, s3test.STSError(http.StatusBadRequest, "Throttling"), delivery.Retryable, CodeInternal, nil},
		{"500", accountA, s3test.STSError(http.StatusInternalServerError, "InternalFailure"), delivery.Retryable, CodeInternal, []string{"STS did not answer"}},
		{"reset", accountA, s3test.Reset, delivery.Retryable, CodeInternal, []string{"assume the role " + roleA}},
		{"no answer", accountA, s3test.Hold(false, nil, nil), delivery.Retryable, CodeInternal, []string{"AssumeRole", "request send failed"}},
		{"credentials that have ended", accountA, nil, delivery.Retryable, CodeInternal, []string{"clocks"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			sts := s3test.StartSTS(r.s3, trusting)
			sts.Fail(tt.do)
			if tt.name == "credentials that have ended" {
				sts.Live(-time.Minute)
			}
			store := r.store(assuming(sts), func(c *Settings) {
				c.S3CreateBuckets = true
				if tt.name == "no answer" {
					c.S3Timeout = time.Second
				}
			})
			for number := range 2 {
				_, err := attempt(t.Context(), store, writing(9, by(tt.account, roleA), func(w *Write) { w.Again = number > 0 }))
				wantError(t, err, tt.class, tt.code, tt.says...)
			}
			wantEqual(t, "the requests to S3", r.s3.Count("PutObject")+r.s3.Count("HeadObject")+r.s3.Count("PUTBucket"), 0)
		})
	}
}

// TestRoleAndShutdown ends an attempt that waits for STS: it returns, and nobody is left behind who asks.
func TestRoleAndShutdown(t *testing.T) {
	r := newRig(t)
	sts := s3test.StartSTS(r.s3, trusting)
	reached := make(chan struct{}, 1)
	sts.Fail(s3test.Hold(false, reached, nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	store := r.store(assuming(sts))
	if _, err := store.Create(ctx, writing(9, by(accountA, roleA))); !errors.Is(err, context.Canceled) {
		t.Errorf("Create returned %v, want that it was cancelled", err)
	}
	sts.Fail(nil)
	_, err := store.Create(t.Context(), writing(9, by(accountA, roleA)))
	check(t, err) // the end of the first is no answer for the second
}
