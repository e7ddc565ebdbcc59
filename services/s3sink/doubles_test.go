package s3sink

import (
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

// writerFunc is a function as an io.Writer that takes everything or fails.
type writerFunc func(p []byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
