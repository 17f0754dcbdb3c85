//go:build unix

package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/onward-router/onward/config/tooltest"
)

// real is a cluster of Apache Kafka's own processes, each a broker and a controller.
type real struct {
	dir, jars string
	warm      string // folder of what the first node has made
	nodes     []*node
	link      *Link                       // nil without one
	more      func(*node) (string, error) // further properties; nil without any
}

type node struct {
	id             int
	dir, jars      string
	share          string // Java's argument for the classes
	broker, quorum int    // ports
	mu             sync.Mutex
	process        *os.Process
	exited         chan struct{}
	expected       bool // it is to be gone
}

// startReal formats and starts the nodes; it does not wait until they are up. Ports come from below those that systems hand out by themselves, so
// that a node which was killed finds its own again.
func startReal(nodes int, link *Link, more func(*node) (string, error)) (*real, error) {
	libs, err := jars()
	if err != nil {
		return nil, err
	}
	made, err := warm(libs)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "onward-kafka-")
	if err != nil {
		return nil, err
	}
	r := &real{dir: dir, jars: libs, warm: made, link: link, more: more}
	for id := range nodes {
		n := &node{id: id, dir: filepath.Join(dir, fmt.Sprint(id)), jars: libs, share: "-XX:SharedArchiveFile=" + filepath.Join(made, classes)}
		n.broker, n.quorum = tooltest.Port(), tooltest.Port()
		r.nodes = append(r.nodes, n)
	}
	for _, n := range r.nodes {
		if err == nil {
			err = errors.Join(r.configure(n), r.format(n))
		}
	}
	for _, n := range r.nodes {
		if err == nil {
			err = n.start()
		}
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

const log4j = `rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c)%n
`

// configure writes what a node is to be.
func (r *real) configure(n *node) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, "log4j2.properties"), []byte(log4j), 0o644); err != nil {
		return err
	}
	text := r.properties(n)
	if r.more != nil {
		more, err := r.more(n)
		if err != nil {
			return err
		}
		text += more // Of two values of a property, the later one counts.
	}
	return os.WriteFile(n.properties(), []byte(text), 0o600)
}

func (n *node) data() string       { return filepath.Join(n.dir, "data") }
func (n *node) properties() string { return filepath.Join(n.dir, "server.properties") }

func (n *node) java(args ...string) []string {
	return append([]string{
		"-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", n.share,
		"-Dlog4j2.configurationFile=" + filepath.Join(filepath.Dir(n.dir), "log4j2.properties"), "-cp", filepath.Join(n.jars, "*"),
	}, args...)
}

func (r *real) properties(n *node) string {
	var voters []string
	var listeners, advertised, protocols string
	if r.link != nil {
		listeners, advertised, protocols = ",LINK://"+r.link.targets[n.id], ",LINK://"+r.link.Brokers()[n.id], ",LINK:PLAINTEXT"
	}
	for _, x := range r.nodes {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", x.id, x.quorum))
	}
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%[1]d
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:%[2]d,CONTROLLER://127.0.0.1:%[3]d%[8]s
advertised.listeners=PLAINTEXT://127.0.0.1:%[2]d%[9]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT%[10]s
inter.broker.listener.name=PLAINTEXT
controller.quorum.voters=%[4]s
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
replica.lag.time.max.ms=4000
log.dirs=%[5]s
auto.create.topics.enable=false
default.replication.factor=%[6]d
min.insync.replicas=%[7]d
offsets.topic.replication.factor=%[6]d
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=%[6]d
transaction.state.log.min.isr=%[7]d
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=%[6]d
share.coordinator.state.topic.min.isr=%[7]d
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=16777216
`, n.id, n.broker, n.quorum, strings.Join(voters, ","), n.data(), len(r.nodes), (len(r.nodes)+1)/2, listeners, advertised, protocols)
}

// start runs the node from a thread that lives as long as it does: the kernel ends a child with the thread that started it.
func (n *node) start() error {
	log, err := os.OpenFile(filepath.Join(n.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command("java", n.java("kafka.Kafka", n.properties())...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, tooltest.DieWithParent()
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // A thread that ended would take the children with it that it has started before.
		defer log.Close()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // How it ended is nobody's business: it is killed.
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process, n.exited, n.expected = cmd.Process, exited, false
	return nil
}

func (n *node) kill() {
	n.mu.Lock()
	process, exited := n.process, n.exited
	n.process, n.expected = nil, true
	n.mu.Unlock()
	if process != nil {
		_ = process.Kill() // It may have ended by itself.
		<-exited
	}
}

func (n *node) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return fmt.Errorf("node %d is down", n.id)
	}
	return n.process.Signal(s)
}

func (r *real) addresses() []string {
	var out []string
	for _, n := range r.nodes {
		out = append(out, fmt.Sprintf("127.0.0.1:%d", n.broker))
	}
	return out
}

// output is the end of what the nodes wrote.
func (r *real) output() string {
	var out strings.Builder
	for _, n := range r.nodes {
		text, _ := os.ReadFile(filepath.Join(n.dir, "output"))
		fmt.Fprintf(&out, "node %d: %s\n", n.id, text[max(0, len(text)-2000):])
	}
	return out.String()
}

// dead reports whether a node ended that was to run.
func (r *real) dead() bool {
	for _, n := range r.nodes {
		n.mu.Lock()
		exited, expected := n.exited, n.expected
		n.mu.Unlock()
		select {
		case <-exited:
			if !expected {
				return true
			}
		default:
		}
	}
	return false
}

func (r *real) close() {
	for _, n := range r.nodes {
		n.kill()
	}
	_ = os.RemoveAll(r.dir) // What is left lies in the folder for temporary files.
}

func (r *real) kill(node int) error    { r.nodes[node].kill(); return nil }
func (r *real) pause(node int) error   { return r.nodes[node].signal(syscall.SIGSTOP) }
func (r *real) resume(node int) error  { return r.nodes[node].signal(syscall.SIGCONT) }
func (r *real) restart(node int) error { r.nodes[node].kill(); return r.nodes[node].start() }
