//! Who may log in: the contract, and the two authenticators that come with the server.

mod jwt;
mod jwt_provider;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use im_proto::{LoginRequest, ResumedLogin};

pub use jwt::{JwtAuthenticator, MIN_SECRET_LEN, TokenError, TokenIssuer};

/// Decides who may log in. An application that has its own users implements it.
///
/// ```
/// use std::sync::Arc;
/// use futures_util::future::BoxFuture;
/// use im_proto::LoginRequest;
/// use im_server::auth::{AuthError, Authenticator};
///
/// struct Sessions; // the application's own
///
/// impl Authenticator for Sessions {
///     fn authenticate<'a>(&'a self, login: &'a LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
///         Box::pin(async move {
///             match login.token.strip_prefix("session-of-") {
///                 Some(user) if user == login.user => Ok(Arc::from(user)),
///                 _ => Err(AuthError::Refused("the session ended: sign in again".into())),
///             }
///         })
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// The id of the user who logs in. It may differ from the one that the client claims, but must be a valid name
    /// ([`im_proto::valid_name`]). The client's login timeout runs meanwhile.
    fn authenticate<'a>(&'a self, login: &'a LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>>;

    /// For how long a device that logged in may come back with a ticket in place of its token, at most a day. `None`, the default,
    /// gives no tickets.
    fn ticket_lifetime(&self) -> Option<Duration> {
        None
    }

    /// Whether a device that comes back with a ticket may still log in; that it is the user's device is proven. The default
    /// refuses, and the client comes with its token.
    fn resume<'a>(&'a self, login: &'a ResumedLogin) -> BoxFuture<'a, Result<(), AuthError>> {
        let _ = login;
        Box::pin(async { Err(AuthError::Refused("log in with your token".into())) })
    }

    /// Whether it may guard a listener at this address; [`Server::serve`](crate::Server::serve) asks before it accepts
    /// anybody. The error says what to do instead.
    fn check_listener(&self, address: SocketAddr) -> Result<(), String> {
        let _ = address;
        Ok(())
    }
}

/// Why a login did not succeed. The text goes to the client, so it must say what to do and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The proof is not good: the client must not try again with the same one.
    #[error("{0}")]
    Refused(String),
    /// Nobody could check the proof now: the client may come back.
    #[error("the login could not be checked: {0}")]
    Unavailable(String),
}

/// Lets anybody in as any user, and therefore exists for loopback listeners only.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoopback(());

/// An address that is not loopback, where [`OpenLoopback`] would let the whole network in as anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLoopback(pub SocketAddr);

impl fmt::Display for NotLoopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a loopback address: without token verification anybody could log in as any user", self.0)
    }
}

impl std::error::Error for NotLoopback {}

impl OpenLoopback {
    /// For a listener that is bound to `bound`.
    ///
    /// # Errors
    ///
    /// [`NotLoopback`] for any other address.
    ///
    /// ```
    /// # use im_server::auth::OpenLoopback;
    /// assert!(OpenLoopback::new("127.0.0.1:6001".parse()?).is_ok());
    /// assert!(OpenLoopback::new("0.0.0.0:6001".parse()?).is_err());
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn new(bound: SocketAddr) -> Result<Self, NotLoopback> {
        if bound.ip().to_canonical().is_loopback() { Ok(Self(())) } else { Err(NotLoopback(bound)) }
    }
}

impl Authenticator for OpenLoopback {
    fn authenticate<'a>(&'a self, login: &'a LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
        Box::pin(async move { Ok(Arc::from(login.user.as_str())) })
    }

    fn ticket_lifetime(&self) -> Option<Duration> {
        Some(Duration::from_secs(3600))
    }

    fn resume<'a>(&'a self, _login: &'a ResumedLogin) -> BoxFuture<'a, Result<(), AuthError>> {
        Box::pin(async { Ok(()) })
    }

    fn check_listener(&self, address: SocketAddr) -> Result<(), String> {
        Self::new(address).map(|_| ()).map_err(|error| error.to_string())
    }
}
