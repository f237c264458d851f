//! Prints the results of `cargo bench -p im-crypto-benches` as Markdown, and counts the bytes of a session:
//! `cargo run --release -p im-crypto-benches --example crypto-table`.

use im_bench_rounds::{Results, number};
use im_crypto::{HandshakeId, Opener, Padding, Sealer, finish_plaintext};
use im_crypto_benches::{HANDSHAKE_PROVIDERS, HANDSHAKES, PROVIDERS, Peers, SIZES, SUITES, header};

const COMMAND: &str = "cargo bench -p im-crypto-benches";

fn records(results: &Results) {
    for way in ["seal", "open"] {
        println!("\n### {}\n", if way == "seal" { "Seal a packet" } else { "Open a packet" });
        let sizes = SIZES.map(|size| size.to_string()).join(" | ");
        println!("| suite | implementation | {sizes} |\n|---|---|{}", "---|".repeat(SIZES.len()));
        for (suite, _) in SUITES {
            for name in ["im-crypto, rustcrypto", "rustcrypto", "im-crypto, aws-lc", "aws-lc", "ring"] {
                let cells = SIZES.map(|size| {
                    let need = |name: &str| results.need(&format!("{way} {suite} {size}/{name}"), COMMAND);
                    match name.strip_prefix("im-crypto, ") {
                        Some(raw) => {
                            let (ours, raw) = (need(name), need(raw));
                            format!("**{}** ({:+.1}; {:.2})", number(ours), ours - raw, ours / raw)
                        }
                        None => number(need(name)),
                    }
                });
                println!("| {suite} | {name} | {} |", cells.join(" | "));
            }
        }
    }
    println!(
        "\n### One body of 256 bytes to 1,000 connections\n\n| suite | provider | im-crypto, ns per seal | million per second | the primitive alone, ns | million per second | ratio |\n|---|---|---|---|---|---|---|"
    );
    for (suite, _) in SUITES {
        for (name, _) in PROVIDERS {
            let need = |name: &str| results.need(&format!("fan-out {suite}/{name}"), COMMAND) / 1000.0;
            let (ns, alone) = (need(&format!("im-crypto, {name}")), need(name));
            let ratio = ns / alone;
            println!(
                "| {suite} | {name} | **{}** | {:.1} | {} | {:.1} | {ratio:.2} |",
                number(ns),
                1000.0 / ns,
                number(alone),
                1000.0 / alone
            );
        }
    }
}

fn handshakes(results: &Results) {
    println!(
        "\n### Handshakes\n\n| handshake | provider | both ends, us | server, us | handshakes per second of the server | snow, both ends, us |\n|---|---|---|---|---|---|"
    );
    for (pattern, _) in HANDSHAKES {
        for (name, _) in HANDSHAKE_PROVIDERS {
            let us = |what: &str| results.best(&format!("handshake {pattern}/{what}")).map(|ns| ns / 1000.0);
            let (Some(both), Some(server)) = (us(&format!("both, {name}")), us(&format!("server, {name}"))) else {
                continue;
            };
            let snow = us("both, snow").map_or("-".into(), |snow| format!("{snow:.0} ({:.2})", snow / both));
            println!("| {pattern} | {name} | {both:.0} | {server:.0} | {:.0} | {snow} |", 1e6 / server);
        }
    }
}

/// Bytes of a sealer and an opener: what they take in the struct that holds them, and on the heap.
fn memory() {
    println!(
        "\n### Bytes of a session's two directions\n\n| suite | provider | in use | idle, after `release_key` |\n|---|---|---|---|"
    );
    const SESSIONS: usize = 100;
    for (suite, id) in SUITES {
        for (name, provider) in PROVIDERS {
            let mut peers = Peers::new(provider, HandshakeId::NK, id);
            let mut kept = Vec::with_capacity(SESSIONS);
            let measured = |work: &mut dyn FnMut()| allocation_counter::measure(work).bytes_current;
            let in_use = measured(&mut || {
                for _ in 0..SESSIONS {
                    let (mut one, mut other) = (peers.session(), peers.session());
                    exchange(&mut one.client.sealer, &mut one.server.opener);
                    exchange(&mut other.client.sealer, &mut other.server.opener);
                    kept.push((one.client.sealer, other.server.opener));
                }
            });
            let freed = measured(&mut || {
                for (sealer, opener) in &mut kept {
                    sealer.release_key();
                    opener.release_key();
                }
            });
            let structs = size_of::<Sealer>() + size_of::<Opener>();
            let per = |heap: i64| heap / SESSIONS as i64 + structs as i64;
            println!("| {suite} | {name} | {} | {} |", per(in_use), per(in_use + freed));
        }
    }
}

fn exchange(sealer: &mut Sealer, opener: &mut Opener) {
    let mut body = vec![1; 100];
    finish_plaintext(&mut body, 0, Padding::None);
    let header = header(sealer.suite(), body.len());
    sealer.seal(&header, &mut body).expect("sealed");
    opener.open(&header, &mut body).expect("opened");
}

fn main() {
    let results = Results::default();
    records(&results);
    handshakes(&results);
    memory();
}
