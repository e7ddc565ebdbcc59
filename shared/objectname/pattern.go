package objectname

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The patterns are those of java.time.format.DateTimeFormatter.ofPattern(pattern, Locale.US):
//
//	u y year   Y week-based year   M L month   D day of year   d day   Q q quarter   w week of year   W week of month
//	E weekday   e c localized weekday   G era   g modified Julian day   a AM or PM   h K H k hours   m minute   s second
//	S fraction   n nanosecond   A N milliseconds and nanoseconds of the day
//	V zone id   z abbreviation of the zone   O X x Z offset   'text'   '' a quote   [ ] no effect
//
// How often a letter stands decides its form: yy is 26 and yyyy 2026, MM 03 and MMM Mar. AWS documents "strings that are valid
// Java DateTimeFormatter strings" and accepts the letter g too, which came with Java 9.
//
// It documents no locale. Locale.US is what Java takes by default on a machine set up for English in the United States. It decides
// the names (March, Mon) and the week: it begins on Sunday, and the week of January 1 is the first. So Y, w, W and e are not
// those of ISO 8601.
//
// All this is the same with Java 17 and 25, but for z: it is the abbreviation of the time zone database (EST, JST), and where
// that has but an offset, GMT-03:00, as Java has it since version 23 for all but a handful of zones. Refused, though Java
// knows them, is what means one thing in one version of Java and another in the next: B, F, v and zzzz; and p, which fails
// where it has no room.

