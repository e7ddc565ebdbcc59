package model

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const isNull = "Member must not be null"

// Check calls report for each constraint that value breaks, in the model's order: with the path of what breaks it, and the
// constraint. It never reports a value. Members that the model does not have are passed over, and so are values of a wrong
// JSON type and blobs, which whoever decodes them checks. No object in value may have a member twice.
func (s *Shape) Check(value jsontext.Value, report func(path, constraint string)) {
	s.check("", value, report)
}

func (s *Shape) check(path string, value jsontext.Value, report func(path, constraint string)) {
	switch kind := value.Kind(); {
	case s.Type == Structure && kind == '{':
		s.checkMembers(path, value, report)
	case s.Type == List && kind == '[':
		s.checkElements(path, value, report)
	case s.Type == Map && kind == '{':
		s.checkEntries(path, value, report)
	default:
		for _, constraint := range s.broken(value) {
			report(path, constraint)
		}
	}
}

func (s *Shape) checkMembers(path string, object jsontext.Value, report func(path, constraint string)) {
	given := map[string]jsontext.Value{} // those that the model has: however many others there are, they cost nothing
	eachMember(object, func(name string, value jsontext.Value) {
		if slices.ContainsFunc(s.Members, func(m Member) bool { return m.Name == name }) {
			given[name] = value.Clone()
		}
	})
	for _, m := range s.Members {
		value, found := given[m.Name]
		at := join(path, strings.ToLower(m.Name[:1])+m.Name[1:])
		switch {
		case found && value.Kind() != 'n':
			m.Shape.check(at, value, report)
		case m.Required:
			report(at, isNull)
		}
	}
}

func (s *Shape) checkElements(path string, list jsontext.Value, report func(path, constraint string)) {
	count := 0
	eachElement(list, func(jsontext.Value) { count++ })
	for _, constraint := range s.brokenLength(count) {
		report(path, constraint)
	}
	count = 0
	eachElement(list, func(value jsontext.Value) {
		count++
		at := join(path, strconv.Itoa(count)+".member")
		if value.Kind() == 'n' {
			report(at, isNull)
			return
		}
		s.Element.check(at, value, report)
	})
}

// checkEntries reports at the map itself, since a path through a key would show it.
func (s *Shape) checkEntries(path string, object jsontext.Value, report func(path, constraint string)) {
	keys, values := false, false
	eachMember(object, func(name string, value jsontext.Value) {
		keys = keys || len(s.Key.brokenText(name)) > 0
		values = values || value.Kind() == 'n' || len(s.Element.broken(value)) > 0
	})
	if keys {
		report(path, "Map keys must satisfy constraint: ["+strings.Join(s.Key.all(), ", ")+"]")
	}
	if values {
		report(path, "Map value must satisfy constraint: ["+strings.Join(s.Element.all(), ", ")+"]")
	}
}

// broken returns the constraints that a simple value breaks.
func (s *Shape) broken(value jsontext.Value) []string {
	switch kind := value.Kind(); {
	case s.Type == String && kind == '"':
		text, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return nil
		}
		return s.brokenText(string(text))
	case (s.Type == Integer || s.Type == Double) && kind == '0':
		number, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			return nil
		}
		return s.brokenRange(number, "value")
	}
	return nil
}

func (s *Shape) brokenText(text string) []string {
	broken := s.brokenLength(utf8.RuneCountInString(text))
	if s.match != nil && !s.match.MatchString(text) || s.not != nil && s.not.MatchString(text) {
		broken = append(broken, s.patternConstraint())
	}
	if s.Enum != nil && !slices.Contains(s.Enum, text) {
		broken = append(broken, s.enumConstraint())
	}
	return broken
}

func (s *Shape) brokenLength(length int) []string { return s.brokenRange(float64(length), "length") }

func (s *Shape) brokenRange(number float64, what string) []string {
	switch {
	case s.Min != nil && number < *s.Min:
		return []string{least(what, *s.Min)}
	case s.Max != nil && number > *s.Max:
		return []string{most(what, *s.Max)}
	}
	return nil
}

// all returns every constraint of a string.
func (s *Shape) all() []string {
	var all []string
	if s.Max != nil {
		all = append(all, most("length", *s.Max))
	}
	if s.Min != nil {
		all = append(all, least("length", *s.Min))
	}
	if s.Pattern != "" {
		all = append(all, s.patternConstraint())
	}
	return all
}

func least(what string, number float64) string {
	return fmt.Sprintf("Member must have %s greater than or equal to %s", what, strconv.FormatFloat(number, 'f', -1, 64))
}

func most(what string, number float64) string {
	return fmt.Sprintf("Member must have %s less than or equal to %s", what, strconv.FormatFloat(number, 'f', -1, 64))
}

func (s *Shape) patternConstraint() string {
	return "Member must satisfy regular expression pattern: " + s.Pattern
}

func (s *Shape) enumConstraint() string {
	return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// eachMember calls each with the members of an object; a value is valid until each returns.
func eachMember(object jsontext.Value, each func(name string, value jsontext.Value)) {
	d := inside(object)
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return
		}
		text := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return
		}
		each(text, value)
	}
}

func eachElement(list jsontext.Value, each func(jsontext.Value)) {
	d := inside(list)
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			return
		}
		each(value)
	}
}

// inside returns a decoder that has read the first token of an object or list.
func inside(value jsontext.Value) *jsontext.Decoder {
	d := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true))
	_, _ = d.ReadToken() // what is wrong with it is found again by whatever is read next
	return d
}
