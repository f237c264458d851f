//! What stands between the HTTP requests of one session and its loop: both directions with their numbers, and the
//! transport at the loop's end.
//!
//! Every request repeats safely. One that sends is taken when its number is the next; the same number again is answered
//! and not taken. An answer is kept until the next number asks, which says that it arrived.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use im_codec::BatchLimits;
use im_proto::{CloseCode, Framing, Limits, frame_len};
use tokio::sync::watch;
use tokio::time::Instant;

use super::table::Entry;
use crate::transport::{Input, LINGER, Transport};

/// Answers are gathered up to so many bytes; one packet may reach beyond.
pub(super) const OUTBOX: usize = 64 * 1024;

#[derive(Debug)]
struct State {
    /// The last number that was taken, and the packets of it that the session has not read.
    sent: u64,
    inbox: Vec<u8>,
    /// The last number that was answered, and the answer.
    received: u64,
    kept: Bytes,
    /// What waits for the next number, whole packets.
    outbox: Vec<u8>,
    outbox_packets: u32,
    /// Which request waits for packets; a later one takes its place.
    waiting: u64,
    /// Requests under way, and since when there is none.
    requests: u32,
    idle_since: Instant,
    /// The client sends nothing more.
    ended: bool,
    /// The session says nothing more.
    closed: bool,
}

/// One session's state, and the number of its changes.
#[derive(Debug)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// Why a request is not answered with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the number does not follow: the last one was {last}, so send it again or the next one")]
    OutOfOrder { last: u64 },
    #[error("a later request waits for packets in place of this one")]
    Replaced,
    #[error("the session is over: open another")]
    Over,
    #[error("the session has not taken what was sent before: send the same again")]
    Busy,
}

/// A request under way, for the idle deadline.
pub(super) struct Request<'a>(&'a Pipe);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests = state.requests.saturating_sub(1);
        state.idle_since = Instant::now();
        drop(state);
        self.0.changed();
    }
}

impl Pipe {
    pub(super) fn new() -> Self {
        let state = State {
            sent: 0,
            inbox: Vec::new(),
            received: 0,
            kept: Bytes::new(),
            outbox: Vec::new(),
            outbox_packets: 0,
            waiting: 0,
            requests: 0,
            idle_since: Instant::now(),
            ended: false,
            closed: false,
        };
        Self { state: Mutex::new(state), changes: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step can stop half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Asks after every change until there is an answer, or until `deadline`.
    async fn until<T>(&self, deadline: Option<Instant>, mut ask: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(answer) = ask(&mut self.lock()) {
                return Some(answer);
            }
            let change = changes.changed();
            match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, change).await.ok()?.ok()?,
                None => change.await.ok()?,
            }
        }
    }

    pub(super) fn request(&self) -> Request<'_> {
        self.lock().requests += 1;
        Request(self)
    }

    /// Takes packets, once for each number. Waits while the session is behind.
    pub(super) async fn send(
        &self,
        number: u64,
        packets: &[u8],
        at_most: Duration,
    ) -> std::result::Result<(), Refusal> {
        let taken = self.until(Some(Instant::now() + at_most), |state| {
            if number == state.sent && number > 0 {
                return Some(Ok(()));
            }
            if number != state.sent.saturating_add(1) {
                return Some(Err(Refusal::OutOfOrder { last: state.sent }));
            }
            if state.closed || state.ended {
                return Some(Err(Refusal::Over));
            }
            state.inbox.is_empty().then(|| {
                state.inbox.extend_from_slice(packets);
                state.sent = number;
                Ok(())
            })
        });
        let taken = taken.await.unwrap_or(Err(Refusal::Busy));
        self.changed();
        taken
    }

    /// Answers with the packets of this number: those kept, or those that come within `wait`.
    pub(super) async fn receive(&self, number: u64, wait: Duration) -> std::result::Result<Bytes, Refusal> {
        let mine = {
            let mut state = self.lock();
            if number == state.received && number > 0 {
                return Ok(state.kept.clone());
            }
            if number != state.received.saturating_add(1) {
                return Err(Refusal::OutOfOrder { last: state.received });
            }
            // It has the last answer.
            state.kept = Bytes::new();
            state.waiting += 1;
            state.waiting
        };
        self.changed();
        let answer = self.until(Some(Instant::now() + wait), |state| {
            if state.waiting != mine {
                return Some(Err(Refusal::Replaced));
            }
            if state.outbox.is_empty() {
                return state.closed.then_some(Err(Refusal::Over));
            }
            Some(Ok(state.take(number)))
        });
        let answer = match answer.await {
            Some(answer) => answer,
            // Time is up: an answer without packets, if none came at the last moment.
            None => {
                let mut state = self.lock();
                if state.waiting == mine { Ok(state.take(number)) } else { Err(Refusal::Replaced) }
            }
        };
        self.changed();
        answer
    }

    /// The client is done.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed();
    }
}

