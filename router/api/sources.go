package api

import (
	"net/http"

	"github.com/onward-router/onward/triggers"
)

// A SourceLine is what people see of a source.
type SourceLine struct {
	Source  string `json:"source"`
	Type    string `json:"type"`
	Path    string `json:"path,omitempty"`    // on the router's listener
	Trouble string `json:"trouble,omitempty"` // what keeps it from taking events
	triggers.Report
}

// A SourceList is the sources of the router that is asked, by name.
type SourceList struct {
	Sources []SourceLine `json:"sources"` // by name
}

// getSources lists the sources in force at this router, and how far each is.
func (a *API) getSources(w http.ResponseWriter, _ *http.Request) error {
	said := SourceList{Sources: []SourceLine{}}
	for _, s := range a.Sources() {
		line := SourceLine{Source: s.Name, Type: s.Type, Path: s.Path}
		if r, ok := s.Source.(triggers.Reporting); ok {
			line.Report = r.Report()
		}
		if s.Trouble != nil {
			if err := s.Trouble(); err != nil {
				line.Trouble = err.Error()
			}
		}
		said.Sources = append(said.Sources, line)
	}
	return reply(w, http.StatusOK, said)
}
