package producer

import (
	"math/rand/v2"

	"hydrant/e2e/internal/checker"
)

// lines makes the records of the next call, within the API's limits.
func (p *Producer) lines() [][]byte {
	var lines [][]byte
	total := 0
	for range p.callSize() {
		record := checker.Record{Stream: p.config.Stream, Producer: p.config.ID, N: p.next}
		line := record.Form(p.form(), min(recordSize(p.config.Rand), p.config.Largest), p.config.Rand)
		if total += len(line); total > MaxCallBytes {
			break
		}
		lines = append(lines, line)
		p.next++
	}
	return lines
}

// form draws how the next record is written.
func (p *Producer) form() checker.Form {
	switch rng := p.config.Rand; {
	case !p.config.Documents:
		return checker.Plain
	case rng.Float64() >= p.config.Bad:
		return checker.Document
	default:
		return []checker.Form{checker.Plain, checker.List, checker.Mismatch}[rng.IntN(3)]
	}
}

// callSize draws how many records the next call has: often one, mostly a few, sometimes as many as may be.
func (p *Producer) callSize() int {
	most := p.config.MaxBatch
	if p.config.Rate > 0 {
		most = min(most, max(1, int(p.config.Rate)))
	}
	if left := p.left(); left > 0 {
		most = min(most, left)
	}
	switch draw := p.config.Rand.IntN(10); {
	case draw < 4:
		return 1
	case draw < 9:
		return 1 + p.config.Rand.IntN(min(most, 25))
	default:
		return 1 + p.config.Rand.IntN(most)
	}
}

// recordSize draws the size of a record in bytes. Almost all are small, as events are; a few are large enough that
// a batch of them is split into several messages, and a large one fills a message of its own.
func recordSize(rng *rand.Rand) int {
	switch draw := rng.IntN(1000); {
	case draw < 970:
		return 100 + rng.IntN(1901)
	case draw < 998:
		return 10_000 + rng.IntN(50_001)
	default:
		return 60_000 + rng.IntN(840_001)
	}
}
