//! The one way into the log, for sessions and for the service: the hook looks at an entry, the store takes it, everybody
//! concerned hears of it, and the application is told.

use std::sync::Arc;
use std::task::Poll;

use im_proto::Conversation;

use super::{Refusal, Services};
use crate::hooks::{Committed, Draft, Origin};
use crate::hub::{Mailbox, Place};
use crate::store::{Append, EntryKind, NewEntry, Receipt, StoreError, StoredEntry};

impl Services {
    /// Lets the application's hook look at an entry that may be stored. What is stored already passes as it is, so that a
    /// retry is answered as the first time, whatever the hook would say now.
    pub(crate) async fn review(&self, to: &Conversation, entry: &mut NewEntry) -> Result<(), Refusal> {
        if self.hooks.before.is_none() {
            return Ok(());
        }
        match self.store.stored_before(entry).await {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(()),
            Err(error) => return Err(Refusal::store(&error)),
        }
        let draft = Draft {
            from: &entry.from,
            origin: Origin::of(&entry.device),
            conversation: to,
            kind: entry.kind,
            content_type: entry.content_type.into(),
            content: &entry.content,
        };
        if let Some((content_type, content)) = self.hooks.review(&draft).await? {
            (entry.content_type, entry.content) = (content_type, content);
        }
        Ok(())
    }

    /// Appends an entry that was looked at. `own` is the mailbox of the session that it comes from, which needs no hint.
    pub(crate) async fn commit(&self, to: &Conversation, entry: NewEntry, own: &Arc<Mailbox>) -> Append {
        let (from, kind) = (entry.from.clone(), entry.kind);
        let place = Place { user: &from, conversation: to };
        if self.hooks.after.is_none() {
            let append = self.store.append(entry).await;
            self.told(place, kind, &append, own);
            return append;
        }
        let (key, kept) = (entry.conversation.clone(), entry.clone());
        let mut append = self.store.append(entry);
        let (mut link, early) = self.hooks.chains.begin(key, &mut append);
        let append = match early {
            Poll::Ready(append) => append,
            Poll::Pending => append.await,
        };
        self.told(place, kind, &append, own);
        let (entry, again) = match &append {
            Append::Stored(receipt) => (Some(stored(kept, receipt)), false),
            // As it was stored: a hook may have changed it then.
            Append::AlreadyStored(receipt) => (self.entry_at(&kept, receipt).await, true),
            Append::Conflict(_) | Append::NotStored(_) | Append::Unknown(_) => (None, false),
        };
        link.turn().await;
        if let Some(entry) = entry {
            let origin = Origin::of(&entry.device);
            self.hooks.tell(&Committed { conversation: to, origin, entry: &entry, again }).await;
        }
        append
    }

    async fn entry_at(&self, retry: &NewEntry, receipt: &Receipt) -> Option<StoredEntry> {
        let found = self.store.read(&retry.conversation, receipt.seq.checked_sub(1)?, 1, 0).await;
        if matches!(found, Err(StoreError::Trimmed { .. })) {
            // What it was is not kept, so there is nothing to tell again.
            return None;
        }
        found.inspect_err(|error| tracing::error!(%error, "an entry was not read again for after_commit")).ok()?.pop()
    }

    fn told(&self, place: Place<'_>, kind: EntryKind, append: &Append, own: &Arc<Mailbox>) {
        match append {
            Append::Stored(receipt) | Append::AlreadyStored(receipt) => {
                if let EntryKind::Recall { about } = kind {
                    self.hub.recalled(place, about);
                }
                self.hub.notify(place, receipt.seq, own);
            }
            Append::NotStored(error) if !error.is_final() => tracing::error!(%error, "an entry was not stored"),
            Append::Conflict(_) | Append::Unknown(_) | Append::NotStored(_) => {}
        }
    }
}

fn stored(entry: NewEntry, receipt: &Receipt) -> StoredEntry {
    StoredEntry {
        seq: receipt.seq,
        message_id: receipt.message_id,
        time_ms: receipt.time_ms,
        from: entry.from,
        device: entry.device,
        packet_id: entry.packet_id,
        kind: entry.kind,
        recalled: false,
        content_type: entry.content_type,
        content: entry.content,
    }
}
