package checker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
	"go.uber.org/goleak"

	"hydrant/e2e/internal/checker"
)

const bucket = "delivered"

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// plan is an object that the stand-in for the sink is going to write.
type plan struct {
	key      string
	encoding string
	batch    string
	records  [][]byte
	claimed  int // records in the metadata
	bytes    int // bytes in the metadata
	stored   []byte
	withheld bool // no metadata
}

// recount makes the metadata agree with the content, as a sink would that lost or doubled a record without knowing.
func (p *plan) recount() {
	p.claimed, p.bytes = len(p.records), len(bytes.Join(p.records, nil))
}

// content returns what is stored under the plan's key.
func (p *plan) content(t *testing.T) []byte {
	t.Helper()
	if p.stored != nil {
		return p.stored
	}
	return encode(t, p.encoding, bytes.Join(p.records, nil))
}

// delivery is a ledger and the objects that belong to it.
type delivery struct {
	ledger  *checker.Ledger
	rng     *rand.Rand
	objects []*plan
	options checker.Options
}

const (
	orders = "orders" // its objects are compressed
	clicks = "clicks" // its objects are not
)

// healthy plans three batches of each of two delivery streams, each record acknowledged. The records of a batch have
// the sequences of its range: number 4 is the first of the second batch.
func healthy(t *testing.T) *delivery {
	t.Helper()
	d := &delivery{ledger: checker.NewLedger(), rng: rand.New(rand.NewPCG(1, 2))}
	for _, stream := range []string{orders, clicks} {
		for b := range 3 {
			object := &plan{
				key:   objectKey(stream, b),
				batch: fmt.Sprintf("id-%s.s3.0.%d-%d", stream, b*3+1, b*3+3),
			}
			for i := range 3 {
				object.records = append(object.records, d.acknowledged(t, stream, b*3+i+1))
			}
			if stream == orders {
				object.encoding = "gzip"
			}
			object.recount()
			d.objects = append(d.objects, object)
		}
	}
	return d
}

func objectKey(stream string, batch int) string {
	key := fmt.Sprintf("in/2026/11/23/13/%s-1-2026-11-23-13-00-0%d-abcDEF12345", stream, batch)
	if stream == orders {
		key += ".gz"
	}
	return key
}

// offer enters a record without an answer.
func (d *delivery) offer(t *testing.T, stream string, n int) (checker.Record, []byte) {
	t.Helper()
	line := checker.Record{Stream: stream, Producer: "p1", N: uint64(n)}.Line(100+n, d.rng)
	record, err := d.ledger.Offer(line)
	if err != nil {
		t.Fatal(err)
	}
	return record, line
}

func (d *delivery) acknowledged(t *testing.T, stream string, n int) []byte {
	t.Helper()
	record, line := d.offer(t, stream, n)
	if err := d.ledger.Acknowledge(record, fmt.Sprintf("id-%s/0/%d", stream, n)); err != nil {
		t.Fatal(err)
	}
	return line
}

func (d *delivery) refused(t *testing.T, stream string, n int) []byte {
	t.Helper()
	record, line := d.offer(t, stream, n)
	if err := d.ledger.Refuse(record); err != nil {
		t.Fatal(err)
	}
	return line
}

// insert puts records into an object whose metadata then agrees.
func (p *plan) insert(at int, lines ...[]byte) {
	p.records = slices.Insert(slices.Clone(p.records), at, lines...)
	p.recount()
}

// first returns the first object of a stream, second and third the next.
func (d *delivery) first(stream string) *plan  { return d.nth(stream, 0) }
func (d *delivery) second(stream string) *plan { return d.nth(stream, 1) }
func (d *delivery) third(stream string) *plan  { return d.nth(stream, 2) }

func (d *delivery) nth(stream string, n int) *plan {
	if stream == clicks {
		n += 3
	}
	return d.objects[n]
}

func (d *delivery) remove(gone *plan) {
	d.objects = slices.DeleteFunc(d.objects, func(p *plan) bool { return p == gone })
}

// locate reads the RecordIds that acknowledged makes up.
func locate(recordID string) (checker.Position, error) {
	fields := strings.Split(recordID, "/")
	if len(fields) != 3 {
		return checker.Position{}, errors.New("three fields expected")
	}
	sequence, err := strconv.ParseUint(fields[2], 10, 64)
	return checker.Position{StreamID: fields[0], Sequence: sequence}, err
}

