package redshift

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// TestEveryCodeOfTheGuide has, for each, the words that Redshift or PostgreSQL say it with.
func TestEveryCodeOfTheGuide(t *testing.T) {
	for _, c := range []struct {
		code  string
		of    scope
		state string
		says  string
	}{
		{codeTableNotFound, ofAll, "42P01", `relation "public.events" does not exist`},
		{codeTableNotFound, ofAll, "42P01", "Cannot COPY into nonexistent table events"},
		{codeTableNotFound, ofAll, "XX000", "Cannot COPY into nonexistent table events"},
		{codeTableNotFound, ofAll, "3F000", `schema "web" does not exist`},
		{codeSyntaxError, ofAll, "42601", `syntax error at or near "GZIPP"`},
		{codeSyntaxError, ofAll, "42601", `unrecognized option "foo"`},
		{codeAuthentication, ofAll, "28P01", `password authentication failed for user "loader"`},
		{codeAuthentication, ofAll, "28000", `no pg_hba.conf entry for host "1.2.3.4", user "loader", database "dev", SSL off`},
		{codeAccessDenied, ofAll, "XX000", "User arn:aws:redshift:us-east-1:1:dbuser:c/loader is not authorized to assume IAM Role arn:aws:iam::1:role/load"},
		{codeAccessDenied, ofAll, "XX000", "Not authorized to get credentials of role arn:aws:iam::1:role/load"},
		{codeBucketDenied, ofAll, "XX000", "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 1A2B,ExtRid x,CanRetry 1"},
		{codeBucketDenied, ofAll, "XX000", "S3ServiceException:The AWS Access Key Id you provided does not exist in our records.,Status 403,Error InvalidAccessKeyId"},
		{codeBucketDenied, ofAll, "XX000", "Problem reading manifest file - S3ServiceException:No user exists with the provided access key ID.,Status 404,Error XAdminUserNotFound"},
		{codeBucketDenied, ofAll, "XX000", "S3ServiceException:The request signature we calculated does not match,Status 403,Error SignatureDoesNotMatch"},
		{codeBucketDenied, ofAll, "XX000", "S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket"},
		{codeDataLoad, ofSome, "XX000", "Load into table 'events' failed.  Check 'stl_load_errors' system table for details."},
		{codeDataLoad, ofSome, "XX000", "Load into table 'events' failed. Check 'sys_load_error_detail' system table for details."},
		{codeDataLoad, ofSome, "22P02", `invalid input syntax for type integer: "x"`},
		{codeDataLoad, ofSome, "22001", "value too long for type character varying(3)"},
		{codeColumnNotFound, ofAll, "42703", `column "absent" of relation "events" does not exist`},
		{codeColumnNotFound, ofAll, "XX000", `column "absent" does not exist`},
		{codeDatabaseNotFound, ofAll, "3D000", `database "absent" does not exist`},
		{codeCopyOptions, ofAll, "42601", "conflicting or redundant options"},
		{codeCopyOptions, ofAll, "0A000", "CSV is not compatible with FIXEDWIDTH: cannot specify CSV with FIXEDWIDTH"},
		{codeMissingColumn, ofSome, "23502", `null value in column "n" of relation "strict" violates not-null constraint`},
		{codeMissingColumn, ofAll, "XX000", "Missing data for not-null field"},
		{codeConnection, ofAll, "08006", "connection failure"},
		{codeConnection, ofAll, "57P03", "the database system is starting up"},
		{codeConnection, ofAll, "57P01", "terminating connection due to administrator command"},
		{codeConnection, ofAll, "53300", "too many connections for role"},
		{codeColumnMismatch, ofAll, "XX000", "Number of jsonpaths and the number of columns should match. JSONPath size: 3, Number of columns in table or column list: 2"},
		{codeRegion, ofAll, "XX000", "S3ServiceException:The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.,Status 301,Error PermanentRedirect"},
		{codeJSONPaths, ofAll, "XX000", "Invalid JSONPath format: Member is not an object."},
		{codeMissingFile, ofSome, "XX000", "The specified S3 prefix 'staged/x' does not exist"},
		{codeMissingFile, ofSome, "XX000", "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey"},
		{codeMissingFile, ofSome, "XX000", "Problem reading manifest file - mandatory url s3://b/k not found"},
		{codePrivilege, ofAll, "42501", "permission denied for relation events"},
		{codeReadOnly, ofAll, "XX000", "The cluster is in resize mode; cannot execute the query"},
		{codeReadOnly, ofAll, "25006", "cannot execute INSERT in a read-only transaction"},
		{codeDiskFull, ofAll, "53100", "could not extend file: No space left on device"},
		{codeDiskFull, ofAll, "XX000", "Disk Full"},
		{codeInternal, ofSome, "XX000", "unexpected"},
		{codeInternal, ofAll, "57014", "canceling statement due to user request"},
		{codeInternal, ofAll, "40001", "could not serialize access"},
		{codeInternal, ofSome, "", ""},
	} {
		t.Run(c.says, func(t *testing.T) {
			v := judge(fmt.Errorf("load: %w", &pq.Error{Code: pqerror.Code(c.state), Message: c.says}))
			wantEqual(t, "the code", v.code, c.code)
			wantEqual(t, "the scope", v.scope, c.of)
			// Redshift tells the cause in the detail, below a message that says little.
			if c.state == "XX000" {
				wantEqual(t, "the code of the detail", judge(&pq.Error{Code: "XX000", Message: "Failed", Detail: c.says}).code, c.code)
			}
			if m := message(v.code); m == "" || v.code != codeInternal && m == message(codeInternal) {
				t.Errorf("%s has the message %q", v.code, m)
			}
		})
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	for name, err := range map[string]error{
		"nobody listens":         &net.OpError{Op: "dial", Err: errors.New("connection refused")},
		"no such host":           &net.DNSError{Err: "no such host", Name: "absent"},
		"an unknown certificate": x509.UnknownAuthorityError{},
		"another's certificate":  x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"},
		"no encryption":          pq.ErrSSLNotSupported,
		"broken":                 lost(fmt.Errorf("read: %w", net.ErrClosed)),
		"no answer":              context.DeadlineExceeded,
	} {
		wantEqual(t, name, judge(err), verdict{codeConnection, ofAll})
	}
	wantEqual(t, "anything else", judge(errors.New("?")), verdict{codeInternal, ofAll})
}

func TestRefusedCredentials(t *testing.T) {
	for text, want := range map[string]bool{
		"S3ServiceException:The provided token has expired.,Status 400,Error ExpiredToken": true,
		"S3ServiceException:…,Status 403,Error InvalidAccessKeyId":                         true,
		"S3ServiceException:Access Denied,Status 403,Error AccessDenied":                   false,
	} {
		wantEqual(t, text, refusedCredentials(fmt.Errorf("load: %w", &pq.Error{Code: "XX000", Message: text})), want)
	}
	wantEqual(t, "without an answer", refusedCredentials(errBroken), false)
}

// FuzzJudge has a server say anything: there is a code and a message for it, and nothing secret in what is told.
func FuzzJudge(f *testing.F) {
	f.Add("XX000", "S3ServiceException:Access Denied", "CREDENTIALS 'aws_access_key_id=k;aws_secret_access_key=hidden-secret'")
	f.Add("", "", "")
	f.Add("2", "value \"", `'hidden-secret`)
	f.Fuzz(func(t *testing.T, state, says, detail string) {
		told := failed(t.Context(), &pq.Error{Code: pqerror.Code(state), Message: says, Detail: detail}, secrets{"hidden-secret"})
		if told.code == "" || told.describe().Message == "" || strings.Contains(told.err.Error(), "hidden-secret") {
			t.Errorf("%q %q %q is told as %+v", state, says, detail, told)
		}
	})
}

// TestNothingOfARecordIsTold has servers quote what they could not load.
func TestNothingOfARecordIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ state, says, detail, reason, want string }{
		{"22P02", `invalid input syntax for type integer: "hidden"`, "", "", "invalid input syntax for type integer: (not shown) (SQLSTATE 22P02)"},
		{"22P02", `invalid input syntax for type integer: "he said "hidden" aloud"`, "", "", "invalid input syntax for type integer: (not shown) (SQLSTATE 22P02)"},
		{"22P02", "invalid input syntax for type json: \"two\nlines, hidden\"", "", "", "invalid input syntax for type json: (not shown) (SQLSTATE 22P02)"},
		{"22003", `value "4711hidden" is out of range for type integer`, "", "", "value (not shown) is out of range for type integer (SQLSTATE 22003)"},
		{
			"23502", `null value in column "n" of relation "events" violates not-null constraint`, "Failing row contains (null, hid)den).", "",
			`null value in column "n" of relation "events" violates not-null constraint (SQLSTATE 23502); Failing row contains (not shown).`,
		},
		{"23514", "new row violates a check constraint", "Failing row contains (1, hidden", "", "new row violates a check constraint (SQLSTATE 23514); Failing row contains (not shown)"},
		{"23505", "duplicate key value", "Key (text)=(hidden) already exists.", "", "duplicate key value (SQLSTATE 23505); Key (text)=(not shown) already exists."},
		{
			"XX000", "Load into table 'events' failed.  Check 'stl_load_errors' system table for details.", "",
			`s3://data/a line 7 column "n": Invalid digit, Value 'h', Pos 0, Type: Integer (1207)`,
			`Load into table 'events' failed.  Check 'stl_load_errors' system table for details. (SQLSTATE XX000); ` +
				`s3://data/a line 7 column "n": Invalid digit, Value (not shown), Pos 0, Type: Integer (1207)`,
		},
		{"XX000", "nobody knows this: 'hidden'", "", "", "nobody knows this: (not shown) (SQLSTATE XX000)"},
	} {
		var err error = &pq.Error{Severity: "ERROR", Code: pqerror.Code(c.state), Message: c.says, Detail: c.detail}
		if c.reason != "" {
			err = &reasonsError{err: err, reasons: []string{c.reason}}
		}
		wantEqual(t, "what is told", failed(t.Context(), err, nil).err.Error(), c.want)
	}
}

// TestWhatTheLedgerMeetsFirst tells what is wrong with the cluster as that, and not as the ledger's fault.
func TestWhatTheLedgerMeetsFirst(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		"25006": codeReadOnly, "53100": codeDiskFull, "28P01": codeAuthentication, "3D000": codeDatabaseNotFound, "57P01": codeConnection,
		"42P01": codeLedger, "42703": codeLedger, "42501": codeLedger, "57014": codeLedger,
	} {
		wantEqual(t, state, failed(t.Context(), &ledgerError{&pq.Error{Code: pqerror.Code(state)}}, nil).code, want)
	}
}
