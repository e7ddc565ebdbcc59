package checker

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Options says what else is expected of the objects. The zero value demands all that is always promised.
type Options struct {
	// Leg is the only leg whose objects may be there; "s3" if empty. Each leg delivers every record once, so they are
	// checked one by one.
	Leg string
	// Expects says of which delivery streams the leg is, so that each acknowledged record of theirs must be there; all if
	// nil.
	Expects func(stream string) bool
	// MayHaveGaps says for which delivery stream ids batches may be missing, because the stream was deleted or its
	// records expired; none if nil.
	MayHaveGaps func(streamID string) bool
	// StreamOf returns the name of the delivery stream that an object belongs to, "" if it cannot tell; StreamOfKey if
	// nil.
	StreamOf func(key string) string
	// Ordered demands that the acknowledged records of a producer are in a shard in the order of their numbers. That
	// is promised to a producer that waits for each answer.
	Ordered bool
	// Locate reads a RecordId. If it is set, each acknowledged record must be in the batch that its RecordId names.
	Locate func(recordID string) (Position, error)
}

// Position is the message that a RecordId names.
type Position struct {
	StreamID string
	Shard    uint64
	Sequence uint64
}

// StreamOfKey returns the delivery stream's name out of a key of the documented form,
// <prefix>YYYY/MM/DD/HH/<stream>-<version>-YYYY-MM-DD-HH-MM-SS-<random>[.<extension>], and "" for any other.
func StreamOfKey(key string) string {
	form := regexp.MustCompile(`^([a-zA-Z0-9_.-]+)-\d+-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-Za-z-]+(\.[0-9a-z.]+)?$`)
	match := form.FindStringSubmatch(path.Base(key))
	if match == nil {
		return ""
	}
	return match[1]
}

// Check compares the objects with the ledger. The verdict counts once the producers have stopped and everything is
// delivered; before that, what is still on its way is reported as Lost. An error means that there is no verdict,
// because an object could not be read.
func Check(ctx context.Context, ledger *Ledger, objects []Object, options Options) (*Report, error) {
	c := newCheck(ledger, options)
	for _, object := range c.identify(objects) {
		if err := c.read(ctx, object); err != nil {
			return nil, err
		}
	}
	c.compareWithLedger()
	return c.report, nil
}

// check is the state of one comparison.
type check struct {
	ledger  *Ledger
	options Options
	report  *Report

	seen map[Record]sighting
	// names holds the delivery stream of each id.
	names map[string]string
	// previous is the object before in the same chain, the one that reached furthest.
	previous delivered
	// lastOf holds the number of each producer's latest acknowledged record in the chain.
	lastOf map[Record]uint64
}

// sighting is where a record was found first, and how often.
type sighting struct {
	times  int
	object string
}

// delivered is an object and the batch it says it holds; known is false if it does not say.
type delivered struct {
	Object
	batch Batch
	known bool
	// stream is the name of the delivery stream, "" if the object's name does not tell.
	stream string
}

func newCheck(ledger *Ledger, options Options) *check {
	if options.Leg == "" {
		options.Leg = "s3"
	}
	if options.Expects == nil {
		options.Expects = func(string) bool { return true }
	}
	if options.MayHaveGaps == nil {
		options.MayHaveGaps = func(string) bool { return false }
	}
	if options.StreamOf == nil {
		options.StreamOf = StreamOfKey
	}
	return &check{
		ledger: ledger, options: options, report: newReport(),
		seen: make(map[Record]sighting), names: make(map[string]string),
	}
}

// identify reads the objects' names and metadata, and sorts them by chain and range.
func (c *check) identify(objects []Object) []delivered {
	identified := make([]delivered, 0, len(objects))
	for _, object := range objects {
		d := delivered{Object: object, stream: c.options.StreamOf(object.Key)}
		if d.stream == "" {
			c.report.add(BadName, "%s names no delivery stream", object.name())
		}
		batch, err := ParseBatch(object.Metadata[MetadataBatch])
		if err != nil {
			c.report.add(BadMetadata, "%s: %v", object.name(), err)
		} else {
			d.batch, d.known = batch, true
		}
		identified = append(identified, d)
	}
	slices.SortFunc(identified, func(a, b delivered) int {
		if order := compareBatches(a.batch, b.batch); order != 0 {
			return order
		}
		return strings.Compare(a.Key, b.Key)
	})
	return identified
}

// read checks one object against the one before it, against its metadata and, record by record, against the ledger.
func (c *check) read(ctx context.Context, d delivered) error {
	c.report.Objects++
	if d.known {
		c.checkStreamID(d)
		c.checkRange(d)
	}
	records := 0
	visit := func(offset int64, line []byte) {
		if c.record(d, offset, line) {
			records++
		}
	}
	damaged := func(found damage) {
		c.report.add(Unparsable, "%s at byte %d: %v", d.name(), found.offset, found.cause)
	}
	size, err := d.lines(ctx, MaxLine, visit, damaged)
	if err != nil {
		return err
	}
	c.report.Records += records
	c.report.Bytes += size
	c.checkCount(d, MetadataRecords, strconv.Itoa(records))
	c.checkCount(d, MetadataBytes, strconv.FormatInt(size, 10))
	return nil
}

