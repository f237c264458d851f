//! Requests and responses, the same for both roles.

use alloc::collections::VecDeque;
use core::time::Duration;

use im_serial::Body;
use im_serial::body::{Refused, Request as RequestBody, Response};

use super::machine::{Core, Machine};
use super::{Connection, Role, State};
use crate::close::{RefusalCode, cut_reason, wait_millis};
use crate::error::{AnswerError, RequestError};
use crate::outbox::PacketId;
use crate::requests::{Arrived, Request, RequestEvent, RequestFailure};
use crate::time::Instant;

/// What is wrong with a request of the other side.
pub(super) type Wrong = (RefusalCode, &'static str);

impl<R: Role> Connection<R> {
    /// Asks the other side to do something. The id comes back in exactly one of the events `Response` and `RequestFailed`. A
    /// request is sent once: it fails as [`RequestFailure::Unknown`] with its connection, and as [`RequestFailure::Timeout`]
    /// when its time is over; what comes later is dropped and counted in
    /// [`Stats::late_responses`](crate::Stats::late_responses). Whoever asks again has to know that it is safe.
    ///
    /// ```no_run
    /// # use im_proto::{Client, ClientEvent, Connection, Instant, Request, RequestError, ServerEvent, Server};
    /// # use core::time::Duration;
    /// # fn ask(client: &mut Connection<Client>, server: &mut Connection<Server>, now: Instant) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = client.request(now, &Request::new("time", Vec::new(), Duration::from_secs(5)))?;
    /// // At the server:
    /// if let Some(ServerEvent::Request { packet_id, request }) = server.poll_event() {
    ///     assert_eq!(request.method, "time");
    ///     server.respond(packet_id, 0, b"12:00".to_vec())?;
    /// }
    /// // Back at the client:
    /// if let Some(ClientEvent::Response { packet_id, content, .. }) = client.poll_event() {
    ///     assert_eq!((packet_id, &content[..]), (id, &b"12:00"[..]));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError::Offline`] without a login; [`RequestError::TooMany`] while `requests_max` have no answer,
    /// [`RequestError::Blocked`] while `request_bytes` wait for transmission.
    pub fn request(&mut self, now: Instant, request: &Request) -> Result<PacketId, RequestError> {
        if self.core.state != State::Online {
            return Err(RequestError::Offline);
        }
        if !request.is_valid() {
            return Err(RequestError::Invalid);
        }
        let (len, max) = (request.content.len(), self.role.max_content());
        if len > max {
            return Err(RequestError::TooLarge { len, max });
        }
        let cost = self.role.requests().has_room(request)?;
        let id = self.role.request_id();
        self.role.requests().ask(id.0, now, request, cost);
        self.after_change(now);
        Ok(id)
    }

    /// Answers a request of the other side.
    ///
    /// # Errors
    /// [`AnswerError::NotAsked`] where the request was answered or its time is over, [`AnswerError::TooLarge`] beyond
    /// `max_content`: answer with something else.
    pub fn respond(
        &mut self,
        packet_id: PacketId,
        content_type: u32,
        content: alloc::vec::Vec<u8>,
    ) -> Result<(), AnswerError> {
        let (len, max) = (content.len(), self.role.max_content());
        if len > max {
            return Err(AnswerError::TooLarge { len, max });
        }
        self.answer(packet_id, Response { content_type, content }.into())
    }

    /// Refuses a request of the other side; `retry_after` says from when on another answer is possible.
    ///
    /// # Errors
    /// [`AnswerError::NotAsked`] as for a response.
    pub fn refuse_request(
        &mut self,
        packet_id: PacketId,
        code: RefusalCode,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), AnswerError> {
        self.answer(packet_id, refused(code, reason, retry_after).into())
    }

    fn answer(&mut self, packet_id: PacketId, answer: Body) -> Result<(), AnswerError> {
        if self.core.state != State::Online {
            return Err(AnswerError::State(self.core.state));
        }
        if self.role.requests().answer(packet_id.0, answer) { Ok(()) } else { Err(AnswerError::NotAsked) }
    }
}

/// The body of a refusal.
pub(super) fn refused(code: RefusalCode, reason: &str, wait: Option<Duration>) -> Refused {
    let (retry, retry_after_ms) = (wait.is_some(), wait_millis(wait));
    Refused { code: u32::from(code.0), reason: cut_reason(reason.into()), retry, retry_after_ms }
}

/// The other side asks. What is wrong with it, if something is.
pub(super) fn asked<M: Machine>(
    role: &mut M,
    events: &mut VecDeque<M::Event>,
    now: Instant,
    id: u64,
    body: RequestBody,
) -> Result<(), Wrong> {
    if body.content.len() > role.max_content() {
        return Err((RefusalCode::TOO_LARGE, "the content of the request is over the limit"));
    }
    let request = Request::from_body(body);
    if id == 0 || !request.is_valid() {
        return Err((RefusalCode::INVALID, "a request has a packet id, a method with a valid name, and a time for it"));
    }
    match role.requests().arrived(id, now, request.timeout) {
        Arrived::Taken => {
            events.push_back(M::request_event(RequestEvent::Asked { packet_id: PacketId(id), request }));
            Ok(())
        }
        Arrived::Twice => Err((RefusalCode::INVALID, "a request with this packet id is open")),
        Arrived::Full => Err((RefusalCode::TOO_MANY, "too many requests are open: wait for their answers")),
    }
}

/// The other side answered.
pub(super) fn answered<M: Machine>(
    role: &mut M,
    core: &mut Core,
    events: &mut VecDeque<M::Event>,
    id: u64,
    body: Response,
) {
    let Response { content_type, content } = body;
    if role.requests().answered(id) {
        let packet_id = PacketId(id);
        events.push_back(M::request_event(RequestEvent::Answered { packet_id, content_type, content }));
    } else {
        core.stats.late_responses += 1;
    }
}

/// The other side refused something. Whether it was a request.
pub(super) fn failed<M: Machine>(role: &mut M, events: &mut VecDeque<M::Event>, id: u64, refused: &Refused) -> bool {
    let asked = role.requests().answered(id);
    if asked {
        let failure = RequestFailure::Refused {
            code: RefusalCode(u16::try_from(refused.code).unwrap_or(RefusalCode::INVALID.0)),
            reason: cut_reason(refused.reason.clone()),
            retry_after: refused.retry.then(|| Duration::from_millis(refused.retry_after_ms.into())),
        };
        events.push_back(M::request_event(RequestEvent::Failed { packet_id: PacketId(id), failure }));
    }
    asked
}

/// Requests whose time is over.
pub(super) fn expire<M: Machine>(role: &mut M, events: &mut VecDeque<M::Event>, now: Instant) {
    while let Some(packet_id) = role.requests().expire(now) {
        events.push_back(M::request_event(RequestEvent::Failed { packet_id, failure: RequestFailure::Timeout }));
    }
}

/// The connection ended.
pub(super) fn lost<M: Machine>(role: &mut M, events: &mut VecDeque<M::Event>) {
    for packet_id in role.requests().clear() {
        events.push_back(M::request_event(RequestEvent::Failed { packet_id, failure: RequestFailure::Unknown }));
    }
}
