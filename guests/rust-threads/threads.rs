// SPDX-License-Identifier: BSD-2-Clause
//
// std's threads: a worker that was started before the freeze and waits on a
// channel, and /scoped threads that a request starts and joins.

use std::sync::mpsc;
use std::sync::Mutex;
use std::thread;

use kvm::{Request, Response};

fn sum(from: u64, to: u64) -> u64 {
    (from..to).fold(0, |a, b| a.wrapping_add(b.wrapping_mul(b)))
}

fn scoped(n: u64) -> u64 {
    let parts: Vec<u64> = thread::scope(|s| {
        let workers: Vec<_> = (0..4)
            .map(|i| s.spawn(move || sum(i * n / 4, (i + 1) * n / 4)))
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    parts.iter().sum()
}

fn main() {
    let (ask, asked) = mpsc::channel::<u64>();
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        for n in asked {
            if answer.send(sum(0, n)).is_err() {
                break;
            }
        }
    });
    // It runs, and waits, before requests come.
    ask.send(10).unwrap();
    assert_eq!(answered.recv(), Ok(285));
    let ends = Mutex::new((ask, answered));

    kvm::serve(move |r: &Request| {
        if r.url() == "/scoped" {
            return Response::text(format!("scoped {}\n", scoped(100_000)));
        }
        let ends = ends.lock().unwrap();
        ends.0.send(100_000).unwrap();
        Response::text(format!("worker {}\n", ends.1.recv().unwrap()))
    });
}
