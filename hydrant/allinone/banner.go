package allinone

import (
	"fmt"
	"io"
)

// printBanner tells where everything is and what to try first. The commands work with both versions of the AWS CLI.
func printBanner(w io.Writer, cfg Config, api, nats, admin string) {
	_, _ = fmt.Fprintf(w, `
Hydrant is ready.
  API    http://%[1]s   Firehose-compatible
  S3     http://%[2]s   access key %[5]s
  NATS   %[3]s
  admin  http://%[4]s   /healthz /readyz /metrics
  data   %[6]s

Try it:
  export AWS_ACCESS_KEY_ID=%[5]s AWS_SECRET_ACCESS_KEY=localsecret AWS_DEFAULT_REGION=us-east-1
  aws --endpoint-url http://%[1]s firehose create-delivery-stream --delivery-stream-name demo --s3-destination-configuration 'RoleARN=arn:aws:iam::000000000000:role/local,BucketARN=arn:aws:s3:::demo,BufferingHints={SizeInMBs=1,IntervalInSeconds=5}'
  aws --endpoint-url http://%[1]s firehose put-record --delivery-stream-name demo --record Data=aGVsbG8K
  aws --endpoint-url http://%[2]s s3 ls --recursive s3://demo      (after five seconds)

Ctrl-C stops it; the next start goes on where this one ended.
`, api, cfg.S3Listen, nats, admin, cfg.S3AccessKey, cfg.DataDir)
}
