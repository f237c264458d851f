//! The signature in a login of OUYU-IM's protocol version 1.
//!
//! OUYU-IM signs `appKey&identity&createTime_secret` with MD5, lets the client choose to sign nothing at all, uses one secret for
//! everybody and accepts a login of any age. Here the string and MD5 are as they were, for clients that cannot change; secrets
//! are per application, logins grow old, nothing is not a signature, and there are two better algorithms to move to.
//!
//! Such a login proves little: the secret is in every client of the application, and whoever reads a login can repeat it while it
//! is fresh. Take it over TLS only.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String};
use core::{fmt, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use sm3::Sm3;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Fault;

/// How a login is signed: the field `signatureAlgorithm`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LoginAlgorithm {
    /// 1: MD5 of `appKey&identity&createTime_secret`, as OUYU-IM has it. Broken for most purposes; kept for old clients.
    Md5 = 1,
    /// 2: HMAC-SHA-256 (RFC 2104, FIPS 180-4) of `appKey&identity&createTime` with the secret as its key.
    HmacSha256 = 2,
    /// 3: HMAC-SM3 (GB/T 32905) of the same.
    HmacSm3 = 3,
}

impl LoginAlgorithm {
    const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Md5),
            2 => Some(Self::HmacSha256),
            3 => Some(Self::HmacSm3),
            _ => None,
        }
    }
}

/// What is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginClaim<'a> {
    /// The application.
    pub app_key: &'a str,
    /// The user.
    pub identity: &'a str,
    /// When the login was made, milliseconds since 1970 (UTC).
    pub create_time_ms: i64,
}

impl LoginClaim<'_> {
    /// The signature: lower-case hex digits, 32 of them with MD5, else 64.
    ///
    /// ```
    /// use im_crypto::{AppSecret, LoginAlgorithm, LoginClaim};
    /// let claim = LoginClaim { app_key: "123456", identity: "654321", create_time_ms: 1635500000000 };
    /// let secret = AppSecret::legacy("123456").unwrap();
    /// assert_eq!(*claim.sign(LoginAlgorithm::Md5, &secret), "30b1b274475c515d166a5d8060108db4");
    /// ```
    #[must_use]
    pub fn sign(&self, algorithm: LoginAlgorithm, secret: &AppSecret) -> Zeroizing<String> {
        let Self { app_key, identity, create_time_ms } = self;
        let text = format!("{app_key}&{identity}&{create_time_ms}");
        Zeroizing::new(match algorithm {
            LoginAlgorithm::Md5 => {
                let digest = Md5::new().chain_update(text).chain_update("_").chain_update(secret.0.as_bytes());
                hex(&digest.finalize())
            }
            LoginAlgorithm::HmacSha256 => mac::<Hmac<Sha256>>(secret, &text),
            LoginAlgorithm::HmacSm3 => mac::<Hmac<Sm3>>(secret, &text),
        })
    }
}

fn mac<M: Mac + KeyInit>(secret: &AppSecret, text: &str) -> String {
    // HMAC takes keys of every length.
    M::new_from_slice(secret.0.as_bytes())
        .map(|mac| hex(&mac.chain_update(text).finalize().into_bytes()))
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secret of an application; wiped when dropped.
pub struct AppSecret(Zeroizing<String>);

impl AppSecret {
    /// A secret of at least 16 bytes.
    ///
    /// # Errors
    /// [`LoginSetupError::ShortSecret`].
    pub fn new(secret: &str) -> Result<Self, LoginSetupError> {
        if secret.len() < 16 { Err(LoginSetupError::ShortSecret(secret.len())) } else { Self::legacy(secret) }
    }

    /// A secret that is too short to be one, for clients that have it built in (OUYU-IM's is `123456`).
    ///
    /// # Errors
    /// [`LoginSetupError::ShortSecret`] if it is empty.
    pub fn legacy(secret: &str) -> Result<Self, LoginSetupError> {
        if secret.is_empty() {
            return Err(LoginSetupError::ShortSecret(0));
        }
        Ok(Self(Zeroizing::new(secret.to_owned())))
    }
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppSecret(..)")
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum LoginSetupError {
    /// A secret that can be guessed; its length in bytes.
    #[error(
        "the secret has {0} bytes, it needs at least 16; use AppSecret::legacy only for clients that cannot change"
    )]
    ShortSecret(usize),
    /// An application key with `&` in it (it would run into the identity), or none at all.
    #[error("an application key must not be empty nor contain '&'")]
    AppKey,
}

