package checker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// failedLine is a line of a file of failed documents, in the guide's form.
type failedLine struct {
	Attempts     int    `json:"attemptsMade"`
	Arrived      int64  `json:"arrivalTimestamp"`
	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
	Ended        int64  `json:"attemptEndingTimestamp"`
	ID           string `json:"esDocumentId"`
	Index        string `json:"esIndexName"`
	Type         string `json:"esTypeName"`
	RawData      []byte `json:"rawData"`
}

// parseFailed reads a line, and accepts only one that says why the document failed.
func parseFailed(line []byte) (failedLine, error) {
	var failed failedLine
	if !bytes.HasSuffix(line, []byte("\n")) {
		return failed, errors.New("no line feed at the end")
	}
	members := json.NewDecoder(bytes.NewReader(line))
	members.DisallowUnknownFields()
	if err := members.Decode(&failed); err != nil {
		return failed, err
	}
	code, err := strconv.Atoi(failed.ErrorCode)
	switch {
	case members.InputOffset() != int64(len(line)-1):
		return failed, errors.New("something behind the object")
	case err != nil || code != 0 && (code < 300 || code > 599):
		return failed, fmt.Errorf("the code %q is not a status", failed.ErrorCode)
	case failed.ErrorMessage == "":
		return failed, errors.New("it gives no reason")
	case failed.Attempts < 0 || failed.Ended < failed.Arrived:
		return failed, fmt.Errorf("%d attempts, arrived at %d, ended at %d", failed.Attempts, failed.Arrived, failed.Ended)
	}
	return failed, nil
}
