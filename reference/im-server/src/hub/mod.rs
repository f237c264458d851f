//! Who is online here, and hints to them that there is more to read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use im_proto::Conversation;
use tokio::sync::Notify;

/// Most conversations with a hint that waits in one mailbox. Beyond that the session asks the log about all of them.
const MAX_HINTS: usize = 256;

type Devices = BTreeMap<Arc<str>, Arc<Mailbox>>;

/// The sessions of this server, by user and device.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    users: RwLock<BTreeMap<Arc<str>, Devices>>,
}

/// What waits for a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mail {
    /// Conversations, as the session's user names them, and how far their logs go.
    pub(crate) heads: BTreeMap<Conversation, u64>,
    /// There were more hints than a mailbox holds.
    pub(crate) overflow: bool,
    /// The same device logged in again.
    pub(crate) replaced: bool,
}

/// Where hints for one session wait. Bounded: hints for a conversation coalesce.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    wake: Notify,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        // Every change is a single step, so a panic elsewhere cannot leave it half done.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, conversation: Conversation, head: u64) {
        let mut mail = self.lock();
        if mail.heads.len() >= MAX_HINTS && !mail.heads.contains_key(&conversation) {
            mail.overflow = true;
        } else {
            let known = mail.heads.entry(conversation).or_default();
            *known = head.max(*known);
        }
        drop(mail);
        self.wake.notify_one();
    }

    fn replace(&self) {
        self.lock().replaced = true;
        self.wake.notify_one();
    }

    /// Waits for mail and takes all of it. Cancel-safe.
    pub(crate) async fn take(&self) -> Mail {
        loop {
            let mail = std::mem::take(&mut *self.lock());
            if mail != Mail::default() {
                return mail;
            }
            self.wake.notified().await;
        }
    }
}

/// A session's place in the hub, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    hub: Arc<Hub>,
    user: Arc<str>,
    device: Arc<str>,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Hub {
    /// A device comes online. An older session of the same device is told that it was replaced.
    pub(crate) fn join(self: &Arc<Self>, user: &Arc<str>, device: &Arc<str>) -> Membership {
        let mailbox = Arc::new(Mailbox::default());
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let older = users.entry(user.clone()).or_default().insert(device.clone(), mailbox.clone());
        drop(users);
        if let Some(older) = older {
            older.replace();
        }
        Membership { hub: self.clone(), user: user.clone(), device: device.clone(), mailbox }
    }

    /// The log of `a`'s private conversation with `b` goes up to `head`: a hint to all sessions of both, but not to the
    /// one that stored the message and knows.
    pub(crate) fn notify_private(&self, a: &str, b: &str, head: u64, except: &Arc<Mailbox>) {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let both = if a == b { [Some((a, b)), None] } else { [Some((a, b)), Some((b, a))] };
        for (user, other) in both.into_iter().flatten() {
            for mailbox in users.get(user).into_iter().flat_map(BTreeMap::values) {
                if !Arc::ptr_eq(mailbox, except) {
                    mailbox.put(Conversation::private(other), head);
                }
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut users = self.hub.users.write().unwrap_or_else(PoisonError::into_inner);
        let Some(devices) = users.get_mut(&self.user) else { return };
        // A newer session of the same device keeps its place.
        if devices.get(&self.device).is_some_and(|mailbox| Arc::ptr_eq(mailbox, &self.mailbox)) {
            devices.remove(&self.device);
        }
        if devices.is_empty() {
            users.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(hub: &Arc<Hub>, user: &str, device: &str) -> Membership {
        hub.join(&user.into(), &device.into())
    }

    #[tokio::test]
    async fn both_users_hear_of_a_message_but_not_the_session_that_stored_it() {
        let hub = Arc::new(Hub::default());
        let (phone, desk) = (join(&hub, "alice", "phone"), join(&hub, "alice", "desk"));
        let bob = join(&hub, "bob", "phone");
        hub.notify_private("alice", "bob", 2, &phone.mailbox);
        hub.notify_private("alice", "bob", 1, &phone.mailbox);
        assert_eq!(desk.mailbox.take().await.heads, BTreeMap::from([(Conversation::private("bob"), 2)]));
        assert_eq!(bob.mailbox.take().await.heads, BTreeMap::from([(Conversation::private("alice"), 2)]));
        assert_eq!(*phone.mailbox.lock(), Mail::default());
    }

    #[tokio::test]
    async fn the_same_device_again_replaces_the_older_session_and_keeps_its_place() {
        let hub = Arc::new(Hub::default());
        let older = join(&hub, "alice", "phone");
        let newer = join(&hub, "alice", "phone");
        assert!(older.mailbox.take().await.replaced);
        drop(older);
        hub.notify_private("alice", "alice", 1, &Arc::default());
        assert_eq!(newer.mailbox.take().await.heads.len(), 1);
        drop(newer);
        assert!(hub.users.read().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_mailbox_holds_no_more_than_its_bound_and_says_so() {
        let hub = Arc::new(Hub::default());
        let bob = join(&hub, "bob", "phone");
        for n in 0..=MAX_HINTS {
            hub.notify_private(&format!("user {n}"), "bob", 1, &Arc::default());
        }
        let mail = bob.mailbox.take().await;
        assert!(mail.overflow);
        assert_eq!(mail.heads.len(), MAX_HINTS);
    }
}
