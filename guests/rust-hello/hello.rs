// SPDX-License-Identifier: BSD-2-Clause

use std::collections::BTreeMap;

use kvm::{Request, Response};

fn main() {
    let mut words = BTreeMap::new(); // filled before the freeze
    for word in "one two two three three three".split(' ') {
        *words.entry(word).or_insert(0) += 1;
    }
    kvm::serve(move |r: &Request| match r.url() {
        "/fail" => panic!("asked to fail"),
        "/words" => Response::text(format!("{:?}\n", words)),
        _ => Response::text(format!(
            "Hello from Rust! {}\n",
            r.header("User-Agent").unwrap_or("no agent")
        )),
    });
}
