//! What passes by the log: requests, each with one outcome, and streams, which the server sends back piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use im_proto::{
    AbortReason, AnswerError, ClientEvent, Conversation, PacketId, RefusalCode, Request, RequestError, RequestFailure,
    ServerEvent, StreamError, StreamId, StreamOutcome,
};

use super::event::Event;
use super::{Node, Outcome, World};

/// What an application does beside messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Ask,
    Open,
    /// So many pieces are still to come, and then the end.
    Extend {
        stream: PacketId,
        left: u8,
    },
}

/// A stream that an application wrote.
#[derive(Debug, Default)]
struct Told {
    content: Vec<u8>,
    done: bool,
}

/// What a client's application knows of it.
#[derive(Debug, Default)]
pub(super) struct ClientLive {
    /// Of each request ever made, so that a server's side that outlives the connection can be judged.
    contents: BTreeMap<PacketId, Vec<u8>>,
    /// Those without an outcome.
    open: BTreeSet<PacketId>,
    /// Those that a server was asked.
    asked: BTreeSet<PacketId>,
    told: BTreeMap<PacketId, Told>,
    /// What came back, and whether a piece is missing.
    heard: BTreeMap<StreamId, (Vec<u8>, bool)>,
}

impl ClientLive {
    /// The process ended: nobody waits for anything any more.
    pub(super) fn crash(&mut self) {
        self.open.clear();
        self.heard.clear();
    }

    pub(super) fn rests(&self) -> bool {
        self.open.is_empty() && self.heard.is_empty()
    }

    /// The connection ended, and everything was told of it before.
    pub(super) fn closed(&self) -> Outcome {
        if self.rests() { Ok(()) } else { Err(format!("closed without an end of {:?}, {:?}", self.open, self.heard)) }
    }
}

/// What a server's side of a connection has of its client's streams.
pub(super) type SessionStreams = BTreeMap<PacketId, Vec<u8>>;

/// The method that the server does not know.
const UNKNOWN: &str = "nothing";

