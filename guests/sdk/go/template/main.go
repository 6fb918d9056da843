package main

import (
	"fmt"

	"kvm"
)

func main() {
	// What takes long belongs here: it happens once.
	kvm.Serve(func(r *kvm.Request) kvm.Response {
		return kvm.Text(fmt.Sprintf("Hello from @NAME@: %s %s\n",
			r.Method(), r.URL()))
	})
}
