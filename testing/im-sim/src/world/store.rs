//! The servers' application: the store in between, its answers, and hints to whom they concern.

use im_proto::{AnswerError, Change, Conversation, Entry, FeedItem, RefusalCode};

use super::event::{Event, Outcome as Stored};
use super::server::{Hint, Op};
use super::{Node, Outcome, World};
use crate::fault::Fault;
use crate::log::Submitted;

/// To whom nobody may write.
pub(super) const NOBODY: &str = "nobody";

impl World {
    /// A client wants something stored.
    pub(super) fn submitted(&mut self, transport: u64, message: Submitted) -> Outcome {
        let delay = self.store_ms();
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        session.unanswered += 1;
        let (user, device) = session.login.clone().ok_or("a message before the login")?;
        let (server, life) = (session.server, self.servers[session.server].life);
        self.at(delay, Event::Store(Op { transport, server, life, user, device, message }));
        Ok(())
    }

    /// The store decides. The session may be gone by now; what is stored is stored.
    pub(super) fn decide(&mut self, op: Op) {
        if self.servers[op.server].life != op.life {
            return;
        }
        let outcome = self.outcome(&op);
        if let (Stored::Stored { duplicate: false, .. }, Entry::Command { about, change: Change::Recall }) =
            (outcome, &op.message.entry)
        {
            let (user, other, about) = (op.user.clone(), op.message.to.clone(), *about);
            let mirrored = Conversation::private(user.as_str());
            self.tell_all(op.server, &Hint::Recalled { user: String::from(&*other.id), conversation: mirrored, about });
            self.tell_all(op.server, &Hint::Recalled { user, conversation: other, about });
        }
        let delay = self.rng.u64(0..20);
        self.at(delay, Event::Answer(op, outcome));
    }

    fn outcome(&mut self, op: &Op) -> Stored {
        if op.message.to.id == NOBODY {
            return Stored::Forbidden;
        }
        let known = self.log.find(&op.user, &op.device, &op.message).is_some();
        // "Not stored" must stay true: another try of the same message may be before the store.
        let alone = || {
            !self.queue.values().any(|event| {
                matches!(event, Event::Store(other) if other.message.packet_id == op.message.packet_id
                    && (&other.user, &other.device) == (&op.user, &op.device))
            })
        };
        if !known && self.plan.not_stored_percent > 0 && alone() && self.chance(self.plan.not_stored_percent) {
            self.report.faults.count(Fault::NotStored);
            return Stored::NotStored;
        }
        let silent = self.chance(self.plan.unanswered_percent);
        if silent {
            self.report.faults.count(Fault::Unanswered);
            if self.rng.bool() {
                return Stored::Unanswered;
            }
        }
        match self.log.append(self.now, &op.user, &op.device, &op.message) {
            _ if silent => Stored::Unanswered,
            Ok((seq, duplicate)) => Stored::Stored { seq, duplicate },
            Err(_) => Stored::Conflict,
        }
    }

