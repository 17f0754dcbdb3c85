package shard

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// What is put into a pipe comes out in order, until its end; an end that is an error is the writer's.
func TestPipe(t *testing.T) {
	t.Parallel()
	p, want := newPipe(), bytes.Buffer{}
	var got bytes.Buffer
	done := make(chan error)
	go func() { done <- p.drain(&got) }()
	for i := range 1000 {
		part := bytes.Repeat([]byte{byte(i)}, i)
		want.Write(part)
		p.put(part)
	}
	p.end(nil)
	if err := <-done; err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%d of %d bytes came out: %v", got.Len(), want.Len(), err)
	}
	rooms := 0
	for p.spare() != nil {
		rooms++
	}
	if rooms != 999 { // Nothing was put in of the first.
		t.Errorf("%d rooms are free again", rooms)
	}
	broken := errors.New("broken")
	p = newPipe()
	p.put([]byte("x"))
	p.end(broken)
	if err := p.drain(io.Discard); !errors.Is(err, broken) {
		t.Errorf("ended by %v", err)
	}
}

// A pipe that is full says so until something was taken; one that nobody reads any more takes everything and keeps nothing.
func TestPipeIsBounded(t *testing.T) {
	t.Parallel()
	p := newPipe()
	for !p.full() {
		p.put(make([]byte, 1<<20))
	}
	if p.size != pipeMost {
		t.Errorf("full at %d", p.size)
	}
	go func() { _ = p.drain(io.Discard) }()
	select {
	case <-p.room:
	case <-time.After(2 * time.Minute):
		t.Fatal("no room")
	}
	p.end(nil)

	p = newPipe()
	p.put([]byte("x"))
	if err := p.drain(failing{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
	p.die()
	p.put(make([]byte, 2*pipeMost))
	if p.full() || p.size != 0 || !p.died() {
		t.Error("it keeps what nobody reads")
	}
	p.end(nil)
}
