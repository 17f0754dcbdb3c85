package api

import (
	"net/http"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/journal"
)

// A reach is what of the router an operation touches, and so what it is for a token that has a tenant.
type reach int

const (
	ofTenant reach = iota + 1 // it answers with what is the tenant's
	ofRun                     // a run: answered by the router that owns its partition; another tenant's is not there
	ofRouter                  // the whole router: a token with a tenant is refused
	ofPeers                   // what routers ask one another: for nobody else is there anything
)

// A route is an operation: its pattern, what one needs a right to for it, what it touches, and who does it.
type route struct {
	pattern string
	right   access.Right
	reach   reach
	do      func(http.ResponseWriter, *http.Request) error
}

// routes are all operations under /v1.
func (a *API) routes() []route {
	return append(a.bulkRoutes(), []route{
		{"GET /v1/openapi.json", access.Read, ofTenant, a.getOpenAPI},
		{"GET /v1/whoami", access.Read, ofTenant, a.getWho},
		{"GET /v1/version", access.Read, ofTenant, a.getVersion},
		{"GET /v1/backup", access.Admin, ofRouter, a.getBackup},
		{"GET /v1/definitions", access.Read, ofRouter, a.getDefinitions},
		{"POST /v1/diff", access.Admin, ofRouter, a.postDiff},
		{"GET /v1/runs", access.Read, ofTenant, a.getRuns},
		{"GET /v1/runs/{run}", access.Read, ofRun, a.getRun},
		{"GET /v1/runs/{run}/steps", access.Read, ofRun, a.getSteps},
		{"GET /v1/runs/{run}/counts", access.Read, ofRun, a.getCounts},
		{"GET /v1/runs/{run}/field", access.Read, ofRun, a.getField},
		{"GET /v1/runs/{run}/flow", access.Read, ofRun, a.getFlow},
		{"GET /v1/runs/{run}/strips", access.Read, ofRun, a.getStrips},
		{"GET /v1/runs/{run}/live", access.Read, ofRun, a.getLive},
		{"GET /v1/runs/{run}/explain", access.Read, ofRun, a.getExplain},
		{"GET /v1/runs/{run}/watch", access.Read, ofRun, a.getWatch},
		{"POST /v1/runs/{run}/cancel", access.Operate, ofRun, a.postCancel},
		{"POST /v1/runs/{run}/redrive", access.Operate, ofRun, a.postRedriveRun},
		{"POST /v1/runs/{run}/rerun", access.Operate, ofRun, a.postRerun},
		{"POST /v1/runs/{run}/pause", access.Operate, ofRun, a.postTurn(journal.Pause)},
		{"POST /v1/runs/{run}/resume", access.Operate, ofRun, a.postTurn(journal.Resume)},
		{"POST /v1/runs/{run}/window", access.Operate, ofRun, a.postWindow},
		{"POST /v1/runs/{run}/signals/{name}", access.Operate, ofRun, a.postSignal},
		{"POST /v1/invocations/{id}/heartbeat", access.Operate, ofTenant, a.postHeartbeat},
		{"GET /v1/waits", access.Read, ofTenant, a.getWaits},
		{"GET /v1/events", access.Read, ofTenant, a.getEvents},
		{"GET /v1/events/{id}", access.Read, ofTenant, a.getEvent},
		{"POST /v1/events/test", access.Read, ofTenant, a.postTest},
		{"GET /v1/dead", access.Read, ofTenant, a.getDead},
		{"GET /v1/dead/{id}", access.Read, ofTenant, a.getLetter},
		{"DELETE /v1/dead/{id}", access.Operate, ofTenant, a.deleteLetter},
		{"POST /v1/dead/{id}/redrive", access.Operate, ofTenant, a.postRedrive},
		{"GET /v1/triggers", access.Read, ofTenant, a.getTriggers},
		{"GET /v1/triggers/{trigger}", access.Read, ofTenant, a.getTrigger},
		{"POST /v1/triggers/{trigger}", access.Operate, ofTenant, a.postStart},
		{"POST /v1/triggers/{trigger}/pause", access.Operate, ofTenant, a.postHalt(control.Trigger, true)},
		{"POST /v1/triggers/{trigger}/resume", access.Operate, ofTenant, a.postHalt(control.Trigger, false)},
		{"GET /v1/functions", access.Read, ofRouter, a.getFunctions},
		{"POST /v1/functions/{function}/invoke", access.Operate, ofRouter, a.postInvoke},
		{"POST /v1/functions/{function}/pause", access.Operate, ofRouter, a.postHalt(control.Function, true)},
		{"POST /v1/functions/{function}/resume", access.Operate, ofRouter, a.postHalt(control.Function, false)},
		{"POST /v1/functions/{function}/limit", access.Operate, ofRouter, a.postLimit},
		{"GET /v1/routers", access.Read, ofRouter, a.getRouters},
		{"GET /v1/sources", access.Read, ofRouter, a.getSources},
		{"GET /v1/parked", access.Read, ofRouter, a.getParked},
		{"GET /v1/runs/{run}/ended", access.Read, ofTenant, a.getEnded},
		{"POST /v1/facts", access.Operate, ofPeers, a.postFacts},
		{"POST /v1/beats", access.Operate, ofPeers, a.postBeats},
		{"GET /v1/load", access.Read, ofPeers, a.getLoad},
		{"POST /v1/gathers", access.Operate, ofPeers, a.postGathers},
		{"POST /v1/tickets", access.Operate, ofPeers, a.postTickets},
		{"GET /v1/peer", access.Read, ofPeers, func(w http.ResponseWriter, q *http.Request) error {
			a.Cluster.Prove(w, q)
			return nil
		}},
	}...)
}
