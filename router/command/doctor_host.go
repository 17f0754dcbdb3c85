package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/sinks/exec"
	"github.com/onward-router/onward/sinks/http"
	"github.com/onward-router/onward/triggers"
)

// What is measured of a disk, and what is thought of it.
const (
	syncs       = 50
	syncBytes   = 4 << 10
	syncsWithin = 5 * time.Second
	syncSlow    = 50 * time.Millisecond // p99 of a journal's disk beyond which somebody should look
)

// data looks at the folder: may it be written, on what does it lie, is there room, how fast does it sync.
func (d *doctor) data() {
	dir, err := existing(d.s.Data)
	if err != nil {
		d.fail("data", "choose another folder by data", "%s: %v", d.s.Data, bare(err))
		return
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		d.fail("data", "give this user the right to write there, or choose another folder by data", "%s: %v", dir, bare(err))
		return
	}
	defer os.Remove(f.Name())
	defer f.Close()
	kind, free := volume(dir)
	where := d.s.Data
	if dir != d.s.Data {
		where += " (to be made below " + dir + ")"
	}
	if kind != "" {
		where += " on " + kind
	}
	switch cure := volatile[kind]; {
	case cure != "" && d.s.Journal == "file":
		d.warn("data", cure, "%s can be written", where)
	default:
		d.ok("data", "%s can be written", where)
	}
	d.private()
	d.clock()
	d.room(free)
	d.sync(f)
}

// private looks whether others may read what lies there.
func (d *doctor) private() {
	if said := folder.Exposed(d.s.Data); said != "" {
		what, cure, _ := strings.Cut(said, "; ")
		d.warn("data", cure, "%s", what)
	}
}

// clockOff is how far a clock may be from the journal's.
const clockOff = 2 * time.Second

// clock compares this machine's clock with that of the journal on its disk; the brokers' is compared where there are brokers.
func (d *doctor) clock() {
	if d.s.Journal != "file" {
		return
	}
	last, err := file.Last(d.s.Data)
	if behind := time.Until(last); err == nil && behind > clockOff {
		d.warn("clock", "set the clock right (NTP) if it is wrong; if the journal's was, it comes closer by a sixteenth of the time that passes",
			"this machine's clock is behind the journal's by %s; timers go by the journal's", behind.Round(time.Second))
	}
}

// volatile has what to do about file systems on which a journal is not at home.
var volatile = map[string]string{
	"tmpfs":     "it is memory, and gone when the machine stops; choose a folder on a disk",
	"ramfs":     "it is memory, and gone when the machine stops; choose a folder on a disk",
	"overlayfs": "it is a container's own layer, and gone with the container; mount a volume there",
	"nfs":       "locks and syncs go over the network and may not hold; choose a local disk",
	"smb":       "locks and syncs go over the network and may not hold; choose a local disk",
}

// existing is the folder, or the nearest above it that is there.
func existing(dir string) (string, error) {
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && st.IsDir():
			return dir, nil
		case err == nil:
			return "", fmt.Errorf("%s is no folder", dir)
		case !errors.Is(err, os.ErrNotExist):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

func (d *doctor) room(free int64) {
	const cure = "make room, or choose another folder by data"
	switch {
	case free < 0:
		d.ok("disk", "how much is free cannot be told on this system: disk.low-water does not work here")
	case free < d.s.LowWater && d.s.Journal == "file":
		d.fail("disk", cure, "%s free, and starts are refused below %s (disk.low-water)", size(free), size(d.s.LowWater))
	case free < d.s.LowWater:
		d.warn("disk", cure, "%s free for snapshots and the history", size(free))
	case free < d.s.LowWater+d.s.HistoryMax:
		d.warn("disk", cure+", or lower history.bytes", "%s free, of which the history may take %s (history.bytes)", size(free), size(d.s.HistoryMax))
	default:
		d.ok("disk", "%s free; starts are refused below %s (disk.low-water)", size(free), size(d.s.LowWater))
	}
}

func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// sync measures what an acknowledgement costs at least on this disk.
func (d *doctor) sync(f *os.File) {
	var took []time.Duration
	block := make([]byte, syncBytes)
	for begin := time.Now(); len(took) < syncs && time.Since(begin) < syncsWithin; {
		one := time.Now()
		_, err := f.WriteAt(block, int64(len(took)*syncBytes))
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			d.fail("sync", "a disk that does not sync loses what was acknowledged; choose another", "%v", bare(err))
			return
		}
		took = append(took, time.Since(one))
	}
	slices.Sort(took)
	p50, p99 := took[(len(took)-1)/2], took[(len(took)*99+99)/100-1]
	found := fmt.Sprintf("%d syncs of %d KiB: p50 %s, p99 %s", len(took), syncBytes>>10, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond))
	switch {
	case d.s.Journal == "kafka":
		d.ok("sync", "%s; the brokers' disks count, not this one", found)
	case d.s.Durability == "os":
		d.ok("sync", "%s; durability os does not wait for it, and a power cut may lose the last events", found)
	case p99 > syncSlow:
		d.warn("sync", "choose a faster disk, or durability os if a power cut may lose the last events", "%s: so long waits an event to be acknowledged", found)
	default:
		d.ok("sync", "%s", found)
	}
}

