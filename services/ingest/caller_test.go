package ingest

import (
	"net/http"
	"testing"

	"github.com/zeebo/xxh3"
)

func TestReadCaller(t *testing.T) {
	const signed = "AWS4-HMAC-SHA256 Credential=AKID/20161101/us-east-1/firehose/aws4_request, SignedHeaders=host, Signature=ab"
	for name, test := range map[string]struct {
		authorization, invocation, request string
		want                               caller
	}{
		"an SDK's call":      {signed, "id-1", "attempt=1; max=3", caller{AccessKey: "AKID", InvocationID: "id-1", Attempt: 1}},
		"its retry":          {signed, "id-1", "ttl=20161101T000000Z; attempt=2; max=3", caller{AccessKey: "AKID", InvocationID: "id-1", Attempt: 2}},
		"no attempt":         {signed, "id-1", "", caller{AccessKey: "AKID", InvocationID: "id-1", Attempt: 1}},
		"a strange attempt":  {signed, "id-1", "attempt=-1; attempt=x", caller{AccessKey: "AKID", InvocationID: "id-1", Attempt: 1}},
		"no credential":      {"Bearer x", "id-1", "attempt=3", caller{InvocationID: "id-1", Attempt: 3}},
		"half a credential":  {"AWS4-HMAC-SHA256 Credential=AKID", "id-1", "", caller{InvocationID: "id-1", Attempt: 1}},
		"nothing but a body": {"", "", "attempt=2", caller{Attempt: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			header.Set("Authorization", test.authorization)
			header.Set("amz-sdk-invocation-id", test.invocation)
			header.Set("amz-sdk-request", test.request)
			got := readCaller(header, []byte("body"))
			if test.invocation == "" {
				again := readCaller(header, []byte("body"))
				if got.InvocationID == "" || got.InvocationID == again.InvocationID {
					t.Errorf("invocation ids %q and %q", got.InvocationID, again.InvocationID)
				}
				got.InvocationID = ""
			}
			test.want.Body = xxh3.Hash128([]byte("body")).Bytes()
			if got != test.want {
				t.Errorf("%+v", got)
			}
		})
	}
}
