//! How far the user read, and what the server tells of others.

use alloc::collections::VecDeque;

use im_serial::body::{Conversation, DeliveredTo, ReadBy};

use super::{Client, ClientEvent};
use crate::Connection;
use crate::config::valid_name;
use crate::error::{Error, ReadError};
use crate::feed::has_positions;
use crate::receipts::{UpTo, What};

impl Connection<Client> {
    /// The user has read the conversation up to and including `up_to`; what came later stays unread. Also while offline.
    /// `epoch` is the one of the log that was read, as the [`Delivery`](crate::Delivery) named it: of a log that was replaced
    /// nothing is said any more.
    ///
    /// Positions only grow, and of one conversation only the highest is sent. It is said again on each new connection until
    /// the server tells this user's position back ([`ClientEvent::ReadBy`] with the user's own id).
    ///
    /// # Errors
    /// [`ReadError::NoPositions`] for a room or an invalid name, [`ReadError::Full`] when `max_conversations` positions wait
    /// for the server.
    pub fn read(&mut self, conversation: &Conversation, epoch: u64, up_to: u64) -> Result<(), ReadError> {
        if !has_positions(conversation) || !valid_name(&conversation.id) {
            return Err(ReadError::NoPositions);
        }
        if self.role.inbox.epoch_of(conversation).is_some_and(|known| known != epoch) {
            return Ok(());
        }
        let up_to = UpTo { epoch, seq: up_to };
        if self.role.reads.say(conversation, up_to) { Ok(()) } else { Err(ReadError::Full) }
    }

    /// Conversations with a position of [`read`](Self::read) that the server did not tell back yet.
    pub fn unconfirmed_reads(&self) -> usize {
        self.role.reads.unconfirmed()
    }
}

impl Client {
    fn is_of_another_log(&self, conversation: &Conversation, epoch: u64) -> bool {
        self.inbox.epoch_now(conversation).is_some_and(|now| now != epoch)
    }

    pub(super) fn read_by(&mut self, events: &mut VecDeque<ClientEvent>, body: ReadBy) -> Result<(), Error> {
        let ReadBy { conversation, user, up_to, epoch } = body;
        check(&conversation, &user)?;
        let position = UpTo { epoch, seq: up_to };
        if self.is_of_another_log(&conversation, epoch) {
            return Ok(());
        }
        if user == self.account {
            self.reads.confirm(&conversation, position);
        }
        let key = (conversation, user, What::Read);
        if self.positions.grow(&key, position) {
            let (conversation, user, _) = key;
            events.push_back(ClientEvent::ReadBy { conversation, user, epoch, up_to });
        }
        Ok(())
    }

    pub(super) fn delivered_to(&mut self, events: &mut VecDeque<ClientEvent>, body: DeliveredTo) -> Result<(), Error> {
        let DeliveredTo { conversation, user, up_to, epoch } = body;
        check(&conversation, &user)?;
        if self.is_of_another_log(&conversation, epoch) {
            return Ok(());
        }
        let key = (conversation, user, What::Delivered);
        if self.positions.grow(&key, UpTo { epoch, seq: up_to }) {
            let (conversation, user, _) = key;
            events.push_back(ClientEvent::DeliveredTo { conversation, user, epoch, up_to });
        }
        Ok(())
    }
}

fn check(conversation: &Conversation, user: &str) -> Result<(), Error> {
    if !has_positions(conversation) {
        return Err(Error::ConversationKind { kind: conversation.kind });
    }
    for (field, name) in [("conversation", conversation.id.as_str()), ("user", user)] {
        if !valid_name(name) {
            return Err(Error::Name { field });
        }
    }
    Ok(())
}
