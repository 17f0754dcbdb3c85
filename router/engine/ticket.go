package engine

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// MaxTicket is how many bytes a ticket has at most.
const MaxTicket = 128

// IsTicket reports whether a text may be a ticket: what a far end knows a call by that it has taken, such as the id of OpenWhisk's activation. Whoever has the
// call next asks for its result by that, in place of a new start. It is kept with the run, and so it is short.
func IsTicket(s string) bool {
	if s == "" || len(s) > MaxTicket || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}

// bookTicket gives a call its ticket. The first counts: another one is of a start that another owner has made, of which nobody waits for the result.
func (s *State) bookTicket(r *run, l *live, ticket string) {
	l.ticket = &ticket
	s.hold(r, len(ticket))
}

// ticketed is what a call's far end knows it by; empty is nothing.
func (l *live) ticketed() string {
	if l.ticket == nil {
		return ""
	}
	return *l.ticket
}

// part takes a call out of its run.
func (s *State) part(r *run, l *live) {
	r.live.remove(l.inv.N)
	s.live--
	s.hold(r, -len(l.ticketed()))
}

// AppendTickets is the form in which routers ask one another for calls by their tickets.
func AppendTickets(b []byte, tickets []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(tickets)))
	for _, ticket := range tickets {
		b = appendText(b, ticket)
	}
	return b
}

// DecodeTickets reads AppendTickets' form.
func DecodeTickets(p []byte) ([]string, error) {
	r := reader{b: p}
	tickets := make([]string, r.count())
	for i := range tickets {
		if tickets[i] = r.text(); !r.bad && !IsTicket(tickets[i]) {
			r.fail()
		}
	}
	return tickets, r.end("tickets")
}
