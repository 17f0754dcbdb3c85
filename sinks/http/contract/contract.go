// Package contract holds, one file each, the ways in which functions are asked over HTTP, and how their answers read.
//
// A contract is a value. What it does not say is as with http, the first of them; what is said for all - the rule fail, what an answer is worth as JSON -
// stands in answer.go.
package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/onward-router/onward/sinks"
)

// A Contract says how functions of a kind are asked, and how their answers read.
//
//	contract   proves nothing                accepted  an answer           a failure of the function    of the platform
//	http       408 425 429 502 503 504       202       the other 2xx       the other 4xx and 5xx        3xx
//	knative    404 408 409 425 429 502       -         all 2xx; 202 too    the other 4xx and 5xx        3xx
//	           503 504
//	lambda     408 425 429 502 503 504,      202       the other 2xx that  2xx that say so, 502 with    404, 500, 505 and above, 3xx
//	           400 Runtime.Unavailable                 do not say that it  an errorType from no AWS,
//	                                                   failed              the other 4xx
//	openfaas   425 429 502 503, 504 that     202       the other 2xx       408 and 504 that are its     404 of the gateway, 500 of a
//	           no watchdog says                                            time-outs, other 4xx, 5xx    watchdog, 3xx
//
// 429 is throttling, and so is Runtime.Unavailable.
type Contract struct {
	Name, Summary string
	// Concurrency is how many calls may be in flight unless a document says it.
	Concurrency int
	// Whole says that the runtime works on, or mixes answers up, when a call is broken off: its room is held until it has let go of the call.
	Whole bool
	// Batches says that several invocations may go in one request.
	Batches bool
	// Unproven are the codes by which nobody knows whether the function has run: the same event is sent again under the same id, for as long as maxAge and
	// resends let it.
	Unproven []int
	// Ask adds to a request what the kind wants; nil is nothing.
	Ask func(d *sinks.Delivery, req *http.Request)
	// own reads what is the kind's own in an answer to an invocation; false leaves it to the rules for all. nil is nothing.
	own func(a *Answer) (sinks.Result, bool)
}

// concurrency is what a document gets that says none.
const concurrency = 64

var usual = []int{408, 425, 429, 502, 503, 504}

var contracts = []*Contract{plain, knative, lambda, openfaas}

// plain is any HTTP handler.
var plain = &Contract{Name: "http", Summary: "any handler: 2xx and the body, or 202 when the completion comes later, by an event", Concurrency: concurrency, Batches: true, Unproven: usual}

// Named returns the contract of a name; http for any other, as runs may name one that a later router had.
func Named(name string) *Contract {
	for _, c := range contracts {
		if c.Name == name {
			return c
		}
	}
	return plain
}

// Known reports whether there is a contract of that name.
func Known(name string) bool { return slices.Contains(Names(), name) }

// Names lists the contracts; http is the first.
func Names() []string {
	out := make([]string, len(contracts))
	for i, c := range contracts {
		out[i] = c.Name
	}
	return out
}

// Table is the contracts for people, in Markdown.
func Table() string {
	var b strings.Builder
	b.WriteString("| `contract` | what it is | proves nothing | at once |\n|---|---|---|---|\n")
	for _, c := range contracts {
		codes := strings.Trim(fmt.Sprint(c.Unproven), "[]")
		at := fmt.Sprint(c.Concurrency)
		if c.Whole {
			at += "; a call that is given up keeps its room until the runtime has let go of it"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, c.Summary, codes, at)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
