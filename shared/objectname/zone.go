package objectname

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io/fs"
	"time"
)

// The time zone database (2025c, public domain), as the Go distribution has it in lib/time/zoneinfo.zip; `make zones` copies
// it. The machine's own is never asked, since two machines that differ about a zone would name a batch differently.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// Zone returns the zone of a CustomTimeZone: a name of the time zone database, such as Europe/Berlin. An empty one is UTC. Its
// error is for clients, see Check.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if len(name) > maxZone || !matches(`[a-zA-Z/_]+`, name) || name == "Factory" { // which stands for none
		return nil, unknownZone(name)
	}
	zone, err := load(name)
	if err != nil {
		return nil, unknownZone(name)
	}
	return zone, nil
}

// load reads a zone from the database.
func load(name string) (*time.Location, error) {
	database, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(database, name)
	if err != nil {
		return nil, err
	}
	return time.LoadLocationFromTZData(name, data)
}

func unknownZone(name string) error {
	return fmt.Errorf("CustomTimeZone %q is not a known time zone: give a name of the IANA time zone database, such as Asia/Tokyo or UTC", excerpt(name))
}

func zoneOr(zone *time.Location) *time.Location {
	if zone == nil {
		return time.UTC
	}
	return zone
}

// zoneField returns fields about the zone and its offset from UTC.
func zoneField(letter byte, count int) (piece, bool) {
	switch {
	case letter == 'V' && count == 2:
		return onTime(maxZone, func(to []byte, at time.Time) []byte { return append(to, at.Location().String()...) })
	case letter == 'z' && count <= 3:
		return onTime(len("GMT+00:00:00"), appendAbbreviation)
	case letter == 'O' && (count == 1 || count == 4), letter == 'Z' && count == 4:
		return onTime(len("GMT+00:00:00"), func(to []byte, at time.Time) []byte {
			return appendLocalized(to, offsetOf(at), letter == 'O' && count == 1)
		})
	}
	form, ok := offsetForm(letter, count)
	if !ok {
		return piece{}, false
	}
	return onTime(len("+00:00:00"), func(to []byte, at time.Time) []byte { return form.append(to, offsetOf(at)) })
}

func offsetOf(at time.Time) int {
	_, seconds := at.Zone()
	return seconds
}

// appendAbbreviation writes EST, JST and the like. Where the database has no abbreviation it gives the offset, such as +03.
func appendAbbreviation(to []byte, at time.Time) []byte {
	name, offset := at.Zone()
	if name == "" || !isLetter(name[0]) {
		return appendLocalized(to, offset, false)
	}
	return append(to, name...)
}

// appendLocalized writes GMT+08:00; if it is to be short, GMT+8, with minutes and seconds where there are any.
func appendLocalized(to []byte, offset int, short bool) []byte {
	to = append(to, "GMT"...)
	if offset == 0 {
		return to
	}
	sign, hours, minutes, seconds := parts(offset)
	to = append(to, sign)
	if short {
		to = appendNumber(to, int64(hours), 1)
	} else {
		to = appendNumber(to, int64(hours), 2)
	}
	if !short || minutes != 0 || seconds != 0 {
		to = appendNumber(append(to, ':'), int64(minutes), 2)
	}
	if seconds != 0 {
		to = appendNumber(append(to, ':'), int64(seconds), 2)
	}
	return to
}

func parts(offset int) (sign byte, hours, minutes, seconds int) {
	sign = '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	return sign, offset / 3600, offset / 60 % 60, offset % 60
}

// isoOffset is a form of the letters X, x and Z.
type isoOffset struct {
	zero      string // what no offset is written as
	separator string
	brief     bool // minutes only if there are any
	seconds   bool // seconds if there are any
}

func offsetForm(letter byte, count int) (isoOffset, bool) {
	forms := []isoOffset{
		{zero: "+00", brief: true},
		{zero: "+0000"},
		{zero: "+00:00", separator: ":"},
		{zero: "+0000", seconds: true},
		{zero: "+00:00", separator: ":", seconds: true},
	}
	if count > len(forms) {
		return isoOffset{}, false
	}
	form := forms[count-1]
	switch {
	case letter == 'x':
		return form, true
	case letter == 'X' || letter == 'Z' && count == 5:
		form.zero = "Z"
		return form, true
	case letter == 'Z' && count <= 3:
		return forms[1], true
	}
	return isoOffset{}, false
}

func (f isoOffset) append(to []byte, offset int) []byte {
	sign, hours, minutes, seconds := parts(offset)
	if !f.seconds {
		seconds = 0
	}
	if hours == 0 && minutes == 0 && seconds == 0 {
		return append(to, f.zero...)
	}
	to = appendNumber(append(to, sign), int64(hours), 2)
	if f.brief && minutes == 0 {
		return to
	}
	to = appendNumber(append(to, f.separator...), int64(minutes), 2)
	if seconds != 0 {
		to = appendNumber(append(to, f.separator...), int64(seconds), 2)
	}
	return to
}
