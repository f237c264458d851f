#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

extern crate alloc;

#[cfg(any(feature = "kryo", feature = "fst"))]
mod classes;
#[cfg(feature = "fst")]
mod fst;
#[cfg(feature = "kryo")]
mod kryo;
mod options;
#[cfg(any(feature = "kryo", feature = "fst"))]
mod plan;
mod text;

#[cfg(feature = "fst")]
pub use fst::Fst;
#[cfg(feature = "kryo")]
pub use kryo::{Kryo, KryoVersion};
pub use options::Options;
