package door

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits bound what callers may take up; zero fields are the defaults.
type Limits struct {
	Connections int // open at a time. Default 8,192
	Requests    int // at work at a time, those that wait for a run included; health and readiness are never refused. Default 4,096
	BodyBytes   int // of bodies held by requests at work, all told. Default 128 MiB
	HeadBytes   int // of a request's head. Default 64 KiB

	Head     time.Duration // for a request's head, or a TLS handshake. Default 10 s
	Body     time.Duration // for a body, besides what BodyRate gives. Default 10 s
	BodyRate int           // bytes a second that a body comes with at least. Default 4 KiB
	Idle     time.Duration // between requests. Default 1 min
	Write    time.Duration // without a byte of an answer taken. Default 30 s
}

func (l Limits) withDefaults() Limits {
	l.Connections, l.Requests = cmp.Or(l.Connections, 8192), cmp.Or(l.Requests, 4096)
	l.BodyBytes, l.HeadBytes, l.BodyRate = cmp.Or(l.BodyBytes, 128<<20), cmp.Or(l.HeadBytes, 64<<10), cmp.Or(l.BodyRate, 4<<10)
	l.Head, l.Body = cmp.Or(l.Head, 10*time.Second), cmp.Or(l.Body, 10*time.Second)
	l.Idle, l.Write = cmp.Or(l.Idle, time.Minute), cmp.Or(l.Write, 30*time.Second)
	return l
}

// metrics show what is taken up, and what was refused.
type metrics struct {
	connections, bodyBytes prometheus.Gauge
	refused                *prometheus.CounterVec
}

// The reasons for which the door refuses.
const (
	refusedConnections = "connections" // too many of them
	refusedIdle        = "idle"        // an idle one made room for another
	refusedRequests    = "requests"    // too many at work
	refusedBodies      = "bodies"      // too many bytes of bodies
	refusedSlow        = "slow"        // a body came slower than the minimum rate
	refusedHost        = "host"        // a name that is not the listener's
	refusedOrigin      = "origin"      // a page of another origin
	refusedProtocol    = "protocol"    // HTTP/2 without asking whether we speak it
)

func newMetrics(to prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_connections", Help: "Open connections to the listener."}),
		bodyBytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_request_body_bytes", Help: "Bytes of bodies held by requests at work."}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_refused_requests_total", Help: "Connections and requests that the listener refused, by reason."}, []string{"reason"}),
	}
	for _, reason := range []string{refusedConnections, refusedIdle, refusedRequests, refusedBodies, refusedSlow, refusedHost, refusedOrigin, refusedProtocol} {
		m.refused.WithLabelValues(reason)
	}
	if to != nil {
		to.MustRegister(m.connections, m.bodyBytes, m.refused)
	}
	return m
}
