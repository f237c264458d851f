//! Messages of 128 bytes with their acks, both ends in memory on one core, beside mqtt-protocol-core (QoS 1, in the clear) and
//! quinn-proto (QUIC streams). Prints a table of times; `memory` beside it counts what is allocated:
//! `cargo bench -p im-session-benches`.

mod contenders;

use contenders::{CONTENDERS, CONTENT, WINDOW};
use criterion::Criterion;
use im_bench_rounds::{Fastest, Results, number, run};

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages");
    for (name, make) in CONTENDERS {
        let mut contender = make();
        // Windows and buffers have their size before anything is measured.
        for _ in 0..64 {
            contender.batch();
        }
        group.bench_function(*name, |b| {
            b.iter_fastest_custom(4, |batches| {
                #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
                let begun = std::time::Instant::now();
                for _ in 0..batches {
                    contender.batch();
                }
                begun.elapsed()
            });
        });
    }
    group.finish();
}

fn main() {
    run(&[messages]);
    let results = Results::default();
    println!("| messages of {CONTENT} bytes | ns | million per second | beside the first |\n|---|---|---|---|");
    let best = |name: &str| results.best(&format!("messages/{name}")).map(|ns| ns / WINDOW as f64);
    let first = CONTENDERS.first().and_then(|(name, _)| best(name));
    for (name, _) in CONTENDERS {
        let Some(ns) = best(name) else { continue };
        let ratio = first.map_or(1.0, |first| ns / first);
        println!("| {name} | {} | {:.2} | {ratio:.2} |", number(ns), 1000.0 / ns);
    }
}
