package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

// way is how an object can be written: by which request it gets its name.
type way struct {
	name, operation string
	size            int
}

func ways() []way {
	return []way{{"single put", "PutObject", 1000}, {"multipart", "CompleteMultipartUpload", several}}
}

// TestCreate writes objects of which nobody knows the size before, finds them, and writes them again.
func TestCreate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		parts int
	}{
		{"nothing", 0, 0},
		{"a byte", 1, 0},
		{"no byte more than a part", MinPartSize, 0},
		{"a byte more", MinPartSize + 1, 2},
		{"more than there is memory for", 5*MinPartSize - 1, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			store := r.store(func(c *Settings) { c.PartSize, c.PartMemory = MinPartSize, 2*MinPartSize })
			found, err := store.Find(t.Context(), object())
			check(t, err)
			wantEqual(t, "whether it is there before", found != nil, false)

			made, err := store.Create(t.Context(), writing(tt.size))
			check(t, err)
			wantEqual(t, "whether it was created", made.Created, true)
			wantEqual(t, "the size", made.Size, int64(tt.size))
			wantEqual(t, "the parts", r.s3.Count("UploadPart"), tt.parts)
			wantEqual(t, "whether memory for parts is bounded", store.buffers.Made() <= 2, true)
			r.wantObject(tt.size)

			for _, again := range []bool{false, true} {
				found, err = attempt(t.Context(), store, writing(tt.size, func(w *Write) { w.Again = again }))
				check(t, err)
				wantEqual(t, "whether it was created again", found.Created, false)
				wantEqual(t, "the size", found.Size, int64(tt.size))
				wantEqual(t, "what it says of itself", found.Metadata[MetadataRecords], "7")
			}
			r.wantObject(tt.size)
		})
	}
}

// TestFaults has S3 fail in each way at each operation, and attempts until one succeeds: there is one object, written once. On a busy
// machine an attempt may be too slow for the short timeout as well.
func TestFaults(t *testing.T) {
	const longer = sdkAttempts + 1 // than one attempt of ours
	faults := []struct {
		name  string
		times int
		do    action
	}{
		{"500", 1, s3test.Answer(http.StatusInternalServerError, "InternalError")},
		{"503 for longer", longer, s3test.Answer(http.StatusServiceUnavailable, "SlowDown")},
		{"403", 1, s3test.Answer(http.StatusForbidden, "AccessDenied")},
		{"reset", 1, s3test.Reset},
		{"lost answer", 1, s3test.Lose},
		{"lost answers for longer", longer, s3test.Lose},
		{"slow answer", 1, s3test.Hold(true, nil, nil)},
		{"black hole", 1, s3test.Hold(false, nil, nil)},
	}
	for _, op := range append(ways(), way{"begin", "CreateMultipartUpload", several}, way{"part", "UploadPart", several}) {
		for _, fault := range faults {
			t.Run(op.name+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.s3.Fail(op.operation, fault.times, fault.do)
				store := r.store(func(c *Settings) { c.S3Timeout = time.Second })
				var err error
				for number := range 10 * longer {
					if _, err = attempt(t.Context(), store, writing(op.size, func(w *Write) { w.Again = number > 0 })); err == nil {
						break
					}
				}
				check(t, err)
				r.wantObject(op.size)
			})
		}
	}
}

// TestLostAnswers makes sure that a lost answer is settled by the object itself, in the same attempt.
func TestLostAnswers(t *testing.T) {
	for _, w := range ways() {
		for name, cause := range map[string]action{
			"answers lost":         s3test.Lose,
			"500 after the effect": s3test.After(s3test.Answer(http.StatusInternalServerError, "InternalError")),
			"404 after the effect": s3test.After(s3test.Answer(http.StatusNotFound, "NoSuchUpload")),
			"409 after the effect": s3test.After(s3test.Answer(http.StatusConflict, "ConditionalRequestConflict")),
		} {
			t.Run(w.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.s3.Fail(w.operation, sdkAttempts, cause)
				found, err := r.store().Create(t.Context(), writing(w.size))
				check(t, err)
				wantEqual(t, "what it says of itself", found.Metadata[MetadataRecords], "7")
				r.wantObject(w.size)
			})
		}
	}
}

