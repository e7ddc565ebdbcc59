package s3sink

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// logged switches a delivery stream's error log on.
func logged(d *doc) {
	d.Destination.S3.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{
		Enabled: aws.Bool(true), LogGroupName: aws.String("/aws/kinesisfirehose/" + string(d.Name)), LogStreamName: aws.String("S3Delivery"),
	}
}

// logEntry waits for the first entry in a delivery stream's error log whose detail has all the parts in it.
func (s *deliveryStream) logEntry(parts ...string) delivery.LogEntry {
	s.t.Helper()
	var entry delivery.LogEntry
	natstest.WaitFor(s.t, fmt.Sprintf("an error log entry of %s with %q", s.doc.Name, parts), func() bool {
		for _, data := range s.messages("ERRORS") {
			e := decodeEntry(s.t, data)
			missing := func(part string) bool { return !strings.Contains(e.Detail, part) }
			if e.DeliveryStreamARN == s.doc.ARN && !slices.ContainsFunc(parts, missing) {
				entry = e
				return true
			}
		}
		return false
	})
	return entry
}

// TestGuideErrors has an S3 server give each error of the guide's list to each operation that may get it, and finds it in
// the delivery stream's error log, with the guide's code and with what is to be done.
func TestGuideErrors(t *testing.T) {
	t.Parallel()
	errors := []struct {
		inGuide bool // the others are what KMS keys lead to otherwise
		code    string
		status  int
		s3      string
		text    string
		says    string
		head    string // the code where a HEAD gets the answer, which has no body to say more than its status does
	}{
		{true, "S3.KMS.NotFoundException", http.StatusBadRequest, "KMS.NotFoundException", "Key 'arn:aws:kms:us-east-1:111111111111:key/9f0c' does not exist", "Check the key", ""},
		{true, "S3.AccessDenied", http.StatusForbidden, "AccessDenied", "Access Denied", "Check the credentials", "S3.AccessDenied"},
		{true, "S3.AccountProblem", http.StatusForbidden, "AccountProblem", "There is a problem with your account.", "Ask the provider", "S3.AccessDenied"},
		{true, "S3.AllAccessDisabled", http.StatusForbidden, "AllAccessDisabled", "All access to this resource has been disabled.", "Ask the provider", "S3.AccessDenied"},
		{true, "S3.InvalidPayer", http.StatusForbidden, "InvalidPayer", "All access to this object has been disabled.", "Ask the provider", "S3.AccessDenied"},
		{true, "S3.NotSignedUp", http.StatusForbidden, "NotSignedUp", "Your account is not signed up.", "Sign it up", "S3.AccessDenied"},
		{true, "S3.NoSuchBucket", http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist", "Create it", ""},
		{true, "S3.MethodNotAllowed", http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.", "Change the bucket's policy", "S3.MethodNotAllowed"},
		{true, "InternalError", http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.", "Delivery is tried again", "InternalError"},
		{false, "S3.AccessDenied", http.StatusForbidden, "AccessDenied", "User: arn:aws:sts::111111111111:assumed-role/a/s is not authorized to perform: kms:GenerateDataKey", "kms:GenerateDataKey", ""},
		{false, "S3.KMS.KeyDisabled", http.StatusBadRequest, "KMS.DisabledException", "arn:aws:kms:us-east-1:111111111111:key/9f0c is disabled.", "Enable it", ""},
		{false, "S3.KMS.InvalidStateException", http.StatusBadRequest, "KMS.KMSInvalidStateException", "arn:aws:kms:us-east-1:111111111111:key/9f0c is pending deletion.", "Restore it", ""},
		{false, "InternalError", http.StatusBadRequest, "KMS.ThrottlingException", "Rate exceeded", "Delivery is tried again", ""},
	}
	r := newRig(t)
	r.start(func(c *Config) { c.RetryMin, c.RetryMax = 300*time.Millisecond, 300*time.Millisecond }) // so that few entries are written
	r.startKMS(true)
	for i, e := range errors {
		t.Run(e.s3+" "+e.says, func(t *testing.T) {
			fault := answerWith(e.status, e.s3, e.text)
			small := []loggedFault{{"PutObject", fault, e.code, e.says, e.s3}}
			large := []loggedFault{{"CreateMultipartUpload", fault, e.code, e.says, e.s3}}
			if e.inGuide {
				large = append(large, loggedFault{"UploadPart", fault, e.code, e.says, e.s3}, loggedFault{"CompleteMultipartUpload", fault, e.code, e.says, e.s3})
			}
			if e.head != "" {
				small = append(small, loggedFault{"HeadObject", fault, e.head, "", itoa(e.status)})
			}
			if e.s3 == "AccessDenied" && e.inGuide { // CompleteMultipartUpload may begin to answer with 200 and then fail
				large = append(large, loggedFault{"CompleteMultipartUpload", answerWith(http.StatusOK, "AccessDenied", "In the middle of it."), e.code, e.says, "In the middle of it."})
			}
			r.wantFaultsLogged(t, names.Stream("small-"+itoa(i)), 1000, small)
			r.wantFaultsLogged(t, names.Stream("large-"+itoa(i)), part+1000, large)
		})
	}
}

// loggedFault is what S3 answers to an operation, and what is then in the error log.
type loggedFault struct {
	operation  string
	do         action
	code, says string
	detail     string
}

// wantFaultsLogged has a delivery stream's batch fail by one fault after the other.
func (r *rig) wantFaultsLogged(t *testing.T, name names.Stream, size int, faults []loggedFault) {
	t.Helper()
	path := "/" + string(name) + "-"                                                                    // is in the object's name and in no other's
	taken := r.s3.First("PutObject", path, answer(http.StatusPreconditionFailed, "PreconditionFailed")) // leads to a HEAD
	heal := r.s3.First(faults[0].operation, path, faults[0].do)
	s := r.stream(name, encryptedWith(kmsKey), logged)
	s.fill(size)
	d := s.hand(s.batch())
	for i, f := range faults {
		if i > 0 {
			heal()
			heal = r.s3.First(f.operation, path, f.do)
		}
		entry := s.logEntry("operation error S3: "+f.operation+",", f.detail)
		wantEqual(t, f.operation+": errorCode", entry.ErrorCode, f.code)
		wantEqual(t, f.operation+": the destination", entry.Destination, "arn:aws:s3:::data")
		wantEqual(t, f.operation+": the batch", entry.Batch, d.ID())
		if !strings.Contains(entry.Message, f.says) {
			t.Errorf("%s: the message is %q and does not say %q", f.operation, entry.Message, f.says)
		}
	}
	heal()
	taken()
	check(t, r.documents().Remove(t.Context(), name, s.doc.ID))
}
