//! The reference model: the bounds at every step, when a run is over, and what must be true then.

use std::collections::BTreeMap;

use im_proto::{Conversation, Entry, RefusalCode};

use super::client::{Fate, Got, Sent, SimClient};
use super::{Outcome, World};
use crate::log::Record;

/// Most bodies in a bundle.
const MAX_BUNDLED: u32 = 64;

impl World {
    /// The public figures of a client are within their bounds.
    pub(super) fn check_client(&self, index: usize) -> Outcome {
        let client = &self.clients[index];
        let (bytes, max) = (client.connection.buffered(), client.outbox_bytes());
        if bytes > max && client.connection.unanswered() > 1 {
            return Err(format!("an outbox of {max} bytes holds {bytes}"));
        }
        // Twice the window stops the input, and a bundle that is taken then brings no more than the window.
        let max = 3 * (self.plan.receive_max as usize).max(1);
        if client.held > max {
            return Err(format!("the application holds {} deliveries, and {max} are the most", client.held));
        }
        let open = client.sent.values().filter(|sent| sent.fate.is_none()).count();
        if open != client.connection.unanswered() {
            return Err(format!("{} messages wait for an answer, not {open}", client.connection.unanswered()));
        }
        Ok(())
    }

    /// And of a server's connection.
    pub(super) fn check_session(&self, transport: u64) -> Outcome {
        let Some(session) = self.sessions.get(&transport) else { return Ok(()) };
        // A bundle is taken as a whole, so the last one may go over.
        let most = self.plan.send_max + MAX_BUNDLED - 1;
        if session.unanswered > most {
            return Err(format!("{} messages wait for their answer, and {} are the most", session.unanswered, most));
        }
        // What was unacked on the connection before counts on this one too.
        let max = u64::from(self.plan.receive_max) * 2;
        if session.connection.unacked() > max {
            return Err(format!("{} deliveries are unacked, and {max} are the most", session.connection.unacked()));
        }
        let bytes = session.connection.unacked_bytes();
        // One may be larger than the credit; the shortest text is not filled up.
        let largest = (*self.plan.content.end()).max(64) as u64;
        if self.plan.receive_bytes != 0 && bytes > largest.max(self.plan.receive_bytes.into()) {
            return Err(format!("contents of {bytes} bytes are unacked, and {} are the most", self.plan.receive_bytes));
        }
        Ok(())
    }

    /// Everything was handed over, answered and acked.
    pub(super) fn at_rest(&self) -> bool {
        self.to_come == 0 && self.clients.iter().filter(|client| !client.away).all(|client| self.rests(client))
    }

    fn rests(&self, client: &SimClient) -> bool {
        client.waiting.is_empty()
            && client.held == 0
            && client.live.rests()
            && client.connection.unanswered() == 0
            && client.connection.unconfirmed_reads() == 0
            && self.lacks(client).is_none()
    }

    /// A conversation in which the server's record of the device is not at the head.
    fn lacks(&self, client: &SimClient) -> Option<(Conversation, u64, u64)> {
        let heads = self.log.heads(&client.user).into_iter().map(|(conversation, head)| {
            let cursor = self.log.cursor(&client.user, &client.device, &conversation);
            (conversation, head, cursor)
        });
        heads.into_iter().find(|(_, head, cursor)| cursor != head)
    }

    /// Who is not at rest, for a message.
    pub(super) fn unrest(&self) -> String {
        let mut text = format!("{} to come, {} connections at servers", self.to_come, self.sessions.len());
        for client in self.clients.iter().filter(|client| !client.away && !self.rests(client)) {
            let SimClient { user, device, connection, .. } = client;
            let (waiting, held) = (client.waiting.len(), client.held);
            let (unanswered, reads) = (connection.unanswered(), connection.unconfirmed_reads());
            let (state, lacks) = (connection.state(), self.lacks(client));
            text += &format!(
                "; {user}/{device} is {state}: {waiting} waiting, {unanswered} unanswered, {held} held, {reads} reads, lacks {lacks:?}"
            );
            if !client.live.rests() {
                text += &format!(", {:?}", client.live);
            }
        }
        text
    }

    /// Every message is in the log once, and every device has every conversation once and in order.
    pub(super) fn judge(&mut self) -> Outcome {
        let mut report = std::mem::take(&mut self.report);
        for client in &self.clients {
            for (id, sent) in &client.sent {
                let fate = sent.fate.ok_or_else(|| format!("message {id} has no outcome"))?;
                let places = self.places(client, sent, *id);
                check_fate(fate, &places, self.was_at(client, sent, *id, fate))
                    .map_err(|what| format!("message {id} to {} was {fate:?} and {what}: {places:?}", sent.to))?;
                match fate {
                    Fate::Stored(_) if sent.entry.is_message() => report.stored += 1,
                    Fate::Stored(_) => report.commands += 1,
                    Fate::Refused(_) => report.refused += 1,
                    Fate::Unknown => report.unknown += 1,
                    Fate::Crashed => {}
                }
            }
            self.judge_reads(client)?;
            for (conversation, _) in self.log.heads(&client.user) {
                report.recalled += self.judge_conversation(client, &conversation)?;
            }
            report.duplicates += client.duplicates + client.connection.stats().duplicates;
            report.retries += client.retries + client.connection.stats().retries;
        }
        self.judge_log()?;
        report.ended_ms = self.now.as_micros() / 1000;
        self.report = report;
        Ok(())
    }