// TestAtOnce has several workers write the same object at the same time.
func TestAtOnce(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			store := r.store()
			var mu sync.Mutex
			made := 0
			var writers sync.WaitGroup
			for range 4 {
				writers.Go(func() {
					found, err := store.Create(t.Context(), writing(w.size))
					if err != nil {
						t.Errorf("one of them: %v", err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if found.Created {
						made++
					}
				})
			}
			writers.Wait()
			wantEqual(t, "how many say that they made it", made, 1)
			r.wantObject(w.size)
		})
	}
}

// TestNotHeld has a worker lose its batch: it completes nothing, and leaves nothing.
func TestNotHeld(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			_, err := r.store().Create(t.Context(), writing(w.size, func(w *Write) { w.Held = func() error { return delivery.ErrNotHeld } }))
			if !errors.Is(err, delivery.ErrNotHeld) {
				t.Errorf("Create returned %v, want ErrNotHeld", err)
			}
			wantEqual(t, "the requests", r.s3.Count(w.operation), 0)
			r.wantNone()
		})
	}
}

// TestWakes stops a worker inside the request that gives the object its name, between being asked and the server, for as long
// as it takes another to finish. Then it wakes, and does no harm.
func TestWakes(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			store := r.store()
			reached, wake := make(chan struct{}, 1), make(chan struct{})
			r.s3.Fail(w.operation, 1, func(store httpHandler, w httpWriter, q *httpRequest) {
				reached <- struct{}{}
				<-wake
				store.ServeHTTP(w, q)
			})
			var found *Found
			stalled := make(chan error, 1)
			go func() {
				var err error
				found, err = store.Create(context.WithoutCancel(t.Context()), writing(w.size))
				stalled <- err
			}()
			<-reached
			made, err := attempt(t.Context(), store, writing(w.size, func(w *Write) { w.Again = true }))
			check(t, err)
			wantEqual(t, "whether the second one made it", made.Created, true)
			close(wake)
			check(t, <-stalled)
			wantEqual(t, "whether the first one made it", found.Created, false)
			r.wantObject(w.size)
		})
	}
}

// TestWakesBetweenRepeats stops a worker while the SDK pauses before it repeats a request: it is asked again.
func TestWakesBetweenRepeats(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			var mu sync.Mutex
			var lost error
			r.s3.Fail(w.operation, 1, func(store httpHandler, w httpWriter, q *httpRequest) {
				mu.Lock()
				lost = delivery.ErrNotHeld
				mu.Unlock()
				s3test.Answer(http.StatusServiceUnavailable, "SlowDown")(store, w, q)
			})
			_, err := r.store().Create(t.Context(), writing(w.size, func(w *Write) {
				w.Held = func() error { mu.Lock(); defer mu.Unlock(); return lost }
			}))
			if !errors.Is(err, delivery.ErrNotHeld) {
				t.Errorf("Create returned %v, want ErrNotHeld", err)
			}
			wantEqual(t, "the requests", r.s3.Count(w.operation), 1)
			r.wantNone()
		})
	}
}

// TestBodyFails ends an object whose body says, at any place, that it cannot be had.
func TestBodyFails(t *testing.T) {
	gone := errors.New("the records are gone")
	for _, size := range []int{0, 1000, several, 12 * part / 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t)
			whole := bodyOf(size)
			_, err := r.store().Create(t.Context(), writing(0, func(w *Write) {
				w.Body = func(ctx context.Context, out io.Writer) error { return errors.Join(whole(ctx, out), gone) }
			}))
			wantError(t, err, delivery.Retryable, CodeInternal, "the records are gone", "s3://data/")
			if !errors.Is(err, gone) {
				t.Errorf("Create returned %v, which does not wrap the body's error", err)
			}
			r.wantNone()
		})
	}
}