impl State {
    fn take(&mut self, number: u64) -> Bytes {
        self.received = number;
        self.outbox_packets = 0;
        self.kept = std::mem::take(&mut self.outbox).into();
        self.kept.clone()
    }

    /// Takes whole packets while there is room. How many bytes; `None` when there is no room.
    fn put(&mut self, packets: &[u8]) -> Option<Result<usize>> {
        let mut taken = 0;
        while let Some(rest) = packets.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.outbox.len() >= OUTBOX || self.outbox_packets >= BatchLimits::default().max_packets {
                break;
            }
            // The connection made these bytes, so they are whole packets.
            let Ok(Framing::Complete(len)) = frame_len(rest, &Limits::new(u32::MAX)) else {
                return Some(Err(Error::from(ErrorKind::InvalidData)));
            };
            self.outbox.extend_from_slice(rest.get(..len).unwrap_or(rest));
            self.outbox_packets += 1;
            taken += len;
        }
        (taken > 0).then_some(Ok(taken))
    }
}

/// The session's end of a [`Pipe`]. With it the session goes from the table.
pub(crate) struct Polling {
    pub(super) pipe: Arc<Pipe>,
    pub(super) idle: Duration,
    pub(super) _entry: Entry,
}

impl Transport for Polling {
    const NAME: &'static str = "http";

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<Input> {
        loop {
            let (requests, idle_since) = {
                let state = self.pipe.lock();
                (state.requests, state.idle_since)
            };
            let deadline = (requests == 0).then(|| idle_since + self.idle);
            let input = self.pipe.until(deadline, |state| {
                if !state.inbox.is_empty() {
                    into.append(&mut state.inbox);
                    state.inbox = Vec::new();
                    return Some(Some(Input::Bytes));
                }
                if state.ended {
                    return Some(Some(Input::End));
                }
                // Another deadline is due.
                (state.requests != requests || state.idle_since != idle_since).then_some(None)
            });
            match input.await {
                Some(Some(input)) => {
                    // A request may wait for room.
                    self.pipe.changed();
                    return Ok(input);
                }
                Some(None) => {}
                None => {
                    tracing::debug!("no request came for a session over HTTP, which is ended");
                    self.pipe.end();
                    return Ok(Input::End);
                }
            }
        }
    }

