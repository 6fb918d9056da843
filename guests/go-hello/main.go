// SPDX-License-Identifier: BSD-2-Clause

package main

import (
	"fmt"
	"runtime"

	"kvm"
)

func main() {
	kvm.Serve(func(r *kvm.Request) kvm.Response {
		switch r.URL() {
		case "/fail":
			panic("asked to fail")
		case "/fail/nil":
			panic(nil)
		case "/version":
			return kvm.Text(runtime.Version() + "\n")
		case "/headers":
			return kvm.Response{Headers: make([][2]string, 65)}
		}
		return kvm.Text(fmt.Sprintf("Hello from Go! %s\n",
			r.Header("User-Agent")))
	})
}
