package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
)

// A router lives in any program: documents, a journal, and Run.
func ExampleOpen() {
	square := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, n*n)
	}))
	defer square.Close()
	reg := registry() // Policies, sinks and sources: schedulers/builtin, sinks/all, triggers/all, and your own.
	set, findings := config.Parse("squares.yaml", []byte(`
version: 1
functions: { square: { http: { url: "`+square.URL+`" } } }
triggers: { squares: { flow: { map: { items: "${ data }", do: { function: square } } } } }
`), reg, nil)
	if len(findings) > 0 {
		log.Fatal(findings[0])
	}
	dir, err := os.MkdirTemp("", "onward-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	j, err := file.Open(file.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j, Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()

	e := event.New()
	e.SetID("1") // The same source and id are the same run, however often they come.
	e.SetSource("/example")
	e.SetType("com.example.numbers")
	if err := e.SetData(event.ApplicationJSON, []int{1, 2, 3, 4}); err != nil {
		log.Fatal(err)
	}
	run, err := r.Start(ctx, "squares", &e)
	if err != nil {
		log.Fatal(err)
	}
	end, err := r.Wait(ctx, run)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(end.State, end.Result)
	stop()
	if err := <-ran; err != nil {
		log.Fatal(err)
	}
	// Output: succeeded [1,4,9,16]
}
