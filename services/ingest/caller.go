package ingest

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// readCaller tells who calls, and which call it is. An SDK sends the same amz-sdk-invocation-id with every retry of a
// call; a client that sends none makes a new call each time.
func readCaller(header http.Header, body []byte) caller {
	c := caller{
		AccessKey:    accessKey(header.Get("Authorization")),
		InvocationID: header.Get("amz-sdk-invocation-id"),
		Attempt:      attempt(header.Get("amz-sdk-request")),
		Body:         xxh3.Hash128(body).Bytes(),
	}
	if c.InvocationID == "" {
		c.InvocationID = rand.Text()
		c.Attempt = 1
	}
	return c
}

// accessKey reads the key out of "AWS4-HMAC-SHA256 Credential=KEY/20161101/us-east-1/firehose/aws4_request, …".
func accessKey(authorization string) string {
	_, rest, found := strings.Cut(authorization, "Credential=")
	if !found {
		return ""
	}
	key, _, found := strings.Cut(rest, "/")
	if !found {
		return ""
	}
	return key
}

// attempt reads n out of "attempt=n; max=m". Without it, a call counts as the first.
func attempt(header string) int {
	for part := range strings.SplitSeq(header, ";") {
		if value, found := strings.CutPrefix(strings.TrimSpace(part), "attempt="); found {
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				return n
			}
		}
	}
	return 1
}
