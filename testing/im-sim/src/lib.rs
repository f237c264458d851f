#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod fault;
mod link;
mod log;
mod pair;
mod provider;
mod world;

pub use fault::{Fault, Faults};
pub use link::Profile;
pub use log::{Log, Record, Submitted};
pub use pair::{Pair, configs, credentials, entropy};
pub use provider::FAST;
pub use world::{Failure, Plan, Report, World};
