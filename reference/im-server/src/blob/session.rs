//! What a session may ask about files: `files.put`, `files.get` and `files.delete`, each with JSON.

use std::sync::Arc;

use im_proto::{Conversation, ConversationKind, RefusalCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::token::{Allowed, LIFETIME_MS};
use super::{Files, Meta, disk, valid_id, valid_media_type};
use crate::hooks::{Asked, Reply};
use crate::session::{Refusal, Services, may_read, may_send};
use crate::store::ConversationKey;
use crate::{clock, conversation, hex};

/// What a user wants to upload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    conversation: Named,
    size: u64,
    sha256: String,
    media_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: u32,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    id: String,
}

/// What to do next over HTTP.
#[derive(Serialize)]
struct Ticket<'a> {
    id: &'a str,
    path: String,
    token: String,
    expires_secs: u64,
}

const NOT_THERE: &str = "there is no such file here, or it is not for you";

/// Answers a request about files; `None` for any other.
pub(crate) async fn answer(services: &Services, asked: &Asked<'_>) -> Option<Reply> {
    let files = services.files.as_ref()?;
    let content = &asked.request.content;
    let done = match asked.request.method.as_str() {
        "files.put" => put(services, files, asked.user, content).await,
        "files.get" => get(services, files, asked.user, content).await,
        "files.delete" => delete(files, asked.user, content).await,
        _ => return None,
    };
    Some(done.unwrap_or_else(|refusal| {
        services.metrics.file_refused(refusal.code);
        Reply::Refuse {
            code: refusal.code,
            reason: refusal.reason().into(),
            retry_after: refusal.retry.then(|| std::time::Duration::from_secs(1)),
        }
    }))
}

fn json<T: DeserializeOwned>(content: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(content).map_err(|error| {
        Refusal::new(RefusalCode::INVALID, format!("the request is not what this method takes: {error}"))
    })
}

fn failed(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "files cannot be looked at");
    Refusal::later("the server's files cannot be looked at: ask again later")
}

fn ticket(files: &Files, id: &str, allowed: Allowed, now_ms: u64) -> Result<Reply, Refusal> {
    let later = || Refusal::later("the server could not make a token: ask again later");
    let token = files.shared.tokens.give(id, allowed, now_ms).ok_or_else(later)?;
    let ticket = Ticket { id, path: format!("/files/{id}"), token, expires_secs: LIFETIME_MS / 1000 };
    Ok(Reply::new(serde_json::to_vec(&ticket).map_err(|_| later())?))
}

async fn put(services: &Services, files: &Files, user: &str, content: &[u8]) -> Result<Reply, Refusal> {
    let Put { conversation: Named { kind, id: name }, size, sha256, media_type } = json(content)?;
    let to = Conversation { kind, id: name.as_str().into() };
    let invalid = |reason| Refusal::new(RefusalCode::INVALID, reason);
    if !matches!(to.known_kind(), Some(ConversationKind::Private | ConversationKind::Group))
        || !im_proto::valid_name(&name)
    {
        return Err(invalid("a file belongs to a private conversation (kind 1) or a group (kind 2)"));
    }
    if hex::decode(&sha256).is_none() {
        return Err(invalid("sha256 must be 64 hexadecimal digits"));
    }
    if !valid_media_type(&media_type) {
        return Err(invalid("media_type must be like image/png, without parameters"));
    }
    may_send(services, &Arc::from(user), &to).await?;
    let key = conversation::key(user, &to).ok_or_else(|| invalid("the conversation has no log"))?;
    let time_ms = clock::unix_ms();
    let meta = Meta {
        owner: user.into(),
        conversation: key.as_str().into(),
        size,
        sha256: sha256.to_ascii_lowercase(),
        media_type,
        time_ms,
    };
    files.has_room(&meta).map_err(|full| {
        services.metrics.file_limit(full.name());
        let code = if full == super::Full::File { RefusalCode::TOO_LARGE } else { RefusalCode::TOO_MANY };
        Refusal::new(code, full.text())
    })?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Refusal::later("the server has no random numbers: ask again later"))?;
    ticket(files, &hex::encode(&random), Allowed::Upload(meta), time_ms)
}

async fn get(services: &Services, files: &Files, user: &str, content: &[u8]) -> Result<Reply, Refusal> {
    let Id { id } = json(content)?;
    let not_there = || Refusal::new(RefusalCode::NO_TARGET, NOT_THERE);
    let meta = found(files, &id).await?;
    let key = ConversationKey::new(meta.conversation.as_str()).map_err(|_| not_there())?;
    let to = conversation::name(user, &key).ok_or_else(not_there)?;
    // Nobody learns from the answer that there is a file.
    if !may_read(services, user, &to).await? {
        return Err(not_there());
    }
    ticket(files, &id, Allowed::Download, clock::unix_ms())
}

async fn delete(files: &Files, user: &str, content: &[u8]) -> Result<Reply, Refusal> {
    let Id { id } = json(content)?;
    let meta = found(files, &id).await?;
    if meta.owner != user {
        return Err(Refusal::new(RefusalCode::NO_TARGET, NOT_THERE));
    }
    disk::delete(files.dir(), &id).await.map_err(|error| failed(&error))?;
    files.used().take_back(&meta);
    Ok(Reply::new(b"{}".to_vec()))
}

async fn found(files: &Files, id: &str) -> Result<Meta, Refusal> {
    let meta = if valid_id(id) { disk::meta(files.dir(), id).await.map_err(|error| failed(&error))? } else { None };
    meta.ok_or_else(|| Refusal::new(RefusalCode::NO_TARGET, NOT_THERE))
}