func TestCheck(t *testing.T) {
	type kinds = []checker.Kind
	for _, test := range []struct {
		name string
		do   func(t *testing.T, d *delivery)
		want kinds
	}{
		{name: "all as promised", do: func(*testing.T, *delivery) {}},
		{
			name: "refused and unanswered records that were delivered once or not at all",
			do: func(t *testing.T, d *delivery) {
				_, unanswered := d.offer(t, orders, 10)
				d.offer(t, orders, 11)
				d.first(orders).insert(0, unanswered, d.refused(t, orders, 12))
				d.refused(t, orders, 13)
			},
		},
		{
			name: "a deleted stream's records that were not delivered",
			do: func(t *testing.T, d *delivery) {
				d.ledger.Discard(orders)
				d.remove(d.second(orders))
				d.options.MayHaveGaps = func(id string) bool { return id == "id-orders" }
			},
		},
		{
			name: "a stream that the leg is not of",
			do: func(_ *testing.T, d *delivery) {
				for range 3 {
					d.remove(d.first(orders))
				}
				d.options.Expects = func(stream string) bool { return stream != orders }
			},
		},
		{
			name: "nothing of a stream that the leg is of",
			do: func(_ *testing.T, d *delivery) {
				for range 3 {
					d.remove(d.first(orders))
				}
				d.options.Expects = func(stream string) bool { return stream == orders }
			},
			want: kinds{checker.Lost},
		},
		{
			name: "a stream of the same name made again, and another shard",
			do: func(t *testing.T, d *delivery) {
				for i, batch := range []string{"id-again.s3.0.1-1", "id-orders.s3.1.1-1"} {
					again := &plan{key: objectKey(orders, 5+i), batch: batch}
					_, line := d.offer(t, orders, 20+i)
					again.insert(0, line)
					d.objects = append(d.objects, again)
				}
			},
		},
		{
			name: "a record as large as can be",
			do: func(t *testing.T, d *delivery) {
				line := checker.Record{Stream: clicks, Producer: "p1", N: 30}.Line(checker.MaxLine, d.rng)
				if _, err := d.ledger.Offer(line); err != nil {
					t.Fatal(err)
				}
				d.first(clicks).insert(1, line)
			},
		},
		{
			name: "one record removed",
			do: func(t *testing.T, d *delivery) {
				d.first(orders).records = slices.Delete(d.first(orders).records, 1, 2)
				d.first(orders).recount()
			},
			want: kinds{checker.Lost},
		},
		{
			name: "one record removed after it was counted",
			do: func(t *testing.T, d *delivery) {
				d.first(clicks).records = slices.Delete(d.first(clicks).records, 2, 3)
			},
			want: kinds{checker.Lost, checker.Miscounted},
		},
		{
			name: "one record doubled in its object",
			do: func(t *testing.T, d *delivery) {
				d.first(orders).insert(1, d.first(orders).records[1])
			},
			want: kinds{checker.Duplicated},
		},
		{
			name: "one record doubled in another object",
			do: func(t *testing.T, d *delivery) {
				d.third(orders).insert(0, d.first(orders).records[1])
			},
			want: kinds{checker.Duplicated},
		},
		{
			name: "a refused record doubled",
			do: func(t *testing.T, d *delivery) {
				line := d.refused(t, clicks, 10)
				d.second(clicks).insert(0, line, line)
			},
			want: kinds{checker.Duplicated},
		},
		{
			name: "an unanswered record doubled",
			do: func(t *testing.T, d *delivery) {
				_, line := d.offer(t, clicks, 10)
				d.second(clicks).insert(0, line, line)
			},
			want: kinds{checker.Duplicated},
		},
		{
			name: "a deleted stream's record doubled",
			do: func(t *testing.T, d *delivery) {
				d.ledger.Discard(orders)
				d.first(orders).insert(1, d.first(orders).records[1])
			},
			want: kinds{checker.Duplicated},
		},
		{
			name: "object truncated inside a record",
			do: func(t *testing.T, d *delivery) {
				content := d.third(clicks).content(t)
				d.third(clicks).stored = content[:len(content)-7]
			},
			want: kinds{checker.Lost, checker.Miscounted, checker.Unparsable},
		},
		{
			name: "object truncated between records",
			do: func(t *testing.T, d *delivery) {
				object := d.third(clicks)
				object.stored = bytes.Join(object.records[:2], nil)
			},
			want: kinds{checker.Lost, checker.Miscounted},
		},
		{
			name: "object empty",
			do: func(t *testing.T, d *delivery) {
				d.third(clicks).stored = []byte{}
			},
			want: kinds{checker.Lost, checker.Miscounted},
		},
		{
			name: "compressed object truncated",
			do: func(t *testing.T, d *delivery) {
				content := d.third(orders).content(t)
				d.third(orders).stored = content[:len(content)/2]
			},
			want: kinds{checker.Lost, checker.Miscounted, checker.Unparsable},
		},
		{
			name: "compressed object without its checksum",
			do: func(t *testing.T, d *delivery) {
				content := d.third(orders).content(t)
				d.third(orders).stored = content[:len(content)-8]
			},
			want: kinds{checker.Unparsable},
		},
		{
			name: "compressed object that is not compressed",
			do: func(t *testing.T, d *delivery) {
				d.third(orders).stored = bytes.Join(d.third(orders).records, nil)
			},
			want: kinds{checker.Lost, checker.Miscounted, checker.Unparsable},
		},
		{
			name: "foreign bytes behind the compressed ones",
			do: func(t *testing.T, d *delivery) {
				d.third(orders).stored = append(d.third(orders).content(t), "foreign bytes"...)
			},
			want: kinds{checker.Unparsable},
		},
		{
			name: "foreign bytes between records",
			do: func(t *testing.T, d *delivery) {
				d.first(clicks).insert(1, []byte("hello\n"))
				d.first(clicks).claimed--
			},
			want: kinds{checker.Unparsable},
		},
		{
			name: "foreign bytes without end",
			do: func(t *testing.T, d *delivery) {
				d.first(clicks).insert(1, bytes.Repeat([]byte{0}, 3*checker.MaxLine), []byte{'\n'})
				d.first(clicks).claimed -= 2
			},
			want: kinds{checker.Unparsable},
		},
		{
			name: "records with something between them",
			do: func(t *testing.T, d *delivery) {
				d.first(clicks).insert(1, []byte{'\n'})
				d.first(clicks).claimed--
			},
			want: kinds{checker.Unparsable},
		},
		{
			name: "a record altered",
			do: func(t *testing.T, d *delivery) {
				line := slices.Clone(d.first(orders).records[1])
				line[len(line)-2] ^= 1
				d.first(orders).records[1] = line
			},
			want: kinds{checker.Altered},
		},
		{
			name: "a record nobody offered",
			do: func(t *testing.T, d *delivery) {
				d.first(orders).insert(3, checker.Record{Stream: orders, Producer: "p1", N: 99}.Line(100, d.rng))
			},
			want: kinds{checker.NeverOffered},
		},
		{
			name: "a record in an object of another stream",
			do: func(t *testing.T, d *delivery) {
				line := d.acknowledged(t, orders, 10)
				d.first(clicks).insert(1, line)
			},
			want: kinds{checker.WrongStream},
		},
		{
			name: "two streams with one id",
			do: func(t *testing.T, d *delivery) {
				_, line := d.offer(t, "third", 1)
				other := &plan{key: objectKey("third", 0), batch: "id-clicks.s3.0.10-10"}
				other.insert(0, line)
				d.objects = append(d.objects, other)
			},
			want: kinds{checker.WrongStream},
		},
		{
			name: "one batch missing",
			do:   func(t *testing.T, d *delivery) { d.remove(d.second(orders)) },
			want: kinds{checker.Lost, checker.Gap},
		},
		{
			name: "the first batch missing",
			do:   func(t *testing.T, d *delivery) { d.remove(d.first(clicks)) },
			want: kinds{checker.Lost, checker.Gap},
		},
		{
			name: "the last batch missing",
			do:   func(t *testing.T, d *delivery) { d.remove(d.third(clicks)) },
			want: kinds{checker.Lost},
		},
		{
			name: "a gap in which nothing was acknowledged",
			do: func(t *testing.T, d *delivery) {
				_, line := d.offer(t, orders, 10)
				later := &plan{key: objectKey(orders, 4), batch: "id-orders.s3.0.11-11"}
				later.insert(0, line)
				d.objects = append(d.objects, later)
			},
			want: kinds{checker.Gap},
		},
		{
			name: "batches that overlap",
			do:   func(t *testing.T, d *delivery) { d.second(orders).batch = "id-orders.s3.0.3-6" },
			want: kinds{checker.Overlap},
		},
		{
			name: "a batch inside another",
			do: func(t *testing.T, d *delivery) {
				_, line := d.offer(t, orders, 10)
				inside := &plan{key: objectKey(orders, 4), batch: "id-orders.s3.0.2-2"}
				inside.insert(0, line)
				d.objects = append(d.objects, inside)
			},
			want: kinds{checker.Overlap},
		},
		{
			name: "one object copied under another name",
			do: func(t *testing.T, d *delivery) {
				double := *d.second(orders)
				double.key = objectKey(orders, 7)
				d.objects = append(d.objects, &double)
			},
			want: kinds{checker.DeliveredTwice, checker.Duplicated},
		},
		{
			name: "one batch in two objects that share its records",
			do: func(t *testing.T, d *delivery) {
				rest := *d.second(orders)
				rest.key, rest.records = objectKey(orders, 7), rest.records[:1]
				rest.recount()
				d.objects = append(d.objects, &rest)
				d.second(orders).records = d.second(orders).records[1:]
				d.second(orders).recount()
			},
			want: kinds{checker.DeliveredTwice},
		},
		{
			name: "an object without metadata",
			do:   func(t *testing.T, d *delivery) { d.third(orders).withheld = true },
			want: kinds{checker.BadMetadata, checker.Miscounted},
		},
		{
			name: "an object of another leg",
			do: func(t *testing.T, d *delivery) {
				_, line := d.offer(t, clicks, 10)
				backup := &plan{key: objectKey(clicks, 4), batch: "id-clicks.backup.0.1-1"}
				backup.insert(0, line)
				d.objects = append(d.objects, backup)
			},
			want: kinds{checker.BadMetadata},
		},
		{
			name: "an object with another name",
			do:   func(t *testing.T, d *delivery) { d.first(clicks).key = "in/2026/11/23/13/orders" },
			want: kinds{checker.BadName},
		},
		{
			name: "the metadata's count of records wrong",
			do:   func(t *testing.T, d *delivery) { d.first(clicks).claimed++ },
			want: kinds{checker.Miscounted},
		},
		{
			name: "the metadata's count of bytes wrong",
			do:   func(t *testing.T, d *delivery) { d.first(orders).bytes-- },
			want: kinds{checker.Miscounted},
		},
		{
			name: "one RecordId twice",
			do: func(t *testing.T, d *delivery) {
				record, line := d.offer(t, clicks, 10)
				if err := d.ledger.Acknowledge(record, "id-clicks/0/9"); err != nil {
					t.Fatal(err)
				}
				d.third(clicks).insert(3, line)
			},
			want: kinds{checker.BadRecordID},
		},
		{
			name: "no RecordId",
			do: func(t *testing.T, d *delivery) {
				record, line := d.offer(t, clicks, 10)
				if err := d.ledger.Acknowledge(record, ""); err != nil {
					t.Fatal(err)
				}
				d.third(clicks).insert(3, line)
			},
			want: kinds{checker.BadRecordID},
		},
		{
			name: "records in another order",
			do: func(t *testing.T, d *delivery) {
				d.options.Ordered = true
				slices.Reverse(d.second(orders).records)
			},
			want: kinds{checker.OutOfOrder},
		},
		{
			name: "batches in another order",
			do: func(t *testing.T, d *delivery) {
				d.options.Ordered = true
				d.second(clicks).batch, d.third(clicks).batch = d.third(clicks).batch, d.second(clicks).batch
			},
			want: kinds{checker.OutOfOrder},
		},
		{
			name: "records where their RecordIds say, in order",
			do: func(t *testing.T, d *delivery) {
				d.options.Ordered, d.options.Locate = true, locate
			},
		},
		{
			name: "records elsewhere than their RecordIds say",
			do: func(t *testing.T, d *delivery) {
				d.options.Locate = locate
				d.second(clicks).batch, d.third(clicks).batch = d.third(clicks).batch, d.second(clicks).batch
			},
			want: kinds{checker.Misplaced},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := healthy(t)
			test.do(t, d)
			report, err := d.check(t)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(test.want)
			if got := report.Kinds(); !slices.Equal(got, test.want) {
				t.Errorf("kinds of problems: got %q, want %q\n%s", got, test.want, report)
			}
			if failed := report.Err() != nil; failed != (len(test.want) > 0) {
				t.Errorf("Err: %v", report.Err())
			}
		})
	}
}

