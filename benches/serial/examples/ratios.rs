//! Prints the results of `cargo bench -p im-serial-benches` as Markdown: nanoseconds, the best round's median, and in
//! brackets how many times as long as the raw crate, or as serde_json, in the same run.

use im_bench_rounds::{Results, number};

const COMMAND: &str = "cargo bench -p im-serial-benches";
const NATIVE: [&str; 7] = ["json", "protobuf", "msgpack", "postcard", "cbor", "bincode", "thrift"];
const JAVA: [&str; 6] = ["jdk", "hessian", "hessian2", "kryo5", "kryo4", "fst"];

fn main() {
    let results = Results::default();
    let need = |benchmark: String| results.need(&benchmark, COMMAND);
    println!(
        "| format | `Send`, encode | `Send`, decode | `Deliver`, encode | `Deliver`, decode |\n|---|---|---|---|---|"
    );
    for format in NATIVE {
        let cell = |kind: &str, way: &str| {
            let (ours, raw) = (need(format!("{format} {kind}/{way}")), need(format!("{format} {kind}/{way} raw")));
            format!("{} ({:.2})", number(ours), ours / raw)
        };
        let cells = ["Send", "Deliver"].map(|kind| ["encode", "decode"].map(|way| cell(kind, way)).join(" | "));
        println!("| {format} | {} |", cells.join(" | "));
    }
    println!("\n| format | encode | decode |\n|---|---|---|");
    for format in ["serde_json"].into_iter().chain(JAVA) {
        let cells = ["java_encode", "java_decode"].map(|group| {
            let (ours, json) = (need(format!("{group}/{format}")), need(format!("{group}/serde_json")));
            format!("{} ({:.2})", number(ours), ours / json)
        });
        println!("| {format} | {} |", cells.join(" | "));
    }
}
