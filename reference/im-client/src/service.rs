//! What the operator's other programs do with a server: push, ask what was delivered, see who is online, ban, and keep
//! groups, over the server's HTTP API.

mod connection;
mod types;

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::connection::{Answer, Connection};
pub use self::types::{
    Ban, Banned, Content, Delivery, DeviceDelivery, DevicePresence, GroupMember, MemberRole, Outcome, Presence, Pushed,
    Pushing, Receiver, Target, User,
};
use crate::tls::Tls;
use crate::transport::TransportError;
use crate::url::ServerUrl;

/// Pauses before the same request is sent again, growing. With the time that requests take it is about half a minute.
const PAUSES_MS: [u64; 6] = [100, 300, 1_000, 3_000, 9_000, 15_000];

/// A service's way to a server. Requests go one after the other over one connection, which is made again when it is gone; use
/// several for several at once. What failed for a while is sent again by itself, with the same id, so nothing is said twice.
///
/// ```no_run
/// use im_client::service::{Content, Outcome, Service, Target};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let key = std::fs::read_to_string("/run/secrets/im-key")?;
/// let mut service = Service::new("https://chat.example".parse()?, key.trim())?;
/// let pushed = service.push("invoice 4711", "billing", Target::users(["alice"]), Content::text("paid")).await?;
/// for pushing in pushed.results {
///     if let Outcome::Stored { seq, .. } = pushing.outcome {
///         let delivery = service.private_delivery("billing", &pushing.target, seq).await?;
///         println!("{}: {}", pushing.target, delivery.receivers.iter().all(|receiver| receiver.delivered));
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Service {
    connection: Connection,
    pauses: &'static [u64],
}

/// Why a service's request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The address is not one of HTTP.
    #[error("'{0}' is not where an API is: write http://host:port or https://host")]
    Address(String),
    /// The key cannot stand in a header.
    #[error("the key is empty or has characters that no key has")]
    Key,
    /// The server said no. The same again will not do.
    #[error("the server answered {status} {code}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it is, for programs; docs/spec/api.md lists them.
        code: String,
        /// For people.
        detail: String,
    },
    /// It was tried several times. It may be done or not; the same with the same id is safe.
    #[error("the server could not be asked, or cannot answer now: {0}")]
    Unavailable(String),
    /// The answer is not what this version knows.
    #[error("the server's answer is not understood: {0}; use versions that fit")]
    Answer(String),
}

impl From<TransportError> for ServiceError {
    fn from(error: TransportError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Service {
    /// With the key that `im-server service-key` printed. Certificates are checked as [`Tls::default`] does.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Address`], [`ServiceError::Key`].
    pub fn new(url: ServerUrl, key: &str) -> Result<Self, ServiceError> {
        Ok(Self { connection: Connection::new(url, key)?, pauses: &PAUSES_MS })
    }

    /// Whose certificates are trusted.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.connection.tls = tls;
        self
    }

    /// Says something to users, in a group, in a room or to everybody, from a user or a name of the service. `id` names this
    /// request, up to 128 bytes: the same id with the same content is done once, also over a restart of the server (of a
    /// room as long as the server remembers). Where a target could not be told now, it is tried again a few times.
    ///
    /// # Errors
    ///
    /// [`ServiceError`]; refusals of single targets are in the results.
    pub async fn push(&mut self, id: &str, from: &str, to: Target, content: Content) -> Result<Pushed, ServiceError> {
        #[derive(Serialize)]
        struct Push<'a> {
            id: &'a str,
            from: &'a str,
            to: Target,
            #[serde(flatten)]
            content: Content,
        }
        let body = json(&Push { id, from, to, content })?;
        let mut pauses = self.pauses.iter();
        loop {
            let pushed: Pushed = self.ask(Method::POST, "/messages", Some(&body)).await?;
            let open = pushed.results.iter().any(|pushing| pushing.outcome.is_open());
            match pauses.next() {
                Some(pause) if open => tokio::time::sleep(Duration::from_millis(*pause)).await,
                _ => return Ok(pushed),
            }
        }
    }

