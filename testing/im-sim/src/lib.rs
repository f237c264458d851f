#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod link;
mod log;
mod pair;
mod world;

pub use link::Profile;
pub use log::{Log, Record, Submitted};
pub use pair::{Pair, configs, credentials, entropy};
pub use world::{Failure, Plan, Report, World};
