package redshift

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"regexp"
	"strings"

	"github.com/lib/pq"
)

// The guide's error codes of this destination.
const (
	codeTableNotFound    = "Redshift.TableNotFound"
	codeSyntaxError      = "Redshift.SyntaxError"
	codeAuthentication   = "Redshift.AuthenticationFailed"
	codeAccessDenied     = "Redshift.AccessDenied"
	codeBucketDenied     = "Redshift.S3BucketAccessDenied"
	codeDataLoad         = "Redshift.DataLoadFailed"
	codeColumnNotFound   = "Redshift.ColumnNotFound"
	codeDatabaseNotFound = "Redshift.DatabaseNotFound"
	codeCopyOptions      = "Redshift.IncorrectCopyOptions"
	codeMissingColumn    = "Redshift.MissingColumn"
	codeConnection       = "Redshift.ConnectionFailed"
	codeColumnMismatch   = "Redshift.ColumnMismatch"
	codeRegion           = "Redshift.IncorrectOrMissingRegion"
	codeJSONPaths        = "Redshift.IncorrectJsonPathsFile"
	codeMissingFile      = "Redshift.MissingS3File"
	codePrivilege        = "Redshift.InsufficientPrivilege"
	codeReadOnly         = "Redshift.ReadOnlyCluster"
	codeDiskFull         = "Redshift.DiskFull"
	codeInternal         = "InternalError"

	// Hydrant's own: objects may be loaded twice, or cannot be loaded since they might be.
	codeLedgerNotPermitted = "Redshift.LedgerNotPermitted"
	codeLedger             = "Redshift.LedgerUnavailable"
)

// message tells the owner of a delivery stream what a code means and what to do: the guide's list, in this project's words.
func message(code string) string {
	switch code {
	case codeTableNotFound:
		return "The table was not found. Create it, or correct its name in the delivery stream: tables are not made by themselves."
	case codeSyntaxError:
		return "The COPY command has a syntax error. Correct the delivery stream's COPY options."
	case codeAuthentication:
		return "The database refused the user name and password. Correct them in the delivery stream."
	case codeAccessDenied:
		return "Access was denied to the role that the COPY command names. Check that its trust policy lets it be assumed."
	case codeBucketDenied:
		return "The COPY command was denied access to the S3 bucket. Check that the credentials in use may list the bucket and read its objects."
	case codeDataLoad:
		return "Data could not be loaded into the table. The detail says why; the table STL_LOAD_ERRORS of the cluster says more."
	case codeColumnNotFound:
		return "A column of the COPY command is not in the table. Correct the delivery stream's list of columns, or the table."
	case codeDatabaseNotFound:
		return "The database was not found. Correct its name in the delivery stream's JDBC URL."
	case codeCopyOptions:
		return "Options of the COPY command contradict or repeat each other. Correct the delivery stream's COPY options."
	case codeMissingColumn:
		return "A column of the table is NOT NULL, has no default, and is not loaded. Load it, or give it a default."
	case codeConnection:
		return "The cluster cannot be reached, or the connection broke. Check its address, that it is up, its certificate, and that its security settings allow connections from here."
	case codeColumnMismatch:
		return "The number of JSONPath expressions is not that of the columns. Correct the JSONPaths file, or the list of columns."
	case codeRegion:
		return "The cluster asked the wrong region for the S3 bucket. Add REGION to the delivery stream's COPY options."
	case codeJSONPaths:
		return "The JSONPaths file is in no form that can be read. Correct it."
	case codeMissingFile:
		return "Staged objects are not in the S3 bucket any more. Check what deletes objects there before they are loaded."
	case codePrivilege:
		return "The database user may not load data into the table. Grant it INSERT, and USAGE of the schema."
	case codeReadOnly:
		return "The cluster takes no writes at present: it is being resized. Delivery is tried again."
	case codeDiskFull:
		return "The disks of the cluster are full. Make room there."
	case codeLedger:
		return "The ledger table, by which nothing is loaded twice, cannot be used. Check that its schema exists, that it has the columns that Hydrant gives it, and that nothing holds a lock on it."
	case codeLedgerNotPermitted:
		return "The database user may not create or use the ledger table, so that an object may be loaded twice after a lost answer. Grant it CREATE in the ledger's schema, or make it the owner of the table."
	default:
		return "Data could not be loaded because of an internal error. Delivery is tried again."
	}
}

// scope says what a failure says about the objects that were to be loaded.
type scope int

const (
	ofAll  scope = iota // nothing: any other object would have failed as well
	ofSome              // one of them, or some, may be the cause; the others can be loaded without
)

// verdict is what a failure means.
type verdict struct {
	code  string
	scope scope
}

// ofCluster tells what is wrong with more than a table, and so is the same whether the ledger or the table to load into met it first.
func (v verdict) ofCluster() bool {
	switch v.code {
	case codeConnection, codeAuthentication, codeDatabaseNotFound, codeReadOnly, codeDiskFull:
		return true
	}
	return false
}

// judge reads an error of the database, or of the way there. What it does not know may be some object's fault as long as it was
// the server that said it.
func judge(err error) verdict {
	var from *pq.Error
	if errors.As(err, &from) {
		return judgeServer(string(from.Code), from.Message+" "+from.Detail)
	}
	if unreachable(err) {
		return verdict{codeConnection, ofAll}
	}
	return verdict{codeInternal, ofAll}
}

