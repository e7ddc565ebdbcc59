// Package model knows the constraints of the API's service model: which members a request may have, which it must have,
// and what their values may be.
//
// They are in constraints.json, which command gen writes out of the service model in the Python package botocore (Apache
// License 2.0); the file names the version. Only facts are taken over, no documentation. See `make constraints`.
package model

import (
	_ "embed"
	"fmt"
	"regexp"

	"github.com/go-json-experiment/json"
)

//go:embed constraints.json
var constraints []byte

// Model has the shapes of all inputs.
type Model struct {
	Source string            // what the constraints were read from
	Inputs map[string]*Shape // by operation
	Shapes map[string]*Shape // by name: the inputs, and all that they are made of
}

// Type is a shape's type in the service model.
type Type string

// The types there are.
const (
	Structure Type = "structure"
	List      Type = "list"
	Map       Type = "map"
	String    Type = "string"
	Integer   Type = "integer"
	Double    Type = "double"
	Boolean   Type = "boolean"
	Timestamp Type = "timestamp"
	Blob      Type = "blob"
)

// Shape is what a value may be.
type Shape struct {
	Name    string
	Type    Type
	Members []Member // of a structure, in the model's order
	Element *Shape   // of a list or map
	Key     *Shape   // of a map

	Min, Max *float64 // of a number, or of the length of a string, list or blob
	Pattern  string   // as the model has it; matches the whole of a string
	Enum     []string

	match, not *regexp.Regexp // what the pattern comes to
}

// Member is a member of a structure.
type Member struct {
	Name     string
	Shape    *Shape
	Required bool
}

// table is constraints.json.
type table struct {
	Source     string                `json:"source"`
	Operations map[string]string     `json:"operations"`
	Shapes     map[string]tableShape `json:"shapes"`
}

type tableShape struct {
	Type    Type `json:"type"`
	Members []struct {
		Name     string `json:"name"`
		Shape    string `json:"shape"`
		Required bool   `json:"required"`
	} `json:"members"`
	Element string   `json:"element"`
	Key     string   `json:"key"`
	Min     *float64 `json:"min"`
	Max     *float64 `json:"max"`
	Pattern string   `json:"pattern"`
	Match   string   `json:"match"` // instead of pattern, where package regexp does not have it
	Not     string   `json:"not"`   // what must not match
	Enum    []string `json:"enum"`
}

// Load reads the constraints that are built in.
func Load() (*Model, error) {
	var from table
	if err := json.Unmarshal(constraints, &from); err != nil {
		return nil, fmt.Errorf("the API's constraints: %w", err)
	}
	m := &Model{Source: from.Source, Inputs: map[string]*Shape{}, Shapes: map[string]*Shape{}}
	for name := range from.Shapes {
		m.Shapes[name] = &Shape{Name: name}
	}
	for name, s := range from.Shapes {
		if err := m.fill(m.Shapes[name], s); err != nil {
			return nil, fmt.Errorf("the API's constraints: %s: %w", name, err)
		}
	}
	for operation, name := range from.Operations {
		m.Inputs[operation] = m.Shapes[name]
	}
	return m, nil
}

func (m *Model) fill(s *Shape, from tableShape) (err error) {
	s.Type, s.Min, s.Max, s.Pattern, s.Enum = from.Type, from.Min, from.Max, from.Pattern, from.Enum
	s.Element, s.Key = m.Shapes[from.Element], m.Shapes[from.Key]
	for _, member := range from.Members {
		s.Members = append(s.Members, Member{member.Name, m.Shapes[member.Shape], member.Required})
	}
	if from.Match == "" {
		from.Match = from.Pattern
	}
	if s.match, err = whole(from.Match); err != nil {
		return err
	}
	s.not, err = whole(from.Not)
	return err
}

// whole compiles a pattern that has to match the whole of a value.
func whole(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}
