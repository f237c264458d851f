//! Requests and responses, both ways: one question, one answer, within a time. Nothing of them is stored or sent again.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_serial::Body;
use im_serial::body::{Refused, Request as RequestBody};

use crate::close::RefusalCode;
use crate::config::valid_name;
use crate::error::RequestError;
use crate::outbox::PacketId;
use crate::time::Instant;

/// The longest time for a request; more counts as this.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Something that the other side is asked to do.
///
/// ```
/// use core::time::Duration;
/// use im_proto::Request;
/// let request = Request::new("files.put", b"name".to_vec(), Duration::from_secs(5));
/// assert!(!format!("{request:?}").contains("name"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do; a valid name.
    pub method: String,
    /// See [`crate::content_type`].
    pub content_type: u32,
    /// The content.
    pub content: Vec<u8>,
    /// For how long an answer is waited for: from a millisecond to an hour, counted from the command.
    pub timeout: Duration,
}

impl Request {
    /// A request whose content has the application's own meaning (content type 0).
    pub fn new(method: &str, content: Vec<u8>, timeout: Duration) -> Self {
        Self { method: method.into(), content_type: 0, content, timeout }
    }

    pub(crate) fn from_body(body: RequestBody) -> Self {
        let RequestBody { method, content_type, content, timeout_ms } = body;
        let timeout = Duration::from_millis(timeout_ms.into()).min(MAX_TIMEOUT);
        Self { method, content_type, content, timeout }
    }

    fn body(&self) -> Body {
        let timeout_ms = u32::try_from(self.timeout.min(MAX_TIMEOUT).as_millis()).unwrap_or(u32::MAX);
        let (method, content) = (self.method.clone(), self.content.clone());
        RequestBody { method, content_type: self.content_type, content, timeout_ms }.into()
    }

    pub(crate) fn is_valid(&self) -> bool {
        valid_name(&self.method) && self.timeout >= Duration::from_millis(1)
    }
}

/// Never shows content.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("content_type", &self.content_type)
            .field("content", &format_args!("<{} bytes>", self.content.len()))
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The time is over. Whether the other side did it is not known.
    Timeout,
    /// The connection ended first. Whether the other side did it is not known; it is not asked again by itself.
    Unknown,
    /// The other side did not do it.
    Refused {
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
        /// From when on another answer is possible; `None`: never.
        retry_after: Option<Duration>,
    },
}

/// What happened to requests; each role has events of its own for it.
pub enum RequestEvent {
    /// The other side asks.
    Asked { packet_id: PacketId, request: Request },
    /// The other side answered.
    Answered { packet_id: PacketId, content_type: u32, content: Vec<u8> },
    /// There is no response.
    Failed { packet_id: PacketId, failure: RequestFailure },
}

/// A request of this side.
#[derive(Debug)]
struct Own {
    id: u64,
    due: Instant,
    /// Until it is transmitted.
    body: Option<Body>,
    cost: usize,
}

/// A request of the other side: until its answer is transmitted, or its time is over.
#[derive(Debug)]
struct Asked {
    id: u64,
    due: Instant,
    answer: Option<Body>,
}

/// What waits for transmission.
#[derive(Debug)]
enum Waiting {
    Own(u64),
    Answer(u64),
    /// Of a request that was not taken.
    Refusal(u64, Body),
}

/// What a request costs beyond its content and method.
const OVERHEAD: usize = size_of::<Own>() + size_of::<Waiting>() + 32;

/// Requests of both sides. Own ones are bounded in number, and in bytes while they wait; those of the other side in number.
#[derive(Debug)]
pub struct Requests {
    own: Vec<Own>,
    bytes: usize,
    max_bytes: usize,
    asked: Vec<Asked>,
    max: usize,
    queue: VecDeque<Waiting>,
    /// Those in the queue.
    refusals: usize,
}

/// Refusals of requests that were not taken which may wait for transmission.
const MAX_REFUSALS: usize = 64;

/// What becomes of a request of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    Taken,
    /// One with that id is open.
    Twice,
    Full,
}

impl Requests {
    pub(crate) const fn new(max: u32, max_bytes: usize) -> Self {
        Self {
            own: Vec::new(),
            bytes: 0,
            max_bytes,
            asked: Vec::new(),
            max: max as usize,
            queue: VecDeque::new(),
            refusals: 0,
        }
    }

    /// Whether there is room for one more, and what it costs. One always fits where none waits.
    pub(crate) fn has_room(&self, request: &Request) -> Result<usize, RequestError> {
        if self.own.len() >= self.max {
            return Err(RequestError::TooMany { max: self.max });
        }
        let cost = OVERHEAD.saturating_add(request.content.len()).saturating_add(request.method.len());
        if self.bytes > 0 && self.bytes.saturating_add(cost) > self.max_bytes {
            return Err(RequestError::Blocked);
        }
        Ok(cost)
    }

