package door

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/webhook"
)

// TestCallersByCertificate: where the listener asks for certificates and requires none, a webhook knows callers by theirs, and who has none may still ask for what
// needs none.
func TestCallersByCertificate(t *testing.T) {
	t.Parallel()
	ca, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	files := &TLS{ClientCA: write(t, dir, "clients.pem", ca.pem), Optional: true}
	files.Cert, files.Key = ca.issue(t, dir, "router")
	source, err := webhook.New("inbox", &webhook.Settings{Path: "/events", MaxEvent: 1 << 20, MaxBatch: 1 << 20, Auth: []webhook.Way{{MTLS: &webhook.MTLS{Subjects: []string{"CN=shop"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, h := source.(triggers.HTTPSource).Handler(func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		return []triggers.Receipt{{Kind: triggers.Matched}}, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	d := open(t, Options{TLS: files}, mux)
	shown := func(a *authority, name string) []tls.Certificate {
		sub := t.TempDir()
		cert, key := a.issue(t, sub, name)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	send := func(certs []tls.Certificate) int {
		r, err := http.NewRequest("POST", "https://"+d.Addr()+"/events", strings.NewReader("1"))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/t", "Ce-Type": "x", "Content-Type": "application/json"} {
			r.Header.Set(k, v)
		}
		resp, err := ca.client(certs...).Do(r)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for what, c := range map[string]struct {
		certs []tls.Certificate
		want  int
	}{"its own": {shown(ca, "shop"), 202}, "another's": {shown(ca, "bank"), 403}, "none": {nil, 401}, "of another authority": {shown(other, "shop"), 0}} {
		if got := send(c.certs); got != c.want {
			t.Errorf("%s: %d; want %d", what, got, c.want)
		}
	}
	resp, err := ca.client().Get("https://" + d.Addr() + "/healthz")
	if err != nil {
		t.Fatal("who has no certificate is kept out:", err)
	}
	_ = resp.Body.Close()
}
