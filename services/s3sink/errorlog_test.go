package s3sink

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

// logged switches a delivery stream's error log on.
func logged(d *doc) {
	d.Destination.S3.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{
		Enabled: aws.Bool(true), LogGroupName: aws.String("/aws/kinesisfirehose/" + string(d.Name)), LogStreamName: aws.String("S3Delivery"),
	}
}

// logEntry waits for the first entry in a delivery stream's error log.
func (s *deliveryStream) logEntry() delivery.LogEntry {
	s.t.Helper()
	var entry delivery.LogEntry
	eventually(s.t, "an error log entry of "+string(s.doc.Name), func() bool {
		for _, data := range s.messages("ERRORS") {
			if e := decodeEntry(s.t, data); e.DeliveryStreamARN == s.doc.ARN {
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
	errors := []struct {
		code   string
		status int
		s3     string
		text   string
		says   string
		head   string // the code where a HEAD gets the answer, which has no body to say more than its status does
	}{
		{"S3.KMS.NotFoundException", http.StatusBadRequest, "KMS.NotFoundException", "Key 'arn:aws:kms:us-east-1:111111111111:key/9f0c' does not exist", "Check the key", ""},
		{"S3.AccessDenied", http.StatusForbidden, "AccessDenied", "Access Denied", "Check the credentials", "S3.AccessDenied"},
		{"S3.AccountProblem", http.StatusForbidden, "AccountProblem", "There is a problem with your account.", "Ask the provider", "S3.AccessDenied"},
		{"S3.AllAccessDisabled", http.StatusForbidden, "AllAccessDisabled", "All access to this resource has been disabled.", "Ask the provider", "S3.AccessDenied"},
		{"S3.InvalidPayer", http.StatusForbidden, "InvalidPayer", "All access to this object has been disabled.", "Ask the provider", "S3.AccessDenied"},
		{"S3.NotSignedUp", http.StatusForbidden, "NotSignedUp", "Your account is not signed up.", "Sign it up", "S3.AccessDenied"},
		{"S3.NoSuchBucket", http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist", "Create it", ""},
		{"S3.MethodNotAllowed", http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.", "Change the bucket's policy", "S3.MethodNotAllowed"},
		{"InternalError", http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.", "Delivery is tried again", "InternalError"},

		// Not in the guide: what KMS keys lead to otherwise.
		{"S3.AccessDenied", http.StatusForbidden, "AccessDenied", "User: arn:aws:sts::111111111111:assumed-role/a/s is not authorized to perform: kms:GenerateDataKey", "kms:GenerateDataKey", ""},
		{"S3.KMS.KeyDisabled", http.StatusBadRequest, "KMS.DisabledException", "arn:aws:kms:us-east-1:111111111111:key/9f0c is disabled.", "Enable it", ""},
		{"S3.KMS.InvalidStateException", http.StatusBadRequest, "KMS.KMSInvalidStateException", "arn:aws:kms:us-east-1:111111111111:key/9f0c is pending deletion.", "Restore it", ""},
		{"InternalError", http.StatusBadRequest, "KMS.ThrottlingException", "Rate exceeded", "Delivery is tried again", ""},
	}
	operations := []struct {
		name string
		size int
	}{{"PutObject", 1000}, {"CreateMultipartUpload", 6 << 20}, {"UploadPart", 6 << 20}, {"CompleteMultipartUpload", 6 << 20}}

	r := newRig(t)
	r.start()
	number := 0
	wantEntry := func(t *testing.T, size int, code, says, s3 string, faults func(path string)) {
		number++
		name := names.Stream("demo-" + itoa(number))
		faults("/" + string(name) + "-") // which is in the object's name and in no other's
		s := r.stream(name, encryptedWith(kmsKey), logged)
		s.fill(size)
		d := s.hand(s.batch())
		entry := s.logEntry()
		check(t, r.documents().Remove(t.Context(), name, s.doc.ID)) // and with it ends the retrying
		wantEqual(t, "errorCode", entry.ErrorCode, code)
		wantEqual(t, "the destination", entry.Destination, "arn:aws:s3:::data")
		wantEqual(t, "the batch", entry.Batch, d.ID())
		if !strings.Contains(entry.Message, says) {
			t.Errorf("the message is %q and does not say %q", entry.Message, says)
		}
		if !strings.Contains(entry.Detail, s3) {
			t.Errorf("the detail is %q and does not name %s", entry.Detail, s3)
		}
	}
	r.startKMS(true)
	for _, e := range errors {
		fault := answerWith(e.status, e.s3, e.text)
		for _, op := range operations {
			t.Run(e.s3+" "+e.says+" "+op.name, func(t *testing.T) {
				wantEntry(t, op.size, e.code, e.says, e.s3, func(path string) { r.s3.first(op.name, path, fault) })
			})
		}
		if e.head == "" {
			continue
		}
		t.Run(e.s3+" HeadObject", func(t *testing.T) {
			wantEntry(t, 1000, e.head, "", itoa(e.status), func(path string) {
				r.s3.first("PutObject", path, answer(http.StatusPreconditionFailed, "PreconditionFailed"))
				r.s3.first("HeadObject", path, fault)
			})
		})
	}

	// CompleteMultipartUpload may begin to answer with 200 and then fail.
	t.Run("200 with an error", func(t *testing.T) {
		wantEntry(t, 6<<20, "S3.AccessDenied", "Check the credentials", "AccessDenied", func(path string) {
			r.s3.first("CompleteMultipartUpload", path, answer(http.StatusOK, "AccessDenied"))
		})
	})
}
