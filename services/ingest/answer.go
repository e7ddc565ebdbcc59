package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/faultpoint"
)

// outcome is what an answer, or the lack of one, means for the messages of a commit.
type outcome int

const (
	outcomeStored    outcome = iota // on disk, now or from an earlier try
	outcomeUnclear                  // stored or not: the same again under the same ids
	outcomeInProcess                // a message of the same id is being stored: the same again a little later
	outcomeTorn                     // the batch did not arrive whole; nothing of it is stored
	outcomeApart                    // these messages cannot be stored as one batch; nothing of it is stored
	outcomeAbsent                   // there is no log of that name, or it does not listen yet; nothing is stored
	outcomeRefused                  // not stored, and a repeat would be refused too
)

// Error codes of JetStream that a publish is answered with (server/errors.json of nats-server).
const (
	codeAccountFull     = 10002
	codeStoreFull       = 10023 // max_file_store is reached, by whichever stream
	codeMemoryFull      = 10028
	codeStorageFull     = 10047
	codeNotMatch        = 10060 // Nats-Expected-Stream names another stream
	codeStoreFailed     = 10077
	codeIDInProcess     = 10158
	codeBatchesDisabled = 10174
	codeBatchIncomplete = 10176
	codeBatchTooLarge   = 10199
	codeBatchDuplicate  = 10201 // an id of the batch is known already, or is twice in it
	codeBatchesInFlight = 10210
)

// answer is JetStream's answer to a commit.
type answer struct {
	outcome outcome
	code    int    // JetStream's error code, or 0
	seq     uint64 // of the last message, when stored
	batch   string // id of the batch that was stored; empty for a message on its own
	count   int    // messages in it
	known   bool   // stored by an earlier try, as JetStream remembers
	reason  string // why not, in words
	odd     bool   // refused for a reason that nobody foresaw: worth a line in the log
}

func unclear(reason string) answer { return answer{outcome: outcomeUnclear, reason: reason} }

// publishFailed is the answer where a message could not be handed to the connection. Without a reconnect buffer it is
// then dropped; but messages before it may have left.
func publishFailed(err error) answer {
	switch {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return answer{outcome: outcomeRefused, reason: err.Error()}
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrHeadersNotSupported): // lost, or not yet there
		return unclear("NATS cannot be reached")
	case errors.Is(err, nats.ErrMaxPayload):
		return answer{outcome: outcomeRefused, reason: fmt.Sprintf("%v: max_payload of the NATS server must be 1 MiB or more", err), odd: true}
	}
	return unclear("NATS cannot be reached: " + err.Error())
}

// pubAck is JetStream's acknowledgement on the wire.
type pubAck struct {
	Seq   uint64 `json:"seq"`
	Batch string `json:"batch"`
	Count int    `json:"count"`
	Known bool   `json:"duplicate"`
	Error *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// readAnswer reads what came to a commit's reply subject. "duplicate": true is success, where the log can be written: the sequence is the
// original one.
func readAnswer(m *nats.Msg) answer {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return answer{outcome: outcomeAbsent, reason: "no log of the delivery stream answers"}
	}
	var ack pubAck
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return unclear("JetStream's answer cannot be read: " + err.Error())
	}
	if e := ack.Error; e != nil {
		reason := fmt.Sprintf("JetStream: %s (%d)", e.Description, e.ErrCode)
		meaning, odd := meaningOf(e.ErrCode, e.Code, e.Description)
		return answer{outcome: meaning, code: e.ErrCode, reason: reason, odd: odd}
	}
	if ack.Seq == 0 {
		return unclear("JetStream's answer has no sequence")
	}
	return answer{outcome: outcomeStored, seq: ack.Seq, batch: ack.Batch, count: ack.Count, known: ack.Known}
}

// meaningOf classifies an error of JetStream. Of what nobody foresaw, a failure of the server is worth a repeat, which
// costs nothing since the ids are the same; a request that the server finds wrong is not.
func meaningOf(code, status int, description string) (meaning outcome, odd bool) {
	switch code {
	case codeNotMatch:
		return outcomeAbsent, false
	case codeIDInProcess:
		return outcomeInProcess, false
	case codeBatchIncomplete, codeBatchesInFlight:
		return outcomeTorn, false
	case codeBatchDuplicate, codeBatchesDisabled, codeBatchTooLarge:
		return outcomeApart, false
	case codeStoreFull, codeAccountFull, codeMemoryFull, codeStorageFull:
		return outcomeRefused, false
	case codeStoreFailed:
		if strings.Contains(description, "store is closed") { // the server is being stopped
			return outcomeUnclear, false
		}
		return outcomeRefused, false
	}
	switch status {
	case http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return outcomeUnclear, false
	}
	return outcomeRefused, true
}

