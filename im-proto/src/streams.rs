//! Streams: content that comes piece by piece while it is made, an assistant's words or live text. Nothing of a stream is stored:
//! who missed a piece waits for the message of the log that has the whole.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use im_serial::Body;
use im_serial::body::{Conversation, Name, StreamDelta, StreamEnd, StreamOpen};

use crate::error::StreamError;

/// Names a stream that a server tells a device of: chosen by the application, other than 0, and unique among the streams that
/// are open on the connection.
///
/// ```
/// # use im_proto::StreamId;
/// assert!(StreamId(1) < StreamId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Why a stream is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbortReason {
    /// Its source gave it up.
    Cancelled,
    /// The connection of its source ended.
    Lost,
    /// It went over a limit of the server.
    Limit,
    /// Another one, of the service or of a later version.
    Other,
}

/// How a stream ended.
///
/// ```
/// # use im_proto::{AbortReason, StreamOutcome};
/// assert_ne!(StreamOutcome::Done { seq: 9 }, StreamOutcome::Aborted(AbortReason::Lost));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamOutcome {
    /// It is complete.
    Done {
        /// The seq of the stored message that has the whole content; 0: there is none. A server ignores what a client says here.
        seq: u64,
    },
    /// It is not, and nothing more comes.
    Aborted(AbortReason),
}

impl StreamOutcome {
    /// The codes of the wire: why it was aborted, and the seq.
    const fn codes(self) -> (u32, u64) {
        match self {
            Self::Done { seq } => (0, seq),
            Self::Aborted(AbortReason::Cancelled) => (1, 0),
            Self::Aborted(AbortReason::Lost) => (2, 0),
            Self::Aborted(AbortReason::Limit) => (3, 0),
            Self::Aborted(AbortReason::Other) => (4, 0),
        }
    }

    pub(crate) const fn from_codes(aborted: u32, seq: u64) -> Self {
        match aborted {
            0 => Self::Done { seq },
            1 => Self::Aborted(AbortReason::Cancelled),
            2 => Self::Aborted(AbortReason::Lost),
            3 => Self::Aborted(AbortReason::Limit),
            _ => Self::Aborted(AbortReason::Other),
        }
    }
}

/// A stream that this side tells the other of.
#[derive(Debug)]
struct Outgoing {
    /// The first packet, until it is transmitted.
    open: Option<Body>,
    /// Bytes of the stream so far, those that wait included.
    len: u64,
    /// What waits: pieces that are not transmitted yet are one.
    waiting: Vec<u8>,
    /// Too much waited: only the end is told.
    broken: bool,
    end: Option<StreamOutcome>,
}

impl Outgoing {
    fn has_more(&self) -> bool {
        self.open.is_some() || !self.waiting.is_empty() || self.end.is_some()
    }
}

/// Ended streams that may still be refused.
const MAX_ENDED: usize = 64;

/// The streams that this side tells the other of. Waiting bytes are bounded over all of them, by what they allocate.
#[derive(Debug)]
pub(crate) struct Outgoings {
    streams: BTreeMap<u64, Outgoing>,
    /// Those that have something to transmit; each once, so that they take turns.
    order: VecDeque<u64>,
    /// The latest ones whose end was transmitted.
    ended: VecDeque<u64>,
    bytes: usize,
    max_bytes: usize,
    max_open: usize,
    /// Most bytes of one packet.
    chunk: usize,
}

