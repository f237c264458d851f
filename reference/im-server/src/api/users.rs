//! Who is online, who has to go, and who may not come back.

use axum::http::StatusCode;
use im_proto::CloseCode;

use super::problem::Problem;
use super::types::{
    BanList, Banned, DevicePresence, Kick, Kicked, NewBan, Page, Presence, Presences, User, Users, state_name,
};
use super::{Call, Reply};
use crate::clock;
use crate::session::ban_text;
use crate::store::{Ban, Bans, MAX_BAN_REASON};

/// Which of these users are online.
#[utoipa::path(post, path = "/users/online", tag = "users", request_body = Users, responses(
    (status = 200, body = Presences, description = "In the order of the request"),
    (status = 422, body = Problem, description = "invalid, too_many_users")))]
pub(super) async fn online(call: Call) -> Result<Reply, Problem> {
    let Users { users } = call.json()?;
    let users = call.users(&users)?.iter().map(|user| presence(&call, user)).collect();
    Reply::json(&Presences { users })
}

/// A user's devices that are online, and its ban.
#[utoipa::path(get, path = "/users/{user}", tag = "users", params(("user" = String, Path)),
    responses((status = 200, body = User)))]
pub(super) async fn user(call: Call) -> Result<Reply, Problem> {
    let user = call.name("user")?;
    let ban = match &call.services().bans {
        Some(bans) => bans.get(user).await?.filter(|ban| ban.holds(clock::unix_ms())),
        None => None,
    };
    Reply::json(&User { presence: presence(&call, user), ban: ban.map(Into::into) })
}

/// Closes the sessions of a user, or of one device.
#[utoipa::path(post, path = "/users/{user}/kick", tag = "users", params(("user" = String, Path)), request_body = Kick,
    responses((status = 200, body = Kicked)))]
pub(super) async fn kick(call: Call) -> Result<Reply, Problem> {
    let Kick { device, reason, may_return } = call.json()?;
    check_reason(&reason)?;
    let code = if may_return { CloseCode::GOING_AWAY } else { CloseCode::LOGIN_REFUSED };
    let user = call.name("user")?;
    let sessions = call.services().hub.kick(user, device.as_deref(), code, &reason);
    tracing::info!(user, device, sessions, service = call.key, "kicked");
    Reply::json(&Kicked { sessions })
}

/// Bans a user, who is thrown out and cannot log in.
#[utoipa::path(put, path = "/users/{user}/ban", tag = "users", params(("user" = String, Path)), request_body = NewBan,
    responses((status = 200, body = Kicked), (status = 501, body = Problem, description = "no_bans")))]
pub(super) async fn ban(call: Call) -> Result<Reply, Problem> {
    let NewBan { reason, until_ms } = call.json()?;
    check_reason(&reason)?;
    let user = call.name("user")?;
    let since_ms = clock::unix_ms();
    if until_ms.is_some_and(|until| until <= since_ms) {
        return Err(Problem::invalid("until_ms is past: give a moment to come, in milliseconds since 1970"));
    }
    let ban = Ban { reason, until_ms, since_ms, by: call.key.clone() };
    bans_of(&call)?.set(user, Some(ban.clone())).await?;
    let sessions = call.services().hub.kick(user, None, CloseCode::LOGIN_REFUSED, &ban_text(&ban));
    tracing::info!(user, sessions, until_ms, service = call.key, "banned");
    Reply::json(&Kicked { sessions })
}

/// Takes a ban back.
#[utoipa::path(delete, path = "/users/{user}/ban", tag = "users", params(("user" = String, Path)),
    responses((status = 204, description = "Not banned, also if it was not before"),
        (status = 501, body = Problem, description = "no_bans")))]
pub(super) async fn unban(call: Call) -> Result<Reply, Problem> {
    let user = call.name("user")?;
    bans_of(&call)?.set(user, None).await?;
    tracing::info!(user, service = call.key, "unbanned");
    Ok(Reply::DONE)
}

/// Who is banned, page by page; also whose ban is over.
#[utoipa::path(get, path = "/bans", tag = "users", params(Page),
    responses((status = 200, body = BanList), (status = 501, body = Problem, description = "no_bans")))]
pub(super) async fn bans(call: Call) -> Result<Reply, Problem> {
    let page: Page = call.query()?;
    let bans = bans_of(&call)?.list(page.after.as_deref(), page.limit()).await?;
    let next = bans.last().filter(|_| bans.len() == page.limit()).map(|(user, _)| user.clone());
    let bans = bans.into_iter().map(|(user, ban)| Banned { user, ban: ban.into() }).collect();
    Reply::json(&BanList { bans, next })
}

fn bans_of(call: &Call) -> Result<&dyn Bans, Problem> {
    call.services().bans.as_deref().ok_or_else(|| {
        let detail = "this server keeps no bans: its program can, with ServerBuilder::bans";
        Problem::new(StatusCode::NOT_IMPLEMENTED, "no_bans", detail)
    })
}

fn check_reason(reason: &str) -> Result<(), Problem> {
    if reason.len() > MAX_BAN_REASON || reason.chars().any(char::is_control) {
        let detail = format!("a reason has up to {MAX_BAN_REASON} bytes without control characters");
        return Err(Problem::invalid(detail));
    }
    Ok(())
}

fn presence(call: &Call, user: &str) -> Presence {
    let (now, now_ms) = (call.services().clock.now(), clock::unix_ms());
    let (state, devices) = call.services().hub.present(user);
    let devices = devices.into_iter().map(|present| {
        let age = u64::try_from(now.saturating_since(present.since).as_millis()).unwrap_or(u64::MAX);
        let (device, state) = (present.device.to_string(), state_name(present.state));
        DevicePresence { device, state, since_ms: now_ms.saturating_sub(age) }
    });
    Presence { user: user.to_owned(), state: state_name(state), devices: devices.collect() }
}
