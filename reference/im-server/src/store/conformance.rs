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

mod delivery;
mod log;

use std::sync::Arc;

use super::{Append, ConversationKey, NewMessage, Receipt, Store, StoreError, StoredMessage};

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
        "close" => delivery::close,
    }
    let case = "reopen";
    reopen(&open, case).await.map_err(|reason| Failure { case, reason })
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
    done(store.advance("bob", "desk", &c, 3).await)?;
    let (log, head) = (all(&*store, &c).await?, done(store.head(&c).await)?);
    let unread = done(store.unread("bob", "desk", None, 9).await)?;
    done(store.close().await)?;
    drop(store);

    let store = new(open, name).await?;
    same("the log", &all(&*store, &c).await?, &log)?;
    same("the head and its epoch", &done(store.head(&c).await)?, &head)?;
    same("the cursor", &done(store.cursor("bob", "desk", &c).await)?, &3)?;
    same("the unread conversations", &done(store.unread("bob", "desk", None, 9).await)?, &unread)?;
    let retry = store.append(message(&c, 2)).await;
    if !matches!(retry, Append::AlreadyStored(receipt) if receipt.seq == 2) {
        return Err(format!("a retry after reopening gave {retry:?}"));
    }
    same("the next seq", &stored(&*store, &c, 6).await?.seq, &6)?;
    done(store.close().await)
}

fn key(name: &str) -> Checked<ConversationKey> {
    done(ConversationKey::new(name))
}

/// A message from ann's phone to bob.
fn message(conversation: &ConversationKey, packet_id: u64) -> NewMessage {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(packet_id.to_be_bytes()) {
        *to = from;
    }
    NewMessage {
        conversation: conversation.clone(),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest,
        message_id: packet_id.wrapping_add(1000),
        time_ms: packet_id.wrapping_add(1_700_000_000_000),
        content_type: 1,
        content: format!("message {packet_id}").into_bytes(),
    }
}

async fn stored(store: &dyn Store, conversation: &ConversationKey, packet_id: u64) -> Checked<Receipt> {
    append(store, message(conversation, packet_id)).await
}

async fn append(store: &dyn Store, message: NewMessage) -> Checked<Receipt> {
    let outcome = store.append(message).await;
    if let Append::Stored(receipt) = outcome {
        Ok(receipt)
    } else {
        Err(format!("a new message must be Stored, not {outcome:?}"))
    }
}

/// The whole log, in pages of odd sizes; checks that each page ascends without a hole.
async fn all(store: &dyn Store, conversation: &ConversationKey) -> Checked<Vec<StoredMessage>> {
    let mut log: Vec<StoredMessage> = Vec::new();
    loop {
        let after = log.len() as u64;
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

fn done<T>(result: Result<T, StoreError>) -> Checked<T> {
    result.map_err(|e| format!("unexpected error: {e}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}
