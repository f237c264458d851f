//! What a session asks in the background and answers later: who may do what, in which groups its user is, and positions
//! that it has to tell.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use im_proto::call::{CallId, CallSignal};
use im_proto::{CloseCode, Conversation, Instant, PacketId, Submission};

use super::questions::Device;
use super::{Refusal, Services, Session};
use crate::auth::AuthError;
use crate::calls::GroupMembers;
use crate::conversation;
use crate::hub::{Receipt, Whose};
use crate::store::{ConversationKey, MemberChange, Standing, Store, StoreError};
use crate::transport::Transport;

/// Jobs under way. Beyond that nothing more is read from the peer.
const MAX_JOBS: usize = 64;
/// Conversations of one page of a user's groups, or of positions to tell.
const PAGE: usize = 128;
/// Groups of one user whose messages are hinted at. In more than that a message is found when the user asks again.
const MAX_GROUPS: usize = 10_000;

/// What a job came to.
pub(super) enum Done {
    Groups { groups: Result<Vec<ConversationKey>, StoreError>, removals: u64 },
    Receipts { receipts: Result<Vec<(Whose, u64, u64)>, StoreError>, next: Option<ConversationKey> },
    Banned(Result<(), AuthError>),
    Join { packet_id: PacketId, room: Conversation, allowed: Result<(), Refusal> },
    Watch { packet_id: PacketId, user: String, allowed: Result<(), Refusal> },
    Typing { packet_id: PacketId, conversation: Conversation, on: bool, allowed: Result<(), Refusal> },
    Post { message: Submission, digest: [u8; 32], allowed: Result<(), Refusal> },
    Call { packet_id: PacketId, call: CallId, signal: CallSignal, allowed: Result<GroupMembers, Refusal> },
}

/// In the order in which they were begun, so that what a client says one after the other keeps its order.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: FuturesOrdered<BoxFuture<'static, Done>>,
}

impl Jobs {
    pub(super) fn has_room(&self) -> bool {
        self.jobs.len() < MAX_JOBS
    }

    pub(super) fn push(&mut self, job: impl Future<Output = Done> + Send + 'static) {
        self.jobs.push_back(Box::pin(job));
    }

    /// Waits for the next one; for ever if there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Done {
        match self.jobs.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

/// Makes a user a reader of the broadcasts, from the first login on.
async fn subscribe(store: &dyn Store, channels: &[ConversationKey], user: &Arc<str>) -> Result<(), StoreError> {
    for channel in channels {
        if store.member(user, channel).await?.is_none() {
            let reader = MemberChange { user: user.clone(), standing: Some(Standing::default()) };
            store.set_members(channel, vec![reader]).await?;
        }
    }
    Ok(())
}

/// Where the session is in telling the positions that matter: all of them after a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Retelling {
    Idle,
    /// The page after this conversation is next.
    Due(Option<ConversationKey>),
    UnderWay,
}

impl<T: Transport> Session<T> {
    /// A ban that came after the login was checked found no session to close.
    pub(super) fn look_for_ban(&mut self) {
        let (Some(member), Some(_)) = (&self.member, &self.services.bans) else { return };
        let (services, user) = (self.services.clone(), member.device.user.clone());
        self.jobs.push(async move { Done::Banned(services.not_banned(&user).await) });
    }

    /// Looks up the groups of the user, so that it gets hints.
    pub(super) fn find_groups(&mut self) {
        let Some(member) = &self.member else { return };
        let (store, channels) = (self.services.store.clone(), self.services.channels.clone());
        let user = member.device.user.clone();
        let removals = member.membership.mailbox.removals();
        self.jobs.push(async move {
            let mut groups = Vec::new();
            if let Err(error) = subscribe(&*store, &channels, &user).await {
                return Done::Groups { groups: Err(error), removals };
            }
            let mut after = None;
            loop {
                match store.conversations(&user, after.as_ref(), PAGE).await {
                    Ok(page) => {
                        groups.extend(page.iter().filter(|key| conversation::is_listed(key)).cloned());
                        after = page.last().filter(|_| page.len() == PAGE && groups.len() < MAX_GROUPS).cloned();
                    }
                    Err(error) => return Done::Groups { groups: Err(error), removals },
                }
                if after.is_none() {
                    return Done::Groups { groups: Ok(groups), removals };
                }
            }
        });
    }

