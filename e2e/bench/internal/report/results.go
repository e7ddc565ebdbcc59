package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Results are the newest of each row, of whichever run it was.
type Results struct {
	Rows []*Row `json:"rows"`
}

// Load reads what a run has saved. A file that does not exist holds no results.
func Load(path string) (Results, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Results{}, nil
	}
	if err != nil {
		return Results{}, err
	}
	var r Results
	if err := json.Unmarshal(data, &r); err != nil {
		return Results{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Save writes the file as a whole or not at all.
func (r Results) Save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// Row returns the row of a name, or nil.
func (r Results) Row(name string) *Row {
	for _, row := range r.Rows {
		if row.Name == name {
			return row
		}
	}
	return nil
}

// With returns the results with newer rows in the place of theirs. A row that failed replaces nothing.
func (r Results) With(rows []*Row) Results {
	merged := Results{Rows: append([]*Row(nil), r.Rows...)}
	for _, row := range rows {
		if row.Error == "" {
			merged.put(row)
		}
	}
	return merged
}

func (r *Results) put(row *Row) {
	for i, old := range r.Rows {
		if old.Name == row.Name {
			r.Rows[i] = row
			return
		}
	}
	r.Rows = append(r.Rows, row)
}
