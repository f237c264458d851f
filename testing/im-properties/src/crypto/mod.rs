//! Handshakes, tickets and records with an attacker in between.
//!
//! All randomness comes from the input: its first byte seeds a generator, and says whether keys are agreed with X25519 and ML-KEM or
//! with stand-ins that are a hundred times as fast.

mod hello;
mod input;
mod record;
mod reply;
mod session;
mod ticket;
mod world;

pub use hello::{hello, seeds as hello_seeds};
pub use record::{record, seeds as record_seeds};
pub use reply::{reply, seeds as reply_seeds};
pub use session::{seeds as session_seeds, session};
pub use ticket::{seeds as ticket_seeds, ticket};
