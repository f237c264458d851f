#![cfg_attr(feature = "rustcrypto", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "rustcrypto"), doc = "Noise NK handshake and record layer; see the README for an example.")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod binding;
mod error;
mod handshake;
mod id;
mod key;
#[cfg(feature = "pq")]
mod mlkem;
mod negotiation;
mod noise;
#[cfg(feature = "ouyu-login")]
mod ouyu_login;
mod policy;
#[cfg(feature = "pop")]
mod proof;
mod provider;
mod record;
mod retry;
#[cfg(feature = "rustcrypto")]
mod rustcrypto;
mod schedule;
mod ticket;

pub use binding::TlsExporter;
pub use error::{
    DatagramError, Fault, HandshakeError, KeyParseError, OfferProblem, OpenError, PolicyProblem, SealError,
    TicketError, Truncated,
};
pub use handshake::{
    Accepted, ClientFinish, ClientStart, ClientWait, Established, Replied, Resumption, RetryPolicy, ServerContext,
    ServerStart, ServerWait,
};
pub use id::{HandshakeId, SuiteId};
pub use key::{Entropy, ServerKey, ServerPublicKey, StaticKey, StaticPublicKey};
pub use negotiation::{
    Choice, HEADER_LEN, MAX_FORMATS, MAX_HANDSHAKE_BODY, MAX_SUITES, MAX_TICKET, MIN_BODY_LIMIT, Offer,
};
#[cfg(feature = "ouyu-login")]
pub use ouyu_login::{AppSecret, LoginAlgorithm, LoginClaim, LoginError, LoginSetupError, LoginVerifier};
pub use policy::{Client, ClientPolicy, MAX_PINS, Server, ServerPolicy};
#[cfg(feature = "pop")]
pub use proof::{DeviceKey, DevicePublicKey, Proof, ProofError};
pub use provider::{
    AeadKey, AeadSuite, CryptoError, CryptoProvider, HkdfSha256, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768,
    MlKem768Key, Secret, TrafficKey, X25519,
};
pub use record::{
    CLOSE_TYPE, DatagramOpener, DatagramSealer, KEY_UPDATE_TYPE, KeyLimits, KeyUpdate, KeyUpdates, Opened, Opener,
    Padding, RECORD_OVERHEAD, SUITE_OFFSET, Sealer, TAG_LEN, finish_plaintext, sealed_len,
};
pub use retry::CookieKeys;
#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RUSTCRYPTO;
pub use ticket::{
    ClientTicket, MAX_TICKET_FIELD, MAX_TICKET_LIFETIME, ResumptionSecret, TicketClaims, TicketIdentity, TicketKeys,
    TicketStore, UsedTickets,
};
