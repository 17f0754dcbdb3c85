package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestRepliesGoOn: the event that a Knative service answers is a step's result, and starts what its filters let through, with its extensions and its cause, once.
func TestRepliesGoOn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var invocations, told []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/told" {
			told = append(told, string(body))
			return
		}
		invocations = append(invocations, r.Header.Get("Ce-Id"))
		if r.Header.Get("Prefer") != "reply" {
			t.Errorf("%s", r.Header)
		}
		for name, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "of-its-own", "Ce-Source": "/bank", "Ce-Type": "com.example.paid", "Ce-Region": "eu", "Content-Type": "application/json"} {
			w.Header().Set(name, v)
		}
		fmt.Fprint(w, `{"paid":true}`)
	}))
	defer s.Close()
	r := start(t, t.TempDir(), fmt.Sprintf(`
version: 1
functions:
  pay: { http: { url: "%[1]s/pay" }, contract: knative }
  tell: { http: { url: "%[1]s/told" } }
triggers:
  order: { filters: [{ exact: { type: com.example.order } }], flow: { function: pay } }
  paid: { filters: [{ exact: { type: com.example.paid, region: eu } }], flow: { function: tell, input: "${ {'cause': event.causationid, 'id': event.id, 'source': event.source, 'data': data} }" } }
`, s.URL))
	if f := r.run("order", "1", `{"n":1}`); f.Result.JSON() != `{"paid":true}` {
		t.Fatalf("%v %v", f.Result, f.Error)
	}
	eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(told) == 0 {
			return fmt.Errorf("nobody is told")
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	want := fmt.Sprintf(`{"cause":%[1]q,"data":{"paid":true},"id":"%[2]s~reply","source":"/bank"}`, invocations[0], invocations[0])
	if len(invocations) != 1 || len(told) != 1 || told[0] != want || !strings.Contains(invocations[0], "~") {
		t.Errorf("%q\n%q; want\n%s", invocations, told, want)
	}
}
