package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"hydrant/shared/format"
)

// apiFailure is an error as the API answers it.
type apiFailure struct {
	code    string // the API's exception
	message string // empty where the API gives none
	status  int
	hangUp  bool  // the connection is of no use any more: part of the request may still be under way on it
	cause   error // for the log only
}

func (e *apiFailure) Error() string {
	if e.message == "" {
		return e.code
	}
	return e.code + ": " + e.message
}

func (e *apiFailure) Unwrap() error { return e.cause }

// Codes of the API's errors.
const (
	codeConcurrentModification = "ConcurrentModificationException"
	codeInternalFailure        = "InternalFailure"
	codeInvalidArgument        = "InvalidArgumentException"
	codeLimitExceeded          = "LimitExceededException"
	codeResourceInUse          = "ResourceInUseException"
	codeResourceNotFound       = "ResourceNotFoundException"
	codeSerialization          = "SerializationException"
	codeServiceUnavailable     = "ServiceUnavailableException"
	codeUnknownOperation       = "UnknownOperationException"
	codeValidation             = "ValidationException"
)

func refusal(code, words string, args ...any) *apiFailure {
	return &apiFailure{code: code, message: fmt.Sprintf(words, args...), status: http.StatusBadRequest}
}

func invalidArgument(words string, args ...any) *apiFailure {
	return refusal(codeInvalidArgument, words, args...)
}

// notBuilt refuses what the API has and this version of Hydrant has not, rather than accept and ignore it.
func notBuilt(what string) *apiFailure { return invalidArgument("%s is not built yet", what) }

func unknownOperation() *apiFailure {
	return &apiFailure{code: codeUnknownOperation, status: http.StatusBadRequest}
}

// serviceUnavailable asks for the same call again, later. SDKs, Fluent Bit and others repeat it by its code and status.
func serviceUnavailable(message string, cause error) *apiFailure {
	return &apiFailure{code: codeServiceUnavailable, message: message, status: http.StatusServiceUnavailable, cause: cause}
}

// refuseBody refuses a request of which the rest is not read.
func refuseBody(words string, args ...any) *apiFailure {
	e := serviceUnavailable(fmt.Sprintf(words, args...), nil)
	e.hangUp = true
	return e
}

func internalFailure(cause error) *apiFailure {
	return &apiFailure{
		code:    codeInternalFailure,
		message: "The request failed because of an error in Hydrant. Its log has the details, under this request's id.",
		status:  http.StatusInternalServerError,
		cause:   cause,
	}
}

// asFailure makes any error one that can be answered. What is not an apiFailure already came from NATS, which is away or
// does not answer in time: nobody knows then what was stored, and the call may be made again.
func asFailure(err error) *apiFailure {
	var e *apiFailure
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, format.ErrNewer) {
		return newerFormat(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return serviceUnavailable("The request was not finished in time. Try again.", err)
	}
	return serviceUnavailable("The request cannot be served now. Try again.", err)
}
