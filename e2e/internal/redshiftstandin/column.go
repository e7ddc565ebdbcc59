package redshiftstandin

import (
	"strconv"
	"strings"
)

// column is one of the table that a COPY loads.
type column struct {
	name       string
	typeName   string // as PostgreSQL calls it: int4, varchar, timestamptz, …
	limit      int    // in bytes, of a type of characters; 0 for other types
	notNull    bool
	hasDefault bool
	identity   bool
}

// The lengths that Redshift gives types of characters which have none.
const (
	lengthOfText = 256
	lengthOfChar = 1
)

// newColumn is made of a row of the catalog: name, type, type modifier, not null, has a default, is an identity.
func newColumn(values []string) column {
	modifier, _ := strconv.Atoi(values[2])
	c := column{
		name: values[0], typeName: values[1], notNull: values[3] == "t", hasDefault: values[4] == "t", identity: values[5] == "t",
	}
	switch c.typeName {
	case "varchar", "text":
		c.limit = lengthOfText
	case "bpchar":
		c.limit = lengthOfChar
	default:
		return c
	}
	if modifier > 4 { // PostgreSQL counts the length word in
		c.limit = modifier - 4
	}
	return c
}

func (c column) isText() bool { return c.limit > 0 }

// redshiftName is how Redshift's messages call a type of numbers.
func (c column) redshiftName() string {
	switch c.typeName {
	case "int2":
		return "Short"
	case "int4":
		return "Integer"
	case "int8":
		return "Long"
	case "numeric":
		return "Decimal"
	case "float4", "float8":
		return "Float"
	}
	return c.typeName
}

// length is the length that stl_load_errors has for the column.
func (c column) length() string { return strconv.Itoa(c.limit) }

// isTime tells the types that TIMEFORMAT is about.
func (c column) isTime() bool { return c.typeName == "timestamp" || c.typeName == "timestamptz" }

// quoteIdentifier writes a name for SQL.
func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteLiteral writes a string for SQL.
func quoteLiteral(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }
