//! Tokens for one file and a few minutes: what they allow, with a MAC of this process.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Meta;

/// For how long one is good, in milliseconds.
pub(super) const LIFETIME_MS: u64 = 10 * 60 * 1000;

/// What its bearer may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Allowed {
    Upload(Meta),
    Download,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    id: String,
    until_ms: u64,
    allowed: Allowed,
}

/// The key is of this process: nobody else gives tokens, and those of before are worth nothing.
pub(super) struct Tokens {
    key: [u8; 32],
}

/// Shows no key.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self { key })
    }

    fn mac(&self, claims: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(claims.as_bytes());
        Some(mac)
    }

    /// A token for this file.
    pub(super) fn give(&self, id: &str, allowed: Allowed, now_ms: u64) -> Option<String> {
        let claims = Claims { id: id.into(), until_ms: now_ms.saturating_add(LIFETIME_MS), allowed };
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).ok()?);
        let mac = URL_SAFE_NO_PAD.encode(self.mac(&claims)?.finalize().into_bytes());
        Some(format!("{claims}.{mac}"))
    }

    /// What it allows with this file now; `None` if it is none of ours, of another file, or too old.
    pub(super) fn check(&self, token: &str, id: &str, now_ms: u64) -> Option<Allowed> {
        let (claims, mac) = token.split_once('.')?;
        self.mac(claims)?.verify_slice(&URL_SAFE_NO_PAD.decode(mac).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (claims.id == id && now_ms <= claims.until_ms).then_some(claims.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_and_is_worth_nothing_in_another_process() {
        let (tokens, others) = (Tokens::new().unwrap(), Tokens::new().unwrap());
        let token = tokens.give("a", Allowed::Download, 1_000).unwrap();
        assert_eq!(tokens.check(&token, "a", 1_000 + LIFETIME_MS), Some(Allowed::Download));
        assert_eq!(tokens.check(&token, "a", 1_001 + LIFETIME_MS), None);
        assert_eq!(tokens.check(&token, "b", 1_000), None);
        assert_eq!(others.check(&token, "a", 1_000), None);
    }
}
