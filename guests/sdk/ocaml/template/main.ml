(* What takes long belongs here: it happens once. *)

let () =
  Kvm.serve (fun r ->
    Kvm.text (Printf.sprintf "Hello from @NAME@: %s %s\n" r.Kvm.meth r.Kvm.url))
