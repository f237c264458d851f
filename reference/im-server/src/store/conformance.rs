//! The suite that every [`Store`] must pass: the contract, as programs.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), im_server::store::conformance::Failure> {
//! use std::sync::Arc;
//! use im_server::store::{FjallConfig, FjallStore, Store, conformance};
//!
//! # let dir = tempfile::tempdir().expect("a directory");
//! conformance::run(async |name| {
//!     let store = FjallStore::open(&dir.path().join(name), &FjallConfig::default())?;
//!     Ok(Arc::new(store) as Arc<dyn Store>)
//! })
//! .await
//! # }
//! ```

mod commands;
mod delivery;
mod log;
mod members;
mod trimmed;

use std::sync::Arc;

use im_proto::rights::MemberRole;

use super::{
    Append, ConversationKey, EntryKind, MemberChange, NewEntry, Receipt, Standing, Store, StoreError, StoredEntry,
};

/// A rule that a store broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store breaks the rule \"{case}\": {reason}")]
pub struct Failure {
    /// The name of the case.
    pub case: &'static str,
    /// What was expected and what was found.
    pub reason: String,
}

/// What a case finds wrong.
type Checked<T = ()> = Result<T, String>;

/// Runs all cases, on a tokio runtime, and stops at the first failure.
///
/// `open` is given a name made of letters and `-`. A name it has not seen is a new and empty store; the same name again,
/// after the first was closed and dropped, is the same store again.
///
/// # Errors
///
/// The rule that was broken.
pub async fn run<F>(open: F) -> Result<(), Failure>
where
    F: AsyncFn(&str) -> Result<Arc<dyn Store>, StoreError>,
{
    macro_rules! cases {
        ($($name:literal => $case:path),+ $(,)?) => {$(
            let store = new(&open, $name).await.map_err(|reason| Failure { case: $name, reason })?;
            let outcome = $case(store.clone()).await;
            outcome.map_err(|reason| Failure { case: $name, reason })?;
            store.close().await.map_err(|e| Failure { case: $name, reason: e.to_string() })?;
        )+};
    }
    cases! {
        "dense-seq" => log::dense_seq,
        "concurrent-order" => log::concurrent_order,
        "order-of-first-polls" => log::order_of_first_polls,
        "retry" => log::retry,
        "conflict" => log::conflict,
        "devices-have-their-own-packet-ids" => log::other_device,
        "repetition-in-flight" => log::repetition_in_flight,
        "names-do-not-run-together" => log::names_do_not_run_together,
        "read-limits" => log::read_limits,
        "lengths" => log::lengths,
        "nothing-yet" => delivery::nothing_yet,
        "unread-pages" => delivery::unread_pages,
        "members-of-a-new-conversation" => delivery::members_of_a_new_conversation,
        "cursor" => delivery::cursor,
        "only-acks-move-a-cursor" => delivery::only_acks,
        "kinds-of-entries" => commands::kinds,
        "recalled-content-is-gone" => commands::recalled,
        "recalls-and-edits-in-flight" => commands::in_flight,
        "a-recall-of-no-message" => commands::recall_of_nothing,
        "edits-are-bounded" => commands::edits_are_bounded,
        "stored-before" => commands::stored_before,
        "group-members" => members::group,
        "a-member-sees-what-came-after-it-joined" => members::since,
        "pages-of-members-and-conversations" => members::pages,
        "the-banned-and-strangers-have-nothing" => members::banned,
        "read-positions" => members::read_positions,
        "another-epoch-moves-nothing" => members::other_epoch,
        "trim-takes-the-front" => trimmed::front,
        "trim-takes-the-front-only" => trimmed::front_only,
        "trim-in-steps" => trimmed::steps,
        "pages-of-a-trimmed-log" => trimmed::pages,
        "cursors-in-a-trimmed-log" => trimmed::cursors,
        "retries-of-trimmed-entries" => trimmed::retries,
        "commands-about-trimmed-entries" => trimmed::commands,
        "close" => delivery::close,
    }
    let case = "reopen";
    reopen(&open, case).await.map_err(|reason| Failure { case, reason })?;
    let case = "reopen-trimmed";
    trimmed::reopen(&open, case).await.map_err(|reason| Failure { case, reason })
}

async fn new<F>(open: &F, name: &str) -> Checked<Arc<dyn Store>>
where
    F: AsyncFn(&str) -> Result<Arc<dyn Store>, StoreError>,
{
    open(name).await.map_err(|e| format!("cannot open it: {e}"))
}