// files compares the limit of open files with what the functions may have open.
func (d *doctor) files() {
	limit, known := openFiles()
	if !known {
		return
	}
	need := uint64(spareFiles)
	if d.set != nil {
		for _, f := range d.set.Functions {
			each := 1
			if _, ok := f.Settings.(*exec.Settings); ok {
				each = filesOfProgram
			}
			need += uint64(f.Concurrency * each)
		}
	}
	if limit < need {
		d.warn("files", "raise it (ulimit -n, LimitNOFILE=), or lower the functions' concurrency", "at most %d open files, and the functions may need %d", limit, need)
		return
	}
	d.ok("files", "at most %d open files, and the functions may need %d", limit, need)
}

// programs looks whether the functions' programs are there, as they would be started.
func (d *doctor) programs() {
	if d.set == nil {
		return
	}
	found := 0
	for _, name := range d.set.FunctionNames() {
		f := d.set.Functions[name]
		s, is := f.Settings.(*exec.Settings)
		if !is {
			continue
		}
		if err := s.Startable(); err != nil {
			d.fail("programs", "look at its command: and dir:, which are of the folder and the PATH of the router", "function %s: %v", name, err)
		} else {
			found++
		}
	}
	if found > 0 {
		d.ok("programs", "of %s the program is there", several(found, "function"))
	}
}

const (
	spareFiles     = 128 // the journal, the listener, a few callers
	filesOfProgram = 3   // its input, output and errors
)

// secrets looks whether the settings' secrets can be read, and says where they lie, never what they are.
func (d *doctor) secrets() {
	if t := d.s.Token(); !t.IsZero() {
		if _, err := t.Read(); err != nil {
			d.fail("token", "put the API's token there", "%v", err)
		} else {
			d.ok("token", "the API's token is in %s", t)
		}
	}
	if d.s.AuthTokens != "" {
		if _, err := access.Open(d.s.AuthTokens); err != nil {
			d.fail("tokens", "onward token new prints a line of the file", "%v", err)
		} else {
			d.ok("tokens", "the API's tokens are in %s", d.s.AuthTokens)
		}
	}
	if d.s.Journal != "kafka" || d.s.Kafka.SASL == nil {
		return
	}
	sasl := d.s.Kafka.SASL
	if _, err := sasl.Password.Read(); err != nil {
		d.fail("kafka.sasl", "put the password there", "%v", err)
	} else {
		d.ok("kafka.sasl", "the password is in %s", sasl.Password)
	}
	switch {
	case d.s.Kafka.TLS != nil:
	case sasl.Mechanism == "plain":
		d.warn("kafka.sasl", "set kafka.tls.enabled or kafka.tls.ca, and name the port of a listener with TLS", "plain sends the password itself, and without TLS whoever is on the way reads it")
	default:
		d.warn("kafka.sasl", "set kafka.tls.enabled or kafka.tls.ca, and name the port of a listener with TLS", "without TLS whoever is on the way reads all that is sent, and may guess at the password")
	}
}

func (d *doctor) listener(ctx context.Context) {
	if d.leaves() {
		return
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.s.Listen)
	if err == nil {
		_ = l.Close()
		d.ok("listen", "%s is free", d.s.Listen)
		return
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		d.fail("listen", "choose another address by listen", "%s: %v", d.s.Listen, bare(err))
		return
	}
	said, err := probe(ctx, d.s, "/readyz")
	switch {
	case err == nil:
		d.ok("listen", "a router answers at %s: %s", d.s.Listen, said)
	case errors.Is(err, errNotReady):
		d.warn("listen", "see its log if that lasts", "%s: %v", d.s.Listen, err)
	default:
		d.fail("listen", "stop what listens there, or choose another address by listen", "%s is taken, and %v", d.s.Listen, err)
	}
}

