package compose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// word is what a replica said to JetStream of a batch: that it is at work, gives it back, or has seen it off.
type word struct {
	handedOut uint64    // how many times, when it came to who speaks
	end       bool      // it is seen off
	at        time.Time // by JetStream's clock
}

// heard is a stream of the words, for as long as a takeover is looked at. JetStream keeps the time of each, and how often the batch
// was handed out is in the subject that JetStream gave for it.
const heard = "HEARD"

// listen keeps what is said of batches from now on.
func (p *project) listen() (end func()) {
	p.t.Helper()
	p.inspect(func(js jetstream.JetStream) {
		_, err := js.CreateStream(p.t.Context(), jetstream.StreamConfig{
			Name: heard, Subjects: []string{"$JS.ACK.>"}, Storage: jetstream.MemoryStorage,
			NoAck: true, // who speaks has the answer of the consumer, and no other
		})
		p.must(err)
	})
	return func() {
		p.t.Helper()
		p.inspect(func(js jetstream.JetStream) { p.must(js.DeleteStream(p.t.Context(), heard)) })
	}
}

// wordsOf are those of one batch, in their order.
func (p *project) wordsOf(h handOut) (said []word) {
	p.t.Helper()
	p.inspect(func(js jetstream.JetStream) {
		consumer, err := js.OrderedConsumer(p.t.Context(), heard, jetstream.OrderedConsumerConfig{FilterSubjects: subjects(h)})
		p.must(err)
		all, err := consumer.FetchNoWait(1000)
		p.must(err)
		for m := range all.Messages() {
			w, err := parseWord(m.Subject(), m.Data())
			p.must(err)
			meta, err := m.Metadata()
			p.must(err)
			w.at = meta.Timestamp
			said = append(said, w)
		}
		p.must(all.Error())
	})
	return said
}

// subjects are what words of a batch are published to, by servers that give domain and account and by those that do not:
// $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<times handed out>.<stream sequence>.<consumer sequence>.<time>.<pending>
func subjects(h handOut) []string {
	of := fmt.Sprintf("%s.%s.*.%d.*.*.*", h.stream, h.consumer, h.sequence)
	return []string{"$JS.ACK." + of, "$JS.ACK.*.*." + of}
}

// ends are the words that a batch is seen off.
func ends(said []word) []word {
	return slices.DeleteFunc(slices.Clone(said), func(w word) bool { return !w.end })
}

func parseWord(subject string, data []byte) (word, error) {
	token := strings.Split(subject, ".")
	if len(token) < 9 {
		return word{}, fmt.Errorf("%s is no word of a batch", subject)
	}
	handedOut, err := strconv.ParseUint(token[len(token)-5], 10, 64)
	if err != nil {
		return word{}, fmt.Errorf("how often a batch was handed out, in %s: %w", subject, err)
	}
	return word{handedOut: handedOut, end: string(data) == "+ACK"}, nil
}

func TestParseWord(t *testing.T) {
	for _, c := range []struct {
		subject, data string
		want          word
		ok            bool
	}{
		{"$JS.ACK.BATCHES.es_a_x.2.40.7.1795788287260228060.0", "+WPI", word{handedOut: 2}, true},
		{"$JS.ACK._.dEaDbEeF.BATCHES.es_a_x.1.40.7.1795788287260228060.3", "+ACK", word{handedOut: 1, end: true}, true},
		{"$JS.ACK.BATCHES.es_a_x.two.40.7.1795788287260228060.0", "+ACK", word{}, false},
		{"$JS.ACK.BATCHES.es_a_x", "+ACK", word{}, false},
	} {
		got, err := parseWord(c.subject, []byte(c.data))
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%s is %+v, %v; want %+v", c.subject, got, err, c.want)
		}
	}
}
