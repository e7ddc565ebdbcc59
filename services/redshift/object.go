package redshift

import (
	"encoding/json"
	"errors"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/staging"
)

// object is a staged object in the hands of a lane, and what became of it.
type object struct {
	*staging.Object
	before   delivery.Failures
	progress progress
	kept     bool // a failure was written down in this attempt

	loaded bool
	failed *failure // of the last attempt
}

// progress is what is kept of an object's failures, for whoever tries it next.
type progress struct {
	// Format is that of what is kept: 1, which is left out, or what a later version needs. It is refused where it is not known, since the
	// next failure written down would drop what is not known of it.
	Format int `json:"format,omitempty"`
	// Alone tells that it failed when it was loaded by itself, so that it is not loaded with others again.
	Alone bool `json:"alone,omitempty"`
	// Unanswered tells that a COPY of it was sent and no answer came, so that it may be loaded.
	Unanswered bool `json:"unanswered,omitempty"`
	// Aside is the manifest that it was about to be set aside in, as s3://bucket/key. Whether it is, that manifest's being there tells.
	Aside   string   `json:"aside,omitempty"`
	AsideID batch.ID `json:"aside_id,omitempty"`
}

// progressFormat is the format of progress that this build writes, and the newest it reads.
const progressFormat = 1

// retryKey is what an object's failures are kept under. The batch that it is of may have failures of another leg.
func retryKey(id batch.ID) batch.ID { return batch.ID(names.LegRedshift) + "." + id }

// recalled puts what is kept of the failures of an object beside it. What cannot be read is as none, but for since when. An object that
// was handed out more often than a failure of it was written down was in the hands of somebody who did not get to say what became of it.
//
// It fails for what a newer version wrote.
func recalled(from *staging.Object, f delivery.Failures) (*object, error) {
	o := &object{Object: from, before: f}
	if len(f.Progress) > 0 {
		if err := format.CheckDocument(f.Progress, progressFormat); errors.Is(err, format.ErrNewer) {
			return nil, err
		}
		if json.Unmarshal(f.Progress, &o.progress) != nil {
			o.progress = progress{}
		}
	}
	if from.Attempt > o.attempts() {
		o.progress.Unanswered = true
	}
	return o, nil
}

// over tells that the retry duration has passed since the object's first failure. One that never failed is given one try and,
// with a retry duration of zero, no more.
func (o *object) over(now time.Time, retry time.Duration) bool {
	if !o.before.Any() {
		return retry == 0
	}
	return !now.Before(o.before.Since.Add(retry))
}

func (o *object) attempts() int { return o.before.Attempts + 1 }

func ids(objects []*object) []batch.ID {
	list := make([]batch.ID, 0, len(objects))
	for _, o := range objects {
		list = append(list, o.Batch)
	}
	return list
}

func staged(objects []*object) []*staging.Object {
	list := make([]*staging.Object, 0, len(objects))
	for _, o := range objects {
		list = append(list, o.Object)
	}
	return list
}
