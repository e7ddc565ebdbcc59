package s3sink

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"

	"hydrant/shared/delivery"
)

// The guide's error codes of the S3 destination.
const (
	codeAccessDenied      = "S3.AccessDenied"
	codeNoSuchBucket      = "S3.NoSuchBucket"
	codeAccountProblem    = "S3.AccountProblem"
	codeAllAccessDisabled = "S3.AllAccessDisabled"
	codeInvalidPayer      = "S3.InvalidPayer"
	codeNotSignedUp       = "S3.NotSignedUp"
	codeMethodNotAllowed  = "S3.MethodNotAllowed"
	codeKMSNotFound       = "S3.KMS.NotFoundException"
	codeKMSDisabled       = "S3.KMS.KeyDisabled"           // not in the guide, which has no code for it
	codeKMSState          = "S3.KMS.InvalidStateException" // nor for this
	codeInternal          = "InternalError"
)

// message tells the owner of a delivery stream what a code means and what to do.
func message(code string) string {
	switch code {
	case codeAccessDenied:
		return "S3 denied access. Check the credentials of the S3 sink, or the delivery stream's role where roles are assumed, and that they may list the bucket, read, write and list its objects, list and abort its multipart uploads, and set ACLs (s3:PutObjectAcl) in a bucket of another account."
	case codeNoSuchBucket:
		return "The bucket does not exist. Create it, or change the delivery stream to one that does."
	case codeAccountProblem:
		return "S3 reports a problem with the account. Ask the provider of the account."
	case codeAllAccessDisabled:
		return "S3 has disabled all access to the account. Ask the provider of the account."
	case codeInvalidPayer:
		return "S3 has disabled access to the account because of its payer. Ask the provider of the account."
	case codeNotSignedUp:
		return "The account is not signed up for S3. Sign it up, or use another."
	case codeMethodNotAllowed:
		return "S3 does not allow this operation on the bucket. Change the bucket's policy so that objects can be read and written."
	case codeKMSNotFound:
		return "The KMS key was not found. Check the key and the account that it belongs to."
	case codeKMSDisabled:
		return "The KMS key is disabled. Enable it, or change the delivery stream to another."
	case codeKMSState:
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
		return codeAccessDenied
	case "NoSuchBucket":
		return codeNoSuchBucket
	case "AccountProblem":
		return codeAccountProblem
	case "AllAccessDisabled":
		return codeAllAccessDisabled
	case "InvalidPayer":
		return codeInvalidPayer
	case "NotSignedUp":
		return codeNotSignedUp
	case "MethodNotAllowed":
		return codeMethodNotAllowed
	case "KMS.NotFoundException", "KMS.InvalidKeyUsageException", "InvalidKmsKeyId": // the last is Ceph's
		return codeKMSNotFound
	case "KMS.DisabledException":
		return codeKMSDisabled
	case "KMS.KMSInvalidStateException", "KMS.InvalidStateException":
		return codeKMSState
	default:
		return codeInternal
	}
}

// classify turns what the SDK returned into what the runner understands. The SDK's text is kept: it names the operation,
// S3's own code and message, the HTTP status and the request id, and never a credential.
func classify(to target, err error) error {
	var known *delivery.Error
	if errors.Is(err, delivery.ErrNotHeld) || errors.As(err, &known) {
		return err
	}
	code := guideCode(s3Code(err))
	e := &delivery.Error{Class: delivery.Retryable, Code: code, Message: message(code), Err: fmt.Errorf("%s: %w", to, err)}
	e.RequestID, e.HostID = requestIDs(err)
	if refused(err) {
		e.Class = delivery.Permanent
	}
	explain(e, to, err)
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

// refused tells that S3 understood the request, did not carry it out, and will not until somebody changes a setting; or
// that STS did not let us be who may send it.
func refused(err error) bool {
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
