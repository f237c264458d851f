//! Prints the results of `cargo bench -p im-codec-benches` as Markdown: nanoseconds, the best round's median, and in
//! brackets how many times as long as `im-codec` of the same ownership class in the same run.

use im_bench_rounds::{Results, number};

const COMMAND: &str = "cargo bench -p im-codec-benches";
const SIZES: &[usize] = &[0, 128, 1024, 16 * 1024];
const STREAMS: &[usize] = &[128, 1024];
const GROUPS: [(&str, &str, &[usize]); 5] = [
    ("decode", "Decode one packet", SIZES),
    ("encode", "Encode one packet", SIZES),
    ("decode+encode", "Decode one packet and encode it again", SIZES),
    ("stream-decode", "Decode a stream of 10,000 packets", STREAMS),
    ("stream-encode", "Encode a stream of 10,000 packets", STREAMS),
];
const PEERS: [&str; 6] = ["im-codec", "tungstenite", "prost", "rumqtt", "mqtt-protocol-core", "memcpy"];

fn main() {
    let results = Results::default();
    println!("Header parse alone: {} ns.", number(results.need("header/im-codec", COMMAND)));
    for (group, title, sizes) in GROUPS {
        let row = |cells: Vec<String>| cells.join(" | ");
        println!("\n### {title}\n\n| body, bytes | {} |", row(sizes.iter().map(usize::to_string).collect()));
        println!("|---|{}", "---|".repeat(sizes.len()));
        for class in ["", "-shared"] {
            for peer in PEERS {
                let cell = |size: &usize| {
                    let ns = results.best(&format!("{group}/{peer}{class}/{size}"))?;
                    let ours = results.need(&format!("{group}/im-codec{class}/{size}"), COMMAND);
                    Some(match peer {
                        "im-codec" => format!("**{}**", number(ns)),
                        _ => format!("{} ({:.2})", number(ns), ns / ours),
                    })
                };
                // Not every peer has both classes.
                if let Some(cells) = sizes.iter().map(cell).collect() {
                    println!("| {peer}{} | {} |", class.replace('-', ", "), row(cells));
                }
            }
        }
    }
}
