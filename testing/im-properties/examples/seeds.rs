//! Writes the seeds of a target as files, for a fuzzer to begin with:
//! `cargo run -p im-properties --example seeds -- serial_json fuzz/corpus/serial_json`.
#![expect(clippy::disallowed_methods, reason = "a program that writes files")]

use std::path::Path;
use std::{env, fs, process};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let target = arguments.first().and_then(|name| im_properties::TARGETS.iter().find(|target| target.name == *name));
    let (Some(target), Some(folder)) = (target, arguments.get(1)) else {
        eprintln!("usage: seeds TARGET FOLDER; the targets are in testing/im-properties/src/lib.rs");
        process::exit(2);
    };
    fs::create_dir_all(folder).expect("the folder can be made");
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        fs::write(Path::new(folder).join(format!("seed-{number}")), seed).expect("the folder can be written");
    }
}