// unreachable tells what goes wrong between here and the server.
func unreachable(err error) bool {
	var network net.Error
	var certificate x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &network) || errors.As(err, &certificate) || errors.As(err, &host) ||
		errors.Is(err, errBroken) || errors.Is(err, pq.ErrSSLNotSupported) || errors.Is(err, context.DeadlineExceeded)
}

// judgeServer goes by the text where there is one that is known: Redshift says most of what goes wrong with a COPY under one code.
func judgeServer(state, text string) verdict {
	text = strings.ToLower(text)
	if v, known := judgeText(text); known {
		return v
	}
	return judgeState(state)
}

// told is a text that means a code.
type told struct {
	says    string // a regular expression, of small letters
	verdict verdict
}

// texts are the server's, the more special ones first.
func texts() []told {
	all := func(code, says string) told { return told{says, verdict{code, ofAll}} }
	some := func(code, says string) told { return told{says, verdict{code, ofSome}} }
	return []told{
		all(codeColumnNotFound, `column .* (?:does not exist|not found|of table)|nonexistent column|no such column`),
		all(codeTableNotFound, `nonexistent table|(?:relation|table|schema) .* (?:does not exist|not found)`),
		all(codeRegion, `must be addressed using the specified endpoint|permanentredirect|authorizationheadermalformed|wrong region|region .* is wrong|different region`),
		all(codeAccessDenied, `not authorized to (?:get credentials of role|assume)|unable to assume|assume ?role|role .* (?:is not valid|not associated|does not exist)`),
		all(codeBucketDenied, `accessdenied|access denied|access ?key ?id|signaturedoesnotmatch|(?:s3|bucket).*(?:forbidden|\b403\b)|expiredtoken|token has expired|nosuchbucket|the specified bucket does not exist`),
		some(codeMissingFile, `nosuchkey|specified s3 prefix .* does not exist|mandatory (?:url|file)|problem reading manifest|manifest file is not (?:in|found)|key does not exist`),
		all(codeColumnMismatch, `number of jsonpaths and the number of columns|jsonpaths?.*(?:match|mismatch)`),
		all(codeJSONPaths, `invalid jsonpath|jsonpaths?(?: file)?.*(?:format|parse|not supported|not found|invalid)`),
		all(codeMissingColumn, `missing data for not-null|cannot load (?:a )?null|not null.*without.*default|column .* (?:is )?not null.*(?:column list|no default)`),
		all(codeCopyOptions, `conflicting or redundant|conflicts? with|redundant options|option .* (?:not compatible|incompatible)|cannot specify .* (?:with|and)|not supported (?:with|for) (?:csv|json|avro|fixedwidth)|incompatible (?:with|option)`),
		all(codeReadOnly, `resize mode|read-only (?:mode|transaction|cluster)|cluster is (?:being resized|in .*resize)|restore mode`),
		all(codeDiskFull, `disk full|no space left|disk is full`),
		some(codeDataLoad, `stl_load_errors|sys_load_error_detail|load into table .* failed|spectrum scan error`),
	}
}

func judgeText(text string) (verdict, bool) {
	for _, t := range texts() {
		if regexp.MustCompile(t.says).MatchString(text) {
			return t.verdict, true
		}
	}
	return verdict{}, false
}

// refusedCredentials tells that S3 did not know those in the COPY, or that they had ended: others are to be got for the next.
func refusedCredentials(err error) bool {
	var from *pq.Error
	if !errors.As(err, &from) {
		return false
	}
	return regexp.MustCompile(`(?i)expired ?token|token (?:has|is) expired|invalid ?token|InvalidAccessKeyId|InvalidClientTokenId`).MatchString(from.Message + " " + from.Detail)
}

// judgeState goes by the SQLSTATE, whose first two digits are its class.
func judgeState(state string) verdict {
	switch state {
	case "42P01", "3F000": // no such table, no such schema
		return verdict{codeTableNotFound, ofAll}
	case "42703":
		return verdict{codeColumnNotFound, ofAll}
	case "42501":
		return verdict{codePrivilege, ofAll}
	case "3D000":
		return verdict{codeDatabaseNotFound, ofAll}
	case "23502":
		return verdict{codeMissingColumn, ofSome}
	case "25006":
		return verdict{codeReadOnly, ofAll}
	case "53100":
		return verdict{codeDiskFull, ofAll}
	case "53300", "57P01", "57P02", "57P03": // too many connections, shut down, crashed, starting
		return verdict{codeConnection, ofAll}
	}
	return judgeStateClass(state)
}

func judgeStateClass(state string) verdict {
	switch class, _ := strings.CutSuffix(state, state[min(2, len(state)):]); class {
	case "08":
		return verdict{codeConnection, ofAll}
	case "28":
		return verdict{codeAuthentication, ofAll}
	case "42":
		return verdict{codeSyntaxError, ofAll}
	case "22", "23": // data, and constraints upon it
		return verdict{codeDataLoad, ofSome}
	case "25", "40", "53", "54", "55", "57", "58": // what passes: a conflict, a lock, resources, the operator
		return verdict{codeInternal, ofAll}
	}
	return verdict{codeInternal, ofSome}
}
