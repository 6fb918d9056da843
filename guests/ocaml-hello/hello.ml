(* SPDX-License-Identifier: BSD-2-Clause *)

let () =
  Kvm.serve (fun r ->
    if r.Kvm.url = "/fail" then failwith "asked to fail";
    let fields = if r.Kvm.url = "/headers" then Array.make 65 "X-A: b"
      else [||] in
    let agent = Option.value (Kvm.header r "user-agent") ~default:"" in
    { (Kvm.text (Printf.sprintf "Hello from OCaml! %s\n" agent)) with
      Kvm.fields })
