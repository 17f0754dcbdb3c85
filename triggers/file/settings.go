// Package file is the source that takes events from files, from those of a folder, or from standard input: a line each, a CloudEvent in JSON, a batch of them, or whatever
// as: makes an event of.
//
// Where it is in each file is kept once what is before that is durable; what is renamed, replaced or cut meanwhile is noticed.
package file

import (
	"fmt"
	"path/filepath"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers/mapping"
)

// Settings are the source's part of a document.
type Settings struct {
	Path     string      `doc:"path,value,required" help:"a file, a folder (the files in it), a pattern of files (/var/spool/orders/*.ndjson), or - for standard input. Several are read in order of their names"`
	Follow   bool        `doc:"follow" help:"go on when all is read: with what is written to the files, and with new ones. false: say so in the log, and take a last line without an end" default:"true"`
	Start    string      `doc:"start" help:"where a file begins that was not known when the router first saw it: earliest, or latest for files that are there already: what is written from now on" default:"earliest"`
	MaxEvent plugin.Size `doc:"maxEvent" help:"how long a line may be; a longer one is parked, and not read into memory" default:"1MiB"`
	As       *mapping.As `doc:"as" help:"makes events of lines that are none: expressions over body, line (its number), file (its path) and offset"`
}

const (
	earliest = "earliest"
	latest   = "latest"
)

var asNames = []string{"body", "file", "line", "offset"}

// Check reports what cannot be read.
func (s *Settings) Check() []plugin.Problem {
	var out []plugin.Problem
	if s.Path == "" {
		out = append(out, plugin.Problem{Path: []string{"path"}, What: "no file is named", Cure: "write path: events.ndjson"})
	} else if _, err := filepath.Match(s.Path, ""); err != nil {
		out = append(out, plugin.Problem{Path: []string{"path"}, What: fmt.Sprintf("%.200q is no pattern", s.Path), Cure: `write * and ? for any characters, and \[ for a bracket`})
	}
	if s.Start != earliest && s.Start != latest {
		out = append(out, plugin.Problem{Path: []string{"start"}, What: fmt.Sprintf("unknown start %.40q", s.Start), Cure: "write earliest or latest"})
	}
	if s.Start == latest && !s.Follow {
		out = append(out, plugin.Problem{Path: []string{"start"}, What: "with start: latest and follow: false there is nothing to read", Cure: "leave one of them out"})
	}
	if s.MaxEvent < 1 {
		out = append(out, plugin.Problem{Path: []string{"maxEvent"}, What: "lines of no bytes", Cure: "write 1B or more, or leave it out"})
	}
	if s.As != nil {
		out = append(out, s.As.Problems(asNames)...)
	}
	return out
}

// Alone is the standard input, which one alone can read.
func (s *Settings) Alone() string {
	if s.Path == "-" {
		return "standard input"
	}
	return ""
}

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"start": plugin.Schema{"enum": []any{earliest, latest}}, "path": plugin.Schema{"minLength": 1}}}
}

// Guide is what the reference page tells beside the keys.
func (*Settings) Guide() plugin.Guide {
	return plugin.Guide{
		Text: `Reads lines: each is a CloudEvent in JSON, or a list of them (a batch). With as: a line is what its expressions make of it. What is none is parked with its place, file:line, and the next one is read.

The order of a file's lines is kept; when the router takes no starts for a while, the file waits, also for what is behind them: keep completions in a file of their own. A last line without an end waits for it.

Where it is in each file is kept in the router's data folder. A file is known again when it is renamed, by what the system calls it and by its first bytes; one that was cut or replaced is read from its beginning. A log that is rotated is read to its end if path: matches its new name too (app.log*), or if the router runs meanwhile. Lines that are no CloudEvents have ids of the file and the offset: a router that reads a file again gives them the same ones. Of standard input, what was read and not taken when a reload or a stop ends the source is kept for the next one; what a pipe has by then, or is read when the router is killed, is gone with it: what must not be is for a file. A pipe with a name is read in the same way, as standard input (path: - and < PIPE). Each router reads what it sees: a file that several routers share is to be named at one of them, or as: is to give ids.`,
		Examples: []string{
			`
file:
  path: "/var/spool/orders/*.ndjson"
  follow: false
  start: earliest
  maxEvent: 64KiB
  as:
    each: "${ body.orders }"
    when: "${ item.kind != 'test' }"
    park: "${ 'amount' in item ? null : 'an order without an amount' }"
    type: "com.example.order.${ item.kind }"
    source: "/spool/${ file }"
    id: "${ string(offset) }-${ string(line) }-${ index }"
    subject: "${ item.customer }"
    time: "${ item.at }"
    cause: "${ item[?'call'].orValue(null) }"
    verdict: "${ 'call' in item ? 'succeeded' : null }"
    ticket: "${ item[?'activation'].orValue(null) }"
    extensions: { region: "${ item[?'region'].orValue(null) }" }
    data: "${ item }"
`,
			`
file: /var/spool/events.ndjson
`,
		},
	}
}

// SaysTickets reports whether as: says which calls are done.
func (s *Settings) SaysTickets() bool { return s.As.SaysTicket() }
