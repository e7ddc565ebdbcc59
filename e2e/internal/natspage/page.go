// Package natspage reads a page of documentation that shows commands of the nats CLI and what they print, so that a test can run the
// commands and compare.
package natspage

import (
	"errors"
	"fmt"
	"strings"
)

// Example is a command and what it prints, as the page shows them: a block of the language console, with the command behind a prompt.
type Example struct {
	Command string
	Output  string // without a line break at its end
}

// Page is a page in its parts.
type Page struct {
	text     []string // before, between and behind the examples
	examples []*Example
}

const (
	block   = "```console\n"
	opening = block + "$ "
	closing = "\n```\n"
)

// Parse reads a page. An error says that not each block is an example, of one nats command.
func Parse(text string) (*Page, error) {
	p := split(text)
	switch {
	case len(p.examples) == 0:
		return nil, errors.New("no examples")
	case len(p.examples) != strings.Count(text, block):
		return nil, errors.New("a block does not begin with a prompt")
	case p.String() != text:
		return nil, errors.New("a block does not end, or has no output")
	}
	for _, e := range p.examples {
		if !strings.HasPrefix(e.Command, "nats ") || strings.Contains(e.Output, "\n$ ") {
			return nil, fmt.Errorf("%q is not one command of nats", e.Command)
		}
	}
	return p, nil
}

func split(text string) *Page {
	var p Page
	for {
		before, rest, found := strings.Cut(text, opening)
		p.text = append(p.text, before)
		if !found {
			return &p
		}
		example, behind, _ := strings.Cut(rest, closing)
		command, output, _ := strings.Cut(example, "\n")
		p.examples = append(p.examples, &Example{command, output})
		text = behind
	}
}

// Examples are the page's, in order. What is changed in them is in the page that String returns.
func (p *Page) Examples() []*Example { return p.examples }

// String is the page as it is written.
func (p *Page) String() string {
	var b strings.Builder
	for i, text := range p.text {
		b.WriteString(text)
		if i < len(p.examples) {
			b.WriteString(opening + p.examples[i].Command + "\n" + p.examples[i].Output + closing)
		}
	}
	return b.String()
}