// leaves reports a listener that leaves the machine where serve refuses that.
func (d *doctor) leaves() bool {
	host, _, err := net.SplitHostPort(d.s.Listen)
	if err != nil {
		d.fail("listen", "write host:port, e.g. 127.0.0.1:8080", "%s: %v", d.s.Listen, err)
		return true
	}
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() {
		return false
	}
	if d.s.Insecure {
		d.warn("listen", "set auth.env, auth.file or auth.tokens, auth of webhooks, and leave insecure out", "whoever reaches %s may do everything (insecure)", d.s.Listen)
		return false
	}
	if d.s.TLS.ClientCA != "" && d.s.TLS.ClientAuth != "optional" {
		return false // Every caller shows a certificate.
	}
	if t := d.s.Token(); t.IsZero() && d.s.AuthTokens == "" {
		d.fail("listen", "set auth.env, auth.file or auth.tokens, or say insecure", "%s leaves this machine without a token", d.s.Listen)
		return true
	}
	if d.set == nil {
		return false
	}
	for _, s := range d.set.Sources {
		make, ok := s.Type.Make.(triggers.Factory)
		if !ok {
			continue
		}
		made, err := make(s.Name, s.Settings)
		if h, ok := made.(triggers.HTTPSource); err == nil && ok && !h.Authenticates() {
			d.fail("listen", "add auth: { bearer: { env: NAME } } to it, or say insecure", "%s leaves this machine, and webhook %q has no auth", d.s.Listen, s.Name)
			return true
		}
	}
	return false
}

// advertise looks whether the address that the other routers are told can be one.
func (d *doctor) advertise(ctx context.Context) {
	address, cure := d.s.Advertise, "set advertise to the host:port at which the other routers reach this one"
	if address == "" {
		address = d.s.Listen
	}
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	switch {
	case err != nil || host == "":
		d.fail("advertise", cure, "%q is not host:port", address)
	case ip != nil && ip.IsUnspecified():
		d.fail("advertise", cure, "%s is no address that the other routers can reach", address)
	case host == "localhost" || ip != nil && ip.IsLoopback():
		d.warn("advertise", cure, "%s is reached from this machine only", address)
	case ip == nil:
		ctx, cancel := context.WithTimeout(ctx, asking)
		defer cancel()
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			d.warn("advertise", cure, "%s: %v", address, err)
			return
		}
		d.ok("advertise", "%s resolves", address)
	default:
		d.ok("advertise", "%s", address)
	}
}

// functions looks whether the functions' ports take connections. Nothing is sent.
func (d *doctor) functions(ctx context.Context) {
	if d.set == nil {
		return
	}
	at := make(map[string][]string) // functions by host:port
	for name, f := range d.set.Functions {
		if s, ok := f.Settings.(*http.Settings); ok {
			at[hostOf(s.Base())] = append(at[hostOf(s.Base())], name)
		}
	}
	addresses := make([]string, 0, len(at))
	for a := range at {
		slices.Sort(at[a])
		addresses = append(addresses, a)
	}
	slices.SortFunc(addresses, func(a, b string) int { return strings.Compare(at[a][0], at[b][0]) })
	to, err := egress.New(d.s.Egress.Allow, d.s.Egress.Deny)
	if err != nil {
		return // The settings were refused for it.
	}
	for i, err := range dial(ctx, addresses, to.Dial) {
		check := "functions " + strings.Join(at[addresses[i]], ", ")
		if err != nil {
			d.warn(check, "start what serves them, or correct their url", "%s: %v", addresses[i], err)
			continue
		}
		d.ok(check, "%s takes connections", addresses[i])
	}
}

// hostOf is the host:port of a URL that lint has passed.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if port := u.Port(); port != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// dial connects to all addresses by a dialer, and hangs up; the errors are in their order.
func dial(ctx context.Context, addresses []string, by func(ctx context.Context, network, address string) (net.Conn, error)) []error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	errs := make([]error, len(addresses))
	room := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i, a := range addresses {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			conn, err := by(ctx, "tcp", a)
			if err != nil {
				errs[i] = bare(err)
				return
			}
			_ = conn.Close()
		})
	}
	all.Wait()
	return errs
}
