package objectname

import (
	"strconv"
	"time"
)

// textField returns fields that are words, in the English of the United States. Three letters are the short form, four the full
// one and five the narrow one; fewer are the short one too for E and G, and numbers for the rest.
func textField(letter byte, count int) (piece, bool) {
	if letter == 'a' && count == 1 {
		return onTime(2, appendHalf)
	}
	if count > 5 || count < 3 && letter != 'E' && letter != 'G' {
		return piece{}, false
	}
	switch letter {
	case 'E', 'e', 'c':
		return named(count, len("Wednesday"), func(t time.Time) string { return t.Weekday().String() })
	case 'M', 'L':
		return named(count, len("September"), func(t time.Time) string { return t.Month().String() })
	case 'Q', 'q':
		return onTime(len("1st quarter"), func(to []byte, at time.Time) []byte { return append(to, quarterName(quarter(at), count)...) })
	case 'G':
		return literal(era(count)), true
	}
	return piece{}, false
}

func appendHalf(to []byte, at time.Time) []byte {
	if at.Hour() < 12 {
		return append(to, "AM"...)
	}
	return append(to, "PM"...)
}

// named is a field of names that are shortened by cutting them, which English allows.
func named(count, longest int, name func(time.Time) string) (piece, bool) {
	most := 3
	switch count {
	case 4:
		most = longest
	case 5:
		most = 1
	}
	return onTime(most, func(to []byte, at time.Time) []byte {
		text := name(at)
		return append(to, text[:min(most, len(text))]...)
	})
}

func quarterName(q, count int) string {
	number := strconv.Itoa(q)
	switch count {
	case 3:
		return "Q" + number
	case 4:
		return number + [...]string{"st", "nd", "rd", "th"}[q-1] + " quarter"
	}
	return number
}

// era is that of every instant that a record can arrive at.
func era(count int) string {
	switch count {
	case 4:
		return "Anno Domini"
	case 5:
		return "A"
	}
	return "AD"
}
