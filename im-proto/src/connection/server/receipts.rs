//! How far the user read, and what the application tells the device of others.

use alloc::collections::VecDeque;

use im_serial::body::{Conversation, Read};

use super::{Server, ServerEvent, check_position};
use crate::Connection;
use crate::connection::State;
use crate::error::Error;
use crate::receipts::{UpTo, What};

impl Connection<Server> {
    /// Tells this device that `user` read the conversation up to and including `up_to`. For the device's own user it is the
    /// user's read position, which the device that said it waits for as well as the others. `epoch` is the one of the log as it
    /// is now, 0 where epochs are not used.
    ///
    /// A receipt that waits is replaced by a later one of the same conversation and user. Beyond `receipts_max` of them the
    /// oldest is dropped and counted in [`Stats::dropped_receipts`](crate::Stats::dropped_receipts): so after a login tell
    /// the positions that matter again.
    pub fn read_by(&mut self, conversation: &Conversation, user: &str, epoch: u64, up_to: u64) {
        self.receipt(conversation, user, What::Read, UpTo { epoch, seq: up_to });
    }

    /// Tells this device that a device of `user` has the conversation up to and including `up_to`. As
    /// [`read_by`](Self::read_by), of which it is the step before.
    pub fn delivered_to(&mut self, conversation: &Conversation, user: &str, epoch: u64, up_to: u64) {
        self.receipt(conversation, user, What::Delivered, UpTo { epoch, seq: up_to });
    }

    fn receipt(&mut self, conversation: &Conversation, user: &str, what: What, up_to: UpTo) {
        // Of a log that this one took the place of, and late.
        let other = self.role.feed.epoch(conversation).is_some_and(|known| known != up_to.epoch);
        let whose = || (conversation.clone(), user.into(), what);
        if self.core.state == State::Online && !other && self.role.live().receipts.push(whose(), up_to) {
            self.core.stats.dropped_receipts += 1;
        }
    }
}

impl Server {
    pub(super) fn read(&mut self, events: &mut VecDeque<ServerEvent>, body: Read) -> Result<(), Error> {
        let Read { conversation, up_to, epoch } = body;
        check_position(&conversation)?;
        // The client was told the epoch of the log, so this crossed it on the way.
        let other = self.feed.epoch(&conversation).is_some_and(|known| known != epoch);
        if !other && self.live().reads.grow(&conversation, UpTo { epoch, seq: up_to }) {
            events.push_back(ServerEvent::Read { conversation, up_to, epoch });
        }
        Ok(())
    }
}