    pub(crate) fn ask(&mut self, id: u64, now: Instant, request: &Request, cost: usize) {
        let due = now + request.timeout.min(MAX_TIMEOUT);
        self.own.push(Own { id, due, body: Some(request.body()), cost });
        self.bytes += cost;
        self.queue.push_back(Waiting::Own(id));
    }

    /// The other side answered or refused. Whether that was waited for.
    pub(crate) fn answered(&mut self, id: u64) -> bool {
        // What was not transmitted was not answered.
        let at = self.own.iter().position(|own| own.id == id && own.body.is_none());
        at.map(|at| self.own.swap_remove(at)).is_some()
    }

    /// A request of the other side came.
    pub(crate) fn arrived(&mut self, id: u64, now: Instant, timeout: Duration) -> Arrived {
        if self.asked.iter().any(|asked| asked.id == id) {
            return Arrived::Twice;
        }
        if self.asked.len() >= self.max {
            return Arrived::Full;
        }
        self.asked.push(Asked { id, due: now + timeout, answer: None });
        Arrived::Taken
    }

    /// Answers a request of the other side. Whether it is open.
    pub(crate) fn answer(&mut self, id: u64, answer: Body) -> bool {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.id == id && asked.answer.is_none()) else {
            return false;
        };
        asked.answer = Some(answer);
        self.queue.push_back(Waiting::Answer(id));
        true
    }

    /// Refuses a request that was not taken; silently where [`MAX_REFUSALS`] wait. To take no input until they are out could stop
    /// both sides for ever.
    pub(crate) fn refuse(&mut self, id: u64, refused: Refused) {
        if self.refusals < MAX_REFUSALS {
            self.refusals += 1;
            self.queue.push_back(Waiting::Refusal(id, refused.into()));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn next(&self) -> Option<(u64, &Body)> {
        match self.queue.front()? {
            Waiting::Own(id) => Some((*id, self.own.iter().find(|own| own.id == *id)?.body.as_ref()?)),
            Waiting::Answer(id) => Some((*id, self.asked.iter().find(|asked| asked.id == *id)?.answer.as_ref()?)),
            Waiting::Refusal(id, body) => Some((*id, body)),
        }
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        match self.queue.pop_front() {
            Some(Waiting::Own(id)) => {
                if let Some(own) = self.own.iter_mut().find(|own| own.id == id) {
                    own.body = None;
                    self.bytes -= own.cost;
                }
            }
            Some(Waiting::Answer(id)) => self.asked.retain(|asked| asked.id != id),
            Some(Waiting::Refusal(..)) => self.refusals -= 1,
            None => {}
        }
    }

    /// What [`next`](Self::next) gave is larger than the other side accepts. An own request that fails so; an answer becomes a
    /// refusal.
    pub(crate) fn too_large(&mut self) -> Option<u64> {
        match self.queue.front() {
            Some(Waiting::Own(id)) => {
                let id = *id;
                self.sent();
                self.answered(id).then_some(id)
            }
            Some(Waiting::Answer(id)) => {
                let (code, reason) = (u32::from(RefusalCode::TOO_LARGE.0), "the response is too large".into());
                let refused = Refused { code, reason, ..Refused::default() };
                if let Some(asked) = self.asked.iter_mut().find(|asked| asked.id == *id) {
                    asked.answer = Some(refused.into());
                }
                None
            }
            Some(Waiting::Refusal(..)) | None => {
                self.sent();
                None
            }
        }
    }

    /// One own request whose time is over; call until there is none. Those of the other side that are over are forgotten.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<PacketId> {
        if self.asked.iter().any(|asked| asked.due <= now) {
            self.asked.retain(|asked| asked.due > now);
            let asked = &self.asked;
            self.queue.retain(|waiting| match waiting {
                Waiting::Answer(id) => asked.iter().any(|asked| asked.id == *id),
                Waiting::Own(_) | Waiting::Refusal(..) => true,
            });
        }
        let at = self.own.iter().position(|own| own.due <= now)?;
        let Own { id, body, cost, .. } = self.own.swap_remove(at);
        if body.is_some() {
            self.bytes -= cost;
            self.queue.retain(|waiting| !matches!(waiting, Waiting::Own(own) if *own == id));
        }
        Some(PacketId(id))
    }

    /// The next moment at which something is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.own.iter().map(|own| own.due).chain(self.asked.iter().map(|asked| asked.due)).min()
    }

    /// Gives back memory that is not in use. Whether no request is open and no refusal waits.
    pub(crate) fn rest(&mut self) -> bool {
        self.own.shrink_to_fit();
        self.asked.shrink_to_fit();
        self.queue.shrink_to_fit();
        self.own.is_empty() && self.asked.is_empty() && self.queue.is_empty()
    }

    /// Forgets everything; own requests that have no answer.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = PacketId> + use<> {
        self.asked.clear();
        self.queue.clear();
        (self.bytes, self.refusals) = (0, 0);
        core::mem::take(&mut self.own).into_iter().map(|own| PacketId(own.id))
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::vec;

    use im_serial::body::Response;

    use super::*;

    const fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn ask(requests: &mut Requests, id: u64, secs: u64, bytes: usize) -> Result<(), RequestError> {
        let request = Request::new("m", vec![0; bytes], Duration::from_secs(secs));
        let cost = requests.has_room(&request)?;
        requests.ask(id, at(0), &request, cost);
        Ok(())
    }

    fn sent(requests: &mut Requests) -> Option<u64> {
        let id = requests.next()?.0;
        requests.sent();
        Some(id)
    }

    #[test]
    fn own_requests_are_bounded_in_number_and_in_bytes_while_they_wait() {
        let mut requests = Requests::new(3, 2 * (OVERHEAD + 101));
        ask(&mut requests, 1, 9, 1 << 20).unwrap();
        assert_eq!(ask(&mut requests, 2, 9, 1), Err(RequestError::Blocked));
        assert_eq!(sent(&mut requests), Some(1));
        ask(&mut requests, 2, 9, 100).unwrap();
        ask(&mut requests, 3, 9, 100).unwrap();
        assert_eq!(ask(&mut requests, 4, 9, 1), Err(RequestError::TooMany { max: 3 }), "those without an answer count");
        assert!(!requests.answered(2), "nobody was asked yet");
        assert_eq!((sent(&mut requests), sent(&mut requests), sent(&mut requests)), (Some(2), Some(3), None));
        assert!(requests.answered(2) && !requests.answered(2) && !requests.answered(77));
        assert_eq!(requests.bytes, 0);
        ask(&mut requests, 4, 9, 1).unwrap();
    }

    #[test]
    fn what_is_over_fails_once_and_is_not_transmitted() {
        let mut requests = Requests::new(9, 1 << 20);
        for (id, secs) in [(1, 5), (2, 3), (3, 9)] {
            ask(&mut requests, id, secs, 1).unwrap();
        }
        sent(&mut requests);
        assert_eq!(requests.due(), Some(at(3)));
        assert_eq!((requests.expire(at(2)), requests.expire(at(5)).is_some()), (None, true));
        assert!(requests.expire(at(5)).is_some() && requests.expire(at(5)).is_none());
        assert_eq!(sent(&mut requests), Some(3));
        assert!(!requests.answered(1), "too late");
        assert_eq!((requests.bytes, requests.due()), (0, Some(at(9))));
        assert_eq!(requests.clear().collect::<Vec<_>>(), [PacketId(3)]);
    }

    #[test]
    fn a_request_of_the_other_side_holds_its_place_until_its_answer_is_out_or_its_time_is_over() {
        let mut requests = Requests::new(2, 1 << 20);
        let arrive = |requests: &mut Requests, id| requests.arrived(id, at(0), Duration::from_secs(5));
        assert_eq!(
            [1, 1, 2, 3].map(|id| arrive(&mut requests, id)),
            [Arrived::Taken, Arrived::Twice, Arrived::Taken, Arrived::Full,]
        );
        assert!(requests.answer(1, Response::default().into()) && !requests.answer(1, Response::default().into()));
        assert_eq!(arrive(&mut requests, 3), Arrived::Full, "the answer waits");
        assert_eq!(sent(&mut requests), Some(1));
        assert_eq!(arrive(&mut requests, 3), Arrived::Taken);
        requests.answer(2, Response::default().into());
        assert_eq!(requests.expire(at(5)), None);
        assert!(requests.next().is_none() && !requests.answer(3, Response::default().into()));
        assert_eq!(arrive(&mut requests, 1), Arrived::Taken);
    }

    #[test]
    fn refusals_that_nobody_reads_are_bounded() {
        let mut requests = Requests::new(1, 1 << 20);
        for id in 0..1000 {
            requests.refuse(id, Refused::default());
        }
        assert_eq!(requests.queue.len(), MAX_REFUSALS);
        while sent(&mut requests).is_some() {}
        requests.refuse(7, Refused::default());
        assert_eq!(sent(&mut requests), Some(7));
    }

    #[test]
    fn what_no_packet_holds_fails_or_becomes_a_refusal() {
        let mut requests = Requests::new(2, 1 << 20);
        ask(&mut requests, 1, 9, 1).unwrap();
        requests.arrived(7, at(0), Duration::from_secs(5));
        requests.answer(7, Response::default().into());
        assert_eq!((requests.too_large(), requests.too_large()), (Some(1), None));
        assert!(matches!(requests.next(), Some((7, Body::Refused(refused))) if refused.code == 4));
        assert_eq!((requests.bytes, requests.own.len()), (0, 0));
    }
}