    async fn write(&mut self, packets: &[u8]) -> Result<usize> {
        let written = self.pipe.until(None, |state| state.put(packets)).await;
        self.pipe.changed();
        written.unwrap_or_else(|| Err(Error::from(ErrorKind::BrokenPipe)))
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self, _code: CloseCode, _reason: &str) {
        self.pipe.lock().closed = true;
        self.pipe.changed();
        // The last answer holds the close packet. It may be lost, so it stays for a while, or until it is acknowledged.
        let fetched = self.pipe.until(Some(Instant::now() + LINGER), |state| {
            let fetched = state.ended || (state.outbox.is_empty() && state.kept.is_empty());
            fetched.then_some(())
        });
        let _ = fetched.await;
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.pipe.lock().closed = true;
        self.pipe.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use im_codec::{Header, MessageType};

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    fn packet(len: usize) -> Vec<u8> {
        let mut packet = Header::new(MessageType::SEALED).to_bytes(len as u32).to_vec();
        packet.resize(packet.len() + len, 7);
        packet
    }

    async fn read(polling: &mut Polling) -> Vec<u8> {
        let mut into = Vec::new();
        assert!(matches!(polling.read(&mut into).await.unwrap(), Input::Bytes));
        into
    }

    fn polling() -> (Arc<Pipe>, Polling) {
        let pipe = Arc::new(Pipe::new());
        let entry = Entry::none();
        (pipe.clone(), Polling { pipe, idle: LONG, _entry: entry })
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_request_is_taken_once_and_answered_the_same() {
        let (pipe, mut polling) = polling();
        pipe.send(1, b"one", NOW).await.unwrap();
        pipe.send(1, b"one", NOW).await.unwrap();
        assert_eq!(pipe.send(2, b"two", LONG).await, Err(Refusal::Busy));
        assert_eq!(read(&mut polling).await, b"one");
        assert_eq!(pipe.send(1, b"one", NOW).await, Ok(()));
        assert_eq!(pipe.send(3, b"three", NOW).await, Err(Refusal::OutOfOrder { last: 1 }));
        assert_eq!(pipe.send(0, b"", NOW).await, Err(Refusal::OutOfOrder { last: 1 }));
        pipe.send(2, b"two", NOW).await.unwrap();
        assert_eq!(read(&mut polling).await, b"two");

        let (first, second) = (packet(10), packet(20));
        polling.write(&first).await.unwrap();
        assert_eq!(pipe.receive(1, NOW).await.unwrap(), first);
        polling.write(&second).await.unwrap();
        assert_eq!(pipe.receive(1, LONG).await.unwrap(), first);
        assert_eq!(pipe.receive(3, NOW).await, Err(Refusal::OutOfOrder { last: 1 }));
        assert_eq!(pipe.receive(2, NOW).await.unwrap(), second);
        // An answer without packets counts too.
        assert_eq!(pipe.receive(3, LONG).await.unwrap(), b"".as_slice());
        assert_eq!(pipe.receive(0, NOW).await, Err(Refusal::OutOfOrder { last: 3 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_request_takes_the_place_of_one_that_waits() {
        let (pipe, mut polling) = polling();
        let first = tokio::spawn({
            let pipe = pipe.clone();
            async move { pipe.receive(1, LONG).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn({
            let pipe = pipe.clone();
            async move { pipe.receive(1, LONG).await }
        });
        assert_eq!(first.await.unwrap(), Err(Refusal::Replaced));
        polling.write(&packet(1)).await.unwrap();
        assert_eq!(second.await.unwrap().unwrap(), packet(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_and_whole_packets() {
        let (pipe, mut polling) = polling();
        let packets = packet(30_000).repeat(5);
        let taken = polling.write(&packets).await.unwrap();
        assert_eq!(taken, 3 * 30_024);
        tokio::time::timeout(LONG, polling.write(&packets)).await.expect_err("there is no room");
        assert_eq!(pipe.receive(1, NOW).await.unwrap().len(), taken);
        assert_eq!(polling.write(&packets[taken..]).await.unwrap(), 2 * 30_024);
        let small = packet(0).repeat(1_001);
        assert_eq!(pipe.receive(2, NOW).await.unwrap().len(), 2 * 30_024);
        assert_eq!(polling.write(&small).await.unwrap(), 24 * 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn without_requests_it_ends_and_with_one_it_does_not() {
        let (pipe, mut polling) = polling();
        let waiting = pipe.request();
        tokio::time::timeout(10 * LONG, polling.read(&mut Vec::new())).await.expect_err("a request is under way");
        drop(waiting);
        let (start, mut into) = (Instant::now(), Vec::new());
        assert!(matches!(polling.read(&mut into).await.unwrap(), Input::End));
        assert_eq!(start.elapsed(), LONG);
        assert_eq!(pipe.send(1, b"x", NOW).await, Err(Refusal::Over));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_can_be_fetched_and_repeated_after_the_end() {
        let (pipe, mut polling) = polling();
        polling.write(&packet(3)).await.unwrap();
        let closing = tokio::spawn(polling.close(CloseCode::NORMAL, ""));
        tokio::task::yield_now().await;
        assert_eq!(pipe.receive(1, LONG).await.unwrap(), packet(3));
        assert_eq!(pipe.receive(1, LONG).await.unwrap(), packet(3));
        assert!(!closing.is_finished());
        assert_eq!(pipe.receive(2, LONG).await, Err(Refusal::Over));
        let start = Instant::now();
        closing.await.unwrap();
        assert_eq!(start.elapsed(), NOW, "the next number acknowledged it");
    }
}