// replies hands JetStream's answers to the commits that wait for them. It has one subscription for all of them.
type replies struct {
	conn   *nats.Conn
	prefix string

	mu      sync.Mutex
	asked   uint64
	waiting map[string]chan *nats.Msg // by reply subject; each holds one
	lost    chan struct{}             // closed and replaced whenever the connection is lost

	subscription *nats.Subscription
	statuses     chan nats.Status
	followed     sync.WaitGroup
}

func newReplies(conn *nats.Conn) *replies {
	return &replies{
		conn:    conn,
		prefix:  conn.NewInbox() + ".",
		waiting: map[string]chan *nats.Msg{},
		lost:    make(chan struct{}),
	}
}

// open works while NATS is away too: the subscription is made when the connection is, before anything else is sent.
func (r *replies) open() error {
	subscription, err := r.conn.Subscribe(r.prefix+"*", r.take)
	if err != nil {
		return fmt.Errorf("subscribe to the acknowledgements of JetStream: %w", err)
	}
	r.subscription = subscription
	r.statuses = r.conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	r.followed.Go(func() {
		for range r.statuses {
			r.lose()
		}
		r.lose()
	})
	return nil
}

func (r *replies) close() {
	_ = r.subscription.Unsubscribe() // fails on a closed connection, where nothing is left to undo
	r.conn.RemoveStatusListener(r.statuses)
	r.followed.Wait()
}

func (r *replies) take(m *nats.Msg) {
	r.mu.Lock()
	reply := r.waiting[m.Subject]
	delete(r.waiting, m.Subject)
	r.mu.Unlock()
	if reply != nil { // else it comes too late for whoever asked
		reply <- m
	}
}

// lose tells all who wait that their answers will not come: the server sends them to a connection that is gone.
func (r *replies) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lost)
	r.lost = make(chan struct{})
}

// awaitAttempt waits while nats.go tries to connect anew, for as long as a server that is gone lets it wait. What is published meanwhile
// would be held up as well, and leave with the connection, long after the last look at the clock. So this comes before that.
func (r *replies) awaitAttempt() { r.conn.Status() }

// awaited returns the answer to what was sent, or what it means that there is none at the given time.
type awaited func(until time.Time) answer

// send publishes messages, the last of them as a request. The answer must be awaited. If one of them could not be handed
// to the connection, the rest is not sent.
func (r *replies) send(publications ...*nats.Msg) (answered awaited, sent bool) {
	subject, reply, lost := r.expect()
	publications[len(publications)-1].Reply = subject
	for _, m := range publications {
		if err := r.conn.PublishMsg(m); err != nil {
			r.forget(subject)
			return func(time.Time) answer { return publishFailed(err) }, false
		}
	}
	return func(until time.Time) answer {
		defer r.forget(subject)
		return await(reply, lost, until)
	}, true
}

// await prefers an answer that is there to the news that none will come.
func await(reply <-chan *nats.Msg, lost <-chan struct{}, until time.Time) answer {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	none := unclear("JetStream has not answered in time")
	select {
	case m := <-reply:
		return arrived(m)
	case <-timer.C:
	case <-lost:
		none = unclear("the connection to NATS was lost")
	}
	select {
	case m := <-reply:
		return arrived(m)
	default:
		return none
	}
}

func arrived(m *nats.Msg) answer {
	// It is stored, and nobody knows: a process that dies here leaves it to the producer's retry.
	faultpoint.Hit("ingest.published")
	return readAnswer(m)
}

// expect returns a reply subject of its own, and what tells of the answer and of its being lost.
func (r *replies) expect() (subject string, reply <-chan *nats.Msg, lost <-chan struct{}) {
	arrived := make(chan *nats.Msg, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	subject = r.prefix + strconv.FormatUint(r.asked, 36)
	r.waiting[subject] = arrived
	return subject, arrived, r.lost
}

func (r *replies) forget(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, subject)
}
