//! Requests of the peer that the application works on.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use im_proto::{AnswerError, Instant, PacketId, Request};

use super::Session;
use crate::blob;
use crate::hooks::{Asked, Reply};
use crate::transport::Transport;

/// Bounded by what the connection lets a peer ask at a time.
#[derive(Default)]
pub(super) struct Requests {
    under_way: FuturesUnordered<BoxFuture<'static, (PacketId, Reply)>>,
}

impl Requests {
    /// Waits for the next answer; for ever if there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> (PacketId, Reply) {
        match self.under_way.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

impl<T: Transport> Session<T> {
    pub(super) fn asked(&mut self, packet_id: PacketId, request: Request) {
        let Some(member) = &self.member else { return };
        let (services, device) = (Arc::clone(&self.services), member.device.clone());
        self.requests.under_way.push(Box::pin(async move {
            let asked = Asked { user: &device.user, device: &device.device, request: &request };
            let reply = match blob::answer(&services, &asked).await {
                Some(reply) => reply,
                None => services.hooks.ask(&asked).await,
            };
            (packet_id, reply)
        }));
    }

    pub(super) fn replied(&mut self, now: Instant, packet_id: PacketId, reply: Reply) {
        let result = match reply {
            Reply::Answer { content_type, content } => self.connection.respond(packet_id, content_type, content),
            Reply::Refuse { code, reason, retry_after } => {
                self.connection.refuse_request(packet_id, code, &reason, retry_after)
            }
        };
        // Its time is over: the peer does not wait any more.
        if result != Err(AnswerError::NotAsked) {
            self.answered(now, result);
        }
    }
}
