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
#[cfg(feature = "hessian")]
mod hessian;
#[cfg(feature = "jdk")]
mod jdk;
#[cfg(feature = "kryo")]
mod kryo;
mod options;
#[cfg(any(feature = "kryo", feature = "fst"))]
mod plan;
#[cfg(any(feature = "jdk", feature = "hessian"))]
#[cfg_attr(not(feature = "hessian"), allow(dead_code, reason = "each format takes what it needs"))]
mod table;
#[cfg_attr(
    not(all(feature = "jdk", feature = "hessian")),
    allow(dead_code, reason = "each format takes what it needs")
)]
mod text;

#[cfg(feature = "fst")]
pub use fst::Fst;
#[cfg(feature = "hessian")]
pub use hessian::{Hessian, Hessian2};
#[cfg(feature = "jdk")]
pub use jdk::Jdk;
#[cfg(feature = "kryo")]
pub use kryo::{Kryo, KryoVersion};
pub use options::Options;