fn answer(content: &[u8]) -> Vec<u8> {
    content.iter().rev().copied().collect()
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    pub(super) fn live_begins(&mut self, client: usize) {
        for (count, deed) in [(self.plan.asks, Deed::Ask), (self.plan.streams, Deed::Open)] {
            for _ in 0..count {
                let delay = self.rng.u64(0..=self.plan.spread_ms);
                self.at(delay, Event::Live { client, deed });
            }
        }
    }

    pub(super) fn live(&mut self, client: usize, deed: Deed) -> Outcome {
        match deed {
            Deed::Ask => self.ask(client)?,
            Deed::Open => {
                let to = Conversation::private("bob");
                match self.clients[client].connection.open_stream(&to, 1) {
                    Ok(stream) => {
                        self.clients[client].live.told.insert(stream, Told::default());
                        let left = self.rng.u8(0..6);
                        let delay = self.rng.u64(0..300);
                        self.at(delay, Event::Live { client, deed: Deed::Extend { stream, left } });
                    }
                    Err(StreamError::Offline | StreamError::TooMany { .. }) => {}
                    Err(error) => return Err(format!("a stream was not begun: {error}")),
                }
            }
            Deed::Extend { stream, left } => self.extend(client, stream, left)?,
        }
        self.touch(Node::Client(client));
        Ok(())
    }

    fn ask(&mut self, index: usize) -> Outcome {
        let method = if self.rng.u8(0..4) == 0 { UNKNOWN } else { "reverse" };
        let content: Vec<u8> = (0..self.rng.u8(0..40)).collect();
        let timeout = Duration::from_millis(self.rng.u64(1..=20_000));
        let client = &mut self.clients[index];
        let now = client.clock.at(self.now);
        match client.connection.request(now, &Request::new(method, content.clone(), timeout)) {
            Ok(id) => {
                client.live.open.insert(id);
                client.live.contents.insert(id, content);
                Ok(())
            }
            Err(RequestError::Offline | RequestError::TooMany { .. } | RequestError::Blocked) => Ok(()),
            Err(error) => Err(format!("a request was not taken: {error}")),
        }
    }

    fn extend(&mut self, index: usize, stream: PacketId, left: u8) -> Outcome {
        let piece = [left; 30];
        let client = &mut self.clients[index];
        let told = client.live.told.get_mut(&stream).ok_or("a stream that nobody began")?;
        let done = if left == 0 {
            client.connection.end_stream(stream, StreamOutcome::Done { seq: 0 })
        } else {
            client.connection.extend_stream(stream, &piece)
        };
        match done {
            Ok(()) if left == 0 => told.done = true,
            Ok(()) => {
                told.content.extend(piece);
                let delay = self.rng.u64(0..300);
                self.at(delay, Event::Live { client: index, deed: Deed::Extend { stream, left: left - 1 } });
            }
            // Its connection is gone.
            Err(StreamError::NotOpen) => {}
            Err(error) => return Err(format!("a stream did not go on: {error}")),
        }
        Ok(())
    }

    /// Takes an event of a client that is about requests or streams; others are given back.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for others")]
    pub(super) fn live_client_event(
        &mut self,
        index: usize,
        event: ClientEvent,
    ) -> Result<Option<ClientEvent>, String> {
        let live = &mut self.clients[index].live;
        match event {
            ClientEvent::Response { packet_id, content, .. } => {
                expect(live.open.remove(&packet_id), || format!("a second outcome of request {packet_id}"))?;
                let right = live.contents.get(&packet_id).is_some_and(|asked| answer(asked) == content);
                expect(right, || format!("request {packet_id} has the answer of another one"))?;
                self.report.answered += 1;
            }
            ClientEvent::RequestFailed { packet_id, failure } => {
                expect(live.open.remove(&packet_id), || format!("a second outcome of request {packet_id}"))?;
                match failure {
                    RequestFailure::Timeout | RequestFailure::Unknown => self.report.unanswered += 1,
                    RequestFailure::Refused { code: RefusalCode::UNKNOWN_METHOD, .. } => self.report.answered += 1,
                    other => return Err(format!("request {packet_id} failed: {other:?}")),
                }
            }
            ClientEvent::StreamOpened { stream, .. } => {
                let known = live.told.contains_key(&PacketId(stream.0));
                let new = live.heard.insert(stream, Default::default()).is_none();
                expect(known && new, || format!("{stream:?} begins, known {known}, new {new}"))?;
            }
            ClientEvent::StreamDelta { stream, content } => {
                let (heard, _) = live.heard.get_mut(&stream).ok_or("a piece of a stream that did not begin")?;
                heard.extend(content);
                let told = live.told.get(&PacketId(stream.0)).ok_or("a stream that nobody began")?;
                expect(told.content.starts_with(heard), || format!("{stream:?} came back changed"))?;
            }
            ClientEvent::StreamBroken { stream } => {
                live.heard.get_mut(&stream).ok_or("a stream broke that did not begin")?.1 = true;
            }
            ClientEvent::StreamEnded { stream, outcome } => {
                let (heard, broken) = live.heard.remove(&stream).ok_or("a stream ended twice, or did not begin")?;
                let told = live.told.get(&PacketId(stream.0)).ok_or("a stream that nobody began")?;
                let whole = told.done && (broken || told.content == heard);
                self.report.streamed += judge_end(outcome, whole)?;
            }
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    /// The same for a server's side.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for others")]
    pub(super) fn live_server_event(
        &mut self,
        transport: u64,
        event: ServerEvent,
    ) -> Result<Option<ServerEvent>, String> {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(Some(event)) };
        let live = &mut self.clients[session.client].live;
        match event {
            ServerEvent::Request { packet_id, request } => {
                let right = live.contents.get(&packet_id) == Some(&request.content);
                let new = live.asked.insert(packet_id);
                expect(right && new, || {
                    format!("request {packet_id}: as it was made {right}, for the first time {new}")
                })?;
                let content = (request.method != UNKNOWN).then(|| answer(&request.content));
                let delay = self.store_ms();
                self.at(delay, Event::Respond { transport, packet_id, content });
            }
            ServerEvent::StreamOpened { stream, conversation, content_type } => {
                let known = live.told.contains_key(&stream);
                let new = session.streams.insert(stream, Vec::new()).is_none();
                expect(known && new, || format!("stream {stream} begins, known {known}, new {new}"))?;
                // One that does not fit is not sent back.
                let _ = session.connection.open_stream(StreamId(stream.0), &conversation, "echo", content_type);
            }
            ServerEvent::StreamDelta { stream, content } => {
                let got = session.streams.get_mut(&stream).ok_or("a piece of a stream that did not begin")?;
                let _ = session.connection.extend_stream(StreamId(stream.0), &content);
                got.extend(content);
                let told = live.told.get(&stream).ok_or("a stream that nobody began")?;
                expect(told.content.starts_with(got), || format!("stream {stream} came changed"))?;
            }
            ServerEvent::StreamEnded { stream, outcome } => {
                let got = session.streams.remove(&stream).ok_or("a stream ended twice, or did not begin")?;
                let told = live.told.get(&stream).ok_or("a stream that nobody began")?;
                judge_end(outcome, told.done && told.content == got)?;
                let _ = session.connection.end_stream(StreamId(stream.0), outcome);
            }
            other => return Ok(Some(other)),
        }
        self.touch(Node::Session(transport));
        Ok(None)
    }

    pub(super) fn respond(&mut self, transport: u64, id: PacketId, content: Option<Vec<u8>>) -> Outcome {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let done = match content {
            Some(content) => session.connection.respond(id, 0, content),
            None => session.connection.refuse_request(id, RefusalCode::UNKNOWN_METHOD, "nobody does that", None),
        };
        self.touch(Node::Session(transport));
        match done {
            // Its time is over, or its connection.
            Ok(()) | Err(AnswerError::NotAsked | AnswerError::State(_)) => Ok(()),
            Err(error) => Err(format!("an answer was not taken: {error}")),
        }
    }
}

/// Whether a client hears no more than that its connection is over, and with it what was open.
pub(super) fn is_end(event: &ClientEvent) -> bool {
    let lost = StreamOutcome::Aborted(AbortReason::Lost);
    matches!(event, ClientEvent::Closed(_) | ClientEvent::RequestFailed { failure: RequestFailure::Unknown, .. })
        || matches!(event, ClientEvent::StreamEnded { outcome, .. } if *outcome == lost)
}

/// How many streams ended whole.
fn judge_end(outcome: StreamOutcome, whole: bool) -> Result<usize, String> {
    match outcome {
        StreamOutcome::Done { .. } if whole => Ok(1),
        StreamOutcome::Done { .. } => Err("a stream is said to be whole, and is not".into()),
        StreamOutcome::Aborted(AbortReason::Lost) => Ok(0),
        StreamOutcome::Aborted(reason) => Err(format!("a stream was given up: {reason:?}")),
    }
}
