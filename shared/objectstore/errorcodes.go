package objectstore

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"

	"hydrant/shared/delivery"
)

// The guide's error codes of the S3 destination.
const (
	CodeAccessDenied      = "S3.AccessDenied"
	CodeNoSuchBucket      = "S3.NoSuchBucket"
	CodeAccountProblem    = "S3.AccountProblem"
	CodeAllAccessDisabled = "S3.AllAccessDisabled"
	CodeInvalidPayer      = "S3.InvalidPayer"
	CodeNotSignedUp       = "S3.NotSignedUp"
	CodeMethodNotAllowed  = "S3.MethodNotAllowed"
	CodeKMSNotFound       = "S3.KMS.NotFoundException"
	CodeKMSDisabled       = "S3.KMS.KeyDisabled"           // not in the guide, which has no code for it
	CodeKMSState          = "S3.KMS.InvalidStateException" // nor for this
	CodeInternal          = "InternalError"
)

// Message tells the owner of a delivery stream what a code means and what to do. The service is what its owner calls that
// which writes, for example S3 sink.
func Message(code, service string) string {
	switch code {
	case CodeAccessDenied:
		return "S3 denied access. Check the credentials of the " + service + ", or the delivery stream's role where roles are assumed, and that they may list the bucket, read, write and list its objects, list and abort its multipart uploads, and set ACLs (s3:PutObjectAcl) in a bucket of another account."
	case CodeNoSuchBucket:
		return "The bucket does not exist. Create it, or change the delivery stream to one that does."
	case CodeAccountProblem:
		return "S3 reports a problem with the account. Ask the provider of the account."
	case CodeAllAccessDisabled:
		return "S3 has disabled all access to the account. Ask the provider of the account."
	case CodeInvalidPayer:
		return "S3 has disabled access to the account because of its payer. Ask the provider of the account."
	case CodeNotSignedUp:
		return "The account is not signed up for S3. Sign it up, or use another."
	case CodeMethodNotAllowed:
		return "S3 does not allow this operation on the bucket. Change the bucket's policy so that objects can be read and written."
	case CodeKMSNotFound:
		return "The KMS key was not found. Check the key and the account that it belongs to."
	case CodeKMSDisabled:
		return "The KMS key is disabled. Enable it, or change the delivery stream to another."
	case CodeKMSState:
		return "The KMS key cannot be used in its present state: it may be about to be deleted. Restore it, or change the delivery stream to another."
	default:
		return "Data could not be delivered because of an internal error. Delivery is tried again."
	}
}

// guideCode maps S3's own codes to the guide's. The answer to a HEAD has no code, and the SDK takes the status' text for one.
func guideCode(s3Code string) string {
	switch s3Code {
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "InvalidToken", "Forbidden",
		"KMS.AccessDeniedException", "KMS.AccessDenied":
		return CodeAccessDenied
	case "NoSuchBucket":
		return CodeNoSuchBucket
	case "AccountProblem":
		return CodeAccountProblem
	case "AllAccessDisabled":
		return CodeAllAccessDisabled
	case "InvalidPayer":
		return CodeInvalidPayer
	case "NotSignedUp":
		return CodeNotSignedUp
	case "MethodNotAllowed":
		return CodeMethodNotAllowed
	case "KMS.NotFoundException", "KMS.InvalidKeyUsageException", "InvalidKmsKeyId": // the last is Ceph's
		return CodeKMSNotFound
	case "KMS.DisabledException":
		return CodeKMSDisabled
	case "KMS.KMSInvalidStateException", "KMS.InvalidStateException":
		return CodeKMSState
	default:
		return CodeInternal
	}
}

// Classify turns an error of Look and Write into what the runner understands; one that is classified, or says that the batch
// is not held, stays as it is. The SDK's text is kept: it names the operation,
// S3's own code and message, the HTTP status and the request id, and never a credential.
func (s *Store) Classify(to Object, err error) error {
	var known *delivery.Error
	if err == nil || errors.Is(err, delivery.ErrNotHeld) || errors.As(err, &known) {
		return err
	}
	code := guideCode(s3Code(err))
	e := &delivery.Error{Class: delivery.Retryable, Code: code, Message: Message(code, s.names.Service), Err: fmt.Errorf("%s: %w", to, err)}
	e.RequestID, e.HostID = requestIDs(err)
	if Refused(err) {
		e.Class = delivery.Permanent
	}
	s.explain(e, to, err)
	return e
}

// requestIDs are what S3's answer says that the request can be found under in its own logs.
func requestIDs(err error) (request, host string) {
	var answered interface{ ServiceRequestID() string }
	if errors.As(err, &answered) {
		request = answered.ServiceRequestID()
	}
	var by interface{ ServiceHostID() string }
	if errors.As(err, &by) {
		host = by.ServiceHostID()
	}
	return request, host
}

// s3Code is S3's code of an error, or "" if S3 did not answer.
func s3Code(err error) string {
	if notAssumed(err) != nil {
		return ""
	}
	return codeOf(err)
}

// httpStatus is the status of S3's answer, or 0 if there was none.
func httpStatus(err error) int {
	if notAssumed(err) != nil {
		return 0
	}
	return statusOf(err)
}

// notAssumed returns the failure to assume a role that an error is of, or nil. What else the error has is of STS's answer.
func notAssumed(err error) *roleError {
	var e *roleError
	errors.As(err, &e)
	return e
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func statusOf(err error) int {
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// passing tells the codes of answers below 500 that say nothing about a setting.
func passing(code string) bool {
	switch code {
	case "RequestTimeout", "RequestTimeTooSkewed", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired",
		"OperationAborted", "ConditionalRequestConflict", "NoSuchUpload", "InvalidPart",
		"BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
		"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded",
		"KMS.ThrottlingException", "KMS.LimitExceededException", "KMS.KMSInternalException", "KMS.DependencyTimeoutException",
		"KMS.KeyUnavailableException":
		return true
	}
	return false
}

// Refused tells that S3 understood the request, did not carry it out, and will not until somebody changes a setting; or
// that STS did not let us be who may send it.
func Refused(err error) bool {
	if e := notAssumed(err); e != nil {
		return e.refused()
	}
	return refusal(statusOf(err), codeOf(err))
}

func refusal(status int, code string) bool {
	if status < 300 || status >= 500 && status != http.StatusNotImplemented {
		return false
	}
	switch status {
	case http.StatusTemporaryRedirect, // the bucket is so new that its name leads elsewhere
		http.StatusRequestTimeout, http.StatusConflict, http.StatusPreconditionFailed, http.StatusTooManyRequests:
		return false
	}
	return !passing(code)
}

// absent tells that there is no such object, or no such bucket.
func absent(err error) bool { return httpStatus(err) == http.StatusNotFound }

// noBucket tells that a write failed because its bucket does not exist.
func noBucket(err error) bool { return s3Code(err) == "NoSuchBucket" }