/// Why a login is refused. All of them look the same to the client; the difference is for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum LoginError {
    /// Algorithm 0: the login is not signed.
    #[error("the login is not signed (algorithm 0): sign it with HMAC-SHA-256 (2)")]
    Unsigned,
    /// An algorithm that nobody knows.
    #[error("signature algorithm {0} is unknown: use HMAC-SHA-256 (2)")]
    UnknownAlgorithm(u8),
    /// An algorithm that this application may not use here.
    #[error("signature algorithm {0:?} is switched off for this application")]
    NotAllowed(LoginAlgorithm),
    /// The signature is not right, or nobody knows the application.
    #[error("the signature is wrong, or the application is unknown")]
    Signature,
    /// The signature is right, but the login is too old or from the future; by how many milliseconds it is off, negative if it is
    /// from the future.
    #[error("the login is {0} ms old, outside of the freshness window: check the clocks, or it is a replay")]
    Stale(i64),
}

impl LoginError {
    /// Whose fault this is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::UnknownAlgorithm(_) | Self::NotAllowed(_) => Fault::PeerIncompatible,
            Self::Unsigned | Self::Signature | Self::Stale(_) => Fault::PeerViolated,
        }
    }
}

struct App {
    secret: AppSecret,
    weakest: LoginAlgorithm,
}

/// Checks the logins of the applications that it was told about.
///
/// ```
/// use im_crypto::{AppSecret, LoginAlgorithm, LoginClaim, LoginError, LoginVerifier};
/// use std::time::Duration;
/// # fn main() -> Result<(), im_crypto::LoginSetupError> {
/// let mut verifier = LoginVerifier::new(Duration::from_secs(120));
/// verifier.add("shop", AppSecret::new("from the configuration")?, LoginAlgorithm::HmacSha256)?;
///
/// let claim = LoginClaim { app_key: "shop", identity: "alice", create_time_ms: 1_700_000_000_000 };
/// let signature = claim.sign(LoginAlgorithm::HmacSha256, &AppSecret::new("from the configuration")?);
/// let now_ms = 1_700_000_030_000; // the caller's clock
/// assert_eq!(verifier.verify(&claim, 2, &signature, now_ms), Ok(()));
/// assert_eq!(verifier.verify(&claim, 0, "", now_ms), Err(LoginError::Unsigned));
/// # Ok(())
/// # }
/// ```
pub struct LoginVerifier {
    apps: BTreeMap<String, App>,
    window_ms: u64,
}

impl LoginVerifier {
    /// For logins that are at most so old, and at most as far in the future (clocks differ).
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { apps: BTreeMap::new(), window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Adds an application. `weakest` is the first algorithm that it may use: [`LoginAlgorithm::Md5`] allows all, any other
    /// allows all but MD5.
    ///
    /// # Errors
    /// [`LoginSetupError::AppKey`].
    pub fn add(&mut self, app_key: &str, secret: AppSecret, weakest: LoginAlgorithm) -> Result<(), LoginSetupError> {
        if app_key.is_empty() || app_key.contains('&') {
            return Err(LoginSetupError::AppKey);
        }
        self.apps.insert(app_key.to_owned(), App { secret, weakest });
        Ok(())
    }

    /// Checks a login at the time `now_ms`, milliseconds since 1970 (UTC). The signature is compared in constant time.
    ///
    /// # Errors
    /// See [`LoginError`]; tell the client only that the login failed.
    pub fn verify(
        &self,
        claim: &LoginClaim<'_>,
        algorithm: u8,
        signature: &str,
        now_ms: i64,
    ) -> Result<(), LoginError> {
        if algorithm == 0 {
            return Err(LoginError::Unsigned);
        }
        let algorithm = LoginAlgorithm::from_id(algorithm).ok_or(LoginError::UnknownAlgorithm(algorithm))?;
        let app = self.apps.get(claim.app_key).ok_or(LoginError::Signature)?;
        if algorithm == LoginAlgorithm::Md5 && app.weakest != LoginAlgorithm::Md5 {
            return Err(LoginError::NotAllowed(algorithm));
        }
        let expected = claim.sign(algorithm, &app.secret);
        if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(LoginError::Signature);
        }
        // After the signature: the age of a login that somebody else made up is no answer.
        if now_ms.abs_diff(claim.create_time_ms) > self.window_ms {
            return Err(LoginError::Stale(now_ms.saturating_sub(claim.create_time_ms)));
        }
        Ok(())
    }
}

impl fmt::Debug for LoginVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginVerifier").field("apps", &self.apps.keys()).field("window_ms", &self.window_ms).finish()
    }
}