// check writes the planned objects into an S3 server and checks what comes back.
func (d *delivery) check(t *testing.T) (*checker.Report, error) {
	t.Helper()
	client := newS3(t)
	for _, object := range d.objects {
		upload(t, client, object)
	}
	objects, err := checker.Objects(t.Context(), client, bucket, "in/")
	if err != nil {
		t.Fatal(err)
	}
	return checker.Check(t.Context(), d.ledger, objects, d.options)
}

func upload(t *testing.T, client *s3.Client, p *plan) {
	t.Helper()
	metadata := map[string]string{
		checker.MetadataBatch:   p.batch,
		checker.MetadataRecords: strconv.Itoa(p.claimed),
		checker.MetadataBytes:   strconv.Itoa(p.bytes),
	}
	if p.withheld {
		metadata = nil
	}
	input := &s3.PutObjectInput{
		Bucket:   aws.String(bucket),
		Key:      aws.String(p.key),
		Metadata: metadata,
		Body:     bytes.NewReader(p.content(t)),
	}
	if p.encoding != "" {
		input.ContentEncoding = aws.String(p.encoding)
	}
	if _, err := client.PutObject(t.Context(), input); err != nil {
		t.Fatal(err)
	}
}

// newS3 starts an S3 server in memory, with the bucket in it.
func newS3(t *testing.T) *s3.Client {
	t.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL),
		Region:       "us-east-1",
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
		HTTPClient:   server.Client(),
	})
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	return client
}

