package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

// A grade is how a check came out.
type grade string

const (
	gradeOK   grade = "ok"
	gradeWarn grade = "warn" // the router starts, and somebody should look
	gradeFail grade = "fail" // the router does not start, or does not do what it promises
)

// A diagnosis is one line of the doctor's. It never holds a secret.
type diagnosis struct {
	Check string `json:"check"`
	Grade grade  `json:"grade"`
	Found string `json:"found"`
	Cure  string `json:"cure,omitempty"`
}

// A doctor looks at what a router would find here. Its checks run one after another and change nothing.
type doctor struct {
	program *program
	s       config.Settings
	set     *config.Set // nil without documents
	lines   []diagnosis
}

func (d *doctor) ok(check, format string, args ...any) {
	d.lines = append(d.lines, diagnosis{check, gradeOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, cure, format string, args ...any) {
	d.lines = append(d.lines, diagnosis{check, gradeWarn, fmt.Sprintf(format, args...), cure})
}

func (d *doctor) fail(check, cure, format string, args ...any) {
	d.lines = append(d.lines, diagnosis{check, gradeFail, fmt.Sprintf(format, args...), cure})
}

func (p *program) doctor() *cobra.Command {
	var from string
	var live, ready bool
	c := &cobra.Command{
		Use: "doctor [FILE|DIR...]", Short: "Look for what would keep a router from doing its work here.", Args: cobra.ArbitraryArgs,
		Long: "Doctor checks what serve would find with the same flags, environment and documents: the settings, the documents, the data folder and how fast its disk\n" +
			"syncs, the limit of open files, the functions' programs, the listener, whether the functions' ports take connections, the documents' Kafka topics, and with --journal kafka the\n" +
			"brokers, the journal's topics and their settings, the group and the clock. It sends no event, calls no function (of one with\n" +
			"batch: it asks for a batch of none) and leaves nothing behind.\n\n" +
			"A line is ok, warn or fail, what was found, and a cure. It exits with 1 when something fails.\n\n" +
			"--live and --ready only ask the router that listens here, for a container's health check: does it run, does it take events?\n\n" + precedence,
		Example: "  onward doctor deploy/examples/01-word-count\n  onward doctor -o json --journal kafka --kafka-brokers kafka-1:9092\n  onward doctor --ready",
		RunE: func(c *cobra.Command, args []string) error {
			s, origins, err := config.LoadSettings(c.Flags(), from)
			if live || ready {
				if err != nil {
					return err
				}
				return p.asks(c.Context(), s, ready)
			}
			p.inherit(s.Kafka)
			d := &doctor{program: p, s: s}
			d.examine(c.Context(), origins, err, args)
			return d.report()
		},
	}
	c.Flags().StringVar(&from, "settings", "", "file of settings (YAML)")
	c.Flags().BoolVar(&live, "live", false, "only ask the router that listens here whether it runs")
	c.Flags().BoolVar(&ready, "ready", false, "only ask the router that listens here whether it takes events")
	c.MarkFlagsMutuallyExclusive("live", "ready")
	config.BindFlags(c.Flags())
	return c
}

// examine makes all checks. With settings that are wrong, only the documents are looked at besides.
func (d *doctor) examine(ctx context.Context, origins []config.Origin, wrong error, documents []string) {
	if wrong != nil {
		for line := range strings.SplitSeq(wrong.Error(), "\n") {
			d.fail("settings", "", "%s", line)
		}
	} else {
		var said []string
		for _, o := range origins {
			if o.From != "default" {
				said = append(said, o.Key+" ("+o.From+")")
			}
		}
		d.ok("settings", "journal %s; %s", d.s.Journal, list(said, "all are the defaults"))
	}
	if len(documents) > 0 {
		d.documents(documents)
	}
	if wrong != nil {
		return
	}
	d.data()
	d.files()
	d.programs()
	d.secrets()
	d.certificates()
	d.listener(ctx)
	d.functions(ctx)
	d.probes(ctx)
	if d.s.Journal == "kafka" {
		d.advertise(ctx)
		d.checkKafka(ctx)
	}
}

func list(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}

func (d *doctor) documents(paths []string) {
	set, findings := config.Load(paths, d.program.registry, check)
	for _, f := range findings {
		d.fail("documents", "", "%s", f)
	}
	if len(findings) == 0 {
		d.set = set
		d.ok("documents", "%s", contents(set))
	}
}

func (d *doctor) report() error {
	err := d.program.print(map[string]any{"checks": d.lines}, func(w io.Writer) {
		for _, l := range d.lines {
			found := l.Found
			if l.Cure != "" {
				found += "; " + l.Cure
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", l.Grade, l.Check, found)
		}
	})
	if err != nil {
		return err
	}
	for _, l := range d.lines {
		if l.Grade == gradeFail {
			return exitError{exitRun, errSaid}
		}
	}
	return nil
}

// asking bounds what is asked of a router or of an address.
const asking = 2 * time.Second

// asks is a health check: of a router that listens here, by its own address.
func (p *program) asks(ctx context.Context, s config.Settings, ready bool) error {
	path := "/healthz"
	if ready {
		path = "/readyz"
	}
	said, err := probe(ctx, s, path)
	if err != nil {
		return exitError{exitRun, err}
	}
	return p.print(map[string]string{"status": said}, func(w io.Writer) { fmt.Fprintln(w, said) })
}

var errNotReady = errors.New("a router answers there and takes no events yet")

// probe asks a router for one of its two states. errNotReady is a router's own word; any other error says that none answers.
func probe(ctx context.Context, s config.Settings, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	address := scheme(s) + local(s.Listen)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true} // No proxy: the router is on this machine.
	if t := listenerTLS(s); t != nil {
		if transport.TLSClientConfig, err = t.Self(); err != nil {
			return "", err
		}
	}
	straight := &http.Client{Transport: transport}
	resp, err := straight.Do(req)
	if err != nil {
		return "", unreachable{fmt.Errorf("no router answers at %s: %w; start one with onward serve, or name its --listen", address, bare(err))}
	}
	defer resp.Body.Close()
	var said struct {
		Status string
		triggers.Refusal
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said) // What is no JSON is no router's.
	switch {
	case resp.StatusCode == http.StatusOK && said.Status != "":
		return said.Status, nil
	case resp.StatusCode == http.StatusServiceUnavailable && said.Error.Message != "":
		return "", fmt.Errorf("%w: %s", errNotReady, said.Error.Message)
	}
	return "", unreachable{fmt.Errorf("no router answers at %s: %s is not a router's answer to %s", address, resp.Status, path)}
}

// bare is an error without the address, path or temporary name that its wrapper repeats.
func bare(err error) error {
	var u *url.Error
	var p *os.PathError
	var o *net.OpError
	switch {
	case errors.As(err, &u):
		return bare(u.Err)
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &o):
		return o.Err
	}
	return err
}

// local is the address at which a listener is reached from its own machine.
func local(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}
