package api

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/router/engine"
)

// A RouterLine is a router, with the partitions that it folds.
type RouterLine struct {
	Name    string    `json:"name"`
	Address string    `json:"address,omitempty"` // of its listener
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Started time.Time `json:"started"`
	State   string    `json:"state"` // ready, degraded (a source has trouble) or unready
	Why     string    `json:"why,omitempty"`
	// Disk is of its data folder; left out without one.
	Disk       *Disk                    `json:"disk,omitempty"`
	Partitions []engine.PartitionStatus `json:"partitions"`
	// Filling is of how many of them the history is being filled again from the journal.
	Filling int `json:"filling,omitempty"`
}

// A Disk says how many bytes a folder has, and how many its disk has left.
type Disk struct {
	Used int64 `json:"used"`
	Free int64 `json:"free"`
}

// A RouterList is all routers that answer for one another.
type RouterList struct {
	Routers []RouterLine `json:"routers"`
}

// getRouters tells of this router and the others.
func (a *API) getRouters(w http.ResponseWriter, q *http.Request) error {
	own := a.Self()
	own.State = "ready"
	if err := a.Ready(); err != nil {
		own.State, own.Why = "unready", err.Error()
	}
	var whys []string
	troubles := a.troubles()
	for _, name := range slices.Sorted(maps.Keys(troubles)) {
		whys = append(whys, "source "+name+": "+troubles[name])
	}
	if own.State == "ready" && len(whys) > 0 {
		own.State, own.Why = "degraded", strings.Join(whys, "; ")
	}
	said := RouterList{Routers: []RouterLine{own}}
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		theirs := new(RouterList)
		return theirs, func() { said.Routers = append(said.Routers, theirs.Routers...) }
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	slices.SortFunc(said.Routers, func(x, y RouterLine) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Address, y.Address))
	})
	return reply(w, http.StatusOK, said)
}