    /// Begins the next page of positions, once the last one is on its way.
    pub(super) fn retell(&mut self) {
        let (Some(member), Retelling::Due(after)) = (&self.member, &self.retelling) else { return };
        if self.output.is_empty() {
            let job = positions(self.services.clone(), member.device.clone(), after.clone());
            self.jobs.push(job);
            self.retelling = Retelling::UnderWay;
        }
    }

    pub(super) fn done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Groups { groups: Ok(groups), removals } => {
                let Some(member) = &self.member else { return };
                if !member.membership.enter_groups(&groups, removals) {
                    self.find_groups();
                } else if !groups.is_empty() {
                    // What came before the hints began.
                    self.connection.notify_all();
                }
            }
            Done::Receipts { receipts: Ok(receipts), next } => {
                for (Whose { conversation, user, what }, epoch, up_to) in receipts {
                    match what {
                        Receipt::Delivered => self.connection.delivered_to(&conversation, &user, epoch, up_to),
                        Receipt::Read => self.connection.read_by(&conversation, &user, epoch, up_to),
                    }
                }
                // More of it may have become due meanwhile, which then begins anew.
                if self.retelling == Retelling::UnderWay {
                    self.retelling = next.map_or(Retelling::Idle, |next| Retelling::Due(Some(next)));
                }
            }
            Done::Groups { groups: Err(error), .. } | Done::Receipts { receipts: Err(error), .. } => {
                self.store_failed(now, &error);
            }
            Done::Banned(Ok(())) => {}
            Done::Banned(Err(error)) => {
                self.connection.close(now, CloseCode::LOGIN_REFUSED, &error.to_string());
            }
            Done::Join { packet_id, room, allowed } => self.joined(now, packet_id, room, allowed),
            Done::Watch { packet_id, user, allowed } => self.watched(now, packet_id, user, allowed),
            Done::Typing { packet_id, conversation, on, allowed } => {
                self.typed(now, packet_id, &conversation, on, allowed);
            }
            Done::Post { message, digest, allowed } => self.posted(now, message, digest, allowed),
            Done::Call { packet_id, call, signal, allowed } => self.called(now, packet_id, call, signal, allowed),
        }
    }
}

/// A page of positions: what the user read, and how far the others of private conversations are.
async fn positions(services: Arc<Services>, device: Device, after: Option<ConversationKey>) -> Done {
    let store = &services.store;
    let user = &device.user;
    let mut receipts = Vec::new();
    let mut next = None;
    let result = async {
        let page = store.conversations(user, after.as_ref(), PAGE).await?;
        next = page.last().filter(|_| page.len() == PAGE).cloned();
        for key in page {
            let Some(conversation) = conversation::name(user, &key) else { continue };
            let own = store.positions(user, &key).await?;
            let mut add = |user: &Arc<str>, what, epoch, up_to| {
                if up_to > 0 {
                    receipts.push((
                        Whose { conversation: conversation.clone(), user: user.clone(), what },
                        epoch,
                        up_to,
                    ));
                }
            };
            add(user, Receipt::Read, own.epoch, own.read);
            if let Some(other) = conversation::other(user, &conversation).map(Arc::<str>::from) {
                let theirs = store.positions(&other, &key).await?;
                add(&other, Receipt::Read, theirs.epoch, theirs.read);
                add(&other, Receipt::Delivered, theirs.epoch, theirs.delivered);
            }
        }
        Ok(())
    }
    .await;
    Done::Receipts { receipts: result.map(|()| receipts), next }
}
