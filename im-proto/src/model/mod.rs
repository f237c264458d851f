//! Exhaustive checking of the delivery machines in a small scope, with `stateright`. Not a copy of them: the states hold an
//! [`Outbox`](crate::outbox::Outbox), an [`Inbox`](crate::inbox::Inbox) and a [`Feed`](crate::feed::Feed) for each device, and a
//! login is judged by [`judge`](crate::resume::judge).
//!
//! What is modelled, and nothing more: what the two roles of a connection do around their machines (`device`, `server`), a store
//! that keeps its promises (`store`), an application that makes entries safe in any order (`device::App`), and a network
//! (`world`, `actions`). Every step of any of them is an action, so every order of steps is a path; a scope says which steps take
//! time of their own, and which happen in the step that leads to them.
//!
//! | abstracted | how |
//! |---|---|
//! | time | stands still; a timeout lets the machine's own delay go by at once, whenever something is in flight |
//! | jitter | one seed for each delay, so that all delays are equal |
//! | handshake, serialization | none: a packet is its id and its body |
//! | conversations | one, between two users |
//! | faults | each kind has a budget for the whole run |
//! | a restarted application | compares the epoch itself: a run without a memory is told of none |
//!
//! Faults: a transport ends at any moment, with any part of what was on its way lost, and either side may notice late; a packet is
//! handled twice, or before the one ahead of it, where the protocol can tell; the store asks to try again, or never answers, with
//! the message stored or not; a client loses its memory; the server loses all connections and sessions; the log is replaced by one of
//! another epoch.
//!
//! That everything converges is checked for each state: from there on without faults, in a fixed order of steps, the world comes
//! to rest, and then every device has everything. `stateright`'s own `eventually` would miss cycles.

mod actions;
mod device;
mod server;
mod store;
mod tests;
mod world;

use core::hash::{Hash, Hasher};

use im_serial::Body;
use im_serial::body::{Deliver, Delivered, Epoch, Login, LoginOk, Position, Refused, Send, Stored};

/// A packet as the machines see it.
#[derive(Clone, Debug, PartialEq)]
struct Packet {
    id: u64,
    body: Body,
}

impl Hash for Packet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        hash_body(&self.body, state);
    }
}

fn hash_positions<H: Hasher>(positions: &[Position], state: &mut H) {
    positions.len().hash(state);
    for Position { conversation, epoch, seq, acked } in positions {
        (conversation, epoch, seq, acked).hash(state);
    }
}

/// Bodies have no hash of their own. Only those that the model uses.
#[expect(clippy::wildcard_enum_match_arm, reason = "a body that the model does not use")]
pub(crate) fn hash_body<H: Hasher>(body: &Body, state: &mut H) {
    (body.kind().code()).hash(state);
    match body {
        Body::Login(Login { session, positions, .. }) => {
            session.hash(state);
            hash_positions(positions, state);
        }
        Body::LoginOk(LoginOk { session, resume, reload, .. }) => {
            (session, resume, reload.len()).hash(state);
            reload.iter().for_each(|reload| (&reload.conversation, reload.reason, reload.epoch).hash(state));
        }
        Body::Epoch(Epoch { conversation, epoch }) => (conversation, epoch).hash(state),
        Body::Send(Send { to, content_type, content }) => (to, content_type, content).hash(state),
        Body::Stored(Stored { conversation, message_id, seq, time_ms, duplicate, in_stream }) => {
            (conversation, message_id, seq, time_ms, duplicate, in_stream).hash(state);
        }
        Body::Refused(Refused { code, reason, retry, retry_after_ms }) => {
            (code, reason, retry, retry_after_ms).hash(state);
        }
        Body::Deliver(Deliver { conversation, from, message_id, seq, time_ms, content_type, content, kind, about }) => {
            (conversation, from, message_id, seq, time_ms).hash(state);
            (content_type, content, kind, about).hash(state);
        }
        Body::Delivered(Delivered { conversation, up_to, epoch }) => (conversation, up_to, epoch).hash(state),
        other => unreachable!("the model sends no {:?}", other.kind()),
    }
}
