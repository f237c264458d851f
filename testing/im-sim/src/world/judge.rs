//! The reference model: when a run is over, and what must be true then.

use im_proto::{Entry, Instant};

use super::*;
use crate::log::Record;

impl World {
    /// Everything was handed over, answered and acked.
    pub(super) fn at_rest(&self) -> bool {
        let submitted = !self.queue.values().any(|event| matches!(event, Event::Submit(..) | Event::Crash));
        submitted
            && self.clients.iter().all(|client| {
                client.waiting.is_empty()
                    && client.connection.unanswered() == 0
                    && client.connection.unconfirmed_reads() == 0
                    && self.log.heads(&client.user).iter().all(|(conversation, head)| {
                        self.log.cursor(&client.user, &client.device, conversation) == *head
                    })
            })
    }

    /// Every message is in the log once, and every device has every conversation once and in order.
    pub(super) fn judge(&mut self) -> Outcome {
        let (mut stored, mut commands, mut recalled) = (0, 0, 0);
        for client in &self.clients {
            let messages = client.sent.values().filter(|(_, entry)| entry.is_message()).count();
            if client.stored.len() != client.sent.len() || messages != self.plan.messages {
                return Err(format!(
                    "{}/{} came to rest with {} of {} messages stored",
                    client.user,
                    client.device,
                    client.stored.len(),
                    self.plan.messages
                ));
            }
            for (id, (to, entry)) in &client.sent {
                let log = self.log.conversation(&client.user, to);
                let places: Vec<u64> = log
                    .iter()
                    .zip(1..)
                    .filter(|(record, _)| {
                        (record.from.as_str(), record.device.as_str()) == (&client.user, &client.device)
                            && record.packet_id == *id
                            && record.entry == *entry
                    })
                    .map(|(_, seq)| seq)
                    .collect();
                if places != [client.stored[id]] {
                    return Err(format!("message {id} was acked at {} and stands at {places:?}", client.stored[id]));
                }
                *(if entry.is_message() { &mut stored } else { &mut commands }) += 1;
            }
            for (conversation, furthest) in &client.read {
                let devices = self.clients.iter().filter(|other| other.user == client.user);
                let most = devices.filter_map(|other| other.read.get(conversation)).max();
                let position = self.log.read_position(&client.user, conversation);
                if Some(&position) != most || position < *furthest {
                    return Err(format!("{} read {conversation} up to {most:?}, kept is {position}", client.user));
                }
            }
            for (conversation, _) in self.log.heads(&client.user) {
                let own = |record: &Record| record.from == client.user && record.device == client.device;
                let want: Vec<_> = self
                    .log
                    .conversation(&client.user, &conversation)
                    .iter()
                    .zip(1..)
                    .filter(|(record, _)| !own(record))
                    .map(|(record, seq)| (seq, record))
                    .collect();
                let got = client.received.get(&conversation).map_or(&[][..], Vec::as_slice);
                let fits =
                    |((seq, from, entry, dialed), (place, record)): (&(_, _, Entry, Instant), &(u64, &Record))| {
                        let right = match record.recalled {
                            None => *entry == record.entry,
                            // On a connection that was begun later nothing but the place may come.
                            Some(at) => *entry == Entry::Recalled || *entry == record.entry && *dialed <= at,
                        };
                        recalled += usize::from(*entry == Entry::Recalled);
                        (seq, from) == (place, &record.from) && right
                    };
                if got.len() != want.len() || !got.iter().zip(&want).all(fits) {
                    return Err(format!(
                        "{}/{} has {got:?} of {conversation}, not {want:?}",
                        client.user, client.device
                    ));
                }
            }
            self.report.duplicates += client.connection.stats().duplicates;
            self.report.retries += client.connection.stats().retries;
        }
        (self.report.stored, self.report.commands, self.report.recalled) = (stored, commands, recalled);
        self.report.ended_ms = self.now.as_micros() / 1000;
        Ok(())
    }
}
