package objectstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

const (
	// maxRoles bounds how many roles have a client ready.
	maxRoles = 1024
	// sessionTime is for how long a role is assumed: what every role permits, unless its owner says less.
	sessionTime = time.Hour
	// renewAtMost is how long before their end credentials are renewed; those of less than an hour with a tenth left.
	renewAtMost = 5 * time.Minute
	// holdOff is for how long a failure to assume a role is the answer for others who want it. A worker that waited for
	// its turn is not to find out once more.
	holdOff = time.Second
	// holdOffRenewing is the same while there are credentials that still hold.
	holdOffRenewing = 30 * time.Second
	// maxSessionName is STS's own limit.
	maxSessionName = 64
)

// role is who writes a delivery stream's objects. Each delivery stream has a session of its own, so that the records of
// what was done in an account tell which one did it.
type role struct {
	arn        string
	externalID string // the account of the delivery stream, which the role's trust policy may ask for
	session    string
}

func (r role) String() string { return r.arn + " with external id " + r.externalID }

// client returns the client with which an object is written and looked for.
func (s *Store) client(at Object) *s3.Client { return s.clients.as(roleOf(at)) }

// roleOf is who writes an object and looks for it.
func roleOf(o Object) role {
	session := "hydrant-" + string(o.Stream)
	return role{arn: o.Role, externalID: account(o.ARN), session: session[:min(len(session), maxSessionName)]}
}

// account is the account in an ARN, or "".
func account(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return ""
}

// roleClient is the client of one role.
type roleClient struct {
	*s3.Client
	credentials *assumed
	used        uint64
}

// as returns the client of a role: the service's own where roles are not assumed.
func (c *clients) as(r role) *s3.Client {
	if have := c.of(r); have != nil {
		return have.Client
	}
	return c.own
}

// of returns a role's client and credentials, nil where roles are not assumed. Nothing is asked of STS here.
func (c *clients) of(r role) *roleClient {
	if c.sts == nil || r.arn == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.roles[r]
	if have == nil {
		if len(c.roles) >= maxRoles {
			c.forgetOne()
		}
		have = c.newRoleClient(r)
		c.roles[r] = have
	}
	c.uses++
	have.used = c.uses
	return have
}

// forgetOne drops the client that was not asked for the longest. Who has it may go on with it. It needs c.mu.
func (c *clients) forgetOne() {
	var oldest role
	first := c.uses + 1
	for r, have := range c.roles {
		if have.used < first {
			oldest, first = r, have.used
		}
	}
	delete(c.roles, oldest)
}

func (c *clients) newRoleClient(r role) *roleClient {
	a := &assumed{clients: c, role: r, turn: make(chan struct{}, 1)}
	a.provider = stscreds.NewAssumeRoleProvider(c.sts, r.arn, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = r.session
		o.Duration = sessionTime
		if r.externalID != "" {
			o.ExternalID = aws.String(r.externalID)
		}
	})
	client := c.with(a, func(o *s3.Options) { o.APIOptions = append(o.APIOptions, a.dropRefused) })
	return &roleClient{Client: client, credentials: a}
}

// assumed is the credentials of a role. One request asks STS for them while the others wait; they are renewed before they
// end, and used to their end where STS cannot be asked. The SDK's own cache would go on asking after the request that
// wants them has ended, and so after the service has.
//
// AssumeRole changes nothing, so that its repeat, or a lost answer, leaves no more than a session that nobody uses. A
// process that wakes after a minute signs with credentials that have ended and is told so.
type assumed struct {
	*clients
	role     role
	provider *stscreds.AssumeRoleProvider

	turn   chan struct{} // held by whoever uses what is below
	held   aws.Credentials
	renew  time.Time
	failed error     // the last answer, if it was one
	again  time.Time // no earlier than which STS is asked after a failure
}

var _ aws.CredentialsProvider = (*assumed)(nil)

// Retrieve implements aws.CredentialsProvider. Its error is a roleError, or that of ctx.
func (a *assumed) Retrieve(ctx context.Context) (aws.Credentials, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return aws.Credentials{}, ctx.Err()
	}
	now := a.now()
	if now.Before(a.renew) {
		return a.held, nil
	}
	if !now.Before(a.again) {
		a.ask(ctx)
	}
	switch {
	case a.now().Before(a.held.Expires):
		return a.held, nil
	case ctx.Err() != nil:
		return aws.Credentials{}, ctx.Err()
	case a.failed == nil:
		return aws.Credentials{}, &roleError{role: a.role, err: errEnded} // between the answer and now
	default:
		return aws.Credentials{}, a.failed
	}
}

var errEnded = errors.New("STS gave credentials that have ended: are the clocks right?")

// ask asks STS. What comes of it is in the fields.
func (a *assumed) ask(ctx context.Context) {
	got, err := a.provider.Retrieve(ctx)
	now := a.now()
	switch {
	case err == nil && now.Before(got.Expires):
		left := got.Expires.Sub(now)
		a.held, a.renew, a.failed = got, got.Expires.Add(-min(left/10, renewAtMost)), nil
		return
	case err == nil:
		err = errEnded
	case ctx.Err() != nil:
		return // the end of one who asked is no answer for the others
	}
	a.failed, a.again = &roleError{role: a.role, err: err}, now.Add(holdOff)
	if left := a.held.Expires.Sub(now); left > 0 {
		a.again = now.Add(min(left, holdOffRenewing))
		a.log.Warn("credentials of a role not renewed: the old ones are used to their end", "role", a.role.arn, "end", a.held.Expires, "error", err)
	}
}

// dropRefused makes the credentials be asked for anew when S3 says that it does not know them or that they have ended.
func (a *assumed) dropRefused(stack *middleware.Stack) error {
	return eachAttempt("HydrantDropRefused", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleFinalize(ctx, in)
		switch s3Code(err) {
		case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId":
			a.drop()
		}
		return out, metadata, err
	})(stack)
}

func (a *assumed) drop() {
	a.turn <- struct{}{}
	a.held, a.renew = aws.Credentials{}, time.Time{}
	<-a.turn
}

// dropThese is drop where the credentials are still those that were refused, and not newer ones.
func (a *assumed) dropThese(refused aws.Credentials) {
	a.turn <- struct{}{}
	if a.held.AccessKeyID == refused.AccessKeyID {
		a.held, a.renew = aws.Credentials{}, time.Time{}
	}
	<-a.turn
}

// roleError says that a role could not be assumed. What it wraps is STS's answer, and not S3's.
type roleError struct {
	role role
	err  error
}

func (e *roleError) Error() string { return fmt.Sprintf("assume the role %s: %v", e.role, e.err) }

// Unwrap returns the cause.
func (e *roleError) Unwrap() error { return e.err }

// RetryableError tells the SDK not to repeat a request to S3 for it: the one to STS was repeated.
func (e *roleError) RetryableError() bool { return false }

// refused tells that STS understood the request and will give the same answer until somebody changes a setting.
func (e *roleError) refused() bool {
	return refusal(statusOf(e.err), codeOf(e.err))
}