impl Outgoings {
    pub(crate) fn new(max_open: u32, max_bytes: usize, chunk: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            order: VecDeque::new(),
            ended: VecDeque::new(),
            bytes: 0,
            max_bytes,
            max_open: max_open as usize,
            chunk: chunk.max(1),
        }
    }

    /// Whether one more may be opened.
    pub(crate) fn has_room(&self) -> Result<(), StreamError> {
        if self.streams.len() >= self.max_open {
            return Err(StreamError::TooMany { max: self.max_open });
        }
        Ok(())
    }

    pub(crate) fn open(
        &mut self,
        id: u64,
        conversation: Conversation,
        from: Name,
        content_type: u32,
    ) -> Result<(), StreamError> {
        if self.streams.contains_key(&id) {
            return Err(StreamError::InUse);
        }
        self.has_room()?;
        let open = Some(StreamOpen { stream: id, conversation, from, content_type }.into());
        self.streams.insert(id, Outgoing { open, len: 0, waiting: Vec::new(), broken: false, end: None });
        self.order.push_back(id);
        Ok(())
    }

    /// Adds a piece. Whether there was room; where there was not, nothing is changed.
    pub(crate) fn push(&mut self, id: u64, piece: &[u8]) -> Result<bool, StreamError> {
        let stream = self.streams.get_mut(&id).filter(|stream| stream.end.is_none()).ok_or(StreamError::NotOpen)?;
        let len = stream.len.saturating_add(piece.len() as u64);
        if piece.is_empty() || stream.broken {
            stream.len = len;
            return Ok(true);
        }
        let (had, capacity) = (stream.has_more(), stream.waiting.capacity());
        let room = self.max_bytes.saturating_sub(self.bytes - capacity);
        let need = stream.waiting.len() + piece.len();
        if need > room {
            return Ok(false);
        }
        if need > capacity {
            // Doubled as usual, but not beyond the bound.
            let grown = capacity.saturating_mul(2).clamp(need, room);
            stream.waiting.reserve_exact(grown - stream.waiting.len());
        }
        stream.waiting.extend_from_slice(piece);
        stream.len = len;
        self.bytes = self.bytes - capacity + stream.waiting.capacity();
        if !had {
            self.order.push_back(id);
        }
        Ok(true)
    }

    /// What waits of the stream is dropped, and so is this piece: the receiver learns it from the end.
    pub(crate) fn break_off(&mut self, id: u64, piece: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.len = stream.len.saturating_add(piece.len() as u64);
        stream.broken = true;
        let waiting = core::mem::take(&mut stream.waiting);
        self.bytes -= waiting.capacity();
        if !stream.has_more() {
            self.order.retain(|other| *other != id);
        }
    }

    pub(crate) fn end(&mut self, id: u64, outcome: StreamOutcome) -> Result<(), StreamError> {
        let stream = self.streams.get_mut(&id).filter(|stream| stream.end.is_none()).ok_or(StreamError::NotOpen)?;
        if !stream.has_more() {
            self.order.push_back(id);
        }
        stream.end = Some(outcome);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The next packet, with the stream that it is of.
    pub(crate) fn next(&self) -> Option<(u64, Body)> {
        let id = *self.order.front()?;
        let stream = self.streams.get(&id)?;
        if let Some(open) = &stream.open {
            return Some((id, open.clone()));
        }
        if let Some(content) = stream.waiting.get(..self.chunk.min(stream.waiting.len())).filter(|it| !it.is_empty()) {
            let offset = stream.len - stream.waiting.len() as u64;
            return Some((id, StreamDelta { stream: id, offset, content: content.to_vec() }.into()));
        }
        let (aborted, seq) = stream.end?.codes();
        Some((id, StreamEnd { stream: id, len: stream.len, aborted, seq }.into()))
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        let Some(id) = self.order.pop_front() else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.open.take().is_none() {
            if stream.waiting.is_empty() {
                self.streams.remove(&id);
                self.ended.push_back(id);
                if self.ended.len() > MAX_ENDED {
                    self.ended.pop_front();
                }
                return;
            }
            let capacity = stream.waiting.capacity();
            if stream.waiting.len() <= self.chunk {
                stream.waiting = Vec::new();
            } else {
                stream.waiting.drain(..self.chunk);
            }
            self.bytes = self.bytes - capacity + stream.waiting.capacity();
        }
        if stream.has_more() {
            self.order.push_back(id);
        }
    }

    /// The other side does not want the stream. Whether it was told of it.
    pub(crate) fn refused(&mut self, id: u64) -> bool {
        if let Some(at) = self.ended.iter().position(|ended| *ended == id) {
            self.ended.remove(at);
            return true;
        }
        let told = self.streams.get(&id).is_some_and(|stream| stream.open.is_none());
        if told {
            self.forget(id);
        }
        told
    }

    /// Nothing more of the stream is told.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            self.bytes -= stream.waiting.capacity();
            self.order.retain(|other| *other != id);
        }
    }

    /// Forgets those that ended: a refusal of one would have come by now. Gives back memory that is not in use. Whether none is
    /// open.
    pub(crate) fn rest(&mut self) -> bool {
        self.ended.clear();
        self.order.shrink_to_fit();
        self.ended.shrink_to_fit();
        self.streams.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.streams.clear();
        self.order.clear();
        self.ended.clear();
        self.bytes = 0;
    }
}

