package ingest

import (
	"reflect"
	"strings"
)

// The API has several shapes for one thing: what creates it, what updates it, what describes it, each in the form of 2016
// and in today's. Members of the same name mean the same in all of them, also where their types have different names.

// converted returns from, or nil, in another shape, as far as that has its members.
func converted[To, From any](from *From) *To {
	if from == nil {
		return nil
	}
	return merged(new(To), from)
}

// merged returns to with the members that are set in from. Neither is changed, but they share what their members point to.
func merged[To, From any](to *To, from *From) *To {
	result := *to
	into := reflect.ValueOf(&result).Elem()
	for field, value := range reflect.ValueOf(from).Elem().Fields() {
		if !field.IsExported() || value.IsZero() {
			continue
		}
		if member := into.FieldByName(field.Name); member.IsValid() && same(field.Type, member.Type()) {
			member.Set(value.Convert(member.Type()))
		}
	}
	return &result
}

// same tells whether two types differ by their names at most, or by those of the structures that they point to.
func same(one, other reflect.Type) bool {
	return one.Kind() == other.Kind() && one.ConvertibleTo(other)
}

// given returns the names of those members of a request that are set and whose names end so.
func given[I any](in *I, suffix string) []string {
	var names []string
	for field, value := range reflect.ValueOf(in).Elem().Fields() {
		if strings.HasSuffix(field.Name, suffix) && !value.IsZero() {
			names = append(names, field.Name)
		}
	}
	return names
}
