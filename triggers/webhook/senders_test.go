package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/webhook"
)

var rewrite = flag.Bool("rewrite", false, "write what senders' requests become as it is now")

// documents are those of a page of the docs, by their names.
func documents(t *testing.T, page string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, m := range regexp.MustCompile("(?ms)^```yaml file=senders/([a-z]+).yaml\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		out[m[1]] = m[2]
	}
	return out
}

// A receiver is a webhook that takes everything.
type receiver struct {
	*webhook.Webhook
	events []event.Event
}

func (r *receiver) admit(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
	r.events = append(r.events, events...)
	out := make([]triggers.Receipt, len(events))
	for i := range out {
		out[i].Kind = triggers.Matched
	}
	return out, nil
}

// receive makes the only webhook of a document.
func receive(t *testing.T, doc string) *receiver {
	t.Helper()
	reg := new(plugin.Registry)
	builtin.Register(reg)
	sinks.Register(reg)
	webhook.Register(reg)
	set, findings := config.Parse("x.yaml", []byte(doc), reg, nil)
	for _, f := range findings {
		t.Error(f)
	}
	if set == nil {
		t.FailNow()
	}
	for name, s := range set.Sources {
		s.Settings.(*webhook.Settings).Auth = nil // Who may send is another test's.
		made, err := s.Type.Make.(triggers.Factory)(name, s.Settings)
		if err != nil {
			t.Fatal(err)
		}
		return &receiver{Webhook: made.(*webhook.Webhook)}
	}
	t.Fatal("no source")
	return nil
}

// post sends a request that stands as headers, an empty line and a body.
func (r *receiver) post(t *testing.T, text []byte) *httptest.ResponseRecorder {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(text))
	header, err := textproto.NewReader(in).ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	_, _ = in.WriteTo(&body) // Into memory.
	path, h := r.Handler(r.admit)
	q := httptest.NewRequest("POST", path, bytes.NewReader(bytes.TrimSuffix(body.Bytes(), []byte("\n"))))
	for name, values := range header {
		q.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	return w
}

// TestSenders: what the recipes of the docs make of what others send.
func TestSenders(t *testing.T) {
	t.Parallel()
	docs := documents(t, "../../deploy/docs/recipes.md")
	files, err := filepath.Glob("testdata/senders/*.http")
	if err != nil || len(files) < 15 || len(docs) < 6 {
		t.Fatal(files, len(docs), err)
	}
	for _, file := range files {
		sender, _, _ := strings.Cut(filepath.Base(file), ".")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := receive(t, docs[sender])
		w := r.post(t, text)
		var got strings.Builder
		fmt.Fprintf(&got, "%d %s", w.Code, w.Body)
		for i := range r.events {
			b, err := envelope.Marshal(&r.events[i])
			if err != nil || r.events[i].Validate() != nil {
				t.Errorf("%s: %v %v", file, err, r.events[i].Validate())
			}
			fmt.Fprintf(&got, "%s\n", b)
		}
		for _, x := range r.Parked() {
			fmt.Fprintf(&got, "parked %s: %s\n%s\n", x.Place, x.Reason, x.Bytes)
		}
		golden := strings.TrimSuffix(file, ".http") + ".golden"
		if *rewrite {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != got.String() {
			t.Errorf("%s becomes\n%s\nand is to become\n%s%v", file, got.String(), want, err)
		}
	}
}
