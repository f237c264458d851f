//! Nothing but tests: see `tests/snow.rs`. A crate of its own, because `snow` brings an older generation of primitives.
