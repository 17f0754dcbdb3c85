package soak

import "time"

// A Table is what a soak came to. Durations are in nanoseconds in JSON.
type Table struct {
	Seed   uint64        `json:"seed"`
	Took   time.Duration `json:"tookNs"`
	Dir    string        `json:"dir,omitempty"` // kept when something is not right
	Memory string        `json:"memory"`        // how the limit was set
	Disk   string        `json:"disk"`          // how the disk was filled
	Limit  int64         `json:"limitBytes"`
	Rows   []Row         `json:"rows"` // a fault each, by name; the last is all of them together
	// Invocations is how many the functions saw, by their ids; Recovery the longest time from a start of the process until it was ready.
	Invocations int           `json:"invocations"`
	Recovery    time.Duration `json:"recoveryNs"`
	Starts      int           `json:"starts"` // of the process
	Died        int           `json:"died"`   // processes that nobody had killed
	Open        int           `json:"open"`   // runs that the router has open at the end
	Peak        int64         `json:"peakBytes"`
	Interrupted bool          `json:"interrupted,omitempty"`
	Notes       []string      `json:"notes,omitempty"` // what is not right, the first few of a kind
}

// A Row is what one fault did. Runs are those that were open when it came, or whose function had it; one run may be in several rows.
type Row struct {
	Fault    string        `json:"fault"`
	Times    int           `json:"times"`
	Events   int           `json:"events"`
	Runs     int           `json:"runs"`
	Lost     int           `json:"lost"`
	Wrong    int           `json:"wrong"`
	Repeated int           `json:"repeated"`
	Pause    time.Duration `json:"pauseNs"`   // longest, of a run that does nothing, within seconds of the fault
	Memory   int64         `json:"peakBytes"` // within seconds of the fault
}

const total = "all"

// Total is the row of all together.
func (t *Table) Total() Row { return t.Rows[len(t.Rows)-1] }

// Times is how often a fault came.
func (t *Table) Times(fault string) int {
	for _, r := range t.Rows {
		if r.Fault == fault {
			return r.Times
		}
	}
	return 0
}

// Bad reports whether something was lost or wrong, is still open, or died.
func (t *Table) Bad() bool {
	all := t.Total()
	return all.Lost+all.Wrong+t.Died > 0 || t.Open > 0 && !t.Interrupted
}
