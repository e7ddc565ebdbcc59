package s3sink

import (
	"strings"
	"testing"

	"hydrant/shared/s3test"
)

// Short names for what tests use all the time.
type (
	fakeS3 = s3test.Server
	action = s3test.Action
)

const (
	accessKey = s3test.AccessKey
	secretKey = s3test.SecretKey
)

var (
	answer     = s3test.Answer
	answerWith = s3test.AnswerWith
	after      = s3test.After
	hold       = s3test.Hold
	lose       = action(s3test.Lose)
	reset      = action(s3test.Reset)
	stsError   = s3test.STSError
)

// What objectstore does, and does not export.
const (
	sdkAttempts   = 3 // of one request
	partsInMemory = 2 // of one object
)

// fakeSTS is an STS server, and the setting to use it.
type fakeSTS struct{ *s3test.STS }

func (r *rig) startSTS(trust map[string]string) fakeSTS { return fakeSTS{s3test.StartSTS(r.s3, trust)} }

// assuming is the setting to take roles from it.
func (f fakeSTS) assuming(c *Config) { c.STSEndpoint = f.URL() }

// as makes a delivery stream of an account use a role.
func as(account, role string) option {
	return func(d *doc) {
		d.ARN = "arn:aws:firehose:us-east-1:" + account + ":deliverystream/" + string(d.Name)
		d.Destination.S3.RoleARN = &role
	}
}

// wantError checks that a delivery failed, how, and that the failure shows no secret.
func wantError(t *testing.T, err error, class, code string, parts ...string) {
	t.Helper()
	e := deliveryError(t, err)
	wantEqual(t, "the code", e.Code, code)
	wantEqual(t, "the class", className(e.Class), class)
	for _, part := range parts {
		if !strings.Contains(e.Message+"\n"+e.Err.Error(), part) {
			t.Errorf("%q is neither in %q nor in %q", part, e.Message, e.Err)
		}
	}
	for _, secret := range []string{s3test.SecretKey, s3test.TemporarySecret, s3test.TemporaryToken, "Signature="} {
		if strings.Contains(e.Message+e.Err.Error(), secret) {
			t.Errorf("%q is in %q or in %q", secret, e.Message, e.Err)
		}
	}
}

// writerFunc is a function as an io.Writer that takes everything or fails.
type writerFunc func(p []byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
