//! What the service asks and tells the hub.

use std::sync::Arc;

use im_proto::{CloseCode, Instant, PresenceState};

use super::{Hub, read, visible};
use crate::store::ConversationKey;

/// A device that is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) device: Arc<str>,
    pub(crate) since: Instant,
    pub(crate) state: PresenceState,
}

impl Hub {
    /// What others see of a user, and the devices that are online.
    pub(crate) fn present(&self, user: &str) -> (PresenceState, Vec<Present>) {
        let users = read(&self.users);
        let Some(devices) = users.get(user) else { return (PresenceState::OFFLINE, Vec::new()) };
        let present = devices.iter().map(|(device, online)| {
            let (since, state) = (online.since, online.presence);
            Present { device: device.clone(), since, state }
        });
        (visible(devices), present.collect())
    }

    /// How many sessions stand in the list of a group or broadcast.
    pub(crate) fn listening(&self, group: &ConversationKey) -> usize {
        read(&self.groups).get(group).map_or(0, |members| members.len())
    }

    /// Closes a user's sessions, or the one of a device. Gives their number.
    pub(crate) fn kick(&self, user: &str, device: Option<&str>, code: CloseCode, reason: &str) -> usize {
        let users = read(&self.users);
        let devices = users.get(user).into_iter().flatten();
        let chosen = devices.filter(|(name, _)| device.is_none_or(|device| ***name == *device));
        chosen.map(|(_, online)| online.mailbox.kick(code, reason.to_owned())).count()
    }
}