func TestReportNamesObjectAndOffset(t *testing.T) {
	d := healthy(t)
	object := d.first(clicks)
	object.stored = append(slices.Clone(object.records[0]), "junk\n"...)
	report, err := d.check(t)
	if err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("s3://%s/%s at byte %d", bucket, object.key, len(object.records[0]))
	if text := report.Err().Error(); !strings.Contains(text, where) {
		t.Errorf("%q is not in the report:\n%s", where, text)
	}
}

func TestReportIsBounded(t *testing.T) {
	d := healthy(t)
	for n := range 1000 {
		d.acknowledged(t, orders, 100+n)
	}
	report, err := d.check(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Count(checker.Lost); got != 1000 {
		t.Errorf("%d lost, want 1000", got)
	}
	if len(report.Problems) != 20 || !strings.Contains(report.String(), "and 980 more") {
		t.Errorf("%d problems kept:\n%s", len(report.Problems), report)
	}
}

func TestReportCounts(t *testing.T) {
	d := healthy(t)
	_, unanswered := d.offer(t, orders, 10)
	d.first(orders).insert(0, unanswered, d.refused(t, orders, 11))
	d.refused(t, orders, 12)
	report, err := d.check(t)
	if err != nil {
		t.Fatal(err)
	}
	want := checker.Counts{Offered: 21, Acknowledged: 18, Refused: 2, Unknown: 1}
	if report.Ledger != want {
		t.Errorf("ledger: got %+v, want %+v", report.Ledger, want)
	}
	if report.Objects != 6 || report.Batches != 6 || report.Records != 20 {
		t.Errorf("delivered: %s", report)
	}
	if report.Delivered != 18 || report.DeliveredRefused != 1 || report.DeliveredUnknown != 1 {
		t.Errorf("delivered by outcome: %s", report)
	}
}

// An object that cannot be fetched is no verdict on what is in it.
func TestUnreadableObjectIsNoVerdict(t *testing.T) {
	broken := errors.New("connection lost")
	for encoding, begun := range map[string]string{
		"": "clicks|p1|1|", "gzip": "\x1f\x8b\x08", "zip": "PK\x03\x04", "snappy-java": "\x82SNAPPY", "hadoop-snappy": "\x00\x00",
	} {
		t.Run(encoding, func(t *testing.T) {
			object := checker.Object{Key: objectKey(clicks, 0), Encoding: encoding, Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader(begun), failing{broken})), nil
			}}
			_, err := checker.Check(t.Context(), checker.NewLedger(), []checker.Object{object}, checker.Options{})
			if !errors.Is(err, broken) {
				t.Errorf("got %v, want %v", err, broken)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// More than a page of a listing is read.
func TestObjectsReadsEveryPage(t *testing.T) {
	client := newS3(t)
	for i := range 1005 {
		upload(t, client, &plan{key: fmt.Sprintf("in/%d", i), stored: []byte("x")})
	}
	upload(t, client, &plan{key: "elsewhere", stored: []byte("x")})
	objects, err := checker.Objects(t.Context(), client, bucket, "in/")
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 1005 {
		t.Errorf("got %d objects, want 1005", len(objects))
	}
}
