package load

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// lines makes log lines in JSON as a web shop might write them: the same members in each, some values from small sets, some
// that never repeat. A compressor finds in them what it finds in real logs; a repeated string would flatter it.
type lines struct {
	vocabulary
	random *rand.Rand
	number int
}

func newLines(seed uint64) *lines {
	return &lines{vocabulary: newVocabulary(), random: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))}
}

// next appends a line of exactly size bytes, its line feed included. The size has to be 600 or more.
func (l *lines) next(to []byte, size int) []byte {
	const closing = "\"}\n"
	end := len(to) + size - len(closing)
	to = l.members(to)
	for len(to) < end {
		to = append(to, pick(l.random, l.words)...)
		to = append(to, ' ')
	}
	return append(to[:end], closing...)
}

// members appends everything up to the text of the message, 500 bytes or so.
func (l *lines) members(to []byte) []byte {
	r := l.random
	l.number++
	ms := l.number * 7
	to = fmt.Appendf(to, `{"time":"2026-11-%02dT%02d:%02d:%02d.%03dZ",`, 1+ms/86_400_000%28, ms/3_600_000%24, ms/60_000%60, ms/1000%60, ms%1000)
	to = fmt.Appendf(to, `"level":"%s","service":"%s","host":"%s-%d","sequence":%d,`,
		pick(r, l.levels), pick(r, l.services), pick(r, l.zones), r.IntN(40), l.number)
	to = fmt.Appendf(to, `"request_id":"%016x%016x","trace":{"id":"%016x","span":"%08x","sampled":%t},`,
		r.Uint64(), r.Uint64(), r.Uint64(), r.Uint32(), r.IntN(10) == 0)
	to = fmt.Appendf(to, `"http":{"method":"%s","path":"/api/v2/%s/%d","status":%s,"bytes":%d,"duration_ms":%s,"user_agent":"%s"},`,
		pick(r, l.methods), pick(r, l.resources), r.IntN(2_000_000), pick(r, l.statuses), r.IntN(60_000),
		strconv.FormatFloat(r.ExpFloat64()*40, 'f', 3, 64), pick(r, l.agents))
	return fmt.Appendf(to, `"client":{"ip":"%d.%d.%d.%d","user":"u%07d","country":"%s"},"message":"`,
		r.IntN(224), r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(3_000_000), pick(r, l.countries))
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }
