package checker

import (
	"maps"
	"slices"
)

// places are where a record was found: in what takes records, an index or a table, or set aside.
type places struct{ taken, setAside []string }

func (p *places) times() int { return len(p.taken) + len(p.setAside) }

func (p *places) both() bool { return len(p.taken) > 0 && len(p.setAside) > 0 }

func (p *places) all() []string { return slices.Concat(p.taken, p.setAside) }

// placing finds the places of the records of some delivery streams.
type placing struct {
	ledger *Ledger
	report *Report
	goes   func(stream string) bool // tells those delivery streams
	seen   map[Record]*places
}

func newPlacing(ledger *Ledger, goes func(stream string) bool) *placing {
	return &placing{ledger: ledger, report: newReport(), goes: goes, seen: make(map[Record]*places)}
}

// identify finds the record that a content is of, and checks that it is what was offered.
func (p *placing) identify(where string, content []byte) (Record, entry, bool) {
	p.report.Records++
	p.report.Bytes += int64(len(content))
	record, _, err := parseForm(content)
	if err != nil {
		p.report.add(Unparsable, "%s: %v in %.80q", where, err, content)
		return Record{}, entry{}, false
	}
	known, offered := p.ledger.find(record)
	if !offered {
		p.report.add(NeverOffered, "%s: %s", where, record)
		return Record{}, entry{}, false
	}
	if known.hash != p.ledger.hash(content) {
		p.report.add(Altered, "%s: %s was offered with other bytes", where, record)
	}
	if !p.goes(record.Stream) {
		p.report.add(WrongStream, "%s: %s is of a delivery stream that goes elsewhere", where, record)
	}
	return record, known, true
}

func (p *placing) at(record Record) *places {
	if p.seen[record] == nil {
		p.seen[record] = new(places)
	}
	return p.seen[record]
}

// compareWithLedger finds what is missing, has each other record judged, and checks the RecordIds.
func (p *placing) compareWithLedger(judge func(Record, *entry, *places)) {
	p.report.Ledger = p.ledger.Counts()
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	owners := make(map[string]Record)
	for _, record := range slices.SortedFunc(maps.Keys(p.ledger.entries), compareRecords) {
		if !p.goes(record.Stream) {
			continue
		}
		e := p.ledger.entries[record]
		if found := p.seen[record]; found != nil {
			p.count(e, found)
			judge(record, e, found)
		} else if e.outcome == Acknowledged && !e.discardable {
			p.report.add(Lost, "%s with the RecordId %s", record, e.recordID)
		}
		if e.outcome == Acknowledged {
			if reason := claim(owners, record, e.recordID); reason != "" {
				p.report.add(BadRecordID, "%s %s", record, reason)
			}
		}
	}
}

func (p *placing) count(e *entry, found *places) {
	p.report.count(e.outcome)
	if found.both() {
		p.report.Both++
	}
}
