package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	journalkafka "github.com/onward-router/onward/router/journal/kafka"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// openJournal opens the journal that the settings name, by the clock now, nil being the machine's; close releases it and what it stands on. Brokers that are
// away are waited for: meanwhile opening has who can tell what is in the way.
func openJournal(
	ctx context.Context, s config.Settings, now func() time.Time, log *slog.Logger, metrics prometheus.Registerer, opening func(journal.Troubled),
) (j journal.Journal, closeAll func() error, err error) {
	if s.Journal == "file" {
		f, err := file.Open(file.Options{Dir: s.Data, NoSync: s.Durability == "os", LowWater: s.LowWater, Now: now, Log: log})
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	client, err := kafka.Open(&s.Kafka, "onward", kafka.Limits{})
	if err != nil {
		return nil, nil, err
	}
	opening(client)
	k, err := journalkafka.Open(ctx, journalkafka.Options{
		Client: client, Prefix: s.Prefix, Address: cmp.Or(s.Advertise, s.Listen), Dir: s.Data, Session: s.Session, Log: log,
		Observer: JournalMetrics(metrics),
	})
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return k, func() error {
		err := k.Close()
		client.Close()
		return err
	}, nil
}

// JournalMetrics registers what there is to see of a journal on Kafka, and returns who notes it. A partition that passes on takes its lag with it.
func JournalMetrics(to prometheus.Registerer) journalkafka.Observer {
	lag := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "onward_journal_lag", Help: "Records of a partition that its fold has not read."}, []string{"partition"})
	owned := prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_journal_partitions", Help: "Partitions that this router owns."})
	all := prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_journal_all_partitions", Help: "Partitions that the journal has."})
	to.MustRegister(lag, owned, all)
	var mu sync.Mutex
	var ours []int
	return journalkafka.Observer{
		Lag: func(p int, n int64) {
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(ours, p) { // A tenure may end a moment after its partition has passed on.
				lag.WithLabelValues(fmt.Sprint(p)).Set(float64(n))
			}
		},
		Generation: func(mine []int, of int) {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range ours {
				if !slices.Contains(mine, p) {
					lag.DeleteLabelValues(fmt.Sprint(p))
				}
			}
			ours = mine
			owned.Set(float64(len(mine)))
			all.Set(float64(of))
		},
	}
}

// kafka is what is done to a cluster before routers run on it.
func (p *program) kafka() *cobra.Command {
	c := &cobra.Command{Use: "kafka", Short: "Make the journal's topics on a Kafka cluster."}
	c.AddCommand(p.kafkaInit())
	return c
}

func (p *program) kafkaInit() *cobra.Command {
	var from string
	var o journalkafka.InitOptions
	c := &cobra.Command{
		Use: "init", Short: "Make the topics of the journal, and write its layout.", Args: cobra.NoArgs,
		Long: "Init makes the topics PREFIX.journal, PREFIX.snapshots and PREFIX.meta with the settings that lose nothing, and writes the journal's layout: the number of\n" +
			"partitions and the key from which run ids follow. It may be run again, and by several at a time: the first layout counts.\n\n" +
			"The number of partitions bounds how many routers share the work, and cannot be changed later: take a few times what you expect.\n\n" + precedence,
		Example: "  onward kafka init --kafka-brokers kafka-1:9092,kafka-2:9092 --partitions 24\n  onward kafka init --replication 1   # one broker, for a trial",
		RunE: func(c *cobra.Command, _ []string) error {
			s, _, err := config.LoadSettings(c.Flags(), from)
			if err != nil {
				return err
			}
			client, err := kafka.Open(&s.Kafka, "onward", kafka.Limits{})
			if err != nil {
				return err
			}
			defer client.Close()
			o.Prefix = s.Prefix
			did, err := journalkafka.Init(c.Context(), client, o)
			if err != nil && c.Context().Err() != nil {
				err = fmt.Errorf("stopped before all was there; done so far: %s; the same command goes on from there", cmp.Or(strings.Join(did, ", "), "nothing"))
			}
			if err != nil {
				return exitError{exitRun, err}
			}
			problems, err := journalkafka.Check(c.Context(), client, s.Prefix)
			if err != nil && c.Context().Err() != nil {
				err = fmt.Errorf("stopped while the topics' settings were looked at; done: %s", strings.Join(did, ", "))
			}
			if err != nil {
				return exitError{exitRun, err}
			}
			return p.print(map[string]any{"did": did, "problems": problems}, func(w io.Writer) {
				for _, line := range did {
					fmt.Fprintln(w, line)
				}
				for _, problem := range problems {
					fmt.Fprintln(w, "warning:", problem)
				}
			})
		},
	}
	c.Flags().IntVar(&o.Partitions, "partitions", 16, "partitions of the journal; cannot be changed later")
	c.Flags().IntVar(&o.Replication, "replication", 3, "copies of each partition")
	c.Flags().IntVar(&o.MinInsync, "min-insync", 0, "copies that have a record before it is acknowledged; default: 2, or 1 with one copy")
	c.Flags().StringVar(&from, "settings", "", "file of settings (YAML)")
	config.BindFlags(c.Flags())
	return c
}
