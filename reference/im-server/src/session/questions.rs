//! What one session asks of the store besides appending: its cursors, what is unread, and the messages of the log.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use im_proto::{Conversation, Entry, FeedItem};

use crate::conversation;
use crate::store::{ConversationKey, Store, StoreError, StoredMessage, Unread};

/// Cursors that wait to be moved. Beyond that nothing more is read from the peer.
const MAX_ADVANCES: usize = 64;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) user: Arc<str>,
    pub(super) device: Arc<str>,
}

pub(super) enum Question {
    Unread { limit: usize },
    Fetch { conversation: Conversation, key: ConversationKey, after: Option<u64>, messages: usize, bytes: usize },
}

pub(super) enum Answer {
    /// A cursor was moved, or not: then some messages are delivered again, and the client drops those.
    Advanced(Result<(), StoreError>),
    Unread {
        heads: Vec<(Conversation, u64)>,
        complete: bool,
    },
    Fetched {
        conversation: Conversation,
        after: u64,
        items: Vec<FeedItem>,
    },
    Failed(StoreError),
}

/// At most one question and one cursor are under way at a time.
pub(super) struct Questions {
    store: Arc<dyn Store>,
    advances: VecDeque<(ConversationKey, u64)>,
    advancing: Option<BoxFuture<'static, Result<(), StoreError>>>,
    waiting: Option<Question>,
    asking: Option<BoxFuture<'static, Answer>>,
}

impl Questions {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, advances: VecDeque::new(), advancing: None, waiting: None, asking: None }
    }

    /// Whether more acks may be read from the peer.
    pub(super) fn has_room(&self) -> bool {
        self.advances.len() < MAX_ADVANCES
    }

    pub(super) fn advance(&mut self, key: ConversationKey, up_to: u64) {
        match self.advances.iter_mut().find(|(waiting, _)| *waiting == key) {
            Some((_, waiting)) => *waiting = up_to.max(*waiting),
            None => self.advances.push_back((key, up_to)),
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.waiting = Some(question);
    }

    /// Begins what may begin. With `hold` nothing new is asked: the answer could not be sent yet.
    pub(super) fn start(&mut self, device: &Device, hold: bool) {
        if self.advancing.is_none()
            && let Some((key, up_to)) = self.advances.pop_front()
        {
            let (store, device) = (self.store.clone(), device.clone());
            let advance = async move { store.advance(&device.user, &device.device, &key, up_to).await };
            self.advancing = Some(advance.boxed());
        }
        // What the store knows of this device's position must include every ack that came before the question.
        let depends = !matches!(&self.waiting, Some(Question::Fetch { after: Some(_), .. }));
        if hold || self.asking.is_some() || (depends && self.advancing.is_some()) {
            return;
        }
        if let Some(question) = self.waiting.take() {
            let (store, device) = (self.store.clone(), device.clone());
            self.asking = Some(answer(store, device, question).boxed());
        }
    }

    /// Moves every cursor that waits, at the end of a session: what a device acked with its last breath counts.
    pub(super) async fn finish(mut self, device: &Device) {
        if let Some(advancing) = self.advancing.take() {
            Self::log(advancing.await);
        }
        for (key, up_to) in std::mem::take(&mut self.advances) {
            Self::log(self.store.advance(&device.user, &device.device, &key, up_to).await);
        }
    }

    fn log(advanced: Result<(), StoreError>) {
        if let Err(error) = advanced {
            tracing::error!(%error, "a device's position was not kept; it gets some messages again");
        }
    }

    /// Waits for what is under way; for ever if nothing is. Cancel-safe.
    pub(super) async fn next(&mut self) -> Answer {
        let Self { advancing, asking, .. } = self;
        let answer = tokio::select! {
            result = when(advancing) => Answer::Advanced(result),
            answer = when(asking) => answer,
        };
        match &answer {
            Answer::Advanced(_) => *advancing = None,
            Answer::Unread { .. } | Answer::Fetched { .. } | Answer::Failed(_) => *asking = None,
        }
        answer
    }
}

async fn when<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn answer(store: Arc<dyn Store>, device: Device, question: Question) -> Answer {
    let result = match question {
        Question::Unread { limit } => unread(&*store, &device, limit).await,
        Question::Fetch { conversation, key, after, messages, bytes } => {
            fetch(&*store, &device, conversation, &key, after, messages, bytes).await
        }
    };
    result.unwrap_or_else(Answer::Failed)
}

async fn unread(store: &dyn Store, device: &Device, limit: usize) -> Result<Answer, StoreError> {
    let found = store.unread(&device.user, &device.device, None, limit).await?;
    let complete = found.len() < limit;
    let head = |unread: Unread| Some((conversation::name(&device.user, &unread.conversation)?, unread.head));
    Ok(Answer::Unread { heads: found.into_iter().filter_map(head).collect(), complete })
}

async fn fetch(
    store: &dyn Store,
    device: &Device,
    conversation: Conversation,
    key: &ConversationKey,
    after: Option<u64>,
    messages: usize,
    bytes: usize,
) -> Result<Answer, StoreError> {
    let after = match after {
        Some(after) => after,
        None => store.cursor(&device.user, &device.device, key).await?,
    };
    let items = store.read(key, after, messages, bytes).await?;
    let items = items.into_iter().map(|message| item(device, message)).collect();
    Ok(Answer::Fetched { conversation, after, items })
}

fn item(device: &Device, message: StoredMessage) -> FeedItem {
    FeedItem {
        seq: message.seq,
        message_id: message.message_id,
        time_ms: message.time_ms,
        from: String::from(&*message.from),
        own: message.from == device.user && message.device == device.device,
        entry: Entry::Message { content_type: u32::from(message.content_type), content: message.content },
    }
}