/// Everything is there after closing and opening again, and the log goes on where it was.
async fn reopen<F>(open: &F, name: &str) -> Checked
where
    F: AsyncFn(&str) -> Result<Arc<dyn Store>, StoreError>,
{
    let c = key("reopen")?;
    let store = new(open, name).await?;
    for packet_id in 1..=5 {
        stored(&*store, &c, packet_id).await?;
    }
    advance(&*store, "bob", "desk", &c, 3).await?;
    let epoch = done(store.head(&c).await)?.epoch;
    let positions = done(store.mark_read("bob", &c, epoch, 2).await)?;
    let recall = NewEntry { kind: EntryKind::Recall { about: 1 }, content: Vec::new(), ..message(&c, 50) };
    append(&*store, recall).await?;
    let change = MemberChange { user: "eve".into(), standing: Some(Standing::of(MemberRole::Admin)) };
    done(store.set_members(&c, vec![change]).await)?;
    let members = done(store.members(&c, None, 9).await)?;
    let (log, head) = (all(&*store, &c).await?, done(store.head(&c).await)?);
    let unread = done(store.unread("bob", "desk", None, 9).await)?;
    done(store.close().await)?;
    drop(store);

    let store = new(open, name).await?;
    same("the log", &all(&*store, &c).await?, &log)?;
    same("the head and its epoch", &done(store.head(&c).await)?, &head)?;
    same("the cursor", &done(store.cursor("bob", "desk", &c).await)?, &3)?;
    same("the unread conversations", &done(store.unread("bob", "desk", None, 9).await)?, &unread)?;
    same("the read position", &done(store.positions("bob", &c).await)?, &positions)?;
    same("the members", &done(store.members(&c, None, 9).await)?, &members)?;
    let retry = store.append(message(&c, 2)).await;
    if !matches!(retry, Append::AlreadyStored(receipt) if receipt.seq == 2) {
        return Err(format!("a retry after reopening gave {retry:?}"));
    }
    same("the next seq", &stored(&*store, &c, 6).await?.seq, &7)?;
    done(store.close().await)
}

fn key(name: &str) -> Checked<ConversationKey> {
    done(ConversationKey::new(name))
}

/// A message from ann's phone to bob.
fn message(conversation: &ConversationKey, packet_id: u64) -> NewEntry {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(packet_id.to_be_bytes()) {
        *to = from;
    }
    NewEntry {
        conversation: conversation.clone(),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest,
        message_id: packet_id.wrapping_add(1000),
        time_ms: packet_id.wrapping_add(1_700_000_000_000),
        kind: EntryKind::Message,
        content_type: 1,
        content: format!("message {packet_id}").into_bytes(),
    }
}

async fn stored(store: &dyn Store, conversation: &ConversationKey, packet_id: u64) -> Checked<Receipt> {
    append(store, message(conversation, packet_id)).await
}

async fn append(store: &dyn Store, message: NewEntry) -> Checked<Receipt> {
    let outcome = store.append(message).await;
    if let Append::Stored(receipt) = outcome {
        Ok(receipt)
    } else {
        Err(format!("a new message must be Stored, not {outcome:?}"))
    }
}

/// The whole log, in pages of odd sizes; checks that each page ascends without a hole.
async fn all(store: &dyn Store, conversation: &ConversationKey) -> Checked<Vec<StoredEntry>> {
    let mut log: Vec<StoredEntry> = Vec::new();
    let trimmed = done(store.head(conversation).await)?.trimmed();
    loop {
        let after = trimmed + log.len() as u64;
        let page = done(store.read(conversation, after, 7, 1 << 20).await)?;
        if page.is_empty() {
            return Ok(log);
        }
        for (message, seq) in page.into_iter().zip(after + 1..) {
            same("the seq read", &message.seq, &seq)?;
            log.push(message);
        }
    }
}

/// Moves a cursor in the log that there is.
async fn advance(
    store: &dyn Store,
    user: &str,
    device: &str,
    conversation: &ConversationKey,
    up_to: u64,
) -> Checked<u64> {
    let epoch = done(store.head(conversation).await)?.epoch;
    done(store.advance(user, device, conversation, epoch, up_to).await)
}

fn done<T>(result: Result<T, StoreError>) -> Checked<T> {
    result.map_err(|e| format!("unexpected error: {e}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}