/// What a piece of a stream is for its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next one.
    Next,
    /// There is a hole before it, for the first time.
    Hole,
    /// There was a hole before.
    Broken,
    /// Nobody knows the stream.
    Unknown,
}

/// The streams that the other side tells of: how many bytes each had so far, `None` after a hole.
#[derive(Debug)]
pub(crate) struct Incomings {
    streams: BTreeMap<u64, Option<u64>>,
    max_open: usize,
}

impl Incomings {
    pub(crate) const fn new(max_open: u32) -> Self {
        Self { streams: BTreeMap::new(), max_open: max_open as usize }
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.streams.contains_key(&id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.streams.len() >= self.max_open
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn open(&mut self, id: u64) {
        self.streams.insert(id, Some(0));
    }

    pub(crate) fn piece(&mut self, id: u64, offset: u64, len: usize) -> Piece {
        match self.streams.get_mut(&id) {
            None => Piece::Unknown,
            Some(None) => Piece::Broken,
            Some(had) if *had == Some(offset) => {
                *had = Some(offset.saturating_add(len as u64));
                Piece::Next
            }
            Some(had) => {
                *had = None;
                Piece::Hole
            }
        }
    }

    /// The stream ended with so many bytes in all: whether a hole shows only now. `None`: nobody knows it.
    pub(crate) fn end(&mut self, id: u64, len: u64) -> Option<bool> {
        Some(self.streams.remove(&id)?.is_some_and(|had| had != len))
    }

    /// Whether it was there.
    pub(crate) fn forget(&mut self, id: u64) -> bool {
        self.streams.remove(&id).is_some()
    }

    /// Forgets everything; what was open.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = u64> + use<> {
        core::mem::take(&mut self.streams).into_keys()
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::string::String;
    use alloc::{format, vec};

    use super::*;

    fn outgoings(max_bytes: usize, chunk: usize) -> Outgoings {
        let mut streams = Outgoings::new(3, max_bytes, chunk);
        streams.open(1, Conversation::private("bob"), "bob".into(), 1).unwrap();
        streams
    }

    /// What is transmitted next, told briefly.
    fn step(streams: &mut Outgoings) -> Option<String> {
        let (_, body) = streams.next()?;
        streams.sent();
        Some(match body {
            Body::StreamOpen(body) => format!("{} open", body.stream),
            Body::StreamDelta(body) => {
                format!("{} at {}: {}", body.stream, body.offset, String::from_utf8_lossy(&body.content))
            }
            Body::StreamEnd(body) => format!("{} end {} {} {}", body.stream, body.len, body.aborted, body.seq),
            other => panic!("{other:?}"),
        })
    }

    fn drain(streams: &mut Outgoings) -> Vec<String> {
        let all = core::iter::from_fn(|| step(streams)).collect();
        assert_eq!(streams.bytes, 0);
        all
    }

    #[test]
    fn pieces_that_wait_become_one_and_streams_take_turns() {
        let mut streams = outgoings(1 << 20, 4);
        streams.open(2, Conversation::group("team"), "carol".into(), 1).unwrap();
        for (id, piece) in [(1, "ab"), (2, "x"), (1, "cd"), (1, "ef")] {
            assert_eq!(streams.push(id, piece.as_bytes()), Ok(true));
        }
        streams.end(1, StreamOutcome::Done { seq: 9 }).unwrap();
        assert_eq!(streams.push(1, b"late"), Err(StreamError::NotOpen));
        assert_eq!(streams.end(1, StreamOutcome::Done { seq: 9 }), Err(StreamError::NotOpen));
        let want = ["1 open", "2 open", "1 at 0: abcd", "2 at 0: x", "1 at 4: ef", "1 end 6 0 9"];
        assert_eq!(drain(&mut streams), want);
        assert_eq!(streams.push(2, b"y"), Ok(true));
        streams.end(2, StreamOutcome::Aborted(AbortReason::Lost)).unwrap();
        assert_eq!(drain(&mut streams), ["2 at 1: y", "2 end 2 2 0"]);
    }

    #[test]
    fn what_waits_is_bounded_by_what_it_allocates_and_a_broken_stream_tells_its_end_only() {
        let mut streams = outgoings(1000, 100);
        let mut taken = 0;
        while streams.push(1, b"seven b").unwrap() {
            taken += 1;
            assert!(streams.bytes <= 1000, "{}", streams.bytes);
        }
        assert_eq!(taken, 142, "all the room there is");
        streams.break_off(1, b"seven b");
        assert_eq!(streams.bytes, 0);
        assert_eq!(streams.push(1, &[0; 5000]), Ok(true), "counted, not kept");
        streams.end(1, StreamOutcome::Done { seq: 3 }).unwrap();
        assert_eq!(drain(&mut streams), ["1 open".into(), format!("1 end {} 0 3", 143 * 7 + 5000)]);
    }

    #[test]
    fn open_streams_are_bounded_and_a_refused_one_tells_nothing_more() {
        let mut streams = outgoings(1000, 100);
        let open = |streams: &mut Outgoings, id| streams.open(id, Conversation::private("bob"), "bob".into(), 1);
        assert_eq!(open(&mut streams, 1), Err(StreamError::InUse));
        open(&mut streams, 2).unwrap();
        open(&mut streams, 3).unwrap();
        assert_eq!(open(&mut streams, 4), Err(StreamError::TooMany { max: 3 }));
        assert!(!streams.refused(1), "nobody was told of it");
        streams.push(1, b"x").unwrap();
        step(&mut streams);
        assert!(streams.refused(1));
        assert_eq!(streams.push(1, b"x"), Err(StreamError::NotOpen));
        streams.end(2, StreamOutcome::Done { seq: 0 }).unwrap();
        assert_eq!(drain(&mut streams), ["2 open", "3 open", "2 end 0 0 0"]);
        assert!(streams.refused(2) && !streams.refused(2), "also behind its end, once");
        open(&mut streams, 4).unwrap();
    }

    #[test]
    fn a_receiver_sees_a_hole_once_and_at_the_end_at_the_latest() {
        let mut streams = Incomings::new(2);
        streams.open(1);
        streams.open(2);
        assert!(streams.is_full());
        assert_eq!(vec![streams.piece(1, 0, 4), streams.piece(1, 4, 2)], [Piece::Next, Piece::Next]);
        assert_eq!(streams.piece(2, 1, 4), Piece::Hole);
        assert_eq!(streams.piece(2, 5, 4), Piece::Broken);
        assert_eq!(streams.piece(3, 0, 4), Piece::Unknown);
        assert_eq!((streams.end(1, 6), streams.end(2, 9), streams.end(2, 9)), (Some(false), Some(false), None));
        streams.open(1);
        assert_eq!(streams.end(1, 1), Some(true));
    }

    #[test]
    fn every_outcome_comes_back_from_its_codes() {
        use AbortReason::{Cancelled, Limit, Lost, Other};
        let aborted = [Cancelled, Lost, Limit, Other].map(StreamOutcome::Aborted);
        for outcome in aborted.into_iter().chain([StreamOutcome::Done { seq: 7 }]) {
            let (aborted, seq) = outcome.codes();
            assert_eq!(StreamOutcome::from_codes(aborted, seq), outcome);
        }
        assert_eq!(StreamOutcome::from_codes(99, 7), StreamOutcome::Aborted(Other));
    }
}