    /// How far a message between two users came.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn private_delivery(&mut self, from: &str, to: &str, seq: u64) -> Result<Delivery, ServiceError> {
        self.get(&format!("/messages/private/{}/{}/{seq}", part(from), part(to))).await
    }

    /// How far a message in a group came; of many members a page, after the member of that name.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn group_delivery(
        &mut self,
        group: &str,
        seq: u64,
        after: Option<&str>,
    ) -> Result<Delivery, ServiceError> {
        self.get(&format!("/messages/group/{}/{seq}{}", part(group), query(after))).await
    }

    /// How far a message to everybody came; of many users a page, after the user of that name.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn channel_delivery(
        &mut self,
        channel: &str,
        seq: u64,
        after: Option<&str>,
    ) -> Result<Delivery, ServiceError> {
        self.get(&format!("/messages/channel/{}/{seq}{}", part(channel), query(after))).await
    }

    /// Which of these users are online, at most 1000.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn online(&mut self, users: &[&str]) -> Result<Vec<Presence>, ServiceError> {
        #[derive(Deserialize)]
        struct Presences {
            users: Vec<Presence>,
        }
        let body = json(&Users { users })?;
        let Presences { users } = self.ask(Method::POST, "/users/online", Some(&body)).await?;
        Ok(users)
    }

    /// A user's devices that are online, and its ban.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn user(&mut self, user: &str) -> Result<User, ServiceError> {
        self.get(&format!("/users/{}", part(user))).await
    }

    /// Closes the sessions of a user, or of one device, with a reason for the user. With `may_return` clients come back by
    /// themselves. Gives the number of sessions.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn kick(
        &mut self,
        user: &str,
        device: Option<&str>,
        reason: &str,
        may_return: bool,
    ) -> Result<u64, ServiceError> {
        #[derive(Serialize)]
        struct Kick<'a> {
            device: Option<&'a str>,
            reason: &'a str,
            may_return: bool,
        }
        let body = json(&Kick { device, reason, may_return })?;
        let Kicked { sessions } = self.ask(Method::POST, &format!("/users/{}/kick", part(user)), Some(&body)).await?;
        Ok(sessions)
    }

    /// Throws a user out and lets it in no more, until a moment in milliseconds since 1970 or for good. Gives the number of
    /// sessions that were closed.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn ban(&mut self, user: &str, reason: &str, until_ms: Option<u64>) -> Result<u64, ServiceError> {
        #[derive(Serialize)]
        struct NewBan<'a> {
            reason: &'a str,
            until_ms: Option<u64>,
        }
        let body = json(&NewBan { reason, until_ms })?;
        let Kicked { sessions } = self.ask(Method::PUT, &format!("/users/{}/ban", part(user)), Some(&body)).await?;
        Ok(sessions)
    }

    /// Takes a ban back.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn unban(&mut self, user: &str) -> Result<(), ServiceError> {
        self.done(Method::DELETE, &format!("/users/{}/ban", part(user)), None).await
    }

    /// Who is banned: a page, after the user of that name.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn bans(&mut self, after: Option<&str>) -> Result<Vec<Banned>, ServiceError> {
        #[derive(Deserialize)]
        struct BanList {
            bans: Vec<Banned>,
        }
        let BanList { bans } = self.get(&format!("/bans{}", query(after))).await?;
        Ok(bans)
    }

    /// Makes a group with an owner; one that is there keeps its members.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn create_group(&mut self, group: &str, owner: &str) -> Result<(), ServiceError> {
        #[derive(Serialize)]
        struct NewGroup<'a> {
            owner: &'a str,
        }
        let body = json(&NewGroup { owner })?;
        self.done(Method::PUT, &format!("/groups/{}", part(group)), Some(&body)).await
    }

    /// Lets users in as ordinary members, at most 1000.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn add_members(&mut self, group: &str, users: &[&str]) -> Result<(), ServiceError> {
        let body = json(&Users { users })?;
        self.done(Method::POST, &format!("/groups/{}/members", part(group)), Some(&body)).await
    }

    /// What a user is in a group from now on; lets it in, and makes the group.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn set_member(
        &mut self,
        group: &str,
        user: &str,
        role: MemberRole,
        muted: bool,
        banned: bool,
    ) -> Result<(), ServiceError> {
        #[derive(Serialize)]
        struct NewStanding {
            role: MemberRole,
            muted: bool,
            banned: bool,
        }
        let body = json(&NewStanding { role, muted, banned })?;
        self.done(Method::PUT, &member(group, user), Some(&body)).await
    }

    /// Takes a user out of a group.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn remove_member(&mut self, group: &str, user: &str) -> Result<(), ServiceError> {
        self.done(Method::DELETE, &member(group, user), None).await
    }

    /// Who is in a group: a page, after the member of that name.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn members(&mut self, group: &str, after: Option<&str>) -> Result<Vec<GroupMember>, ServiceError> {
        #[derive(Deserialize)]
        struct MemberList {
            members: Vec<GroupMember>,
        }
        let list: MemberList = self.get(&format!("/groups/{}/members{}", part(group), query(after))).await?;
        Ok(list.members)
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ServiceError> {
        self.ask(Method::GET, path, None).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<T, ServiceError> {
        let answer = self.answer(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|error| ServiceError::Answer(error.to_string()))
    }

    async fn done(&mut self, method: Method, path: &str, body: Option<&[u8]>) -> Result<(), ServiceError> {
        self.answer(method, path, body).await.map(|_| ())
    }

    /// Every request may be repeated: a push has its id, and the others say what is to be.
    async fn answer(&mut self, method: Method, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, ServiceError> {
        let mut pauses = self.pauses.iter();
        loop {
            let error = match self.connection.ask(&method, path, body).await {
                Ok(Answer { status, body }) if status.is_success() => return Ok(body),
                Ok(Answer { status, body }) => {
                    let said = serde_json::from_slice::<Problem>(&body);
                    let (code, detail) = said.map_or_else(
                        |_| ("unknown".into(), "not the API of an im-server".into()),
                        |problem| (problem.code, problem.detail),
                    );
                    let later = status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::REQUEST_TIMEOUT;
                    if !later {
                        return Err(ServiceError::Refused { status: status.as_u16(), code, detail });
                    }
                    ServiceError::Unavailable(detail)
                }
                Err(error) => error.into(),
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            tracing::debug!(%error, pause_ms = pause, "a request to the API is sent again");
            tokio::time::sleep(Duration::from_millis(*pause)).await;
        }
    }
}

#[derive(Serialize)]
struct Users<'a> {
    users: &'a [&'a str],
}

