package tooltest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

var given struct {
	sync.Mutex
	ports map[int]bool
}

// Port is one at which nobody listens on this machine, and that this process has not had before. It is below those that systems hand out by themselves, so that no
// connection and no listener of another test gets it before it is used.
func Port() int {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = make(map[int]bool)
	}
	for {
		port := 20_000 + rand.IntN(12_000)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		given.ports[port] = true
		return port
	}
}

// Address is such a port's, on loopback.
func Address() string { return fmt.Sprintf("127.0.0.1:%d", Port()) }
