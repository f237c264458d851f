#![cfg_attr(feature = "rustcrypto", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "rustcrypto"), doc = "Noise NK handshake and record layer; see the README for an example.")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod error;
mod handshake;
mod id;
mod key;
mod negotiation;
mod noise;
#[cfg(feature = "ouyu-login")]
mod ouyu_login;
mod provider;
mod record;
#[cfg(feature = "rustcrypto")]
mod rustcrypto;
mod schedule;

pub use error::{DatagramError, Fault, HandshakeError, KeyParseError, OfferProblem, OpenError, SealError, Truncated};
pub use handshake::{ClientStart, ClientWait, Established, ServerStart, requested_key_id};
pub use id::{HandshakeId, SuiteId};
pub use key::{Entropy, ServerKey, ServerPublicKey};
pub use negotiation::{
    Choice, HEADER_LEN, MAX_FORMATS, MAX_HANDSHAKE_BODY, MAX_SUITES, MIN_BODY_LIMIT, Offer, ServerPolicy,
};
#[cfg(feature = "ouyu-login")]
pub use ouyu_login::{AppSecret, LoginAlgorithm, LoginClaim, LoginError, LoginSetupError, LoginVerifier};
pub use provider::{AeadKey, AeadSuite, CryptoError, CryptoProvider, HkdfSha256, Secret, TrafficKey, X25519};
pub use record::{
    CLOSE_TYPE, DatagramOpener, DatagramSealer, KEY_UPDATE_TYPE, KeyLimits, KeyUpdate, KeyUpdates, Opened, Opener,
    Padding, RECORD_OVERHEAD, SUITE_OFFSET, Sealer, TAG_LEN, finish_plaintext, sealed_len,
};
#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RUSTCRYPTO;
