package es

import (
	"errors"
	"net/http"
	"strings"

	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
)

// serviceName is what owners of delivery streams are told of this service as.
const serviceName = "Elasticsearch sink"

// Error codes. The guide has none for this destination but the words of Elasticsearch, which stand beside them.
const (
	codeAccessDenied    = "ES.AccessDenied"
	codeConnection      = "ES.ConnectionFailed"
	codeThrottled       = "ES.Throttled"
	codeBlocked         = "ES.Blocked"
	codeTooLarge        = "ES.RequestTooLarge"
	codeExplicitIndex   = "ES.ExplicitIndexNotAllowed"
	codeRefused         = "ES.RequestRefused"
	codeUnavailable     = "ES.ServiceUnavailable"
	codeUnknownDomain   = "ES.UnknownDomain"
	codeFormerIndex     = "ES.FormerIndexUnknown"
	codeDocumentsFailed = "ES.DocumentsFailed"
	codeFileUnreadable  = "ES.FileUnreadable"
)

// isTried ends the messages about what may pass. Whoever redrives is not told so: that is tried again by hand.
const isTried = " Delivery is tried again for the retry duration."

func internal(err error) *delivery.Error {
	return &delivery.Error{
		Class: delivery.Permanent, Code: objectstore.CodeInternal, Message: objectstore.Message(objectstore.CodeInternal, serviceName), Err: err,
	}
}

// rejected is what the owner is told of documents that were set aside. How many and where is told beside it.
func rejected(why string) *delivery.Error {
	return &delivery.Error{
		Class: delivery.Permanent, Code: codeDocumentsFailed, Err: errors.New(why),
		Message: "Documents could not be delivered and are kept in the S3 bucket. Remove the cause, and deliver them from there.",
	}
}

// byHand is an error in the words for who redrives.
func byHand(e *delivery.Error) *delivery.Error {
	told := *e
	told.Message = strings.TrimSuffix(e.Message, isTried)
	return &told
}

// leftOver is what is told of documents that a redrive did not deliver.
func leftOver(why string) *delivery.Error {
	return &delivery.Error{
		Class: delivery.Permanent, Code: codeDocumentsFailed, Err: errors.New(why),
		Message: "The cluster did not take documents. They stay in the S3 bucket. Remove the cause, and redrive them again.",
	}
}

// unreadable is what is told of a file of failed documents that is none.
func unreadable(err error) *delivery.Error {
	return &delivery.Error{
		Class: delivery.Permanent, Code: codeFileUnreadable, Err: err,
		Message: "The file cannot be read as one of failed documents. Nothing of it was sent, and it stays where it is. See whether it was changed.",
	}
}

// describe turns what went wrong with the server into what the runner understands. Elasticsearch's own words are kept.
func describe(err error) *delivery.Error {
	var domain *unknownDomainError
	if errors.As(err, &domain) {
		return &delivery.Error{
			Class: delivery.Permanent, Code: codeUnknownDomain, Err: err,
			Message: "The address of the domain is not known. Add it to --es-endpoints (HYDRANT_ES_ENDPOINTS), or give the delivery stream a ClusterEndpoint.",
		}
	}
	var r *refusal
	if !errors.As(err, &r) {
		return &delivery.Error{Class: delivery.Retryable, Code: objectstore.CodeInternal, Message: objectstore.Message(objectstore.CodeInternal, serviceName), Err: err}
	}
	e := &delivery.Error{Class: delivery.Retryable, Err: err}
	if r.lasting() {
		e.Class = delivery.Permanent
	}
	e.Code, e.Message = r.guide()
	return e
}

// guide is the code and the message of a refusal.
func (r *refusal) guide() (code, message string) {
	var unsigned *signError
	switch {
	case r.err != nil && r.lasting():
		return codeAccessDenied, "The role of the delivery stream was denied. Ensure that it is there, that its trust policy lets the Elasticsearch sink assume it, and that its access policy allows access to the domain."
	case errors.As(r.err, &unsigned):
		return objectstore.CodeInternal, "Requests to the domain cannot be signed: STS did not answer, or the Elasticsearch sink has no credentials of its own." + isTried
	case r.err != nil:
		return codeConnection, "The cluster cannot be reached, or did not answer in time. Ensure that it is up, and that its address and certificate are right." + isTried
	case r.noExplicitIndex():
		return codeExplicitIndex, "The cluster does not let bulk requests name the index of each document. Set rest.action.multi.allow_explicit_index to true."
	case r.blocked():
		return codeBlocked, "The index or the cluster does not take writes: its own words say whether somebody made it read-only, which has to be lifted, or a disk is nearly full, which needs room." + isTried
	}
	switch r.status {
	case http.StatusUnauthorized:
		return codeAccessDenied, "The cluster does not know who asks. Ensure that the user and password, the API key or the role that the Elasticsearch sink uses are right, and that --es-hosts (HYDRANT_ES_HOSTS) has the host of the ClusterEndpoint: others are asked without user and key."
	case http.StatusForbidden:
		return codeAccessDenied, "Access to the cluster was denied. Ensure that the access policy of the domain, or the rights of the user, allow writing to the index."
	case http.StatusTooManyRequests:
		return codeThrottled, "The cluster has more to do than it can. Delivery goes on more slowly. If this lasts, make the cluster larger."
	case http.StatusRequestEntityTooLarge:
		return codeTooLarge, "The cluster, or a proxy in front of it, takes no requests as large as those that are sent. Smaller ones are sent from now on."
	}
	if r.lasting() {
		return codeRefused, "The cluster refused the request, and will until a setting of the delivery stream or of the cluster is changed; its own words say why."
	}
	return codeUnavailable, "The cluster cannot take documents at the moment." + isTried
}
