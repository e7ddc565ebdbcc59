// Package text writes numbers and words for people who look at a terminal.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Count writes a number in at most five characters: 99999, 123k, 1.23M.
func Count(n int64) string {
	if n < 100_000 {
		return strconv.FormatInt(n, 10)
	}
	return scaled(float64(n), 1000, []string{"", "k", "M", "G", "T"})
}

// Size writes bytes in at most seven characters, in powers of 1024: 512 B, 1.50 KB, 1023 MB.
func Size(n int64) string {
	return scaled(float64(n), 1024, []string{" B", " KB", " MB", " GB", " TB", " PB"})
}

// scaled writes v in the largest unit that leaves 1 or more of it, with three digits where they tell something.
func scaled(v, base float64, units []string) string {
	unit := 0
	for ; v >= base && unit < len(units)-1; unit++ {
		v /= base
	}
	digits := 0
	switch {
	case unit == 0 || v >= 99.95:
	case v >= 9.995:
		digits = 1
	default:
		digits = 2
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[unit]
}

// Duration writes d in at most six characters, in its two largest units.
func Duration(d time.Duration) string {
	seconds := int64(d / time.Second)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 60*60:
		return fmt.Sprintf("%dm%02ds", seconds/60, seconds%60)
	case seconds < 24*60*60:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", seconds/86400, seconds/3600%24)
	}
}

// Shorten takes out of the middle of s what exceeds width characters.
func Shorten(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	head := width / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-head-1):])
}

// Wrapped breaks text into lines of at most width characters, of which all but the first are indented. What a terminal
// would take for a command is left out: the text may be anybody's.
func Wrapped(text string, width int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteString("\n    ")
			column = 4
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