    /// Where a message stands in the log that stands now.
    fn places(&self, client: &SimClient, sent: &Sent, id: im_proto::PacketId) -> Vec<u64> {
        let log = self.log.conversation(&client.user, &sent.to).iter().zip(1..);
        log.filter(|(record, _)| is(record, client, sent, id)).map(|(_, seq)| seq).collect()
    }

    /// Whether it stood where it was acked, in a log that was replaced.
    fn was_at(&self, client: &SimClient, sent: &Sent, id: im_proto::PacketId, fate: Fate) -> bool {
        let Fate::Stored(seq) = fate else { return false };
        let mut replaced = self.log.replaced(&client.user, &sent.to);
        replaced.any(|log| log.get(seq as usize - 1).is_some_and(|record| is(record, client, sent, id)))
    }

    /// Everything in the log was sent, and no packet id is there twice.
    fn judge_log(&self) -> Outcome {
        let mut seen = BTreeMap::new();
        for record in self.log.records() {
            let whose = (&record.from, &record.device, record.packet_id);
            if let Some(before) = seen.insert(whose, record) {
                return Err(format!("{before:?} is in the log twice"));
            }
            let client = self.clients.iter().find(|client| (&client.user, &client.device) == (whose.0, whose.1));
            if client.is_none_or(|client| !client.sent.contains_key(&record.packet_id)) {
                return Err(format!("nobody sent {record:?}"));
            }
        }
        Ok(())
    }

    fn judge_reads(&self, client: &SimClient) -> Outcome {
        for conversation in client.read.keys() {
            let devices = self.clients.iter().filter(|other| other.user == client.user);
            let now = self.log.epoch(&client.user, conversation);
            let read = devices.filter_map(|other| other.read.get(conversation));
            let most = read.filter(|(epoch, _)| *epoch == now).map(|(_, seq)| *seq).max().unwrap_or(0);
            let position = self.log.read_position(&client.user, conversation);
            if position != most {
                return Err(format!("{} read {conversation} up to {most}, kept is {position}", client.user));
            }
        }
        Ok(())
    }

    /// A device has everything that others sent. How much of it came without its content.
    fn judge_conversation(&self, client: &SimClient, conversation: &Conversation) -> Result<usize, String> {
        let own = |record: &Record| record.from == client.user && record.device == client.device;
        let log = self.log.conversation(&client.user, conversation).iter().zip(1..);
        let want: Vec<(u64, &Record)> =
            log.filter(|(record, _)| !own(record)).map(|(record, seq)| (seq, record)).collect();
        let none = BTreeMap::new();
        let got = client.received.get(conversation).unwrap_or(&none);
        let fits = |((seq, got), (place, record)): ((&u64, &Got), &(u64, &Record))| {
            let right = match record.recalled {
                None => got.entry == record.entry,
                // On a connection that was begun later nothing but the place may come.
                Some(at) => got.entry == Entry::Recalled || got.entry == record.entry && got.dialed <= at,
            };
            seq == place && got.from == record.from && right
        };
        if got.len() != want.len() || !got.iter().zip(&want).all(fits) {
            return Err(format!("{}/{} has {got:?} of {conversation}, not {want:?}", client.user, client.device));
        }
        Ok(got.values().filter(|got| got.entry == Entry::Recalled).count())
    }
}

fn is(record: &Record, client: &SimClient, sent: &Sent, id: im_proto::PacketId) -> bool {
    (record.from.as_str(), record.device.as_str()) == (&client.user, &client.device)
        && record.packet_id == id
        && record.entry == sent.entry
}

/// What an outcome says about the log.
fn check_fate(fate: Fate, places: &[u64], was_there: bool) -> Outcome {
    match fate {
        Fate::Stored(seq) if places == [seq] || places.len() <= 1 && was_there => Ok(()),
        Fate::Stored(_) => Err("stands elsewhere".into()),
        Fate::Refused(RefusalCode::FORBIDDEN) if places.is_empty() => Ok(()),
        Fate::Refused(RefusalCode::STORE) if places.is_empty() => Ok(()),
        Fate::Refused(_) => Err("should not have been, or is stored".into()),
        // The client was told that it cannot know, or did not live to be told.
        Fate::Unknown | Fate::Crashed if places.len() <= 1 => Ok(()),
        Fate::Unknown | Fate::Crashed => Err("is stored twice".into()),
    }
}
