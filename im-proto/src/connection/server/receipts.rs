//! How far the user read, and what the application tells the device of others.

use alloc::collections::VecDeque;

use im_serial::body::{Conversation, Read};

use super::{Server, ServerEvent, check_position};
use crate::Connection;
use crate::connection::State;
use crate::error::Error;
use crate::receipts::What;

impl Connection<Server> {
    /// Tells this device that `user` read the conversation up to and including `up_to`. For the device's own user it is the
    /// user's read position, which the device that said it waits for as well as the others.
    ///
    /// A receipt that waits is replaced by a later one of the same conversation and user. Beyond `receipts_max` of them the
    /// oldest is dropped and counted in [`Stats::dropped_receipts`](crate::Stats::dropped_receipts): so after a login tell
    /// the positions that matter again.
    pub fn read_by(&mut self, conversation: &Conversation, user: &str, up_to: u64) {
        self.receipt(conversation, user, What::Read, up_to);
    }

    /// Tells this device that a device of `user` has the conversation up to and including `up_to`. As
    /// [`read_by`](Self::read_by), of which it is the step before.
    pub fn delivered_to(&mut self, conversation: &Conversation, user: &str, up_to: u64) {
        self.receipt(conversation, user, What::Delivered, up_to);
    }

    fn receipt(&mut self, conversation: &Conversation, user: &str, what: What, up_to: u64) {
        if self.core.state == State::Online && self.role.receipts.push((conversation.clone(), user.into(), what), up_to)
        {
            self.core.stats.dropped_receipts += 1;
        }
    }
}

impl Server {
    pub(super) fn read(&mut self, events: &mut VecDeque<ServerEvent>, body: Read) -> Result<(), Error> {
        let Read { conversation, up_to } = body;
        check_position(&conversation)?;
        if self.reads.grow(&conversation, up_to) {
            events.push_back(ServerEvent::Read { conversation, up_to });
        }
        Ok(())
    }
}
