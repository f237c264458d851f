//! The tickets with which clients come back: keys of this process, and which tickets were used. A restart forgets both together, and
//! clients then log in with their tokens.

use std::sync::{Arc, Mutex, PoisonError};

use im_proto::{Entropy, RUSTCRYPTO, TicketKeys, TicketStore, TicketUse, UsedTickets};

/// A key seals tickets for so long, seconds.
const ROTATION: u64 = 12 * 3600;
/// Older keys that still open tickets: with [`MAX_LIFETIME`] none is thrown away before its tickets are over.
const OLDER: usize = 2;
/// The longest life of a ticket, seconds.
pub(crate) const MAX_LIFETIME: u32 = 24 * 3600;
/// Used tickets that are remembered, about 50 bytes each. More are refused, and their clients log in with their tokens.
const USED: usize = 1_000_000;

pub(crate) struct Tickets {
    keys: Mutex<Option<Current>>,
    used: Mutex<UsedTickets>,
}

struct Current {
    keys: Arc<TicketKeys>,
    since: u64,
}

impl Tickets {
    pub(crate) fn new() -> Self {
        Self { keys: Mutex::new(None), used: Mutex::new(UsedTickets::new(USED)) }
    }

    /// The keys at this moment, seconds since 1970. `None` without random numbers.
    pub(crate) fn keys(&self, now: u64) -> Option<Arc<TicketKeys>> {
        let mut current = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let due = current.as_ref().is_none_or(|current| now >= current.since.saturating_add(ROTATION));
        if due {
            let key = Entropy::from_rng(&mut getrandom::SysRng).ok()?;
            let keys = match &*current {
                None => TicketKeys::new(&RUSTCRYPTO, key).ok()?,
                Some(current) => {
                    let mut next = TicketKeys::clone(&current.keys);
                    next.rotate(key, OLDER).ok()?;
                    next
                }
            };
            *current = Some(Current { keys: Arc::new(keys), since: now });
        }
        current.as_ref().map(|current| current.keys.clone())
    }

    /// Notes a use; whether it is the first.
    pub(crate) fn spend(&self, ticket: &TicketUse) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.spend(&ticket.id, ticket.expires, ticket.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_rotate_and_a_ticket_is_good_once() {
        let tickets = Tickets::new();
        let first = tickets.keys(1_000).unwrap();
        assert!(Arc::ptr_eq(&first, &tickets.keys(1_000 + ROTATION - 1).unwrap()));
        assert!(!Arc::ptr_eq(&first, &tickets.keys(1_000 + ROTATION).unwrap()));
        let ticket = TicketUse { id: [1; 16], expires: 2_000, now: 1_000 };
        assert!(tickets.spend(&ticket) && !tickets.spend(&ticket));
    }
}
