//! Messages that only devices can read.

use super::Client;
use crate::Connection;
use crate::config::valid_name;
use crate::error::SendError;
use crate::outbox::PacketId;
use crate::sealed::SealedMessage;
use crate::time::Instant;

impl Connection<Client> {
    /// Queues a message whose parts the application encrypted, one for each device; also while offline. It waits in line with the
    /// messages, is sent again like them, and its id comes back in the same events. This library encrypts nothing here, and
    /// knows no devices of others: which parts there are is the application's to know.
    ///
    /// ```no_run
    /// # use im_proto::*;
    /// # fn seal(_device: &str, _text: &str) -> Vec<u8> { Vec::new() }
    /// # fn send(client: &mut Connection<Client>, now: Instant) -> Result<(), Box<dyn std::error::Error>> {
    /// let parts = SealedParts::new(&[
    ///     ("bob", "desk", seal("bob's desk", "hello")),
    ///     ("bob", "phone", seal("bob's phone", "hello")),
    ///     ("alice", "tablet", seal("my own tablet", "hello")),
    /// ])?;
    /// let message = SealedMessage { to: Conversation::private("bob"), content_type: content_type::TEXT, parts };
    /// let id = client.send_sealed(now, message)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The message comes back: [`SendError::Blocked`] while the outbox is full, otherwise it can never be sent.
    pub fn send_sealed(&mut self, now: Instant, message: SealedMessage) -> Result<PacketId, SendError<SealedMessage>> {
        let max = self.role.config.max_content;
        if message.parts.as_bytes().len() > max {
            return Err(SendError::TooLarge { message, max });
        }
        if !valid_name(&message.to.id) {
            return Err(SendError::InvalidTarget(message));
        }
        let id = self.role.outbox.push(message).map_err(SendError::Blocked)?;
        self.after_change(now);
        Ok(id)
    }
}
