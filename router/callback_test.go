package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
)

// TestCallback: a function of OpenFaaS that answers by a callback, which is no CloudEvent, ends its call: with its result, and with an error that a catch sees.
func TestCallback(t *testing.T) {
	t.Parallel()
	type asked struct{ call, body string }
	calls := make(chan asked, 10)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // Of a test.
		calls <- asked{r.Header.Get("X-Call-Id"), string(b)}
		w.Header().Set("X-Call-Id", r.Header.Get("X-Call-Id"))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(gateway.Close)
	r := startWith(t, fmt.Sprintf(`
version: 1
functions:
  resize: { contract: openfaas, timeout: 1m, http: { url: %q, headers: { X-Callback-Url: "http://onward/openfaas" } } }
sources:
  openfaas:
    accepts: [completions]
    webhook:
      path: /openfaas
      as:
        cause: "${ headers['x-call-id'] }"
        id: "${ headers['x-call-id'] }"
        source: "/openfaas/${ headers['x-function-name'] }"
        verdict: "${ headers['x-function-status'].startsWith('2') ? 'succeeded' : 'failed' }"
        data: "${ headers['x-function-status'].startsWith('2') ? body : { 'type': 'status_' + headers['x-function-status'], 'message': body } }"
triggers:
  picture: { flow: { function: resize, catch: [{ errors: [status_500], do: { pass: { value: "${ error.message }" } } }] } }
`, gateway.URL+"/async-function/resize"), func(o *router.Options) { o.Journal = memory.New(memory.Options{Partitions: 4}) })
	back := func(call, status, body string) int {
		q, err := http.NewRequest("POST", "http://"+r.Addr()+"/openfaas", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		q.Header.Set("X-Call-Id", call)
		q.Header.Set("X-Function-Name", "resize")
		q.Header.Set("X-Function-Status", status)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if code := back("00000000000000000000000000~resize.1~forged", "200", "{}"); code != http.StatusForbidden {
		t.Errorf("a forged callback is answered %d", code)
	}
	for id, c := range map[string]struct{ status, body, want string }{"1": {"200", `{"width":100}`, `{"width":100}`}, "2": {"500", "Traceback: boom", `"Traceback: boom"`}} {
		go func() {
			x := <-calls
			if code := back(x.call, c.status, c.body); code != http.StatusOK {
				t.Errorf("the callback is answered %d", code)
			}
		}()
		if f := r.run("picture", id, `{"key":"a.png"}`); f.State != lang.Succeeded.String() || f.Data.JSON() != c.want {
			t.Errorf("%s: %+v", id, f)
		}
	}
}