#[derive(Deserialize)]
struct Kicked {
    sessions: u64,
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ServiceError> {
    serde_json::to_vec(value).map_err(|error| ServiceError::Answer(error.to_string()))
}

fn member(group: &str, user: &str) -> String {
    format!("/groups/{}/members/{}", part(group), part(user))
}

fn query(after: Option<&str>) -> String {
    after.map(|after| format!("?after={}", part(after))).unwrap_or_default()
}

/// A name as it stands in a path or query.
fn part(name: &str) -> impl std::fmt::Display {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_a_path_as_they_are() {
        assert_eq!(member("a/b c", "é?"), "/groups/a%2Fb%20c/members/%C3%A9%3F");
        assert_eq!(query(Some("a&b")), "?after=a%26b");
    }

    #[test]
    fn an_address_without_http_and_a_key_that_is_none_are_refused() {
        let new = |url: &str, key| Service::new(url.parse().unwrap(), key).map(|_| ());
        assert!(new("http://[::1]:6001", "imk_x").is_ok() && new("https://chat.example", "imk_x").is_ok());
        assert!(matches!(new("wss://chat.example", "imk_x"), Err(ServiceError::Address(_))));
        assert!(matches!(new("https://chat.example", "a\nb"), Err(ServiceError::Key)));
        let service = Service::new("http://localhost:1".parse().unwrap(), "imk_secret").unwrap();
        assert!(!format!("{service:?}").contains("secret"));
    }
}