// compile returns the pieces of a pattern. Its errors continue a sentence that has named the pattern.
func compile(pattern string) ([]piece, error) {
	var pieces []piece
	depth := 0
	for rest := pattern; rest != ""; {
		switch c := rest[0]; {
		case isLetter(c):
			count := len(rest) - len(strings.TrimLeft(rest, rest[:1]))
			p, err := field(c, count)
			if err != nil {
				return nil, err
			}
			pieces, rest = append(pieces, p), rest[count:]
		case c == '\'':
			text, after, err := quoted(rest)
			if err != nil {
				return nil, err
			}
			pieces, rest = append(pieces, literal(text)), after
		case c == '[':
			depth++
			rest = rest[1:]
		case c == ']':
			if depth--; depth < 0 {
				return nil, errors.New("has a ] without a [ before it: put it in single quotes")
			}
			rest = rest[1:]
		case c == '{' || c == '}' || c == '#':
			return nil, fmt.Errorf("has %q, which is reserved: put it in single quotes", c)
		default:
			end := strings.IndexFunc(rest, func(r rune) bool { return r < 0x80 && (isLetter(byte(r)) || strings.ContainsRune("'[]{}#", r)) })
			if end < 0 {
				end = len(rest)
			}
			pieces, rest = append(pieces, literal(rest[:end])), rest[end:]
		}
	}
	if len(pieces) == 0 {
		return nil, errors.New("evaluates to nothing: remove the expression")
	}
	return pieces, nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// quoted takes a text in quotes from the beginning of a pattern. Two quotes are one, within the text and as the text.
func quoted(pattern string) (text, after string, err error) {
	for i := 1; i < len(pattern); i++ {
		if pattern[i] != '\'' {
			continue
		}
		if i+1 < len(pattern) && pattern[i+1] == '\'' {
			i++
			continue
		}
		if i == 1 {
			return "'", pattern[2:], nil
		}
		return strings.ReplaceAll(pattern[1:i], "''", "'"), pattern[i+1:], nil
	}
	return "", "", errors.New("has a text in quotes without an end: close it with a single quote before the }")
}

// field returns the piece of a letter that stands count times.
func field(letter byte, count int) (piece, error) {
	for _, known := range []func(byte, int) (piece, bool){yearField, numberField, textField, zoneField} {
		if p, ok := known(letter, count); ok {
			return p, nil
		}
	}
	text := strings.Repeat(string(letter), min(count, 8))
	switch {
	case strings.IndexByte("BFpv", letter) >= 0 || letter == 'z' && count == 4:
		return piece{}, fmt.Errorf("has %q, which is not supported, since versions of Java differ about it: use E, d, H, z, VV or O", text)
	case strings.IndexByte("uyYMLDdQqwWEecGgaKhHkmsSnANVzOXxZ", letter) >= 0:
		return piece{}, fmt.Errorf("has %q, a letter more or less often than Java's DateTimeFormatter allows", text)
	}
	return piece{}, fmt.Errorf("has %q, which is no pattern letter of Java's DateTimeFormatter: put text in single quotes", text)
}

// onTime is a piece made of the local time.
func onTime(most int, write func(to []byte, at time.Time) []byte) (piece, bool) {
	return piece{most: most, write: func(to []byte, e *evaluation) []byte { return write(to, e.local) }}, true
}

// appendNumber writes a number that is not negative, with zeros before it up to a width.
func appendNumber(to []byte, n int64, width int) []byte {
	return fmt.Appendf(to, "%0*d", width, n)
}

func yearField(letter byte, count int) (piece, bool) {
	var year func(time.Time) int
	switch letter {
	case 'u', 'y':
		year = time.Time.Year
	case 'Y':
		year = weekYear
	default:
		return piece{}, false
	}
	if count > 19 {
		return piece{}, false
	}
	return onTime(max(count, 4), func(to []byte, at time.Time) []byte {
		if count == 2 {
			return appendNumber(to, int64(year(at)%100), 2)
		}
		return appendNumber(to, int64(year(at)), count)
	})
}

// numberField returns fields that are a number, whatever the count. Java limits how often each may stand.
func numberField(letter byte, count int) (piece, bool) {
	if letter == 'S' && count <= 9 {
		return onTime(count, func(to []byte, at time.Time) []byte {
			return append(to, fmt.Sprintf("%09d", at.Nanosecond())[:count]...)
		})
	}
	number, digits, limit := number(letter)
	if number == nil || count > limit {
		return piece{}, false
	}
	return onTime(max(count, digits), func(to []byte, at time.Time) []byte {
		return appendNumber(to, int64(number(at)), count)
	})
}

// number returns how a letter's number is computed, how many digits it may have, and how often the letter may stand.
func number(letter byte) (of func(time.Time) int, digits, limit int) {
	switch letter {
	case 'M', 'L':
		return func(t time.Time) int { return int(t.Month()) }, 2, 2
	case 'd':
		return time.Time.Day, 2, 2
	case 'D':
		return time.Time.YearDay, 3, 3
	case 'Q', 'q':
		return quarter, 1, 2
	case 'w':
		return weekOfYear, 2, 2
	case 'W':
		return weekOfMonth, 1, 1
	case 'e':
		return weekday, 1, 2
	case 'c':
		return weekday, 1, 1
	case 'H':
		return time.Time.Hour, 2, 2
	case 'k':
		return func(t time.Time) int { return (t.Hour()+23)%24 + 1 }, 2, 2
	case 'K':
		return func(t time.Time) int { return t.Hour() % 12 }, 2, 2
	case 'h':
		return func(t time.Time) int { return (t.Hour()+11)%12 + 1 }, 2, 2
	case 'm':
		return time.Time.Minute, 2, 2
	case 's':
		return time.Time.Second, 2, 2
	case 'n':
		return time.Time.Nanosecond, 9, 19
	case 'N':
		return nanosecondOfDay, 14, 19
	case 'A':
		return func(t time.Time) int { return nanosecondOfDay(t) / 1e6 }, 8, 19
	case 'g':
		return modifiedJulianDay, 5, 19
	}
	return nil, 0, 0
}

func quarter(t time.Time) int { return (int(t.Month())-1)/3 + 1 }

// weekday counts from Sunday, which is 1.
func weekday(t time.Time) int { return int(t.Weekday()) + 1 }

// weekOfMonth begins with 1 in the week, Sunday to Saturday, that has the first of the month.
func weekOfMonth(t time.Time) int {
	first := int(t.Weekday()) - (t.Day()-1)%7
	return (t.Day()-1+(first+7)%7)/7 + 1
}

// weekYear is the year of the week's Saturday: the week that has January 1 belongs to the new year.
func weekYear(t time.Time) int { return saturday(t).Year() }

func weekOfYear(t time.Time) int { return (saturday(t).YearDay()-1)/7 + 1 }

func saturday(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+int(time.Saturday-t.Weekday()), 0, 0, 0, 0, time.UTC)
}

// nanosecondOfDay is by the clock: on the day that a zone changes its offset it jumps.
func nanosecondOfDay(t time.Time) int {
	return ((t.Hour()*60+t.Minute())*60+t.Second())*1e9 + t.Nanosecond()
}

func modifiedJulianDay(t time.Time) int {
	const ofUnixEpoch, secondsOfDay = 40587, 86400
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return int(day.Unix()/secondsOfDay) + ofUnixEpoch
}
