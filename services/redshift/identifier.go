package redshift

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errIdentifier = errors.New("not a name: write it plain, or between double quotes")
	errParts      = errors.New("write table, schema.table or database.schema.table")
)

// quotedTable quotes a table's name, with those of its schema and database if it has them.
func quotedTable(name string) (string, error) {
	parts, err := identifiers(name, '.')
	if err != nil {
		return "", fmt.Errorf("DataTableName: %w", err)
	}
	if len(parts) == 0 || len(parts) > 3 {
		return "", fmt.Errorf("DataTableName: %.100q: %w", name, errParts)
	}
	return strings.Join(parts, "."), nil
}

// quotedColumns quotes a list of columns, which may be empty.
func quotedColumns(names string) (string, error) {
	list, err := identifiers(names, ',')
	if err != nil {
		return "", fmt.Errorf("DataTableColumns: %w", err)
	}
	return strings.Join(list, ", "), nil
}

// identifiers quotes each of the names in text, which a separator stands between.
func identifiers(text string, separator byte) (quoted []string, err error) {
	rest := strings.TrimSpace(text)
	if rest == "" {
		return nil, nil
	}
	for {
		var name string
		if name, rest, err = identifier(rest, separator); err != nil {
			return nil, fmt.Errorf("%.100q: %w", text, err)
		}
		quoted = append(quoted, name)
		if rest == "" {
			return quoted, nil
		}
		rest = strings.TrimSpace(rest[1:]) // the separator
	}
}

// identifier quotes the first name in text, and returns the rest from the separator on.
func identifier(text string, separator byte) (quoted, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		return betweenQuotes(text, separator)
	}
	end := strings.IndexByte(text, separator)
	if end < 0 {
		end = len(text)
	}
	name := strings.TrimSpace(text[:end])
	if name == "" || strings.ContainsAny(name, "\"\x00") {
		return "", "", errIdentifier
	}
	return `"` + folded(name) + `"`, text[end:], nil
}

func betweenQuotes(text string, separator byte) (quoted, rest string, err error) {
	end := 1
	for end < len(text) {
		if text[end] != '"' {
			end++
			continue
		}
		if strings.HasPrefix(text[end:], `""`) {
			end += 2
			continue
		}
		break
	}
	if end >= len(text) || end == 1 || strings.ContainsRune(text[:end], 0) {
		return "", "", errIdentifier
	}
	rest = strings.TrimSpace(text[end+1:])
	if rest != "" && rest[0] != separator {
		return "", "", errIdentifier
	}
	return text[:end+1], rest, nil
}

// folded is a name as the server reads it without quotes: its letters are small ones. A name that could not stand without
// quotes was meant as it is.
func folded(name string) string {
	for i, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
		if !letter && (i == 0 || c != '$' && (c < '0' || c > '9')) {
			return name
		}
	}
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
