//! The benchmarks are in `benches/`; `cargo bench -p im-session-benches` runs them.
