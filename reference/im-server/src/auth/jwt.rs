//! Signed tokens (JWT): verifying them at login, and issuing them.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use im_proto::{LoginRequest, valid_name};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::{AuthError, Authenticator, jwt_provider};
use crate::clock;

/// The shortest HS256 secret accepted, in bytes: as long as the hash (RFC 7518 section 3.2).
pub const MIN_SECRET_LEN: usize = 32;

/// What a token says. Times are seconds since 1970; a fraction is allowed (RFC 7519 section 2).
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    /// If given, the token is good for this device only.
    device: Option<String>,
}

/// What an issued token says.
#[derive(Serialize)]
struct Issued<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
}

/// A key or a token that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A guessable secret.
    #[error(
        "the HS256 secret has {0} bytes, but at least {MIN_SECRET_LEN} are needed: make one with `openssl rand -hex 32`"
    )]
    ShortSecret(usize),
    /// Not the PEM file that is needed.
    #[error(
        "this is not the PEM of an Ed25519 {0} key: make a pair with `openssl genpkey -algorithm ed25519 -out private.pem` and `openssl pkey -in private.pem -pubout -out public.pem`"
    )]
    NotEd25519(&'static str),
    /// A name that no login can have.
    #[error("the {0} is not a valid name: 1 to 128 bytes without control characters")]
    Name(&'static str),
    /// The lifetime does not fit into a date.
    #[error("the lifetime of the token is zero or too long: give one like 12h or 30d")]
    Lifetime,
    /// The token could not be signed.
    #[error("the token could not be signed: {0}")]
    Sign(String),
}

fn secret(bytes: &[u8]) -> Result<&[u8], TokenError> {
    // Editors and shells put a newline at the end of a file.
    let secret = bytes.trim_ascii_end();
    if secret.len() < MIN_SECRET_LEN { Err(TokenError::ShortSecret(secret.len())) } else { Ok(secret) }
}

/// Verifies JSON Web Tokens: `sub` is the user, `exp` is required, and a `device` claim, if there is one, must name the
/// device that logs in. Only the one algorithm of its key is accepted.
pub struct JwtAuthenticator {
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for JwtAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthenticator").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl JwtAuthenticator {
    /// Tokens signed with HMAC-SHA-256 and a shared secret. White space at the end of the secret does not count.
    ///
    /// # Errors
    ///
    /// [`TokenError::ShortSecret`].
    pub fn hs256(secret_bytes: &[u8]) -> Result<Self, TokenError> {
        Ok(Self::new(Algorithm::HS256, DecodingKey::from_secret(secret(secret_bytes)?)))
    }

    /// Tokens signed with Ed25519; this side needs the public key only.
    ///
    /// # Errors
    ///
    /// [`TokenError::NotEd25519`].
    pub fn eddsa(public_key_pem: &[u8]) -> Result<Self, TokenError> {
        let not_it = TokenError::NotEd25519("public");
        let key = DecodingKey::from_ed_pem(public_key_pem).map_err(|_| not_it.clone())?;
        // A private key parses too, but its bytes are not those of a public one.
        if key.try_get_as_bytes().map_or(0, <[u8]>::len) != 32 {
            return Err(not_it);
        }
        Ok(Self::new(Algorithm::EdDSA, key))
    }

    fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        jwt_provider::install();
        let mut validation = Validation::new(algorithm);
        // Times are checked here, against this crate's clock and with an answer that names them.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self { algorithm, key, validation }
    }

    /// Accepts only tokens whose `aud` claim names this audience. Without it, tokens must have no `aud` claim.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.validation.set_audience(&[audience]);
        self.validation.required_spec_claims.insert("aud".into());
        self
    }

    fn verify(&self, login: &LoginRequest, now_secs: u64) -> Result<Arc<str>, String> {
        if login.token.is_empty() {
            return Err("this server needs a token, and the login had none: get one from the service's operator".into());
        }
        let claims =
            decode::<Claims>(&login.token, &self.key, &self.validation).map_err(|error| self.refusal(&error))?.claims;
        // Asserted by the validation already; optional here so that it can say which one is missing.
        let (Some(sub), Some(exp)) = (claims.sub, claims.exp) else {
            return Err("the token lacks its sub or exp claim, which are required".into());
        };
        // A token is void from the second of `exp` on.
        let exp = exp as u64;
        if exp <= now_secs {
            return Err(format!("the token expired at {}, get a new one", clock::format_utc(exp)));
        }
        if let Some(nbf) = claims.nbf.map(|nbf| nbf as u64)
            && nbf > now_secs
        {
            return Err(format!("the token is valid from {} on, not yet", clock::format_utc(nbf)));
        }
        if sub != login.user {
            return Err(format!("the token is for user {sub:?}, not for {:?}", login.user));
        }
        match claims.device {
            Some(device) if device != login.device => {
                Err(format!("the token is for device {device:?}, not for {:?}", login.device))
            }
            _ => Ok(sub.into()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the error type of another crate, not exhaustive")]
    fn refusal(&self, error: &Error) -> String {
        match error.kind() {
            ErrorKind::InvalidSignature => {
                "the token was not signed with this server's key: get one from this service's operator".into()
            }
            ErrorKind::InvalidAlgorithm => {
                format!(
                    "the token is not signed with {:?}, the only algorithm that this server accepts",
                    self.algorithm
                )
            }
            ErrorKind::MissingRequiredClaim(claim) => format!("the token has no {claim} claim, which is required"),
            ErrorKind::InvalidAudience => "the token's aud claim does not name this server".into(),
            ErrorKind::InvalidClaimFormat(claim) => format!("the token's {claim} claim is malformed"),
            _ => format!("the token is not a JSON Web Token signed with {:?}", self.algorithm),
        }
    }
}

impl Authenticator for JwtAuthenticator {
    fn authenticate<'a>(&'a self, login: &'a LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
        Box::pin(async move { self.verify(login, clock::unix_ms() / 1000).map_err(AuthError::Refused) })
    }
}

/// Issues tokens that a [`JwtAuthenticator`] with the matching key accepts.
///
/// ```
/// use std::time::Duration;
/// use im_server::auth::TokenIssuer;
/// let issuer = TokenIssuer::hs256(b"a secret of at least thirty-two bytes")?;
/// let token = issuer.issue("alice", None, Duration::from_secs(3600))?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), im_server::auth::TokenError>(())
/// ```
pub struct TokenIssuer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TokenIssuer {
    /// Signs with a shared secret. White space at its end does not count.
    ///
    /// # Errors
    ///
    /// [`TokenError::ShortSecret`].
    pub fn hs256(secret_bytes: &[u8]) -> Result<Self, TokenError> {
        jwt_provider::install();
        Ok(Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret(secret_bytes)?) })
    }

    /// Signs with an Ed25519 private key (PKCS #8, PEM).
    ///
    /// # Errors
    ///
    /// [`TokenError::NotEd25519`].
    pub fn eddsa(private_key_pem: &[u8]) -> Result<Self, TokenError> {
        jwt_provider::install();
        let key = EncodingKey::from_ed_pem(private_key_pem).map_err(|_| TokenError::NotEd25519("private"))?;
        Ok(Self { algorithm: Algorithm::EdDSA, key })
    }

    /// A token for `user`, good for `lifetime` from now, and for one device only if that is given.
    ///
    /// # Errors
    ///
    /// [`TokenError::Name`], [`TokenError::Lifetime`], [`TokenError::Sign`].
    pub fn issue(&self, user: &str, device: Option<&str>, lifetime: Duration) -> Result<String, TokenError> {
        for (field, name) in [("user", Some(user)), ("device", device)] {
            if !name.is_none_or(valid_name) {
                return Err(TokenError::Name(field));
            }
        }
        // Verifiers may read the number as a double, which is exact up to 2^53.
        let exp = (clock::unix_ms() / 1000)
            .checked_add(lifetime.as_secs())
            .filter(|exp| lifetime.as_secs() > 0 && *exp < 1 << 53)
            .ok_or(TokenError::Lifetime)?;
        let claims = Issued { sub: user, exp, device };
        encode(&Header::new(self.algorithm), &claims, &self.key).map_err(|error| TokenError::Sign(error.to_string()))
    }
}
