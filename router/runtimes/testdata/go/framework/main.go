// Framework is a function of functions-framework-go.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
)

func work(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Do string
		N  int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var out any = map[string]int{"n": 2 * in.N}
	switch in.Do {
	case "fail":
		http.Error(w, "boom", http.StatusInternalServerError)
		return
	case "slow":
		time.Sleep(2500 * time.Millisecond)
	case "error":
		out = map[string]string{"error": "boom"}
	case "empty":
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		log.Print(err)
	}
}

func main() {
	functions.HTTP("work", work)
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		log.Fatal(err)
	}
}
