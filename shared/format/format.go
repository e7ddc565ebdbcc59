// Package format lets versions of Hydrant that run beside each other, or one after the other, tell what they can read.
//
// Whatever is stored has a format, a number that counts from 1. A reader reads its own format and all older ones, and refuses a
// newer one with ErrNewer: it changes nothing of it, acknowledges nothing, and leaves it to who can read it. So a format is
// raised by whatever an older reader would get wrong if it passed over it, and by every new member of a document that is read,
// changed and written back. A member that an older reader may pass over, in a document that is written once, needs no new one.
package format

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNewer is returned for what a later version of Hydrant wrote.
var ErrNewer = errors.New("written by a newer version of Hydrant: upgrade this process")

// Check returns ErrNewer, which then names both, if the format found is newer than the newest one known.
func Check(found, known int) error {
	if found > known {
		return fmt.Errorf("%w (format %d, known up to %d)", ErrNewer, found, known)
	}
	return nil
}

// CheckDocument does so for the member format of a JSON document. It is to be asked before anything else of the document is
// read, so that a newer form is told as such and not as a syntax error.
func CheckDocument(data []byte, known int) error {
	var document struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return err
	}
	return Check(document.Format, known)
}
