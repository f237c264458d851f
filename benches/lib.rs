//! The benchmarks are in `benches/`; `cargo bench -p im-benches` runs them.
