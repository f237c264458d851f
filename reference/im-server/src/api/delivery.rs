//! How far a message came, as far as the store and the sessions of this server know.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use im_proto::Conversation;

use super::problem::Problem;
use super::types::{Delivery, DeviceDelivery, Page, Receiver};
use super::{Call, Reply};
use crate::conversation;
use crate::session::Services;
use crate::store::{ConversationKey, StoredEntry};

/// Receivers that are looked up at once.
const RECEIVERS: usize = 16;

/// How far a message between two users came.
#[utoipa::path(get, path = "/messages/private/{from}/{to}/{seq}", tag = "messages",
    params(("from" = String, Path, description = "One of the two"), ("to" = String, Path, description = "The other"),
        ("seq" = u64, Path, description = "As the push said")),
    responses((status = 200, body = Delivery), (status = 404, body = Problem, description = "no_such_message"),
        (status = 410, body = Problem, description = "too_old")))]
pub(super) async fn private(call: Call) -> Result<Reply, Problem> {
    let (from, to) = (call.name("from")?, call.name("to")?);
    let key = conversation::key(from, &Conversation::private(to)).ok_or_else(no_such_message)?;
    let entry = entry(&call, &key).await?;
    let mut users: Vec<Arc<str>> = vec![from.into(), to.into()];
    users.dedup();
    if users.len() > 1 {
        users.retain(|user| *user != entry.from);
    }
    answer(&call, &key, entry, users, None).await
}

/// How far a message in a group came, with its members page by page.
#[utoipa::path(get, path = "/messages/group/{group}/{seq}", tag = "messages",
    params(("group" = String, Path), ("seq" = u64, Path, description = "As the push said"), Page),
    responses((status = 200, body = Delivery), (status = 404, body = Problem, description = "no_such_message"),
        (status = 410, body = Problem, description = "too_old")))]
pub(super) async fn group(call: Call) -> Result<Reply, Problem> {
    let key = conversation::group_key(call.name("group")?).ok_or_else(no_such_message)?;
    listed(&call, &key).await
}

/// How far a message in a channel came, with its readers page by page.
#[utoipa::path(get, path = "/messages/channel/{channel}/{seq}", tag = "messages",
    params(("channel" = String, Path), ("seq" = u64, Path, description = "As the push said"), Page),
    responses((status = 200, body = Delivery), (status = 404, body = Problem, description = "no_such_message"),
        (status = 410, body = Problem, description = "too_old")))]
pub(super) async fn channel(call: Call) -> Result<Reply, Problem> {
    let key = crate::broadcast::key(call.name("channel")?).ok_or_else(no_such_message)?;
    listed(&call, &key).await
}

async fn listed(call: &Call, key: &ConversationKey) -> Result<Reply, Problem> {
    let page: Page = call.query()?;
    let entry = entry(call, key).await?;
    let limit = page.limit();
    let members = call.services().store.members(key, page.after.as_deref(), limit).await?;
    let next = members.last().filter(|_| members.len() == limit).map(|(user, _)| user.clone());
    let may_read = members.into_iter().filter(|(_, member)| member.since < entry.seq && !member.standing.banned);
    let users = may_read.map(|(user, _)| user).filter(|user| *user != entry.from).collect();
    answer(call, key, entry, users, next).await
}

fn no_such_message() -> Problem {
    Problem::not_found("no_such_message", "there is no message at this place")
}

async fn entry(call: &Call, key: &ConversationKey) -> Result<StoredEntry, Problem> {
    let found = call.services().store.read(key, call.seq()? - 1, 1, 0).await?;
    found.into_iter().next().filter(|entry| entry.kind.is_message()).ok_or_else(no_such_message)
}

async fn answer(
    call: &Call,
    key: &ConversationKey,
    entry: StoredEntry,
    users: Vec<Arc<str>>,
    next: Option<Arc<str>>,
) -> Result<Reply, Problem> {
    let receivers =
        futures_util::stream::iter(users).map(|user| receiver(call.services(), key, entry.seq, user).boxed());
    let receivers = receivers.buffered(RECEIVERS).try_collect().await?;
    Reply::json(&Delivery {
        seq: entry.seq,
        message_id: entry.message_id.to_string(),
        time_ms: entry.time_ms,
        from: entry.from.to_string(),
        recalled: entry.recalled,
        receivers,
        next: next.map(|user| user.to_string()),
    })
}

async fn receiver(services: &Services, key: &ConversationKey, seq: u64, user: Arc<str>) -> Result<Receiver, Problem> {
    let positions = services.store.positions(&user, key).await?;
    let mut devices = Vec::new();
    for present in services.hub.present(&user).1 {
        let cursor = services.store.cursor(&user, &present.device, key).await?;
        devices.push(DeviceDelivery { device: present.device.to_string(), delivered: cursor >= seq });
    }
    Ok(Receiver { user: user.to_string(), delivered: positions.delivered >= seq, read: positions.read >= seq, devices })
}
