//! A client's tickets: a few, the newest first, each used once.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use im_crypto::ClientTicket;

use crate::config::{Credentials, valid_name};
use crate::time::Instant;

/// A ticket as an application keeps it over restarts. Whoever has the bytes can take the session over: keep them as a password is
/// kept. It fits the user and device it was given to, and no others.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedTicket(Vec<u8>);

impl SavedTicket {
    /// The bytes, to store them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What [`as_bytes`](Self::as_bytes) gave; looked at when it is [added](crate::Connection::add_ticket).
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SavedTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SavedTicket(..)")
    }
}

/// Why a saved ticket was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddTicketError {
    /// The bytes are not a saved ticket.
    #[error("the bytes are not a saved ticket")]
    Damaged,
    /// It was given to another user or device than this client's.
    #[error("the ticket was given to another user or device")]
    NotOurs,
}

/// A ticket with what the client has to know about it.
pub(crate) struct Ticket {
    pub(crate) ticket: ClientTicket,
    /// The user's id as the server knows it, which the login names.
    pub(crate) account: String,
    /// The session that it was given in.
    pub(crate) session: u64,
    /// When it ends, where this is known.
    pub(crate) until: Option<Instant>,
}

impl Ticket {
    pub(crate) fn save(&self, credentials: &Credentials) -> SavedTicket {
        let mut out = Vec::with_capacity(1024);
        for name in [&credentials.user, &credentials.device, &self.account] {
            // Names have at most 128 bytes.
            out.push(u8::try_from(name.len()).unwrap_or(0));
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(&self.session.to_be_bytes());
        self.ticket.write_to(&mut out);
        SavedTicket(out)
    }

    pub(crate) fn load(saved: &SavedTicket, credentials: &Credentials) -> Result<Self, AddTicketError> {
        let mut rest = saved.0.as_slice();
        let mut name = || -> Option<String> {
            let (&length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            core::str::from_utf8(name).ok().filter(|name| valid_name(name)).map(Into::into)
        };
        let mut name = || name().ok_or(AddTicketError::Damaged);
        let (user, device, account) = (name()?, name()?, name()?);
        if user != credentials.user || device != credentials.device {
            return Err(AddTicketError::NotOurs);
        }
        let (session, ticket) = rest.split_first_chunk().ok_or(AddTicketError::Damaged)?;
        let ticket = ClientTicket::from_bytes(ticket).map_err(|_| AddTicketError::Damaged)?;
        Ok(Self { ticket, account, session: u64::from_be_bytes(*session), until: None })
    }
}

/// The tickets that are left.
#[derive(Default)]
pub(crate) struct Shelf {
    /// The newest in front.
    tickets: VecDeque<Ticket>,
    max: usize,
}

impl Shelf {
    pub(crate) fn new(max: usize) -> Self {
        Self { tickets: VecDeque::new(), max }
    }

    /// One more; the oldest falls off.
    pub(crate) fn put(&mut self, ticket: Ticket) {
        self.tickets.push_front(ticket);
        self.tickets.truncate(self.max);
    }

    /// The newest, which is gone then.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Ticket> {
        self.tickets.retain(|ticket| ticket.until.is_none_or(|until| now < until));
        self.tickets.pop_front()
    }

    pub(crate) fn clear(&mut self) {
        self.tickets.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("tickets", &self.tickets.len()).finish_non_exhaustive()
    }
}
