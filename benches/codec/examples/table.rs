//! Prints the results of `cargo bench -p im-codec-benches` as Markdown: nanoseconds, and in brackets how many times
//! as long as `im-codec` of the same ownership class in the same run.

use std::path::{Path, PathBuf};

const GROUPS: [(&str, &str); 5] = [
    ("decode", "Decode one packet"),
    ("encode", "Encode one packet"),
    ("decode+encode", "Decode one packet and encode it again"),
    ("stream-decode", "Decode a stream of 10,000 packets"),
    ("stream-encode", "Encode a stream of 10,000 packets"),
];
const PEERS: [&str; 6] = ["im-codec", "tungstenite", "prost", "rumqtt", "mqtt-protocol-core", "memcpy"];

fn main() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let results = target.join("criterion");
    match median(&results.join("header/im-codec")) {
        Some(ns) => println!("Header parse alone: {} ns.", number(ns)),
        None => {
            eprintln!("no results in {}: run `cargo bench -p im-codec-benches` first", results.display());
            std::process::exit(1);
        }
    }
    for (group, title) in GROUPS {
        let group = results.join(group);
        let sizes = [0, 128, 1024, 16 * 1024].map(|size| size.to_string());
        let sizes: Vec<_> = sizes.iter().filter(|size| group.join("im-codec").join(size).exists()).collect();
        println!(
            "\n### {title}\n\n| body, bytes | {} |",
            sizes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" | ")
        );
        println!("|---|{}", "---|".repeat(sizes.len()));
        for class in ["", "-shared"] {
            for peer in PEERS {
                let name = format!("{peer}{class}");
                let cells: Vec<_> = sizes.iter().filter_map(|size| cell(&group, &name, class, size)).collect();
                if cells.len() == sizes.len() {
                    println!("| {} | {} |", name.replace("-shared", ", shared"), cells.join(" | "));
                }
            }
        }
    }
}

fn cell(group: &Path, name: &str, class: &str, size: &str) -> Option<String> {
    let ns = median(&group.join(name).join(size))?;
    let ours = median(&group.join(format!("im-codec{class}")).join(size))?;
    Some(match name.strip_suffix("-shared").unwrap_or(name) {
        "im-codec" => format!("**{}**", number(ns)),
        _ => format!("{} ({:.2})", number(ns), ns / ours),
    })
}

fn median(benchmark: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(benchmark.join("new/estimates.json")).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    json["median"]["point_estimate"].as_f64()
}

fn number(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}
