package redshiftstandin

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, sql string
		want      []string
	}{
		{"nothing", " ; ;; -- nothing\n", nil},
		{"one", "SELECT 1", []string{"SELECT 1"}},
		{"several", "BEGIN; SELECT 1;COMMIT;", []string{"BEGIN", "SELECT 1", "COMMIT"}},
		{"in a string", "SELECT 'a;b''c;' ; SELECT 2", []string{"SELECT 'a;b''c;'", "SELECT 2"}},
		{"in a string with escapes", `SELECT E'a\';b'; SELECT 2`, []string{`SELECT E'a\';b'`, "SELECT 2"}},
		{"a backslash in a plain string", `SELECT 'a\'; SELECT 2`, []string{`SELECT 'a\'`, "SELECT 2"}},
		{"in an identifier", `SELECT ";"";" ; SELECT 2`, []string{`SELECT ";"";"`, "SELECT 2"}},
		{"in dollars", "DO $$ a; b $$; DO $x$ $$; $x$", []string{"DO $$ a; b $$", "DO $x$ $$; $x$"}},
		{"a parameter", "SELECT $1; SELECT $2", []string{"SELECT $1", "SELECT $2"}},
		{"a dollar in a name", "SELECT a$b$; SELECT c$b$", []string{"SELECT a$b$", "SELECT c$b$"}},
		{"in comments", "SELECT 1 -- ; '\n; /* ; /* ' */ ; */ SELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"other alphabets", "SELECT 'ä;ß' AS größe; SELECT 2", []string{"SELECT 'ä;ß' AS größe", "SELECT 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			statements, err := split(c.sql)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range statements {
				got = append(got, s.text())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSplitErrors(t *testing.T) {
	for _, sql := range []string{"SELECT 'a", `SELECT "a`, "SELECT $$a", "SELECT $x$a$$", "/* a /* b */", `SELECT E'a\'`} {
		if _, err := split(sql); err == nil || !strings.Contains(err.Error(), "unterminated") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestControl(t *testing.T) {
	for sql, want := range map[string]control{
		"BEGIN": beginControl, "begin work": beginControl, "START TRANSACTION": beginControl, "commit": endControl, "END": endControl,
		"ROLLBACK": endControl, "ABORT": endControl, "rollback to savepoint a": noControl, "SELECT 1": noControl, "START x": noControl,
	} {
		statements, err := split(sql)
		if err != nil || statements[0].control() != want {
			t.Errorf("%s: %v, %v", sql, statements, err)
		}
	}
}

// Whatever the bytes: the statements are pieces of the query string, in order, and what is rewritten can be split again.
func FuzzSplit(f *testing.F) {
	for _, sql := range []string{
		"BEGIN; SELECT 'a;''b' -- c\n; COMMIT", `SELECT E'\'' /* /* */ */ ; "x;"`, "DO $a$ ; $a$ ; SELECT $1",
		"CREATE TABLE t (a int PRIMARY KEY, b varchar(max) ENCODE zstd, UNIQUE (a)) DISTKEY(a) SORTKEY (a, b)",
		"CREATE TABLE t DISTSTYLE ALL AS SELECT 1", "ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (a, b)",
		"BEGIN ISOLATION LEVEL READ COMMITTED", "create table t(a int identity(1,1)", "create table t (a",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		statements, err := split(sql)
		if err != nil {
			return
		}
		at := 0
		for _, s := range statements {
			if s.start() < at || s.end() <= s.start() || s.end() > len(sql) {
				t.Fatalf("a statement from %d to %d after %d", s.start(), s.end(), at)
			}
			at = s.end()
			s.control()
			text, refused := rewrite(s)
			if refused != nil {
				continue
			}
			if again, err := split(text); err != nil || len(again) > 1 {
				t.Fatalf("%q becomes %q, which is %d statements, %v", s.text(), text, len(again), err)
			}
		}
	})
}
