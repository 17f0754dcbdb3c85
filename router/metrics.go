package router

import (
	"cmp"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/folder"
	"github.com/prometheus/client_golang/prometheus"
)

// registerOwn registers what there is to see of the process: its build, its reloads, and the disk of its folder, if it has one.
func registerOwn(reg prometheus.Registerer, d *disk) (reloads *prometheus.CounterVec, err error) {
	is := Build()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "onward_build_info", Help: "1, with what this binary was made of: version, commit, whether there were changes beside it, when, and the Go release.",
		ConstLabels: prometheus.Labels{"version": is.Version, "commit": cmp.Or(is.Commit, "unknown"), "modified": strconv.FormatBool(is.Modified), "built": is.Built, "go": is.Go},
	})
	build.Set(1)
	reloads = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_reloads_total", Help: "Reloads of the documents, by outcome: loaded or refused."}, []string{"outcome"})
	for _, outcome := range []string{"loaded", "refused"} {
		reloads.WithLabelValues(outcome)
	}
	if err := errors.Join(reg.Register(build), reg.Register(reloads)); err != nil || d == nil {
		return reloads, err
	}
	return reloads, reg.Register(d)
}

// self tells of this router, for who asks.
func (r *Router) self() api.RouterLine {
	is := Build()
	line := api.RouterLine{Name: cmp.Or(r.o.Advertise, r.Addr()), Address: r.Addr(), Version: is.Version, Commit: is.Commit, Started: r.began, Partitions: r.shards.Partitions(), Filling: r.shards.Filling()}
	if r.disk != nil {
		if used, free, err := r.disk.look(); err == nil {
			line.Disk = &api.Disk{Used: used, Free: free}
		}
	}
	return line
}

var diskDesc = prometheus.NewDesc("onward_disk_bytes", "Bytes of the data folder: used (by what is in it) and free (what its disk has left).", []string{"what"}, nil)

// diskEvery is for how long a folder's bytes are believed.
const diskEvery = 10 * time.Second

// A disk is a collector that looks when it is asked.
type disk struct {
	dir  string
	mu   sync.Mutex
	at   time.Time
	used int64
}

// look returns what is used and free.
func (d *disk) look() (used, free int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.at.IsZero() || now.Sub(d.at) >= diskEvery {
		if used, err = folder.Used(d.dir); err != nil {
			return 0, 0, err
		}
		d.at, d.used = now, used
	}
	free, err = folder.Free(d.dir)
	return d.used, free, err
}

// Describe is a prometheus.Collector's.
func (d *disk) Describe(to chan<- *prometheus.Desc) { to <- diskDesc }

// Collect is a prometheus.Collector's.
func (d *disk) Collect(to chan<- prometheus.Metric) {
	used, free, err := d.look()
	if err != nil {
		to <- prometheus.NewInvalidMetric(diskDesc, err)
		return
	}
	to <- prometheus.MustNewConstMetric(diskDesc, prometheus.GaugeValue, float64(used), "used")
	to <- prometheus.MustNewConstMetric(diskDesc, prometheus.GaugeValue, float64(free), "free")
}
