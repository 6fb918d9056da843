(* SPDX-License-Identifier: BSD-2-Clause

   The guest API for OCaml.

     let () = Kvm.serve (fun r -> Kvm.text ("Hello " ^ r.Kvm.url ^ "\n"))

   What was made before serve is there in every request, and what a request
   changes is gone after it: Random repeats itself unless the handler calls
   Random.init r.seed. An exception is status 500, its text in the log. *)

type request = {
  meth : string;
  url : string;
  arg : string;                         (* the argument beside the URL *)
  content_type : string;
  body : string;
  headers : string array;               (* "Name: value" *)
  seed : int;                           (* new in every request *)
}

type response = {
  status : int;
  kind : string;                        (* content type *)
  content : string;
  fields : string array;                (* "Name: value", at most 64 *)
  ttl : float;                          (* seconds; 0 forbids caching, below
                                           0 leaves it to VCL *)
}

external register : unit -> unit = "kvm_ml_wait"
external log : string -> unit = "kvm_ml_log"

let text ?(status = 200) ?(kind = "text/plain; charset=utf-8") content =
  { status; kind; content; fields = [||]; ttl = -1.0 }

(* The value of the first header of that name, in any case. *)
let header r name =
  let name = String.lowercase_ascii name in
  let fits field =
    match String.index_opt field ':' with
    | Some i when String.lowercase_ascii (String.sub field 0 i) = name ->
        Some (String.trim (String.sub field (i + 1)
                             (String.length field - i - 1)))
    | _ -> None in
  Array.fold_left
    (fun found field -> if found = None then fits field else found)
    None r.headers

(* Does not return. *)
let serve handler =
  let answer r =
    try
      let a = handler r in
      if Array.length a.fields > 64 then
        failwith "an answer has at most 64 headers";
      a
    with e ->
      log (Printexc.to_string e);
      text ~status:500 "The program failed; its log says why.\n" in
  Callback.register "kvm_answer" answer;
  Gc.full_major ();
  register ()
