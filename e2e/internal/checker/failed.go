package checker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// FailedDocument is a line of a file of failed documents, as the guide has it. It is written down here and not taken from the
// sink: what reads the files must notice when the sink calls a member something else.
type FailedDocument struct {
	Attempts int    `json:"attemptsMade"`
	Arrived  int64  `json:"arrivalTimestamp"` // milliseconds since 1970
	Code     string `json:"errorCode"`
	Message  string `json:"errorMessage"`
	Ended    int64  `json:"attemptEndingTimestamp"`
	ID       string `json:"esDocumentId"`
	Index    string `json:"esIndexName"`
	Type     string `json:"esTypeName"`
	Data     []byte `json:"rawData"`
}

// ParseFailed reads a line, and accepts only one that says why the document failed.
func ParseFailed(line []byte) (FailedDocument, error) {
	var failed FailedDocument
	if !bytes.HasSuffix(line, []byte("\n")) {
		return failed, errors.New("no line feed at the end")
	}
	members := json.NewDecoder(bytes.NewReader(line))
	members.DisallowUnknownFields()
	if err := members.Decode(&failed); err != nil {
		return failed, err
	}
	switch {
	case members.InputOffset() != int64(len(line)-1):
		return failed, errors.New("something behind the object")
	case !saysWhy(failed.Code):
		return failed, fmt.Errorf("the code %q is neither a status nor a reason why there is none", failed.Code)
	case failed.Message == "":
		return failed, errors.New("it gives no reason")
	case failed.Attempts < 0 || failed.Ended < failed.Arrived:
		return failed, fmt.Errorf("%d attempts, arrived at %d, ended at %d", failed.Attempts, failed.Arrived, failed.Ended)
	}
	return failed, nil
}

// saysWhy tells the codes that there are: the status of an answer, or where none came, a code of the error log.
func saysWhy(code string) bool {
	switch code {
	case "ES.ConnectionFailed", "ES.AccessDenied", "ES.UnknownDomain", "InternalError":
		return true
	}
	status, err := strconv.Atoi(code)
	return err == nil && status >= 300 && status <= 599
}