// TestBodyThatGoesOn does not look at the errors of its writer: there is no object of what was left in the end.
func TestBodyThatGoesOn(t *testing.T) {
	r := newRig(t)
	r.s3.Fail("CreateMultipartUpload", 1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
	_, err := r.store().Create(t.Context(), writing(0, func(w *Write) {
		w.Body = func(_ context.Context, out io.Writer) error {
			for range 7 {
				_, _ = out.Write(noise(part / 5))
			}
			return nil
		}
	}))
	wantError(t, err, delivery.Permanent, CodeAccessDenied, "CreateMultipartUpload")
	r.wantNone()
}

// TestStops ends a write whose time is over: it returns, and leaves no upload.
func TestStops(t *testing.T) {
	r := newRig(t)
	reached := make(chan struct{}, 1)
	r.s3.Fail("UploadPart", -1, s3test.Hold(false, reached, nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	if _, err := r.store().Create(ctx, writing(17*part/5)); !errors.Is(err, context.Canceled) {
		t.Errorf("Create returned %v, want that it was cancelled", err)
	}
	wantEqual(t, "the uploads made", r.s3.Count("CreateMultipartUpload"), 1)
	r.wantNone()
}

// TestForeignObject finds something else under the name: it stays, and the owner is told.
func TestForeignObject(t *testing.T) {
	differ := func(*Found) bool { return false }
	for _, tt := range []struct {
		name     string
		metadata map[string]string
		same     func(*Found) bool
		says     string
	}{
		{"of somebody else", nil, nil, "was not written by this installation"},
		{"of another batch", map[string]string{MetadataBatch: "x.s3.0.1-8", MetadataRecords: "3"}, nil, "holds batch x.s3.0.1-8, 3 records"},
		{"of the batch, with something else", map[string]string{MetadataBatch: string(object().Batch)}, differ, "holds batch " + string(object().Batch)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			store := r.store()
			o := object()
			_, err := r.s3.Client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Metadata: tt.metadata})
			check(t, err)
			o.Same = tt.same
			_, err = store.Find(t.Context(), o)
			wantError(t, err, delivery.Permanent, CodeInternal, tt.says, "Move it away")
			_, err = store.Create(t.Context(), writing(1000, func(w *Write) { w.Object = o }))
			wantError(t, err, delivery.Permanent, CodeInternal, tt.says, "Move it away")
			data, _ := r.s3.Content("data", o.Key)
			wantEqual(t, "what is there", len(data), 0)
		})
	}
}

// TestSweep aborts what a worker that is no more left of this object, and nothing else.
func TestSweep(t *testing.T) {
	r := newRig(t)
	o := object()
	for _, key := range []string{o.Key, o.Key, o.Key + ".other"} {
		_, err := r.s3.Client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: &key})
		check(t, err)
	}
	store := r.store()
	small := o
	small.InOnePart = true
	store.Sweep(t.Context(), small)
	wantEqual(t, "the unfinished uploads", r.s3.Uploads("data"), 3)
	_, err := store.Create(t.Context(), writing(10, func(w *Write) { w.Again = true }))
	check(t, err)
	wantEqual(t, "the unfinished uploads", r.s3.Uploads("data"), 1)
}

// TestNoConditions is a store that does not know If-None-Match on writes: it is asked before, and remembered.
func TestNoConditions(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			r.s3.Fail(w.operation, -1, func(store httpHandler, w httpWriter, q *httpRequest) {
				if q.Header.Get("If-None-Match") != "" {
					s3test.Answer(http.StatusNotImplemented, "NotImplemented")(store, w, q)
					return
				}
				store.ServeHTTP(w, q)
			})
			store := r.store()
			for range 3 {
				_, err := store.Create(t.Context(), writing(w.size))
				check(t, err)
			}
			wantEqual(t, "whether it is remembered", store.conditions.refusedBy("data"), true)
			wantEqual(t, "the requests", r.s3.Count(w.operation), 2)
			r.wantObject(w.size)
		})
	}
}

// TestCreateBuckets makes a missing bucket where that is wanted, though the answer is lost.
func TestCreateBuckets(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			toNew := func(w *Write) { w.Object.Bucket = "new" }
			_, err := r.store().Create(t.Context(), writing(w.size, toNew))
			wantError(t, err, delivery.Permanent, CodeNoSuchBucket, "The bucket does not exist")
			r.s3.Fail("PUTBucket", 1, s3test.Lose)
			_, err = r.store(func(c *Settings) { c.S3CreateBuckets = true }).Create(t.Context(), writing(w.size, toNew))
			check(t, err)
			wantEqual(t, "the objects", len(r.s3.Keys("new")), 1)
		})
	}
}