// checkStreamID finds two delivery streams that share an id, and objects of a leg that should not be here.
func (c *check) checkStreamID(d delivered) {
	if d.batch.Leg != c.options.Leg {
		c.report.add(BadMetadata, "%s is of leg %s, not %s", d.name(), d.batch.Leg, c.options.Leg)
	}
	if d.stream == "" {
		return
	}
	if name, ok := c.names[d.batch.StreamID]; ok && name != d.stream {
		c.report.add(WrongStream, "%s has the stream id %s, which is that of %s", d.name(), d.batch.StreamID, name)
	}
	c.names[d.batch.StreamID] = d.stream
}

// checkRange compares the object's range with that of the object before it. A chain begins with sequence 1, as the
// JetStream stream below it does.
func (c *check) checkRange(d delivered) {
	if c.previous.batch.Chain != d.batch.Chain {
		c.previous = delivered{batch: Batch{Chain: d.batch.Chain}}
		c.lastOf = make(map[Record]uint64)
	}
	last := c.previous.batch.Last
	switch {
	case d.batch == c.previous.batch:
		c.report.add(DeliveredTwice, "%s is in %s and in %s", d.batch, c.previous.name(), d.name())
		return
	case d.batch.First <= last:
		c.report.add(Overlap, "%s in %s and %s in %s", c.previous.batch, c.previous.name(), d.batch, d.name())
	case d.batch.First > last+1 && !c.options.MayHaveGaps(d.batch.StreamID):
		c.report.add(Gap, "nothing delivered from %d to %d before %s in %s", last+1, d.batch.First-1, d.batch, d.name())
	}
	c.report.Batches++
	if d.batch.Last > last {
		c.previous = d
	}
}

func (c *check) checkCount(d delivered, key, counted string) {
	if claimed := d.Metadata[key]; claimed != counted {
		c.report.add(Miscounted, "%s has %s %q and holds %s", d.name(), key, claimed, counted)
	}
}

// record checks one line and tells whether it is a record.
func (c *check) record(d delivered, offset int64, line []byte) bool {
	record, err := ParseLine(line)
	if err != nil {
		c.report.add(Unparsable, "%s at byte %d: %v in %.80q", d.name(), offset, err, line)
		return false
	}
	if d.stream != "" && record.Stream != d.stream {
		c.report.add(WrongStream, "%s at byte %d: %s is in an object of %s", d.name(), offset, record, d.stream)
	}
	known, offered := c.ledger.find(record)
	switch {
	case !offered:
		c.report.add(NeverOffered, "%s at byte %d: %s", d.name(), offset, record)
		return true
	case known.hash != c.ledger.hash(line):
		c.report.add(Altered, "%s at byte %d: %s was offered with other bytes", d.name(), offset, record)
	}
	if c.sight(d, offset, record) && known.outcome == Acknowledged {
		c.checkOrder(d, offset, record)
		c.checkPosition(d, record, known.recordID)
	}
	return true
}

// sight counts a record and tells whether it is the first time that it is seen.
func (c *check) sight(d delivered, offset int64, record Record) bool {
	before := c.seen[record]
	if before.times > 0 {
		c.report.add(Duplicated, "%s is in %s, and in %s at byte %d", record, before.object, d.name(), offset)
		before.times++
		c.seen[record] = before
		return false
	}
	c.seen[record] = sighting{times: 1, object: d.name()}
	return true
}

func (c *check) checkOrder(d delivered, offset int64, record Record) {
	if !c.options.Ordered || !d.known {
		return
	}
	producer := Record{Stream: record.Stream, Producer: record.Producer}
	if last, ok := c.lastOf[producer]; ok && record.N < last {
		c.report.add(OutOfOrder, "%s at byte %d: %s comes after number %d", d.name(), offset, record, last)
		return
	}
	c.lastOf[producer] = record.N
}

func (c *check) checkPosition(d delivered, record Record, recordID string) {
	if c.options.Locate == nil || !d.known || recordID == "" {
		return
	}
	at, err := c.options.Locate(recordID)
	if err != nil {
		c.report.add(BadRecordID, "%s has the RecordId %q: %v", record, recordID, err)
		return
	}
	same := at.StreamID == d.batch.StreamID && at.Shard == d.batch.Shard
	if !same || at.Sequence < d.batch.First || at.Sequence > d.batch.Last {
		c.report.add(Misplaced, "%s is in %s, but its RecordId names stream id %s, shard %d, sequence %d",
			record, d.batch, at.StreamID, at.Shard, at.Sequence)
	}
}

// compareWithLedger finds what is missing, counts what was delivered, and checks the RecordIds.
func (c *check) compareWithLedger() {
	c.report.Ledger = c.ledger.Counts()
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	owners := make(map[string]Record)
	// Sorted, so that the same findings make the same report.
	for _, record := range slices.SortedFunc(maps.Keys(c.ledger.entries), compareRecords) {
		e := c.ledger.entries[record]
		times := c.seen[record].times
		if times > 0 {
			c.report.count(e.outcome)
		}
		if e.outcome != Acknowledged {
			continue
		}
		if times == 0 && !e.discardable && c.options.Expects(record.Stream) {
			c.report.add(Lost, "%s with the RecordId %s", record, e.recordID)
		}
		if reason := claim(owners, record, e.recordID); reason != "" {
			c.report.add(BadRecordID, "%s %s", record, reason)
		}
	}
}

// claim enters a RecordId and says what is wrong with it.
func claim(owners map[string]Record, record Record, recordID string) string {
	if recordID == "" {
		return "was acknowledged without a RecordId"
	}
	if owner, ok := owners[recordID]; ok {
		return fmt.Sprintf("has the RecordId %s, and so has %s", recordID, owner)
	}
	owners[recordID] = record
	return ""
}
