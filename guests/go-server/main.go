// SPDX-License-Identifier: BSD-2-Clause

// An ordinary net/http server. It knows nothing of where it runs.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"strings"
)

func main() {
	address := "127.0.0.1:8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello from Go, %s!\n", r.URL.Query().Get("name"))
	})
	http.HandleFunc("/digest", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d bytes, %x\n", n, h.Sum(nil))
	})
	http.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		var lines []string
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Test") {
				lines = append(lines, name+": "+strings.Join(values, ", "))
			}
		}
		sort.Strings(lines)
		w.Header().Set("X-Count", fmt.Sprint(len(lines)))
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, strings.Join(lines, "\n"))
	})
	// Larger than net/http's buffer: it answers in chunks.
	http.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < 2000; i++ {
			fmt.Fprintf(w, "line %d of a long answer\n", i)
		}
	})
	log.Fatal(http.ListenAndServe(address, nil))
}
