//! Saying something for a service: one entry for each target, each with its own outcome.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, StreamExt};
use im_proto::{Conversation, RefusalCode, content_type};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::types::{Outcome, Push, Pushed, Pushing, To};
use super::{Call, Reply, check_name};
use crate::broadcast;
use crate::conversation;
use crate::hooks::{Draft, Origin, service_device};
use crate::session::{Refusal, Services};
use crate::store::{Append, EntryKind, NewEntry, Receipt, StoreError};

/// Targets of one request that are under way at once.
const TARGETS: usize = 32;

/// Says something to users, in a group, in a room or to everybody.
#[utoipa::path(post, path = "/messages", tag = "messages", request_body = Push, responses(
    (status = 200, body = Pushed, description = "What became of it at each target"),
    (status = 404, body = Problem, description = "no_such_group, no_such_channel"),
    (status = 409, body = Problem, description = "id_used: the id was used with other content; nothing was stored"),
    (status = 422, body = Problem, description = "invalid, too_many_users")))]
pub(super) async fn push(call: Call) -> Result<Reply, Problem> {
    let Push { id, from, to, content_type, text, base64 } = call.json()?;
    check_name("request (id)", &id)?;
    check_name("sender (from)", &from)?;
    let content = match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map_err(|_| Problem::invalid("base64 is not base64, with padding"))?
        }
        _ => return Err(Problem::invalid("give the content as text or as base64, and not both")),
    };
    let max = call.services().config.max_content;
    let content_type = content_type.unwrap_or(content_type::TEXT);
    let Ok(content_type) = u16::try_from(content_type) else {
        return Err(Problem::invalid("the content type may be up to 65535"));
    };
    if content.len() > max {
        let detail = format!("the content may have up to {max} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    let named = serde_json::to_vec(&to).map_err(|_| Problem::internal("the targets could not be written"))?;
    let saying = Saying {
        services: call.services().clone(),
        from: from.as_str().into(),
        device: service_device(&call.key, &id),
        digest: conversation::digest_push(&from, &named, content_type.into(), &content),
        content_type,
        content: content.into(),
    };
    let results = match to {
        To::Users(users) => {
            call.users(&users)?;
            let mut sorted: Vec<_> = users.iter().collect();
            sorted.sort_unstable();
            sorted.dedup();
            if sorted.len() < users.len() {
                return Err(Problem::invalid("a user is named twice: name each once"));
            }
            saying.to_logs(users.iter().map(|user| Conversation::private(user.as_str())).collect()).await?
        }
        To::Group(group) => {
            check_name("group", &group)?;
            if call.shared_groups().members(&group, None, 1).await?.is_empty() {
                return Err(Problem::not_found("no_such_group", "nobody is in this group: make it first"));
            }
            saying.to_logs(vec![Conversation::group(group)]).await?
        }
        To::Channel(channel) => {
            if broadcast::key(&channel).is_none_or(|key| !saying.services.channels.contains(&key)) {
                let detail = "the server has no such channel: the program that runs it names them";
                return Err(Problem::not_found("no_such_channel", detail));
            }
            saying.to_logs(vec![Conversation::broadcast(channel)]).await?
        }
        To::Room(room) => {
            check_name("room", &room)?;
            vec![saying.to_room(&Conversation::room(room)).await?]
        }
    };
    for Pushing { outcome, .. } in &results {
        call.services().metrics.api_target(match outcome {
            Outcome::Stored { duplicate: false, .. } => "stored",
            Outcome::Stored { .. } => "again",
            Outcome::Refused { .. } => "refused",
            Outcome::Unknown => "unknown",
        });
    }
    Reply::json(&Pushed { id, results })
}

/// What is said, to every target alike.
struct Saying {
    services: Arc<Services>,
    from: Arc<str>,
    /// Of the request: so the same id of another key, or of another request, is another message.
    device: Arc<str>,
    digest: [u8; 32],
    content_type: u16,
    content: Arc<[u8]>,
}

impl Saying {
    fn entry(&self, to: &Conversation, content: Vec<u8>) -> Result<NewEntry, Refusal> {
        let key = conversation::key(&self.from, to);
        let conversation =
            key.ok_or_else(|| Refusal::new(RefusalCode::INVALID, "the server keeps no log of that kind"))?;
        let (message_id, time_ms) = self.services.next_id()?;
        Ok(NewEntry {
            conversation,
            members: conversation::members(&self.from, to),
            from: self.from.clone(),
            device: self.device.clone(),
            packet_id: packet_id(to),
            digest: self.digest,
            message_id,
            time_ms,
            kind: EntryKind::Message,
            content_type: self.content_type,
            content,
        })
    }

    /// Whether the id was used for another request: asked of all targets before anything is stored.
    async fn is_new(&self, to: &[Conversation]) -> Result<(), Problem> {
        let mut entries = Vec::with_capacity(to.len());
        for to in to {
            // What was stored is known by its digest, so nothing of the content is copied for each target.
            entries.push(self.entry(to, Vec::new())?);
        }
        let mut before = futures_util::stream::iter(entries)
            .map(|entry| async move { self.services.store.stored_before(&entry).await }.boxed())
            .buffer_unordered(TARGETS);
        while let Some(before) = before.next().await {
            if matches!(before?, Some(Append::Conflict(_))) {
                return Err(Problem::conflict());
            }
        }
        Ok(())
    }

    async fn to_logs(&self, to: Vec<Conversation>) -> Result<Vec<Pushing>, Problem> {
        self.is_new(&to).await?;
        let results = futures_util::stream::iter(to).map(|to| self.to_log(to).boxed()).buffered(TARGETS);
        Ok(results.collect().await)
    }

    async fn to_log(&self, to: Conversation) -> Pushing {
        let outcome = match self.store(&to).await {
            Ok(Append::Stored(receipt)) => self.stored(&to, receipt, false).await,
            Ok(Append::AlreadyStored(receipt)) => self.stored(&to, receipt, true).await,
            // Another request took the id after we looked.
            Ok(Append::Conflict(_)) => {
                refused(&Refusal::new(RefusalCode::CONFLICT, "this id was used for another request"))
            }
            Ok(Append::NotStored(StoreError::Length { .. })) => {
                refused(&Refusal::new(RefusalCode::TOO_LARGE, "a name or the content is too long for the store"))
            }
            Ok(Append::NotStored(error)) if error.is_final() => {
                refused(&Refusal::new(RefusalCode::INVALID, error.to_string()))
            }
            Ok(Append::NotStored(_)) => refused(&Refusal::later("the server could not store it: send the same again")),
            Ok(Append::Unknown(_)) => Outcome::Unknown,
            Err(refusal) => refused(&refusal),
        };
        let hub = &self.services.hub;
        let online = match conversation::other(&self.from, &to) {
            Some(user) => hub.present(user).1.len(),
            // A note to oneself, or a conversation with a list.
            None => match conversation::key(&self.from, &to).filter(conversation::is_listed) {
                Some(key) => hub.listening(&key),
                None => hub.present(&self.from).1.len(),
            },
        };
        Pushing { target: to.id.into(), outcome, online }
    }

    async fn store(&self, to: &Conversation) -> Result<Append, Refusal> {
        let mut entry = self.entry(to, self.content.to_vec())?;
        self.services.review(to, &mut entry).await?;
        Ok(self.services.commit(to, entry, &Arc::default()).await)
    }

    async fn stored(&self, to: &Conversation, receipt: Receipt, duplicate: bool) -> Outcome {
        let Receipt { message_id, seq, time_ms } = receipt;
        let mut delivered = false;
        if let (Some(user), Some(key)) = (conversation::other(&self.from, to), conversation::key(&self.from, to)) {
            // Where the store does not answer, nobody knows more than that it is stored.
            let positions = self.services.store.positions(user, &key).await;
            delivered = positions.is_ok_and(|positions| positions.delivered >= seq);
        }
        Outcome::Stored { seq, message_id: message_id.to_string(), time_ms, duplicate, delivered }
    }

    /// Rooms are in no log: a message is known again as long as the server remembers it.
    async fn to_room(&self, room: &Conversation) -> Result<Pushing, Problem> {
        let services = &self.services;
        let (mut content_type, mut content) = (self.content_type, self.content.to_vec());
        let packet_id = packet_id(room);
        let known = services.hub.rooms.known(&self.from, &self.device, packet_id);
        if known.is_some_and(|known| known.digest != self.digest) {
            return Err(Problem::conflict());
        }
        let mut allowed = Ok(());
        if known.is_none() {
            let (from, origin) = (&*self.from, Origin::of(&self.device));
            let kind = EntryKind::Message;
            let (draft_type, draft) = (content_type.into(), &*self.content);
            let draft = Draft { from, origin, conversation: room, kind, content_type: draft_type, content: draft };
            match services.hooks.review(&draft).await {
                Ok(Some(replaced)) => (content_type, content) = replaced,
                Ok(None) => {}
                Err(refusal) => allowed = Err(refusal),
            }
        }
        let from = (&self.from, &self.device);
        let posted =
            allowed.and_then(|()| services.post(from, packet_id, room, content_type.into(), content, self.digest));
        let outcome = match posted {
            Ok((posted, duplicate)) => Outcome::Stored {
                seq: 0,
                message_id: posted.message_id.to_string(),
                time_ms: posted.time_ms,
                duplicate,
                delivered: false,
            },
            Err(refusal) => refused(&refusal),
        };
        Ok(Pushing { target: room.id.as_str().into(), outcome, online: services.hub.rooms.size(&room.id) })
    }
}

fn refused(refusal: &Refusal) -> Outcome {
    Outcome::Refused { refusal: refusal.code.0, reason: refusal.reason().to_owned(), retry: refusal.retry }
}

/// Tells the targets of a request from each other. With at most a thousand, 64 bits of a hash do.
fn packet_id(to: &Conversation) -> u64 {
    let hash = Sha256::new().chain_update(to.kind.to_be_bytes()).chain_update(to.id.as_bytes()).finalize();
    hash.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}
