// SPDX-License-Identifier: BSD-2-Clause

// Goroutines, channels and garbage: a pool that waits since before the freeze
// builds trees, and the collector runs within the request.
package main

import (
	"fmt"
	"runtime"
	"strings"

	"kvm"
)

type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) count() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

var keep = grow(10)

func main() {
	jobs, counts := make(chan int), make(chan int)
	for i := 0; i < 4; i++ {
		go func() {
			for depth := range jobs {
				counts <- grow(depth).count()
			}
		}()
	}
	kvm.Serve(func(r *kvm.Request) kvm.Response {
		var before, after runtime.MemStats
		collect := strings.HasPrefix(r.URL(), "/gc")
		runtime.ReadMemStats(&before)
		sum := 0
		for round := 0; round < 4; round++ {
			for i := 0; i < 4; i++ {
				go func() { jobs <- 10 }()
			}
			for i := 0; i < 4; i++ {
				sum += <-counts
			}
			if collect {
				runtime.GC()
			}
		}
		runtime.ReadMemStats(&after)
		return kvm.Text(fmt.Sprintf("%d nodes, %d kept, %d collections\n",
			sum, keep.count(), after.NumGC-before.NumGC))
	})
}
