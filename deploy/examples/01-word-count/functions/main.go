// Command functions serves the two functions of the example over plain HTTP. No SDK: a function is a handler that answers with JSON.
//
//	POST /count  {"package": "net/http"}   -> {"package": ..., "files": ..., "identifiers": {"name": count, ...}}
//	POST /merge  [count results]           -> a table, as text
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7001", "address to listen on")
	goroot := flag.String("goroot", "", "folder of the Go installation (go env GOROOT)")
	ready := flag.String("ready", "", "file to write the address to, once it listens")
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) { count(w, r, *goroot) })
	mux.HandleFunc("POST /merge", merge)
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if *ready != "" {
		if err := os.WriteFile(*ready, []byte(l.Addr().String()), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal(http.Serve(l, mux))
}

// A counted is what count finds in one package.
type counted struct {
	Package     string         `json:"package"`
	Files       int            `json:"files"`
	Identifiers map[string]int `json:"identifiers"`
}

func count(w http.ResponseWriter, r *http.Request, goroot string) {
	var in struct{ Package string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !filepath.IsLocal(in.Package) {
		http.Error(w, "the input is {\"package\": \"net/http\"}", http.StatusBadRequest)
		return
	}
	files, err := filepath.Glob(filepath.Join(goroot, "src", filepath.FromSlash(in.Package), "*.go"))
	if err != nil || len(files) == 0 {
		http.Error(w, fmt.Sprintf("package %q has no Go files", in.Package), http.StatusNotFound)
		return
	}
	out := counted{Package: in.Package, Files: len(files), Identifiers: make(map[string]int)}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		identifiers(src, out.Identifiers)
	}
	answer(w, out)
}

func identifiers(src []byte, into map[string]int) {
	set := token.NewFileSet()
	var s scanner.Scanner
	s.Init(set.AddFile("", set.Base(), len(src)), src, nil, 0)
	for {
		_, tok, text := s.Scan()
		if tok == token.EOF {
			return
		}
		if tok == token.IDENT {
			into[text]++
		}
	}
}

func merge(w http.ResponseWriter, r *http.Request) {
	var in []counted
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "the input is a list of counts: "+err.Error(), http.StatusBadRequest)
		return
	}
	total, files, sum := make(map[string]int), 0, 0
	for _, c := range in {
		files += c.Files
		for name, n := range c.Identifiers {
			total[name] += n
			sum += n
		}
	}
	names := slices.SortedFunc(maps.Keys(total), func(a, b string) int {
		return cmp.Or(cmp.Compare(total[b], total[a]), strings.Compare(a, b))
	})
	var table strings.Builder
	fmt.Fprintf(&table, "%d packages, %d files, %d identifiers, %d of them distinct\n", len(in), files, sum, len(total))
	for _, name := range names[:min(10, len(names))] {
		fmt.Fprintf(&table, "%8d  %s\n", total[name], name)
	}
	answer(w, table.String())
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Print(err)
	}
}
