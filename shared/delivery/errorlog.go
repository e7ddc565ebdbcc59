package delivery

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// Sampling of a delivery stream's failures, by error code: a burst is written whole, what goes on after it at a rate that
// costs the store nothing to speak of.
const (
	sampleBurst = 10
	sampleEvery = 10 * time.Second

	lastWords = time.Second // for what was left out, when the service ends
)

// errorLog writes the error logs of one leg's delivery streams.
//
// What it promises: a loss is always written. What is wrong with a batch that was delivered is written whatever the
// settings, and a failure where the delivery stream has logging enabled, unless there are many of the same code: then some
// are left out, and the next that is written says how many. That is a later one, or the last of those that were left out, at
// the first success after them or at shutdown. The log is for people: it fails without the batch.
//
// An entry whose answer is lost may be in the log all the same; it is not repeated. A process that goes on after a minute
// writes what it had to say late, under the time at which it happened.
type errorLog struct {
	js  jetstream.JetStream
	cfg Config
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	samples map[names.StreamID]map[string]*sample // by error code
}

// sample is what is known of the failures of one delivery stream with one code.
type sample struct {
	tokens     float64
	filled     time.Time
	suppressed int
	last       LogEntry // that was left out; its Suppressed is 0
	to         names.Stream
}

func newErrorLog(js jetstream.JetStream, cfg Config, log *slog.Logger) *errorLog {
	return &errorLog{js: js, cfg: cfg, log: log, now: time.Now, samples: map[names.StreamID]map[string]*sample{}}
}

// options are the delivery stream's for this leg.
func (l *errorLog) options(d *catalog.DeliveryStream) LogOptions {
	return LogOptionsOf(d, l.cfg.LogStream, l.cfg.Logging(d))
}

// fill completes an entry.
func (l *errorLog) fill(d *catalog.DeliveryStream, entry LogEntry) LogEntry {
	to := l.options(d)
	entry.Format = LogFormat
	entry.DeliveryStreamARN = d.ARN
	entry.Destination = l.cfg.Location(d)
	entry.Bucket = bucketOf(entry.Destination)
	entry.DeliveryStreamVersionID = d.Version
	entry.LogGroup, entry.LogStream = to.Group, to.Stream
	entry.Time = l.now().UTC()
	return entry
}

// failed writes the entry of a failure, or leaves it out.
func (l *errorLog) failed(ctx context.Context, d *catalog.DeliveryStream, entry LogEntry) {
	if !l.options(d).Enabled {
		l.forget(d.ID)
		return
	}
	l.warned(ctx, d, entry)
}

// warned writes the entry of something that is wrong with what was delivered, whatever the settings, or leaves it out where
// there are many.
func (l *errorLog) warned(ctx context.Context, d *catalog.DeliveryStream, entry LogEntry) {
	if entry, ok := l.take(d, l.fill(d, entry)); ok {
		l.publish(ctx, d.Name, entry)
	}
}

// lost writes the entry of a loss, whatever the settings: its owner has to find it.
func (l *errorLog) lost(ctx context.Context, d *catalog.DeliveryStream, entry LogEntry) {
	l.publish(ctx, d.Name, l.fill(d, entry))
}

// succeeded writes the last of what was left out, now that no failure follows that would tell of it.
func (l *errorLog) succeeded(ctx context.Context, d *catalog.DeliveryStream) {
	for _, entry := range l.left(d.ID) {
		l.publish(ctx, d.Name, entry)
	}
}

// take decides whether an entry is written, and counts those left out before it.
func (l *errorLog) take(d *catalog.DeliveryStream, entry LogEntry) (LogEntry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	codes := l.samples[d.ID]
	if codes == nil {
		codes = map[string]*sample{}
		l.samples[d.ID] = codes
	}
	s := codes[entry.ErrorCode]
	if s == nil {
		s = &sample{tokens: sampleBurst, filled: l.now(), to: d.Name}
		codes[entry.ErrorCode] = s
	}
	if !s.allows(l.now()) {
		s.suppressed++
		s.last = entry
		return entry, false
	}
	entry.Suppressed = s.suppressed
	s.suppressed = 0
	return entry, true
}

func (s *sample) allows(now time.Time) bool {
	if since := now.Sub(s.filled); since > 0 {
		s.tokens = min(s.tokens+float64(since)/float64(sampleEvery), sampleBurst)
		s.filled = now
	}
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// left takes the last entries that were left out of a delivery stream's log, as far as its rate allows.
func (l *errorLog) left(id names.StreamID) []LogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []LogEntry
	for _, s := range l.samples[id] {
		if s.suppressed > 0 && s.allows(l.now()) {
			entries = append(entries, s.take())
		}
	}
	return entries
}

// take returns the last entry left out, which tells of those before it.
func (s *sample) take() LogEntry {
	entry := s.last
	entry.Suppressed = s.suppressed - 1
	s.suppressed = 0
	return entry
}

// forget drops what is known of a delivery stream that is gone, or whose failures are not logged any more.
func (l *errorLog) forget(id names.StreamID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.samples, id)
}

// close writes the last of what was left out. What cannot be written any more is counted in the service's own log.
func (l *errorLog) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, codes := range l.samples {
		for _, s := range codes {
			if s.suppressed > 0 {
				l.publish(ctx, s.to, s.take())
			}
		}
	}
	clear(l.samples)
}

func (l *errorLog) publish(ctx context.Context, to names.Stream, entry LogEntry) {
	data, err := json.Marshal(entry)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, publishTime)
		defer cancel()
		_, err = l.js.Publish(ctx, names.ErrorsSubject(to, entry.LogStream), data)
	}
	if err != nil {
		l.log.Warn("error log entry not written", "stream", to, "code", entry.ErrorCode, "left_out", entry.Suppressed, "error", err)
	}
}
