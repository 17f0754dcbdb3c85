package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// errNoToken is of somebody who has no valid token where he needs one.
var errNoToken = errors.New("no valid token")

// Guarded reports whether callers have to prove who they are.
func (a *API) Guarded() bool { return !a.Token.IsZero() || a.Tokens != nil }

// Who says who makes a request: whom its context has (access.With; somebody who has found that out by other means, such as a session's cookie, puts him
// there), else whose token it brings. Where there are no tokens it is access.Everything, so that the door's guard has to stand before. The error is for one
// who has to prove who he is and does not.
func (a *API) Who(q *http.Request) (access.Who, error) {
	if who, said := access.From(q.Context()); said {
		return who, nil
	}
	if !a.Guarded() {
		return access.Everything, nil
	}
	scheme, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if who, known := a.WhoHas(token); known && strings.EqualFold(scheme, "Bearer") {
		return who, nil
	}
	return access.Who{}, errNoToken
}

// WhoHas says whose a token is; false: nobody's.
func (a *API) WhoHas(token string) (who access.Who, known bool) {
	if a.Tokens != nil {
		who, known = a.Tokens.Of(token)
	}
	if a.Token.IsZero() {
		return who, known
	}
	want, err := a.Token.Read()
	x, y := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(want))
	if subtle.ConstantTimeCompare(x[:], y[:]) == 1 && err == nil {
		return access.Who{Name: "auth", Right: access.Admin}, true
	}
	return who, known
}

// authenticated lets in another router that proves to be one, whom Who finds, and where there is no token, whom guard lets in; and each to what he has a
// right to.
func (a *API) authenticated(guard func(http.Handler) http.Handler, x route) http.Handler {
	do := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		who, err := a.Who(q)
		if err != nil {
			a.refuseStranger(w, q)
			return
		}
		if what, cure := x.refuses(who); what != "" {
			a.Log.Warn("a request without the right is refused", "status", http.StatusForbidden, "path", q.URL.Path, "from", q.RemoteAddr, "token", who.Name)
			_ = refuse(w, http.StatusForbidden, what, cure)
			return
		}
		known := accounts[x.pattern]
		err = known.checkQuery(q.URL.Query())
		if err == nil {
			err = known.checkBody(q)
		}
		if err == nil {
			err = a.answer(w, q.WithContext(access.With(q.Context(), who)), x)
		}
		if err != nil {
			fail(w, err)
		}
	})
	guarded := guard(do)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		q, isPeer, err := a.Cluster.Check(q)
		switch _, said := access.From(q.Context()); {
		case err != nil:
			_ = refuse(w, http.StatusUnauthorized, err.Error(), "")
		case isPeer && !said: // It asks for itself.
			do(w, q.WithContext(access.With(q.Context(), access.Everything)))
		case isPeer, said, a.Guarded():
			do(w, q)
		default:
			guarded.ServeHTTP(w, q)
		}
	})
}

// refuses says why somebody may not do what a route is for, and what to do; empty: he may.
func (x *route) refuses(who access.Who) (what, cure string) {
	switch {
	case !who.May(x.right):
		return fmt.Sprintf("token %q is good for %s, and this needs %s", who.Name, who.Right, x.right), "ask with a token of that right: onward token new --right " + x.right.String() + " makes one"
	case x.reach == ofRouter && who.Tenant != "":
		return fmt.Sprintf("token %q is of tenant %q, and this is of the whole router", who.Name, who.Tenant), "ask with a token without a tenant"
	}
	return "", ""
}

// answer does what is asked for, where it is to be done.
func (a *API) answer(w http.ResponseWriter, q *http.Request, x route) error {
	switch x.reach {
	case ofPeers:
		if !a.Cluster.IsPeer(q.Context()) {
			return errUnknownRun
		}
	case ofRun:
		id, err := runOf(q)
		if err != nil {
			return err
		}
		if passed, err := a.Cluster.Forward(w, q, id, fail); passed || err != nil {
			return err
		}
		if err := a.owned(q.Context(), id, x.right > access.Read); err != nil {
			return err
		}
	}
	return x.do(w, q)
}

