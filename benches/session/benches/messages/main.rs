//! Messages of 128 bytes with their acks, both ends in memory on one core, beside mqtt-protocol-core (QoS 1, in the clear) and
//! quinn-proto (QUIC streams). Prints time, allocations and the memory of an idle connection in one table:
//! `cargo bench -p im-session-benches`.

mod mqtt;
mod ours;
mod quic;

use std::hint::black_box;

use criterion::Criterion;
use im_bench_rounds::{Fastest, Results, number, run};

/// Messages that are under way at once: the session's default `send_max`.
const WINDOW: usize = 64;
/// Bytes of a message's content.
const CONTENT: usize = 128;

/// Two ends that bring [`WINDOW`] messages from one to the other, with their acks.
trait Contender {
    fn batch(&mut self);
}

/// A name, and how to make it.
type Entry = (&'static str, fn() -> Box<dyn Contender>);

const CONTENDERS: &[Entry] = &[
    ("im-proto, client to server, each stored", || Box::new(ours::Up::new())),
    ("im-proto, server to client, acked", || Box::new(ours::Down::new())),
    ("mqtt-protocol-core, QoS 1, not encrypted", || Box::new(mqtt::Qos1::new())),
    ("quinn-proto, one stream for all, answers of 16 bytes", || Box::new(quic::OneStream::new(true))),
    ("quinn-proto, one stream for all, no answers", || Box::new(quic::OneStream::new(false))),
    ("quinn-proto, a stream for each message with its answer", || Box::new(quic::StreamEach::new())),
];

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
    println!("| messages of {CONTENT} bytes | ns | million per second | allocations | beside the first |\n|---|---|---|---|---|");
    let best = |name: &str| results.best(&format!("messages/{}", file_name(name))).map(|ns| ns / WINDOW as f64);
    let first = CONTENDERS.first().and_then(|(name, _)| best(name));
    for (name, make) in CONTENDERS {
        let Some(ns) = best(name) else { continue };
        let ratio = first.map_or(1.0, |first| ns / first);
        println!("| {name} | {} | {:.2} | {:.2} | {ratio:.2} |", number(ns), 1000.0 / ns, allocations(make().as_mut()));
    }
    println!("\n| an idle connection after 64 messages | bytes |\n|---|---|");
    let (server, client) = ours::idle();
    println!("| im-proto, server | {server} |\n| im-proto, client | {client} |");
}

/// What criterion makes of a name.
fn file_name(name: &str) -> String {
    name.replace(['?', '"', '/', '\\', '*', '<', '>', ':', '|', '^'], "_")
}

fn allocations(contender: &mut dyn Contender) -> f64 {
    const BATCHES: usize = 16;
    for _ in 0..64 {
        contender.batch();
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..BATCHES {
            contender.batch();
        }
    });
    black_box(counted.count_total) as f64 / (BATCHES * WINDOW) as f64
}
