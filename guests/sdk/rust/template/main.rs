use kvm::{Request, Response};

fn main() {
    // What takes long belongs here: it happens once.
    kvm::serve(|r: &Request| {
        Response::text(format!("Hello from @NAME@: {} {}\n", r.method(), r.url()))
    });
}
