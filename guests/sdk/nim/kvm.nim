# SPDX-License-Identifier: BSD-2-Clause

## The guest API for Nim.
##
##     import kvm
##     serve(proc (r: Request): Response =
##       response("Hello\n"))
##
## Build with --gc:arc or --gc:orc: other collectors look for references on the
## stack that the program started with, and requests have one of their own.
## `randomize()` before serve() repeats itself in every request: use
## `initRand(r.seed)` in the handler.

import std/strutils

type
  Field = object
    text: cstring
    colon, len: uint32

  Raw = object
    met, url, arg, ctype: cstring
    metLen, urlLen, argLen, ctypeLen: uint16
    content: pointer
    contentLen: csize_t
    headers: ptr UncheckedArray[Field]
    numHeaders, flags: uint16
    reserved0: uint32
    prng: array[2, uint64]
    reserved1: array[2, uint64]

  Request* = object
    ## What is asked.
    raw: ptr Raw

  Response* = object
    status*: int
    contentType*: string
    body*: string
    headers*: seq[(string, string)]   ## at most 64
    ttl*, grace*, keep*: float        ## seconds; a ttl of 0 forbids caching,
                                      ## a negative one leaves it to VCL
  Handler* = proc (r: Request): Response {.nimcall.}

  OutField = object
    p: pointer
    len: csize_t

  Extra = object
    headers: pointer
    numHeaders: uint16
    cached: bool
    ttl, grace, keep: float32
    reserved: array[4, uint64]

static:
  doAssert sizeof(Raw) == 104 and sizeof(Extra) == 56

proc call*(number: int; a, b, c, d, e, f = 0): int =
  ## Any call of the guest API by its number.
  {.emit: """
  register long kvm_rcx __asm__("rcx") = `d`;
  register long kvm_r8 __asm__("r8") = `e`;
  register long kvm_r9 __asm__("r9") = `f`;
  __asm__ volatile ("out %%eax, $0" : "=a" (`result`)
      : "a" (`number`), "D" (`a`), "S" (`b`), "d" (`c`), "r" (kvm_rcx),
        "r" (kvm_r8), "r" (kvm_r9) : "memory");
  """.}

proc text(p: pointer; len: int): string =
  result = newString(len)
  if len > 0:
    copyMem(addr result[0], p, len)

proc httpMethod*(r: Request): string = text(r.raw.met, int r.raw.metLen)
proc url*(r: Request): string = text(r.raw.url, int r.raw.urlLen)
proc arg*(r: Request): string =
  ## The argument beside the URL, from VCL.
  text(r.raw.arg, int r.raw.argLen)
proc contentType*(r: Request): string = text(r.raw.ctype, int r.raw.ctypeLen)
proc body*(r: Request): string = text(r.raw.content, int r.raw.contentLen)
proc seed*(r: Request): int64 =
  ## For initRand(): new in every request, never 0.
  cast[int64](r.raw.prng[0] or 1)

iterator headers*(r: Request): (string, string) =
  for i in 0 ..< int r.raw.numHeaders:
    let h = r.raw.headers[i]
    let colon = int h.colon
    let line = text(h.text, int h.len)
    yield (line[0 ..< colon], line[colon + 1 .. ^1].strip())

proc header*(r: Request; name: string): string =
  ## The value of the first header of that name, in any case; "" if none.
  for key, value in r.headers:
    if cmpIgnoreCase(key, name) == 0:
      return value

proc log*(line: string) =
  ## A line in the Varnish log.
  discard call(0x7F000, cast[int](line.cstring), line.len)

proc response*(body: string; contentType = "text/plain; charset=utf-8";
               status = 200): Response =
  Response(status: status, contentType: contentType, body: body, ttl: -1)

proc respond*(r: Response) =
  ## Ends the request.
  var
    fields: seq[string]
    list: seq[OutField]
    extra: Extra
  for (name, value) in r.headers:
    fields.add name & ": " & value
  for f in fields:
    list.add OutField(p: f.cstring, len: csize_t f.len)
  if list.len > 0:
    extra.headers = addr list[0]
    extra.numHeaders = uint16 min(list.len, int high(uint16))
  if r.ttl >= 0:
    extra.cached = r.ttl > 0
    extra.ttl = if r.ttl > 0: float32 r.ttl else: 0.001
    extra.grace = float32 r.grace
    extra.keep = float32 r.keep
  discard call(0x10010, r.status, cast[int](r.contentType.cstring),
               r.contentType.len, cast[int](r.body.cstring), r.body.len,
               cast[int](addr extra))

var handler: Handler

proc enter(raw: ptr Raw) {.cdecl.} =
  try:
    respond(handler(Request(raw: raw)))
  except CatchableError, Defect:
    let e = getCurrentException()
    log($e.name & ": " & e.msg)
    respond(response("The program failed; its log says why.\n", status = 500))

proc serve*(f: Handler) =
  ## Waits for requests; does not return. An exception is status 500 and its
  ## message in the log.
  handler = f
  discard call(0x10000, 3, cast[int](enter))
  discard call(0x10001)
