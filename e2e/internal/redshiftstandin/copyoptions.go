package redshiftstandin

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// option reads one with its value.
func (p *copyParser) option() *dbError {
	if p.peek().kind != word {
		return p.syntax()
	}
	name := p.peek().value
	if p.seen[name] {
		return redundant()
	}
	p.seen[name] = true
	for _, read := range []func(string) (bool, *dbError){p.flag, p.authorization, p.formatOption, p.valueOption, p.ignored} {
		p.at++
		known, err := read(name)
		if known || err != nil {
			return err
		}
		p.at--
	}
	if isOther(name) {
		return unsupported("the COPY option " + strings.ToUpper(name))
	}
	return p.syntax()
}

func redundant() *dbError { return failed(codeSyntax, "conflicting or redundant options") }

// isOther tells the options that Redshift has beside those that the stand-in knows.
func isOther(name string) bool {
	switch name {
	case "fixedwidth", "avro", "parquet", "orc", "shapefile", "bzip2", "lzop", "zstd", "encrypted", "master_symmetric_key", "ssh",
		"readratio", "noload", "comprows", "encoding", "acceptanydate", "simplify":
		return true
	}
	return false
}

// flag reads an option without a value.
func (p *copyParser) flag(name string) (bool, *dbError) {
	c := &p.copy
	flags := map[string]*bool{
		"manifest": &c.manifest, "gzip": &c.gzip, "escape": &c.escape, "removequotes": &c.removeQuotes,
		"emptyasnull": &c.emptyAsNull, "blanksasnull": &c.blanksAsNull, "truncatecolumns": &c.truncateColumns,
		"trimblanks": &c.trimBlanks, "fillrecord": &c.fillRecord, "ignoreblanklines": &c.ignoreBlankLines,
		"explicit_ids": &c.explicitIDs,
	}
	if set, known := flags[name]; known {
		*set = true
		return true, nil
	}
	return false, nil
}

// ignored reads an option that changes nothing here: statistics, compression, and how decimals are rounded.
func (p *copyParser) ignored(name string) (bool, *dbError) {
	switch name {
	case "compupdate":
		p.accept("on", "off", "true", "false", "preset")
	case "statupdate":
		p.accept("on", "off", "true", "false")
	case "roundec":
	default:
		return false, nil
	}
	return true, nil
}

// authorization reads who asks S3.
func (p *copyParser) authorization(name string) (bool, *dbError) {
	c := &p.copy.credentials
	var err *dbError
	switch name {
	case "with": // before CREDENTIALS
		if !p.peek().is("credentials") {
			err = p.syntax()
		}
	case "credentials":
		var value string
		if value, err = p.text(); err == nil {
			*c, err = parseCredentials(value)
		}
	case "iam_role":
		if p.accept("default") {
			c.role = "default"
			break
		}
		c.role, err = p.text()
	case "access_key_id":
		c.accessKey, err = p.text()
	case "secret_access_key":
		c.secretKey, err = p.text()
	case "session_token":
		c.token, err = p.text()
	default:
		return false, nil
	}
	return true, err
}

// parseCredentials reads 'aws_access_key_id=…;aws_secret_access_key=…;token=…' or 'aws_iam_role=…'.
func parseCredentials(text string) (credentials, *dbError) {
	var c credentials
	for part := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
		name, value, _ := strings.Cut(part, "=")
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			c.accessKey = value
		case "aws_secret_access_key":
			c.secretKey = value
		case "token":
			c.token = value
		case "aws_iam_role":
			c.role = value
		default:
			return credentials{}, badCredentials()
		}
	}
	return c, nil
}

// badCredentials does not repeat what was given: it is secret.
func badCredentials() *dbError {
	return loadError(0, detailLoad, "", "Invalid credentials. Must be of the format: credentials 'aws_iam_role=...' or "+
		"'aws_access_key_id=...;aws_secret_access_key=...[;token=...]'")
}

// formatOption reads how rows are written.
func (p *copyParser) formatOption(name string) (bool, *dbError) {
	var err *dbError
	switch name {
	case "format": // before the format's own name
		p.accept("as")
		if !p.peek().is("csv") && !p.peek().is("json") && !isOther(p.peek().value) {
			err = p.syntax()
		}
	case "csv":
		p.copy.format = formatCSV
		if p.accept("quote") {
			p.copy.quote, err = p.character()
		}
	case "json":
		p.copy.format, p.copy.json = formatJSON, "auto"
		if p.peek().kind == literal || p.peek().is("as") {
			p.copy.json, err = p.text()
		}
	case "delimiter":
		p.copy.delimiter, err = p.character()
	case "null":
		var value string
		value, err = p.text()
		p.copy.null = unescapeText(value)
	default:
		return false, nil
	}
	return true, err
}

