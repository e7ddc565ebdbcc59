package natspage_test

import (
	"strings"
	"testing"

	"hydrant/e2e/internal/natspage"
)

const fence = "```"

var page = strings.ReplaceAll("# Title\n\n'console\n$ nats kv ls\nSTREAMS\n'\n\nText.\n\n'console\n$ nats stream ls\na\n\nb\n'\n\nEnd.\n", "'", fence)

func TestParse(t *testing.T) {
	p, err := natspage.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	all := p.Examples()
	if len(all) != 2 || *all[0] != (natspage.Example{Command: "nats kv ls", Output: "STREAMS"}) || *all[1] != (natspage.Example{Command: "nats stream ls", Output: "a\n\nb"}) {
		t.Fatalf("read as %+v", all)
	}
	all[0].Output = "STREAMS\nHYDRANT"
	if want := strings.Replace(page, "STREAMS", "STREAMS\nHYDRANT", 1); p.String() != want {
		t.Errorf("written as %s, want %s", p, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing to run":     "# Title\n",
		"no prompt":          strings.Replace(page, "$ nats kv", "nats kv", 1),
		"no end":             strings.TrimSuffix(page, fence+"\n\nEnd.\n"),
		"no output":          strings.Replace(page, "\nSTREAMS", "", 1),
		"another program":    strings.Replace(page, "$ nats kv", "$ rm kv", 1),
		"two commands":       strings.Replace(page, "STREAMS", "STREAMS\n$ nats kv ls HYDRANT", 1),
		"end of an old line": strings.ReplaceAll(page, "\n", "\r\n"),
	} {
		if _, err := natspage.Parse(text); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
