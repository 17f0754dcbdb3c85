package kafkatest

import (
	"errors"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fake is kfake with nodes that can be stopped. A lone node that is killed refuses what it is asked; one of several is removed, and others lead.
type fake struct {
	cluster *kfake.Cluster
	ports   []int

	mu     sync.Mutex
	down   map[int32]bool
	paused map[int32]chan struct{}
}

func newFake(nodes int, options ...kfake.Opt) (*fake, error) {
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(nodes), kfake.BrokerConfigs(map[string]string{"default.replication.factor": "1"})}, options...)...)
	if err != nil {
		return nil, err
	}
	f := &fake{cluster: cluster, down: make(map[int32]bool), paused: make(map[int32]chan struct{})}
	for _, addr := range cluster.ListenAddrs() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		f.ports = append(f.ports, n)
	}
	cluster.Control(f.request)
	return f, nil
}

var errDown = errors.New("the node is down")

// request holds requests to paused nodes and closes the connections to dead ones.
func (f *fake) request(kmsg.Request) (kmsg.Response, error, bool) {
	f.cluster.KeepControl()
	node := f.cluster.CurrentNode()
	f.mu.Lock()
	resumed := f.paused[node]
	f.mu.Unlock()
	if resumed != nil {
		f.cluster.SleepControl(func() { <-resumed })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down[node] {
		return nil, errDown, true
	}
	return nil, nil, false
}

func (f *fake) kill(node int) error {
	f.mu.Lock()
	f.down[int32(node)] = true
	f.mu.Unlock()
	if len(f.ports) == 1 {
		return nil
	}
	return f.cluster.RemoveNode(int32(node))
}

func (f *fake) pause(node int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused[int32(node)] == nil {
		f.paused[int32(node)] = make(chan struct{})
	}
	return nil
}

func (f *fake) resume(node int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if resumed := f.paused[int32(node)]; resumed != nil {
		close(resumed)
		delete(f.paused, int32(node))
	}
	return nil
}

func (f *fake) restart(node int) error {
	f.mu.Lock()
	was := f.down[int32(node)]
	f.mu.Unlock()
	if !was {
		if err := f.kill(node); err != nil {
			return err
		}
	}
	if len(f.ports) > 1 {
		if _, _, err := f.cluster.AddNode(int32(node), f.ports[node]); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.down, int32(node))
	return nil
}