// character reads an option's single character, such as '|', '\t' or '\001'.
func (p *copyParser) character() (byte, *dbError) {
	at := p.at
	text, err := p.text()
	if err != nil {
		return 0, err
	}
	if text = unescapeText(text); len(text) != 1 || text[0] >= utf8.RuneSelf {
		return 0, failed(codeSyntax, "COPY delimiter must be a single ASCII character").at(p.sql, p.tokens[at])
	}
	return text[0], nil
}

// at says where in the query string the error is.
func (e *dbError) at(sql string, t token) *dbError {
	e.position = characters(sql, t.start) + 1
	return e
}

// unescapeText reads \t, \n, \\ and octal numbers such as \0 and \001; \N stays as it is.
func unescapeText(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) || text[i+1] == 'N' {
			b.WriteByte(text[i])
			continue
		}
		digits := i + 1
		for digits < len(text) && digits < i+4 && text[digits] >= '0' && text[digits] <= '7' {
			digits++
		}
		if n, err := strconv.ParseUint(text[i+1:digits], 8, 8); err == nil {
			b.WriteByte(byte(n))
			i = digits - 1
			continue
		}
		i++
		b.WriteByte(unescape(text[i]))
	}
	return b.String()
}

// valueOption reads the other options that have a value.
func (p *copyParser) valueOption(name string) (bool, *dbError) {
	var err *dbError
	switch name {
	case "region":
		p.copy.region, err = p.text()
	case "ignoreheader":
		p.copy.ignoreHeader, err = p.count(1 << 40)
	case "maxerror":
		p.copy.maxError, err = p.count(100000)
	case "timeformat":
		p.copy.timeFormat, err = p.known("auto", "epochsecs", "epochmillisecs")
	case "dateformat":
		_, err = p.known("auto", "yyyy-mm-dd")
	case "acceptinvchars":
		p.copy.acceptInvalidChars = true
		if p.peek().kind == literal || p.peek().is("as") {
			p.copy.invalidChar, err = p.character()
		}
	default:
		return false, nil
	}
	return true, err
}

// count reads a number from 0 to a limit, in quotes or not.
func (p *copyParser) count(limit int64) (int64, *dbError) {
	p.accept("as")
	t := p.peek()
	n, err := strconv.ParseInt(t.value, 10, 64)
	if t.kind != number && t.kind != literal || err != nil || n < 0 || n > limit {
		return 0, p.syntax()
	}
	p.at++
	return n, nil
}

// known reads a value that is one of a few.
func (p *copyParser) known(values ...string) (string, *dbError) {
	text, err := p.text()
	if err != nil {
		return "", err
	}
	for _, v := range values {
		if strings.EqualFold(v, text) {
			return v, nil
		}
	}
	return "", unsupported("the format '" + text + "'")
}

// check finds options that contradict each other, and fills in what follows from others.
func (p *copyParser) check() *dbError {
	c := &p.copy
	csvOrJSON := c.format != formatText
	switch {
	case p.seen["csv"] && p.seen["json"], csvOrJSON && (c.escape || c.removeQuotes):
		return redundant()
	case c.format == formatJSON && (p.seen["delimiter"] || c.ignoreHeader > 0 || c.fillRecord):
		return redundant()
	case p.seen["credentials"] && (p.seen["iam_role"] || p.seen["access_key_id"] || p.seen["secret_access_key"]):
		return redundant()
	case c.credentials.role != "" && (c.credentials.accessKey != "" || c.credentials.secretKey != ""):
		return redundant()
	case !c.credentials.given(), c.credentials.role == "" && (c.credentials.accessKey == "" || c.credentials.secretKey == ""):
		return badCredentials()
	}
	if c.delimiter == 0 {
		c.delimiter = map[format]byte{formatText: '|', formatCSV: ','}[c.format]
	}
	return p.checkJSON()
}

func (p *copyParser) checkJSON() *dbError {
	c := &p.copy
	if c.format != formatJSON {
		return nil
	}
	if _, isPath := parseLocation(c.json); isPath {
		return nil
	}
	c.json = strings.ToLower(c.json)
	if c.json != "auto" && c.json != "auto ignorecase" {
		return unsupported("the JSON option '" + c.json + "'")
	}
	return nil
}
