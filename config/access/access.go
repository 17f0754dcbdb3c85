// Package access is who may ask a router for what: a right, and whose runs. It is the vocabulary that the listener's rooms share, and a file of tokens.
//
// A token without a tenant is of the whole router; one with a tenant sees and steers what is that tenant's, and for it nothing else is there.
package access

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/onward-router/onward/config/lang"
)

// A Right is what somebody may do. Each is also all of those before it.
type Right int

// The rights.
const (
	Read    Right = iota + 1 // look at what there is
	Operate                  // start, steer and mend runs
	Admin                    // all that there is of the whole router, such as a backup of it
)

var rights = []string{"read", "operate", "admin"}

// Rights are the words for them.
func Rights() []string { return append([]string{}, rights...) }

func (r Right) String() string {
	if r < Read || r > Admin {
		return "none"
	}
	return rights[r-1]
}

// MarshalText writes what UnmarshalText reads.
func (r Right) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the word of a right.
func (r *Right) UnmarshalText(text []byte) error {
	for i, word := range rights {
		if word == string(text) {
			*r = Right(i + 1)
			return nil
		}
	}
	return fmt.Errorf("%.40q is no right; %s", text, lang.Nearest(string(text), rights))
}

// Who is somebody who asks. The zero value may do nothing.
type Who struct {
	Name   string `json:"name,omitempty"` // of the token; empty where nobody has to prove who he is
	Right  Right  `json:"right"`
	Tenant string `json:"tenant,omitempty"` // empty: of the whole router
}

// Everything is who may do all there is: the one where nobody has to prove himself, and the router itself.
var Everything = Who{Right: Admin}

// May reports whether somebody has a right.
func (w Who) May(r Right) bool { return r >= Read && w.Right >= r }

// Owns reports whether what is a tenant's is there for somebody.
func (w Who) Owns(tenant string) bool { return w.Tenant == "" || w.Tenant == tenant }

// Encode writes what Decode reads: one word of ASCII, for routers that ask one another for somebody.
func (w Who) Encode() string {
	return strings.Join([]string{w.Right.String(), url.QueryEscape(w.Tenant), url.QueryEscape(w.Name)}, ";")
}

// Decode reads what Encode wrote.
func Decode(text string) (w Who, err error) {
	words := strings.Split(text, ";")
	if len(words) != 3 {
		return Who{}, fmt.Errorf("%.80q does not say who asks", text)
	}
	if err := w.Right.UnmarshalText([]byte(words[0])); err != nil {
		return Who{}, err
	}
	if w.Tenant, err = url.QueryUnescape(words[1]); err == nil {
		w.Name, err = url.QueryUnescape(words[2])
	}
	if err != nil {
		return Who{}, err
	}
	return w, nil
}

type key struct{}

// With says in a context who asks. Whoever puts him there has made sure of it.
func With(ctx context.Context, w Who) context.Context { return context.WithValue(ctx, key{}, w) }

// From returns who asks; false: nobody has said, and it is the router itself.
func From(ctx context.Context) (Who, bool) {
	w, is := ctx.Value(key{}).(Who)
	return w, is
}

// Asking returns who asks, and Everything for the router itself.
func Asking(ctx context.Context) Who {
	if w, is := From(ctx); is {
		return w
	}
	return Everything
}
