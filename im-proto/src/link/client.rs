//! A client's way to a sealed channel.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use im_codec::{Header, Limits, MessageType, begin_packet, finish_packet};
use im_crypto::{
    Client, ClientFinish, ClientPolicy, ClientStart, ClientTicket, ClientWait, Entropy, HandshakeError, Offer, Replied,
    StaticKey, StaticPublicKey, TlsExporter,
};

use super::{Link, Opened, Terms, expect_clear, expect_id, unexpected};
use crate::config::ClientConfig;
use crate::error::Error;
use crate::time::Instant;

/// A hello is on its way.
pub(crate) struct AwaitReply {
    wait: ClientWait,
    /// Of the hello: its answers repeat it.
    packet_id: u64,
    /// For the second hello, if the server asks for one.
    spare: Entropy,
}

/// XX: the server's key is known, and nothing of this client was said.
pub(crate) struct Verify {
    finish: ClientFinish,
    packet_id: u64,
}

/// What an answer to a hello led to.
pub(crate) enum Heard {
    /// The channel is open.
    Open(Box<Opened>),
    /// A second hello was appended.
    Again,
    /// The server holds this key, which nobody pinned.
    Key(StaticPublicKey),
}

impl Link {
    /// Begins a client's handshake: the hello is appended to `out`.
    pub(crate) fn hello(
        config: &ClientConfig,
        ticket: Option<ClientTicket>,
        exporter: Option<TlsExporter>,
        mut entropy: Entropy,
        packet_id: u64,
        out: &mut Vec<u8>,
    ) -> Result<Self, HandshakeError> {
        let spare = entropy.split_off(config.provider)?;
        let client = client(config, &mut entropy)?;
        let start = match ticket {
            Some(ticket) => client.resume(ticket, entropy)?,
            None => client.start(entropy)?,
        };
        let start = match exporter {
            Some(exporter) => start.bind(exporter),
            None => start,
        };
        let wait = say(start, packet_id, out)?;
        Ok(Self::AwaitReply(Box::new(AwaitReply { wait, packet_id, spare })))
    }

    /// Takes a server's answer to a hello: the reply, or a retry, to which a second hello is appended to `out`.
    pub(crate) fn hear(
        &mut self,
        config: &ClientConfig,
        header: Header,
        body: &mut [u8],
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Heard, Error> {
        // Nobody can answer a hello that was not transmitted yet.
        let Self::AwaitReply(waiting) = mem::replace(self, Self::Down) else { return Err(unexpected(header)) };
        if !out.is_empty() {
            return Err(unexpected(header));
        }
        let AwaitReply { wait, packet_id, spare } = *waiting;
        // The header is no part of the transcript, so every field must be what it can only be.
        if header.message_type == MessageType::RETRY {
            expect_clear(header, MessageType::RETRY)?;
            expect_id(header, packet_id)?;
            // A second retry is refused, so the spare entropy is used once.
            let mut entropy = spare;
            let spare = entropy.split_off(config.provider)?;
            let wait = say(wait.retry(body, entropy)?, packet_id, out)?;
            *self = Self::AwaitReply(Box::new(AwaitReply { wait, packet_id, spare }));
            return Ok(Heard::Again);
        }
        expect_clear(header, MessageType::HELLO_REPLY)?;
        expect_id(header, packet_id)?;
        match wait.finish(body)? {
            Replied::Established(established) => {
                Ok(Heard::Open(Box::new(self.open(terms(config), *established, now)?)))
            }
            Replied::Finish(finish) => {
                let key = finish.server_key();
                *self = Self::Verify(Box::new(Verify { finish, packet_id }));
                // With pins the key is one of them: the handshake looked. Without, the application has to.
                if config.server_keys.is_empty() {
                    return Ok(Heard::Key(key));
                }
                match self.trust(config, out, now)? {
                    Some(opened) => Ok(Heard::Open(Box::new(opened))),
                    None => Err(unexpected(header)),
                }
            }
        }
    }

    /// Appends the third message of XX; `None` when nobody waits for this. The link is open then.
    pub(crate) fn trust(
        &mut self,
        config: &ClientConfig,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Option<Opened>, Error> {
        if !matches!(self, Self::Verify(_)) {
            return Ok(None);
        }
        let Self::Verify(verify) = mem::replace(self, Self::Down) else { return Ok(None) };
        let Verify { finish, packet_id } = *verify;
        let at = begin_packet(out);
        let established = match finish.write(out) {
            Ok(established) => established,
            Err(error) => {
                out.truncate(at);
                return Err(error.into());
            }
        };
        let header = Header { packet_id, ..Header::new(MessageType::HELLO_END) };
        // Two keys and two tags: below every limit.
        let _ = finish_packet(out, at, &header, &Limits::default());
        self.open(terms(config), established, now).map(Some)
    }
}

fn say(start: ClientStart, packet_id: u64, out: &mut Vec<u8>) -> Result<ClientWait, HandshakeError> {
    // A hello has at most 2048 bytes.
    let body_len = u32::try_from(start.body_len()).unwrap_or(u32::MAX);
    let header = Header { packet_id, ..Header::new(MessageType::HELLO) }.to_bytes(body_len);
    let at = out.len();
    out.extend_from_slice(&header);
    start.write(&header, out).inspect_err(|_| out.truncate(at))
}

fn client(config: &ClientConfig, entropy: &mut Entropy) -> Result<Client, HandshakeError> {
    let offer = Offer {
        suites: config.suites.clone(),
        formats: config.formats.ids().into_iter().map(|id| id.0).collect(),
        max_body: config.max_body,
    };
    let handshakes = config.possible_handshakes();
    let shows_key = handshakes.iter().any(|id| id.shows_client_key());
    let policy = ClientPolicy { offer, handshakes, require_pq: config.require_pq, allow_plaintext: false };
    if !shows_key {
        return Client::new(config.provider, policy, &config.server_keys);
    }
    let key = match &config.key {
        Some(key) => Arc::clone(key),
        // A key for this connection only says nothing about who the client is; the login does.
        None => Arc::new(StaticKey::generate(config.provider, entropy.split_off(config.provider)?)?),
    };
    Client::with_key(config.provider, policy, &config.server_keys, key)
}

fn terms(config: &ClientConfig) -> Terms<'_> {
    Terms {
        formats: &config.formats,
        max_body: config.max_body,
        key_limits: config.key_limits,
        padding: config.padding,
    }
}