    /// The server answers, and tells whom it concerns.
    pub(super) fn answer(&mut self, op: &Op, outcome: Stored) -> Outcome {
        if self.servers[op.server].life != op.life {
            return Ok(());
        }
        let Op { transport, message: Submitted { packet_id, to, .. }, .. } = op;
        if let Some(session) = self.sessions.get_mut(transport) {
            session.unanswered -= 1;
            let connection = &mut session.connection;
            let answered = match outcome {
                Stored::Stored { seq, duplicate } => {
                    let records = self.log.conversation(&op.user, to);
                    let message_id = records.get(seq as usize - 1).map_or(0, |record| record.message_id);
                    connection.stored(*packet_id, to, message_id, seq, 0, duplicate)
                }
                Stored::Unanswered => connection.unanswerable(),
                Stored::NotStored => connection.refused(*packet_id, RefusalCode::STORE, "try again", true),
                Stored::Conflict => connection.refused(*packet_id, RefusalCode::CONFLICT, "used before", false),
                Stored::Forbidden => {
                    connection.refused(*packet_id, RefusalCode::FORBIDDEN, "nobody may write there", false)
                }
            };
            match answered {
                // The connection had to go meanwhile.
                Ok(()) | Err(AnswerError::State(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            self.touch(Node::Session(*transport));
        }
        if let Stored::Stored { seq, .. } = outcome {
            let mirrored = Conversation::private(op.user.as_str());
            self.tell_all(op.server, &Hint::Head { user: String::from(&*to.id), conversation: mirrored, head: seq });
            self.tell_all(op.server, &Hint::Head { user: op.user.clone(), conversation: to.clone(), head: seq });
        }
        Ok(())
    }

    pub(super) fn ask_unread(&mut self, transport: u64, login: Option<&(String, String)>, limit: usize) -> Outcome {
        let (user, device) = login.ok_or("asked before the login")?;
        let (heads, complete) = self.log.unread(user, device, limit);
        if *self.plan.store_ms.end() < 100 {
            return self.unread(transport, &heads, complete);
        }
        let delay = self.store_ms();
        self.at(delay, Event::Unread { transport, heads, complete });
        Ok(())
    }

    pub(super) fn unread(&mut self, transport: u64, heads: &[(Conversation, u64)], complete: bool) -> Outcome {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        session.connection.unread(heads, complete).map_err(|error| error.to_string())?;
        self.touch(Node::Session(transport));
        Ok(())
    }

    pub(super) fn ask_fetch(
        &mut self,
        transport: u64,
        login: Option<&(String, String)>,
        conversation: Conversation,
        after: Option<u64>,
        max_messages: usize,
    ) -> Outcome {
        let (user, device) = login.ok_or("asked before the login")?;
        let after = after.unwrap_or_else(|| self.log.cursor(user, device, &conversation));
        let items = self.log.items(user, device, &conversation, after, max_messages);
        let epoch = self.log.epoch(user, &conversation);
        if *self.plan.store_ms.end() < 100 {
            return self.fetched(transport, &conversation, epoch, after, items);
        }
        let delay = self.store_ms();
        self.at(delay, Event::Fetched { transport, conversation, epoch, after, items });
        Ok(())
    }

    pub(super) fn fetched(
        &mut self,
        transport: u64,
        conversation: &Conversation,
        epoch: u64,
        after: u64,
        items: Vec<FeedItem>,
    ) -> Outcome {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let fetched = session.connection.fetched_in(conversation, epoch, after, items);
        fetched.map_err(|error| error.to_string())?;
        self.touch(Node::Session(transport));
        Ok(())
    }

    /// The log is asked again about every device: what no hint told is found.
    pub(super) fn poll(&mut self, server: usize) {
        let transports: Vec<u64> = self.servers[server].online.values().copied().collect();
        for transport in transports {
            if let Some(session) = self.sessions.get_mut(&transport) {
                session.connection.notify_all();
                self.touch(Node::Session(transport));
            }
        }
        self.at(self.plan.poll_ms, Event::Poll { server });
    }

    /// Tells how far a user read or has a private conversation: its own devices, of what was read, and those of the other.
    pub(super) fn tell(&mut self, server: usize, user: &str, conversation: &Conversation, read: bool, up_to: u64) {
        let epoch = self.log.epoch(user, conversation);
        let position = |to: &str, conversation| Hint::Position {
            to: to.into(),
            conversation,
            user: user.into(),
            read,
            epoch,
            up_to,
        };
        if read {
            self.tell_all(server, &position(user, conversation.clone()));
        }
        if conversation.id != user {
            self.tell_all(server, &position(&conversation.id, Conversation::private(user)));
        }
    }

    /// Here at once, elsewhere a little later.
    fn tell_all(&mut self, server: usize, hint: &Hint) {
        self.tell_others(server, hint);
        self.hint(server, hint);
    }

    pub(super) fn tell_others(&mut self, server: usize, hint: &Hint) {
        for other in (0..self.servers.len()).filter(|other| *other != server) {
            if self.chance(self.plan.hint_loss_percent) {
                self.report.faults.count(Fault::HintLost);
                continue;
            }
            let delay = self.rng.u64(1..200);
            self.at(delay, Event::Hint { server: other, hint: hint.clone() });
        }
    }

    /// A hint, for the connections of a user's devices on a server.
    pub(super) fn hint(&mut self, server: usize, hint: &Hint) {
        let (Hint::Head { user: to, .. }
        | Hint::Position { to, .. }
        | Hint::Recalled { user: to, .. }
        | Hint::Replaced { user: to, .. }) = hint;
        let of_user = self.servers[server].online.iter().filter(|((user, _), _)| user == to);
        let concerned: Vec<(String, u64)> = of_user.map(|((_, device), id)| (device.clone(), *id)).collect();
        for (of, transport) in concerned {
            // A lost position is told again at the next login only, and a lost recall would be a leak.
            let may_be_lost = matches!(hint, Hint::Head { .. });
            if may_be_lost && self.chance(self.plan.hint_loss_percent) {
                self.report.faults.count(Fault::HintLost);
                continue;
            }
            let Some(session) = self.sessions.get_mut(&transport) else { continue };
            let connection = &mut session.connection;
            match hint {
                Hint::Head { conversation, head, .. } => connection.notify(conversation, *head),
                // The log may have been replaced while the hint was on its way.
                Hint::Position { to, conversation, epoch, .. } if *epoch != self.log.epoch(to, conversation) => {}
                Hint::Position { conversation, user, read: true, epoch, up_to, .. } => {
                    connection.read_by(conversation, user, *epoch, *up_to);
                }
                Hint::Position { conversation, user, epoch, up_to, .. } => {
                    connection.delivered_to(conversation, user, *epoch, *up_to);
                }
                Hint::Recalled { conversation, about, .. } => connection.recalled(conversation, *about),
                Hint::Replaced { device, at, by, .. } => {
                    // It may have come back here since.
                    if of == *device && session.came < *at {
                        self.kick(transport, *by, "the device is online elsewhere");
                    }
                    continue;
                }
            }
            self.touch(Node::Session(transport));
        }
    }
}
