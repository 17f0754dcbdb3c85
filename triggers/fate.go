package triggers

import "net/http"

// A Fate is what became of a fact about a run - a signal, a cancel, the outcome of an invocation - once the router has folded it.
type Fate uint8

// The fates. The zero one is that nobody could be asked in time: the fact is durable, and what it does is not known yet.
const (
	Accepted   Fate = iota
	Applied         // it took effect
	Repeated        // it had taken effect before
	Ended           // its run has ended, and it did nothing
	Unknown         // there is no such run
	Superseded      // the invocation is not open any more
	Limited         // the run takes no more of it
	Malformed       // it cannot be read
)

// fates has what is said of each: the word, the status of an answer, and in words for people what it means and what to do.
var fates = [...]struct {
	word   string
	status int
	what   string
	cure   string
}{
	Accepted:   {"accepted", http.StatusAccepted, "", ""},
	Applied:    {"applied", http.StatusOK, "", ""},
	Repeated:   {"repeated", http.StatusOK, "", ""},
	Ended:      {"ended", http.StatusGone, "the run has ended, and this changed nothing", "see how it ended: onward runs get RUN"},
	Unknown:    {"unknown", http.StatusNotFound, "there is no such run", "see onward runs list; a run that ended long ago is not remembered"},
	Superseded: {"superseded", http.StatusConflict, "the invocation is not open any more: it had its outcome, or another try, its time-out or a cancel has replaced it", "do not send it again: the run goes on without it"},
	Limited:    {"limited", http.StatusTooManyRequests, "the run takes no more signals, or none so large", "let it take those that it has, or end it: onward runs cancel RUN"},
	Malformed:  {"malformed", http.StatusBadRequest, "the router cannot read it", "send it as the README says"},
}

// FateOf returns the fate of a word; ok is false for a word that is none.
func FateOf(word string) (f Fate, ok bool) {
	for f, x := range fates {
		if x.word == word {
			return Fate(f), true
		}
	}
	return Accepted, false
}

// String returns the fate's word.
func (f Fate) String() string { return fates[f].word }

// Status is the HTTP status of an answer that says it.
func (f Fate) Status() int { return fates[f].status }

// Refused says, of a fact that did nothing, why in plain words and what to do; both are empty for one that did, or may yet.
func (f Fate) Refused() (what, cure string) { return fates[f].what, fates[f].cure }
