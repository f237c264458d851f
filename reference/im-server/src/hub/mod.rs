//! Who is online here, and what they are told: hints that there is more to read, receipts, recalls, signals, room messages.

mod mailbox;
mod presence;
mod rooms;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use im_proto::call::Target;
use im_proto::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice, Rule};
use im_proto::{Conversation, Instant, PeerSignal, PresenceState};

pub(crate) use self::mailbox::{Mail, Mailbox, Receipt, Whose};
pub(crate) use self::rooms::{Posted, Rooms};
use crate::clock;
use crate::conversation;
use crate::store::ConversationKey;

/// A device that is online.
#[derive(Debug)]
struct Online {
    mailbox: Arc<Mailbox>,
    kind: DeviceKind,
    since: Instant,
    presence: PresenceState,
}

type Devices = BTreeMap<Arc<str>, Online>;
type Groups = BTreeMap<ConversationKey, BTreeMap<u64, (Arc<str>, Arc<Mailbox>)>>;

/// The sessions of this server, by user and device, and by group.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    users: RwLock<BTreeMap<Arc<str>, Devices>>,
    /// Members of groups, and of broadcasts, that are online, so that a message costs nothing for the others.
    groups: RwLock<Groups>,
    pub(crate) rooms: Rooms,
    watches: presence::Watches,
    policy: DevicePolicy,
    sessions: AtomicU64,
}

/// Where something is said: how each of those concerned names the conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// A user of the conversation.
    pub(crate) user: &'a str,
    /// As that user names it.
    pub(crate) conversation: &'a Conversation,
}

/// A session's place in the hub, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    hub: Arc<Hub>,
    user: Arc<str>,
    device: Arc<str>,
    pub(crate) mailbox: Arc<Mailbox>,
    rooms: BTreeSet<String>,
    watching: BTreeSet<String>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(crate) fn new(policy: DevicePolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A device comes online, if the policy lets it; those that have to go for it are told why.
    pub(crate) fn join(
        self: &Arc<Self>,
        user: &Arc<str>,
        device: &Arc<str>,
        kind: DeviceKind,
        now: Instant,
    ) -> Result<Membership, Rule> {
        let mut users = write(&self.users);
        let empty = Devices::new();
        let devices = users.get(user).unwrap_or(&empty);
        let online: Vec<OnlineDevice> = devices.iter().map(|(device, online)| online.as_policy(device)).collect();
        let kicks = match self.policy.decide(&online, &NewDevice { device: device.to_string(), kind }) {
            Decision::Admit { kicks } => kicks,
            Decision::Refuse(rule) => return Err(rule),
        };
        let before = visible(devices);
        let session = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let mailbox = Arc::new(Mailbox::new(session));
        let devices = users.entry(user.clone()).or_default();
        for kick in kicks {
            if let Some(online) = devices.values().find(|online| online.mailbox.session == kick.session) {
                online.mailbox.kick(kick.code, kick.reason.to_string());
            }
            devices.retain(|_, online| online.mailbox.session != kick.session);
        }
        let presence = PresenceState::ONLINE;
        devices.insert(device.clone(), Online { mailbox: mailbox.clone(), kind, since: now, presence });
        self.tell_presence(user, before, devices);
        let (rooms, watching) = (BTreeSet::new(), BTreeSet::new());
        Ok(Membership { hub: self.clone(), user: user.clone(), device: device.clone(), mailbox, rooms, watching })
    }

    /// Called with the lock on the users, so that watchers hear of changes in their order.
    fn tell_presence(&self, user: &str, before: PresenceState, devices: &Devices) {
        let after = visible(devices);
        if after != before {
            self.watches.tell(user, after, clock::unix_ms());
        }
    }

    /// Calls `tell` for every session of everybody in the conversation, with the name that its user has for it.
    fn each(&self, place: Place<'_>, mut tell: impl FnMut(&Arc<str>, &Arc<Mailbox>, &Conversation)) {
        let Place { user, conversation } = place;
        if let Some(group) = conversation::key(user, conversation).filter(conversation::is_listed) {
            for (user, mailbox) in read(&self.groups).get(&group).into_iter().flat_map(BTreeMap::values) {
                tell(user, mailbox, conversation);
            }
            return;
        }
        let users = read(&self.users);
        let other = conversation::other(user, conversation).map(|other| (other, user));
        for (user, name) in [Some((user, &*conversation.id)), other].into_iter().flatten() {
            let Some((user, devices)) = users.get_key_value(user) else { continue };
            let named = Conversation::private(name);
            for online in devices.values() {
                tell(user, &online.mailbox, &named);
            }
        }
    }

    /// The log goes up to `head`: a hint to all sessions of all members, but not to the one that stored the entry and knows.
    pub(crate) fn notify(&self, place: Place<'_>, head: u64, except: &Arc<Mailbox>) {
        self.each(place, |_, mailbox, conversation| {
            if !Arc::ptr_eq(mailbox, except) {
                mailbox.hint(conversation, head);
            }
        });
    }

    /// The message at `seq` has no content any more.
    pub(crate) fn recalled(&self, place: Place<'_>, seq: u64) {
        self.each(place, |_, mailbox, conversation| mailbox.recalled(conversation.clone(), seq));
    }

    /// Somebody types, or stopped: for the others.
    pub(crate) fn typing(&self, place: Place<'_>, on: bool) {
        self.each(place, |user, mailbox, conversation| {
            if **user != *place.user {
                let typist = place.user.to_owned();
                mailbox.signal(PeerSignal::Typing { conversation: conversation.clone(), user: typist, on }, 0);
            }
        });
    }

    /// The position of `place`'s user moved: for the other user of a private conversation, and what was read for the user's
    /// own devices too.
    pub(crate) fn receipt(&self, place: Place<'_>, what: Receipt, epoch: u64, up_to: u64) {
        let Place { user, conversation } = place;
        let users = read(&self.users);
        let Some((owner, _)) = users.get_key_value(user) else { return };
        let own = (what == Receipt::Read).then(|| (user, conversation.clone()));
        let other = conversation::other(user, conversation).map(|other| (other, Conversation::private(user)));
        for (user, conversation) in [own, other].into_iter().flatten() {
            for online in users.get(user).into_iter().flat_map(BTreeMap::values) {
                let whose = Whose { conversation: conversation.clone(), user: owner.clone(), what };
                online.mailbox.receipt(whose, epoch, up_to);
            }
        }
    }

    /// A signal of `bytes` for devices of one user.
    pub(crate) fn signal(&self, target: &Target, signal: &PeerSignal, bytes: usize) {
        let user = match target {
            Target::Device(device) | Target::OthersOf(device) => &device.user,
            Target::User(user) => user,
        };
        for (device, online) in read(&self.users).get(user.as_str()).into_iter().flatten() {
            if target.reaches(&im_proto::call::Device::new(user, device)) {
                online.mailbox.signal(signal.clone(), bytes);
            }
        }
    }

    /// A user came into a group: its sessions get hints from now on, and ask what there is.
    pub(crate) fn enter_group(&self, group: &ConversationKey, user: &str) {
        let users = read(&self.users);
        let Some((user, devices)) = users.get_key_value(user) else { return };
        let mut groups = write(&self.groups);
        for online in devices.values() {
            enter(&mut groups, group, user, &online.mailbox);
            online.mailbox.ask_again();
        }
    }

    /// A user is out of a group.
    pub(crate) fn leave_group(&self, group: &ConversationKey, user: &str) {
        let users = read(&self.users);
        let Some(devices) = users.get(user) else { return };
        let mut groups = write(&self.groups);
        for online in devices.values() {
            online.mailbox.removed();
            own_groups(&online.mailbox).remove(group);
            leave(&mut groups, group, online.mailbox.session);
        }
    }
}

