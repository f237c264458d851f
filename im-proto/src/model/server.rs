//! The server's side of one connection: the feed, and what the connection and the application do around it.

use alloc::collections::VecDeque;

use im_serial::Body;
use im_serial::body::{Delivered, LoginOk, Refused, Send, Stored};

use super::Packet;
use super::store::{Record, Snapshot, Store};
use super::world::{Broken, DeviceScope, StoreSays, USERS};
use crate::feed::{Feed, Question};
use crate::resume::{SessionAnswer, judge};

/// A message that is in the log and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Committed {
    id: u64,
    seq: u64,
    duplicate: bool,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Server {
    /// None before the login.
    pub(super) feed: Option<Feed>,
    answers: VecDeque<Packet>,
    committed: VecDeque<Committed>,
    /// Asked, with what the log said at that time.
    question: Option<(Question, Snapshot)>,
    /// What was unacked when the session went on; it counts against the window too.
    inherited: u64,
}

impl Server {
    pub(super) const fn new() -> Self {
        Self { feed: None, answers: VecDeque::new(), committed: VecDeque::new(), question: None, inherited: 0 }
    }

    /// As `Server::accepts_input`.
    pub(super) fn accepts_input(&self, send_max: u32) -> bool {
        self.committed.len() + self.answers.len() < send_max as usize
    }

    /// As `poll_event`: a driver asks after everything that happens.
    pub(super) fn poll(&mut self, me: &DeviceScope, store: &Store) {
        if let (None, Some(feed)) = (&self.question, &mut self.feed)
            && let Some(question) = feed.question()
        {
            self.question = Some((question, store.snapshot(me.index)));
        }
    }

    /// As `Server::login` and `Connection::resume_login`, with an application that accepts. `late`: what the log says about the
    /// positions is from before its last entry, whose notice this connection missed.
    pub(super) fn log_in(
        &mut self,
        me: &DeviceScope,
        store: &mut Store,
        login: im_serial::body::Login,
        late: bool,
        lanes: u32,
    ) {
        let mut feed = Feed::new(login.receive_max, login.receive_bytes, lanes);
        let goes_on = login.session != 0 && login.session == store.sessions[me.index];
        let mut ok = LoginOk { session: login.session, ..LoginOk::default() };
        if goes_on {
            let mut seen = store.snapshot(me.index);
            if late {
                seen.head = seen.head.saturating_sub(1);
                seen.acked = seen.acked.min(seen.head);
            }
            let facts: alloc::vec::Vec<_> = login.positions.iter().map(|_| store.facts(seen)).collect();
            let (continued, reload) = judge(login.positions, &facts, lanes as usize);
            let answer = if reload.is_empty() { SessionAnswer::Recovered } else { SessionAnswer::Reload };
            (ok.resume, ok.reload) = (answer.code(), reload);
            for continued in continued {
                feed.continue_at(&continued);
                if continued.record_behind {
                    store.advance(me.index, continued.acked, continued.epoch);
                }
            }
        } else {
            store.last_session += 1;
            store.sessions[me.index] = store.last_session;
            ok.session = store.last_session;
        }
        self.inherited = feed.in_flight();
        self.feed = Some(feed);
        self.answers.push_back(Packet { id: 0, body: ok.into() });
    }

    /// As `Server::on_body`. Whether the log grew.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what a client does not send")]
    pub(super) fn receive(
        &mut self,
        me: &DeviceScope,
        store: &mut Store,
        packet: Packet,
        says: StoreSays,
        broken: &mut Broken,
    ) {
        let Packet { id, body } = packet;
        match body {
            Body::Send(Send { content, .. }) => {
                let message = core::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
                let record = Record { device: me.index, id, message: message.unwrap_or(u8::MAX) };
                match says {
                    StoreSays::Stored => {
                        let (seq, duplicate) = store.append(record, broken);
                        self.committed.push_back(Committed { id, seq, duplicate });
                    }
                    StoreSays::StoredWithoutAnswer => {
                        store.append(record, broken);
                    }
                    StoreSays::NotNow => {
                        let body = Refused { code: 5, retry: true, ..Refused::default() }.into();
                        self.answers.push_back(Packet { id, body });
                    }
                    StoreSays::Nothing => {}
                }
            }
            Body::Delivered(Delivered { conversation, up_to, epoch }) => {
                let Some(feed) = &mut self.feed else { return broken.now("a client logs in first") };
                let other = feed.epoch(&conversation).is_some_and(|known| known != epoch);
                if !other && feed.acked(&conversation, up_to) {
                    store.advance(me.index, up_to, epoch);
                }
            }
            _ => broken.now("a client sends nothing else"),
        }
    }

    pub(super) fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// As `Connection::stored`, for the message that was committed first.
    pub(super) fn answer(&mut self, me: &DeviceScope) {
        let (Some(feed), Some(committed)) = (&mut self.feed, self.committed.pop_front()) else { return };
        let Committed { id, seq, duplicate } = committed;
        let conversation = me.conversation();
        let in_stream = feed.stored(&conversation, seq);
        let stored = Stored { conversation, message_id: seq, seq, time_ms: 0, duplicate, in_stream };
        self.answers.push_back(Packet { id, body: stored.into() });
    }

    /// What the log saw when it was asked, if it is something else now.
    pub(super) fn asked(&self) -> Option<Snapshot> {
        self.question.as_ref().map(|(_, seen)| *seen)
    }

    /// The log answers with what it saw.
    pub(super) fn log_answers(&mut self, me: &DeviceScope, store: &Store, seen: Snapshot, broken: &mut Broken) {
        let (Some(feed), Some((question, _))) = (&mut self.feed, self.question.take()) else { return };
        let taken = match question {
            Question::Unread { .. } => {
                let heads = (seen.head > seen.acked).then(|| (me.conversation(), seen.head));
                feed.unread(heads.as_slice(), true)
            }
            Question::Fetch { conversation, after, max_messages, max_bytes: _ } => {
                let after = after.unwrap_or(seen.acked);
                let items = store.items(me.index, &USERS, after, seen.head, max_messages);
                feed.fetched(&conversation, store.epoch, after, items)
            }
        };
        broken.unless(taken.is_ok(), "a feed takes the answer that it asked for");
    }

    pub(super) fn has_output(&self) -> bool {
        !self.answers.is_empty() || self.feed.as_ref().is_some_and(|feed| feed.next().is_some())
    }

    /// The next packet, in the order of `Connection::transmit`: answers, then the stream.
    pub(super) fn transmit(&mut self) -> Option<Packet> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let feed = self.feed.as_mut()?;
        let body = feed.next()?.clone();
        feed.transmitted();
        Some(Packet { id: 0, body })
    }

    pub(super) fn check(&self, me: &DeviceScope, send_max: u32, broken: &mut Broken) {
        let Some(feed) = &self.feed else { return };
        let window = u64::from(me.receive_max);
        broken.unless(feed.in_flight() <= window.max(self.inherited), "unacked deliveries fit into the window");
        broken.unless(feed.waiting() as u64 <= window + 1, "a feed holds no more than the window and an epoch");
        let open = self.committed.len() + self.answers.len();
        broken.unless(open <= send_max as usize + 1, "answers are bounded");
    }
}
