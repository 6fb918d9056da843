# SPDX-License-Identifier: BSD-2-Clause

import std/[strutils, tables]
import kvm

var words: CountTable[string]           # filled before the freeze
for word in "one two two three three three".split:
  words.inc word

serve(proc (r: Request): Response =
  if r.url == "/fail":
    raise newException(ValueError, "asked to fail")
  if r.url == "/words":
    return response($words["three"] & "\n")
  response("Hello from Nim! " & r.header("User-Agent") & "\n"))
