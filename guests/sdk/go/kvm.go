// SPDX-License-Identifier: BSD-2-Clause

// Package kvm is the guest API for Go.
//
//	func main() {
//		kvm.Serve(func(r *kvm.Request) kvm.Response {
//			return kvm.Text("Hello " + r.URL() + "\n")
//		})
//	}
//
// Everything that was made before Serve is there in every request, goroutines
// too, and what a request changes is gone after it. That is also true of
// seeds: math/rand repeats itself unless the handler seeds it from
// Request.Seed; crypto/rand is fresh by itself.
//
// A panic in the handler is status 500, its message in the log.
package kvm

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"unsafe"
)

// call is any call of the guest API by its number.
//
//go:noescape
func call(number, a, b, c, d, e, f uintptr) uintptr

type field struct {
	text       unsafe.Pointer
	colon, len uint32
}

// Request is what is asked. It must not be used after the answer.
type Request struct {
	method, url, arg, contentType             unsafe.Pointer
	methodLen, urlLen, argLen, contentTypeLen uint16
	content                                   unsafe.Pointer
	contentLen                                uintptr
	headers                                   unsafe.Pointer
	numHeaders, flags                         uint16
	_                                         uint32
	prng                                      [2]uint64
	_                                         [2]uint64
}

func text(p unsafe.Pointer, n int) string {
	if p == nil || n == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// Method is the method.
func (r *Request) Method() string { return text(r.method, int(r.methodLen)) }

// URL is path and query.
func (r *Request) URL() string { return text(r.url, int(r.urlLen)) }

// Arg is the argument beside the URL, from VCL.
func (r *Request) Arg() string { return text(r.arg, int(r.argLen)) }

// ContentType is that of the body.
func (r *Request) ContentType() string {
	return text(r.contentType, int(r.contentTypeLen))
}

// Body is the body where the host put it: no copy.
func (r *Request) Body() []byte {
	if r.content == nil || r.contentLen == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(r.content), r.contentLen)
}

// Headers calls f with the name and value of each header.
func (r *Request) Headers(f func(name, value string)) {
	if r.numHeaders == 0 {
		return
	}
	for _, h := range unsafe.Slice((*field)(r.headers), r.numHeaders) {
		line := text(h.text, int(h.len))
		f(line[:h.colon], strings.TrimSpace(line[h.colon+1:]))
	}
}

// Header is the value of the first header of that name, in any case.
func (r *Request) Header(name string) (value string) {
	found := false
	r.Headers(func(n, v string) {
		if !found && strings.EqualFold(n, name) {
			found, value = true, v
		}
	})
	return value
}

// Seed is for math/rand: new in every request.
func (r *Request) Seed() int64 { return int64(r.prng[0]) }

// Cache says for how long an answer may be cached, in seconds. A TTL of 0
// forbids it.
type Cache struct{ TTL, Grace, Keep float32 }

// Response is an answer. Status 0 is 200, an empty Type is text/plain.
type Response struct {
	Status  int
	Type    string
	Body    []byte
	Headers [][2]string // at most 64
	Cache   *Cache
}

// Text is an answer in plain text.
func Text(s string) Response { return Response{Body: []byte(s)} }

type line struct {
	text unsafe.Pointer
	len  uintptr
}

type extra struct {
	headers          unsafe.Pointer
	numHeaders       uint16
	cached           bool
	ttl, grace, keep float32
	_                [4]uint64
}

// The layout of the guest ABI.
var _ = [1]struct{}{}[unsafe.Sizeof(Request{})-104]
var _ = [1]struct{}{}[unsafe.Sizeof(extra{})-56]

// What the host writes and reads stays where it is.
var (
	request Request
	out     extra
	lines   [64]line
)

func data(b []byte) (unsafe.Pointer, uintptr) {
	if len(b) == 0 {
		return unsafe.Pointer(&request), 0
	}
	return unsafe.Pointer(&b[0]), uintptr(len(b))
}

// respond ends the request.
func respond(r Response) {
	if r.Status == 0 {
		r.Status = 200
	}
	if r.Type == "" {
		r.Type = "text/plain; charset=utf-8"
	}
	for i, h := range r.Headers {
		b := []byte(h[0] + ": " + h[1])
		lines[i].text, lines[i].len = data(b)
	}
	out.headers = unsafe.Pointer(&lines)
	out.numHeaders = uint16(len(r.Headers))
	if r.Cache != nil {
		out.cached = r.Cache.TTL > 0
		out.ttl, out.grace, out.keep = r.Cache.TTL, r.Cache.Grace,
			r.Cache.Keep
		if !out.cached {
			out.ttl = 0.001
		}
	}
	kind, kindLen := data([]byte(r.Type))
	body, bodyLen := data(r.Body)
	call(0x10010, uintptr(r.Status), uintptr(kind), kindLen, uintptr(body),
		bodyLen, uintptr(unsafe.Pointer(&out)))
	runtime.KeepAlive(r)
	runtime.KeepAlive(kind)
}

// Log writes a line to the Varnish log.
func Log(s string) {
	p, n := data([]byte(s))
	call(0x7F000, uintptr(p), n, 0, 0, 0, 0)
	runtime.KeepAlive(p)
}

func answer(handler func(*Request) Response) (r Response) {
	failed := true
	defer func() {
		// What panic(nil) leaves is nil.
		if what := recover(); failed {
			Log(fmt.Sprintf("panic: %v\n%s", what, debug.Stack()))
			r = Response{Status: 500,
				Body: []byte("The program failed; its log says why.\n")}
		}
	}()
	r = handler(&request)
	if len(r.Headers) > len(lines) {
		panic(fmt.Sprintf("an answer has at most %d headers", len(lines)))
	}
	failed = false
	return r
}

// Memory beyond which a request's garbage is collected, unless SetMemoryLimit
// said otherwise before.
const gcRoom = 16 << 20

// growStack makes room on the goroutine's stack, so that no request has to move
// it to a larger one.
//
//go:noinline
func growStack() byte {
	var room [64 << 10]byte
	return room[request.numHeaders]
}

// Serve waits for requests; it does not return. Garbage is collected once
// before; within a request only when memory runs short, because to collect is
// to write into all of it.
func Serve(handler func(*Request) Response) {
	runtime.LockOSThread()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(-1)
	if debug.SetMemoryLimit(-1) == 1<<63-1 {
		debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + gcRoom)
	}
	growStack()
	// Every request begins behind this call, with request filled in.
	call(0x10002, uintptr(unsafe.Pointer(&request)), 0, 0, 0, 0, 0)
	respond(answer(handler))
}