func (a *API) refuseStranger(w http.ResponseWriter, q *http.Request) {
	a.Log.Warn("a request without a valid token is refused", "status", http.StatusUnauthorized, "path", q.URL.Path, "from", q.RemoteAddr)
	w.Header().Set("WWW-Authenticate", `Bearer realm="onward"`)
	_ = refuse(w, http.StatusUnauthorized, errNoToken.Error(), "send Authorization: Bearer TOKEN")
}

// metered lets to the metrics whom open does. With a file of tokens one needs such a token: a tenant's shows what is counted of its triggers alone.
func (a *API) metered(open http.Handler) http.Handler {
	if a.Tokens == nil {
		return open
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch who, err := a.Who(q); {
		case err != nil:
			a.refuseStranger(w, q)
		case who.Tenant == "":
			open.ServeHTTP(w, q)
		default:
			some := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return a.metricsOf(who) })
			promhttp.HandlerFor(some, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, q)
		}
	})
}

// metricsOf are the series that name a tenant or a trigger of who asks.
func (a *API) metricsOf(who access.Who) (some []*dto.MetricFamily, err error) {
	all, err := a.Metrics.Gather()
	set := a.Set()
	for _, f := range all {
		f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
			return !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool {
				t := set.Trigger(l.GetValue())
				return l.GetName() == "tenant" && who.Owns(l.GetValue()) || l.GetName() == "trigger" && t != nil && who.Owns(t.Tenant)
			})
		})
		if len(f.Metric) > 0 {
			some = append(some, f)
		}
	}
	return some, err
}

// getWho tells somebody who he is.
func (a *API) getWho(w http.ResponseWriter, q *http.Request) error {
	return reply(w, http.StatusOK, access.Asking(q.Context()))
}

var errUnknownTenant = errors.New("unknown tenant")

// tenantAsked narrows what is asked for to what is there for who asks.
func tenantAsked(q *http.Request, said string) (string, error) {
	who := access.Asking(q.Context())
	if said != "" && !who.Owns(said) {
		return "", fmt.Errorf("%w %.40q; leave it out for all that there is", errUnknownTenant, said)
	}
	return cmp.Or(said, who.Tenant), nil
}

// byOf is who a change is booked to: whom the caller names, else the token's name.
func byOf(q *http.Request) string {
	return cmp.Or(q.URL.Query().Get("by"), access.Asking(q.Context()).Name)
}

// foldPatience is how long a run that has just been started may take to be known to who steers it.
const foldPatience = 500 * time.Millisecond

// owned checks that a run is there for who asks. Another tenant's is not, and that takes as long and is said in the same words as of one that nobody has.
func (a *API) owned(ctx context.Context, id journal.RunID, patient bool) error {
	who := access.Asking(ctx)
	if who.Tenant == "" {
		return nil
	}
	end := time.Now().Add(foldPatience)
	again := time.NewTicker(foldPatience / 25)
	defer again.Stop()
	for {
		tenant, known, err := a.tenantOf(ctx, id)
		switch {
		case err != nil:
			return err
		case known && who.Owns(tenant):
			return nil
		case !patient || time.Now().After(end):
			return fmt.Errorf("%w: no run %s", errUnknownRun, id)
		}
		select {
		case <-again.C: // Its start is durable, and perhaps not folded yet.
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tenantOf says whose a run is. It is asked for without regard to who asks.
func (a *API) tenantOf(ctx context.Context, id journal.RunID) (tenant string, known bool, err error) {
	if err := a.Shards.Ask(ctx, id, func(s *engine.State) { tenant, known = s.TenantOf(id) }); err != nil || known {
		return tenant, known, err
	}
	f := a.Endings.Find(id)
	if f == nil {
		f = a.Cluster.Find(ctx, id)
	}
	if f == nil {
		return "", false, nil
	}
	return f.Tenant, true, nil
}
