//! Commands about earlier entries: recall, edit, reactions.

use super::Client;
use crate::Connection;
use crate::config::valid_name;
use crate::entry::{Change, Command};
use crate::error::SendError;
use crate::outbox::PacketId;
use crate::time::Instant;

impl Connection<Client> {
    /// Queues a command, also while offline. It waits in line with the messages, is sent again like them, and its id comes
    /// back in the same events: [`Stored`](super::ClientEvent::Stored), [`Refused`](super::ClientEvent::Refused) or
    /// [`Unknown`](super::ClientEvent::Unknown).
    ///
    /// # Errors
    /// The command comes back: [`SendError::Blocked`] while the outbox is full, otherwise it can never be sent.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<PacketId, SendError<Command>> {
        let max = self.role.config.max_content;
        if matches!(command.change, Change::Edit { .. }) && command.change.len() > max {
            return Err(SendError::TooLarge { message: command, max });
        }
        if !valid_name(&command.to.id) {
            return Err(SendError::InvalidTarget(command));
        }
        if command.about == 0 || !command.change.is_valid() {
            return Err(SendError::InvalidCommand(command));
        }
        let id = self.role.outbox.push(command).map_err(SendError::Blocked)?;
        self.after_change(now);
        Ok(id)
    }
}
