//! Signatures of standardwebhooks.com: HMAC-SHA256 over id, timestamp and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::WebhookError;

/// A secret that the receiver has too.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn parse(text: &str) -> Result<Self, WebhookError> {
        let key = text.trim().strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
        key.filter(|key| (24..=64).contains(&key.len())).map(Self).ok_or(WebhookError::Secret)
    }

    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> Option<String> {
        // A key of any length is one for HMAC.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

/// The header: one signature for each secret.
pub(super) fn signature(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let all: Vec<String> = secrets.iter().filter_map(|secret| secret.sign(id, timestamp, body)).collect();
    all.join(" ")
}
