package redshiftstandin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// jsonPath says where in an object a value is: names of members, and places in arrays.
type jsonPath []pathStep

type pathStep struct {
	name  string
	index int // of an array, where there is no name
}

// parseJSONPaths reads a jsonpaths file: {"jsonpaths": ["$.a.b", "$['a'][0]"]}.
func parseJSONPaths(file []byte) ([]jsonPath, error) {
	var content struct {
		Paths []string `json:"jsonpaths"`
	}
	if err := json.Unmarshal(file, &content); err != nil {
		return nil, fmt.Errorf("jsonpaths: %w", err)
	}
	if len(content.Paths) == 0 {
		return nil, fmt.Errorf("jsonpaths: no path")
	}
	paths := make([]jsonPath, 0, len(content.Paths))
	for _, text := range content.Paths {
		path, err := parseJSONPath(text)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// parseJSONPath reads one, in the notation with dots, with brackets, or with both.
func parseJSONPath(text string) (jsonPath, error) {
	rest, found := strings.CutPrefix(text, "$")
	if !found {
		return nil, fmt.Errorf("jsonpaths: %q does not begin with $", text)
	}
	var path jsonPath
	for rest != "" {
		step, n := parseStep(rest)
		if n == 0 {
			return nil, fmt.Errorf("jsonpaths: %q", text)
		}
		path = append(path, step)
		rest = rest[n:]
	}
	return path, nil
}

// parseStep reads .name, ['name'] or [0], and tells how long it is; 0 if it is none of them.
func parseStep(text string) (pathStep, int) {
	if text[0] == '.' {
		end := strings.IndexAny(text[1:], ".[")
		if end < 0 {
			end = len(text) - 1
		}
		return pathStep{name: text[1 : 1+end]}, step(end, 1+end)
	}
	end := strings.IndexByte(text, ']')
	if text[0] != '[' || end < 2 {
		return pathStep{}, 0
	}
	inner := text[1:end]
	if n, err := strconv.Atoi(inner); err == nil && n >= 0 {
		return pathStep{index: n}, end + 1
	}
	name := inner[1 : len(inner)-min(1, len(inner)-1)]
	if quote := inner[0]; quote != '\'' && quote != '"' || len(inner) < 3 || inner[len(inner)-1] != quote {
		return pathStep{}, 0
	}
	return pathStep{name: name}, end + 1
}

// step is a length, or 0 where nothing is in it.
func step(content, length int) int {
	if content == 0 {
		return 0
	}
	return length
}

// find is the value at the path, nil if there is none.
func (p jsonPath) find(value json.RawMessage) json.RawMessage {
	for _, s := range p {
		if value = s.find(value); value == nil {
			return nil
		}
	}
	return value
}

func (s pathStep) find(value json.RawMessage) json.RawMessage {
	if s.name != "" {
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil {
			return nil
		}
		return members[s.name]
	}
	var items []json.RawMessage
	if json.Unmarshal(value, &items) != nil || s.index >= len(items) {
		return nil
	}
	return items[s.index]
}
