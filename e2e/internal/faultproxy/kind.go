package faultproxy

import (
	"net/http"
	"strings"
)

// Kind is what an S3 request is for.
type Kind string

// The kinds of S3 requests that a sink makes.
const (
	PutObject         Kind = "PutObject"
	CreateMultipart   Kind = "CreateMultipartUpload"
	UploadPart        Kind = "UploadPart"
	CompleteMultipart Kind = "CompleteMultipartUpload"
	AbortMultipart    Kind = "AbortMultipartUpload"
	Head              Kind = "HeadObject"
	Other             Kind = "other"
)

// KindOf returns what a path-style S3 request is for.
func KindOf(r *http.Request) Kind {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if key == "" {
		return Other
	}
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodHead:
		return Head
	case r.Method == http.MethodPost && query.Has("uploads"):
		return CreateMultipart
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return CompleteMultipart
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return AbortMultipart
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		return Other
	case r.Method == http.MethodPut && query.Has("uploadId"):
		return UploadPart
	case r.Method == http.MethodPut && !isSubresource(query):
		return PutObject
	}
	return Other
}

// isSubresource tells whether a PUT sets something about an object rather than the object.
func isSubresource(query map[string][]string) bool {
	for _, name := range []string{"acl", "legal-hold", "retention", "tagging"} {
		if _, ok := query[name]; ok {
			return true
		}
	}
	return false
}
