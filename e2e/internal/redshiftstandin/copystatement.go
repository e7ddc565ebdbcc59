package redshiftstandin

import "strings"

// format is how an object's rows are written.
type format int

const (
	formatText format = iota
	formatCSV
	formatJSON
)

// credentials are those of a COPY, for S3.
type credentials struct {
	accessKey, secretKey, token string
	role                        string // instead of the three
}

func (c credentials) given() bool { return c != credentials{} }

// copyStatement is COPY … FROM 's3://…', understood.
type copyStatement struct {
	schema, table string
	columns       []string // nil for all
	source        location
	credentials   credentials
	region        string
	manifest      bool
	gzip          bool

	format    format
	json      string // auto, auto ignorecase, or where the paths are: s3://…
	delimiter byte
	quote     byte

	ignoreHeader int64
	maxError     int64
	null         string
	timeFormat   string

	escape, removeQuotes            bool
	emptyAsNull, blanksAsNull       bool
	truncateColumns, trimBlanks     bool
	fillRecord, ignoreBlankLines    bool
	explicitIDs, acceptInvalidChars bool
	invalidChar                     byte
}

// location is an object or a prefix in S3.
type location struct{ bucket, key string }

func (l location) String() string { return "s3://" + l.bucket + "/" + l.key }

// parseLocation reads s3://bucket/key.
func parseLocation(url string) (location, bool) {
	rest, found := strings.CutPrefix(url, "s3://")
	bucket, key, slash := strings.Cut(rest, "/")
	return location{bucket, key}, found && slash && bucket != ""
}

// copyParser reads a COPY token by token.
type copyParser struct {
	statement
	at   int
	seen map[string]bool // options, by name
	copy copyStatement
}

// parseCopy understands a statement that begins with COPY. An option that Redshift has and the stand-in has not is an error of
// its own, and one that Redshift has not is Redshift's syntax error.
func parseCopy(s statement) (*copyStatement, *dbError) {
	p := copyParser{statement: s, at: 1, seen: map[string]bool{}}
	p.copy.null, p.copy.invalidChar, p.copy.quote = `\N`, '?', '"'
	if err := p.target(); err != nil {
		return nil, err
	}
	if err := p.from(); err != nil {
		return nil, err
	}
	for p.at < len(p.tokens) {
		if err := p.option(); err != nil {
			return nil, err
		}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return &p.copy, nil
}

func (p *copyParser) syntax() *dbError { return syntaxError(p.sql, p.tokens, p.at) }

// peek is the token at hand; at the end it is one that is nothing.
func (p *copyParser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{kind: symbol}
}

// accept passes a word if it is at hand.
func (p *copyParser) accept(names ...string) bool {
	for _, name := range names {
		if p.peek().is(name) {
			p.at++
			return true
		}
	}
	return false
}

func (p *copyParser) acceptSymbol(c string) bool {
	if p.peek().isSymbol(c) {
		p.at++
		return true
	}
	return false
}

func (p *copyParser) identifier() (string, *dbError) {
	t := p.peek()
	if t.kind != word && t.kind != quoted || t.value == "" {
		return "", p.syntax()
	}
	p.at++
	return t.value, nil
}

// text is the string of an option, after AS or not.
func (p *copyParser) text() (string, *dbError) {
	p.accept("as")
	t := p.peek()
	if t.kind != literal {
		return "", p.syntax()
	}
	p.at++
	return t.value, nil
}

// target reads the table and its columns.
func (p *copyParser) target() *dbError {
	name, err := p.identifier()
	if err != nil {
		return err
	}
	p.copy.table = name
	if p.acceptSymbol(".") {
		if p.copy.table, err = p.identifier(); err != nil {
			return err
		}
		p.copy.schema = name
	}
	if p.acceptSymbol("(") {
		return p.columnList()
	}
	return nil
}

func (p *copyParser) columnList() *dbError {
	seen := map[string]bool{}
	for {
		name, err := p.identifier()
		if err != nil {
			return err
		}
		if seen[name] {
			return failed(codeTwice, "column \"%s\" specified more than once", name)
		}
		seen[name] = true
		p.copy.columns = append(p.copy.columns, name)
		if p.acceptSymbol(")") {
			return nil
		}
		if !p.acceptSymbol(",") {
			return p.syntax()
		}
	}
}

func (p *copyParser) from() *dbError {
	if !p.accept("from") || p.peek().kind != literal {
		return p.syntax()
	}
	url := p.peek().value
	var ok bool
	if p.copy.source, ok = parseLocation(url); !ok {
		return unsupported("COPY from anything but 's3://bucket/key'")
	}
	p.at++
	return nil
}

func unsupported(what string) *dbError {
	return failed(codeUnsupported, "%s is not known to the Redshift stand-in", what)
}
