import kvm

# What takes long belongs here: it happens once.

serve(proc (r: Request): Response =
  response("Hello from @NAME@: " & r.httpMethod & " " & r.url & "\n"))
