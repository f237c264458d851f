//! What waits for a session until its task comes round to it: hints, and what others say to its device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use im_proto::{CloseCode, Conversation, PeerSignal, RoomPost};
use tokio::sync::Notify;

use crate::store::ConversationKey;

/// Most conversations with a hint that waits in one mailbox. Beyond that the session asks the log about all of them.
pub(super) const MAX_HINTS: usize = 256;
/// Most receipts that wait. Beyond that the session tells all positions again from the store.
const MAX_RECEIPTS: usize = 256;
/// Most recalls that wait. Beyond that the connection is closed: it must not transmit what it fetched before.
const MAX_RECALLS: usize = 256;
/// Most bytes of signals that wait, and of room messages. Beyond that the oldest goes, as in the connection itself.
const MAX_SIGNAL_BYTES: usize = 256 * 1024;
const MAX_POST_BYTES: usize = 256 * 1024;
/// What a waiting signal or room message costs beyond its content.
const OVERHEAD: usize = 512;

/// What a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Receipt {
    Delivered,
    Read,
}

/// A position of a user, as its conversation is named by who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Whose {
    pub(crate) conversation: Conversation,
    pub(crate) user: Arc<str>,
    pub(crate) what: Receipt,
}

/// What waits for a session.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    news: bool,
    /// Conversations, as the session's user names them, and how far their logs go.
    pub(crate) heads: BTreeMap<Conversation, u64>,
    /// There were more hints than a mailbox holds, or the user's groups changed.
    pub(crate) overflow: bool,
    pub(crate) recalled: Vec<(Conversation, u64)>,
    pub(crate) recalls_lost: bool,
    /// Epoch and seq.
    pub(crate) receipts: BTreeMap<Whose, (u64, u64)>,
    pub(crate) receipts_lost: bool,
    pub(crate) signals: VecDeque<(usize, PeerSignal)>,
    signal_bytes: usize,
    pub(crate) posts: VecDeque<(usize, RoomPost)>,
    post_bytes: usize,
    /// Room messages that went because too many waited here.
    pub(crate) posts_lost: BTreeMap<Conversation, u64>,
    /// The session has to go.
    pub(crate) kicked: Option<(CloseCode, String)>,
}

/// A session's place for mail, and its name among the sessions of this server.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) session: u64,
    mail: Mutex<Mail>,
    wake: Notify,
    /// The groups in whose lists it stands.
    pub(super) groups: Mutex<BTreeSet<ConversationKey>>,
    /// How often its user was taken out of a group.
    removals: AtomicU64,
}

impl Mailbox {
    pub(super) fn new(session: u64) -> Self {
        Self { session, ..Self::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Mail> {
        // Every change is a single step, so a panic elsewhere cannot leave it half done.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Mail)) {
        let mut mail = self.lock();
        change(&mut mail);
        mail.news = true;
        drop(mail);
        self.wake.notify_one();
    }

    /// Copies the name only where no hint of the conversation waits: in a large group there is one for each message and member.
    pub(super) fn hint(&self, conversation: &Conversation, head: u64) {
        self.put(|mail| {
            if let Some(known) = mail.heads.get_mut(conversation) {
                *known = head.max(*known);
            } else if mail.heads.len() < MAX_HINTS {
                mail.heads.insert(conversation.clone(), head);
            } else {
                mail.overflow = true;
            }
        });
    }

    pub(super) fn ask_again(&self) {
        self.put(|mail| mail.overflow = true);
    }

    pub(super) fn recalled(&self, conversation: Conversation, seq: u64) {
        self.put(|mail| {
            if mail.recalled.len() < MAX_RECALLS {
                mail.recalled.push((conversation, seq));
            } else {
                mail.recalls_lost = true;
            }
        });
    }

    pub(super) fn receipt(&self, whose: Whose, epoch: u64, up_to: u64) {
        self.put(|mail| {
            if mail.receipts.len() >= MAX_RECEIPTS && !mail.receipts.contains_key(&whose) {
                mail.receipts_lost = true;
                return;
            }
            let known = mail.receipts.entry(whose).or_default();
            // The positions of another log say nothing about this one.
            *known = if known.0 == epoch { (epoch, up_to.max(known.1)) } else { (epoch, up_to) };
        });
    }

    /// `bytes` of content.
    pub(super) fn signal(&self, signal: PeerSignal, bytes: usize) {
        self.put(|mail| {
            mail.signal_bytes += OVERHEAD + bytes;
            mail.signals.push_back((OVERHEAD + bytes, signal));
            while mail.signal_bytes > MAX_SIGNAL_BYTES && mail.signals.len() > 1 {
                let Some((bytes, _)) = mail.signals.pop_front() else { break };
                mail.signal_bytes -= bytes;
            }
        });
    }

    pub(super) fn post(&self, post: RoomPost, bytes: usize) {
        self.put(|mail| {
            mail.post_bytes += OVERHEAD + bytes;
            mail.posts.push_back((OVERHEAD + bytes, post));
            while mail.post_bytes > MAX_POST_BYTES && mail.posts.len() > 1 {
                let Some((bytes, lost)) = mail.posts.pop_front() else { break };
                mail.post_bytes -= bytes;
                *mail.posts_lost.entry(lost.room().clone()).or_default() += 1;
            }
        });
    }

    pub(super) fn kick(&self, code: CloseCode, reason: String) {
        self.put(|mail| mail.kicked = Some((code, reason)));
    }

    /// Waits for mail and takes all of it. Cancel-safe.
    pub(crate) async fn take(&self) -> Mail {
        loop {
            if let Some(mail) = self.try_take() {
                return mail;
            }
            self.wake.notified().await;
        }
    }

    fn try_take(&self) -> Option<Mail> {
        let mut mail = self.lock();
        mail.news.then(|| std::mem::take(&mut *mail))
    }

    /// Takes the recalls alone, and whether some were lost: a session looks here before it transmits anything.
    pub(crate) fn take_recalls(&self) -> (Vec<(Conversation, u64)>, bool) {
        let mut mail = self.lock();
        (std::mem::take(&mut mail.recalled), mail.recalls_lost)
    }

    /// Grows each time the session's user is taken out of a group.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::SeqCst)
    }

    pub(super) fn removed(&self) {
        self.removals.fetch_add(1, Ordering::SeqCst);
    }
}
