package objectstore

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"hydrant/shared/delivery"
)

// asked is what a store may not know of what a write asks for.
type asked int

const (
	unblamed   asked = iota // the answer does not complain of any
	unnamed                 // it does, and does not say of which
	condition               // If-None-Match
	ownerACL                // x-amz-acl
	encryption              // a KMS key
	checksum                // a checksum, in a header or behind the body
)

// blames reads which part of a request an answer complains of. S3 servers name the header in the text, if at all.
func blames(err error) asked {
	code := s3Code(err)
	switch code {
	case "AccessControlListNotSupported":
		return ownerACL
	case "XAmzContentSHA256Mismatch", "ExcessHeaderValues": // of older Ceph, and of Google
		return checksum
	}
	unknown := code == "NotImplemented" || httpStatus(err) == http.StatusNotImplemented
	if !unknown && code != "InvalidArgument" && code != "InvalidRequest" {
		return unblamed
	}
	text := said(err)
	for _, b := range []struct {
		part asked
		by   []string
	}{
		{condition, []string{"if-none-match", "ifnonematch"}},
		{ownerACL, []string{"x-amz-acl", "access control list"}},
		{checksum, []string{"x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "aws-chunked", "unsigned-payload-trailer"}},
		{encryption, []string{"server-side-encryption", "server side encryption", "kms"}},
	} {
		for _, words := range b.by {
			if strings.Contains(text, words) {
				return b.part
			}
		}
	}
	if unknown {
		return unnamed
	}
	return unblamed
}

// refusesConditions tells the answers of a store that does not know If-None-Match on writes.
func refusesConditions(err error) bool {
	b := blames(err)
	return b == condition || b == unnamed
}

// refusesACL tells the answers of a store, or of a bucket, that takes no ACLs.
func refusesACL(err error) bool {
	b := blames(err)
	return b == ownerACL || b == unnamed
}

// explain replaces a message that says less than what is known: of the setting of the service, or of the delivery stream,
// that the answer is about.
func (s *Store) explain(e *delivery.Error, to Object, err error) {
	if failed := notAssumed(err); failed != nil {
		s.explainRole(e, failed)
		return
	}
	switch blamed := blames(err); {
	case elsewhere(err):
		e.Message = fmt.Sprintf("The bucket is in %s than the %s is set to. Set --s3-region (HYDRANT_S3_REGION), or use a bucket of the sink's region.", bucketRegion(err), s.names.Service)
	case blamed == checksum:
		e.Message = "The S3 server does not take the checksums that are sent. Set --s3-checksums (HYDRANT_S3_CHECKSUMS) to required."
	case to.KMS != "" && (blamed == encryption || blamed == unnamed):
		e.Code = CodeKMSNotFound
		e.Message = "The S3 server does not encrypt with a KMS key, or not over this connection. Reach it over https, give it a KMS, or change the delivery stream to no encryption."
	case e.Code == CodeAccessDenied && to.KMS != "" && strings.Contains(said(err), "kms"):
		e.Message = "S3 was denied the use of the KMS key. Let whoever writes to the bucket use it (kms:GenerateDataKey and kms:Decrypt)."
	case s3Code(err) == "InvalidBucketName":
		e.Code = CodeNoSuchBucket
		e.Message = "The bucket cannot exist, since its name is not one that S3 allows. Change the delivery stream to a bucket that does."
	case e.Code == CodeInternal && e.Class == delivery.Permanent:
		e.Message = "S3 refused the request, and will until a setting of the delivery stream, of the bucket or of the " + s.names.Service + " is changed; its own words say why. Delivery is tried again."
	}
}

func (s *Store) explainRole(e *delivery.Error, failed *roleError) {
	if !failed.refused() {
		e.Message = "The role of the delivery stream could not be assumed, because STS did not answer as it should. Delivery is tried again; if it goes on, check --sts-endpoint (HYDRANT_STS_ENDPOINT)."
		return
	}
	e.Code = CodeAccessDenied
	e.Message = fmt.Sprintf("The role %s was denied. Ensure that it is there, that its trust policy lets the %s assume it with the external id %s, and that its access policy allows access to the S3 bucket.",
		failed.role.arn, s.names.Service, failed.role.externalID)
}

// elsewhere tells the answers for a bucket of another region than the one that requests are signed for.
func elsewhere(err error) bool {
	switch httpStatus(err) {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		return true
	}
	code := s3Code(err)
	return code == "AuthorizationHeaderMalformed" || code == "IllegalLocationConstraintException"
}

// bucketRegion is where the bucket is, if S3 says so.
func bucketRegion(err error) string {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		if region := response.Response.Header.Get("x-amz-bucket-region"); region != "" {
			return "another region (" + region + ")"
		}
	}
	return "another region"
}

// said is S3's own text of an error, in lower case.
func said(err error) string {
	var api smithy.APIError
	if notAssumed(err) == nil && errors.As(err, &api) {
		return strings.ToLower(api.ErrorMessage())
	}
	return ""
}
