//! The benchmark is in `benches/`; `cargo bench -p im-codec-benches` runs it, `cargo run -p im-codec-benches --example table` prints the results.