fn own_groups(mailbox: &Mailbox) -> std::sync::MutexGuard<'_, BTreeSet<ConversationKey>> {
    Mutex::lock(&mailbox.groups).unwrap_or_else(PoisonError::into_inner)
}

fn enter(groups: &mut Groups, group: &ConversationKey, user: &Arc<str>, mailbox: &Arc<Mailbox>) {
    groups.entry(group.clone()).or_default().insert(mailbox.session, (user.clone(), mailbox.clone()));
    own_groups(mailbox).insert(group.clone());
}

fn leave(groups: &mut Groups, group: &ConversationKey, session: u64) {
    if let Some(members) = groups.get_mut(group) {
        members.remove(&session);
        if members.is_empty() {
            groups.remove(group);
        }
    }
}

fn visible(devices: &Devices) -> PresenceState {
    presence::combined(devices.values().map(|online| online.presence))
}

impl Online {
    fn as_policy(&self, device: &str) -> OnlineDevice {
        OnlineDevice { session: self.mailbox.session, device: device.into(), kind: self.kind, since: self.since }
    }
}

impl Membership {
    /// The groups that the user is in, as they were read after `removals` was looked at. False: the user was taken out of one
    /// meanwhile, so they have to be read again.
    pub(crate) fn enter_groups(&self, list: &[ConversationKey], removals: u64) -> bool {
        let mut groups = write(&self.hub.groups);
        if self.mailbox.removals() != removals {
            return false;
        }
        for group in list {
            enter(&mut groups, group, &self.user, &self.mailbox);
        }
        true
    }

    /// What this device says of the user's presence.
    pub(crate) fn set_presence(&self, state: PresenceState) {
        let mut users = write(&self.hub.users);
        let Some(devices) = users.get_mut(&self.user) else { return };
        let before = visible(devices);
        if let Some(online) = devices.get_mut(&self.device).filter(|online| Arc::ptr_eq(&online.mailbox, &self.mailbox))
        {
            online.presence = state;
            self.hub.tell_presence(&self.user, before, devices);
        }
    }

    pub(crate) fn watch(&mut self, user: String) {
        let users = read(&self.hub.users);
        let state = || users.get(user.as_str()).map_or(PresenceState::OFFLINE, visible);
        self.hub.watches.begin(&user, &self.mailbox, state);
        drop(users);
        self.watching.insert(user);
    }

    pub(crate) fn unwatch(&mut self, user: &str) {
        if self.watching.remove(user) {
            self.hub.watches.end(user, self.mailbox.session);
        }
    }

    pub(crate) fn enter_room(&mut self, room: String) {
        self.hub.rooms.join(&room, &self.mailbox);
        self.rooms.insert(room);
    }

    pub(crate) fn leave_room(&mut self, room: &str) {
        if self.rooms.remove(room) {
            self.hub.rooms.leave(room, self.mailbox.session);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let session = self.mailbox.session;
        let mut users = write(&self.hub.users);
        if let Some(devices) = users.get_mut(&self.user) {
            let before = visible(devices);
            // A newer session of the same device keeps its place.
            if devices.get(&self.device).is_some_and(|online| online.mailbox.session == session) {
                devices.remove(&self.device);
            }
            self.hub.tell_presence(&self.user, before, devices);
            if devices.is_empty() {
                users.remove(&self.user);
            }
        }
        drop(users);
        let mut groups = write(&self.hub.groups);
        for group in std::mem::take(&mut *own_groups(&self.mailbox)) {
            leave(&mut groups, &group, session);
        }
        drop(groups);
        self.rooms.iter().for_each(|room| self.hub.rooms.leave(room, session));
        self.watching.iter().for_each(|user| self.hub.watches.end(user, session));
    }
}
