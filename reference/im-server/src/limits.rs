//! How many connections there may be, in all and from one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    total: u32,
    per_address: usize,
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("this server has as many connections as it may: come back later")]
    Total,
    #[error("there are too many connections from your address: close some, or come back later")]
    Address,
}

impl Slots {
    pub(crate) fn new(total: u32, per_address: u32) -> Self {
        let by_address = Mutex::default();
        Self { free: Arc::new(Semaphore::new(total as usize)), total, per_address: per_address as usize, by_address }
    }

    /// A place for a connection, from `address` if that is known.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Full> {
        let permit = self.free.clone().try_acquire_owned().map_err(|_| Full::Total)?;
        let address = address.map(site);
        if let Some(address) = address {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_address.entry(address).or_default();
            if *count >= self.per_address {
                return Err(Full::Address);
            }
            *count += 1;
        }
        Ok(Slot { slots: self.clone(), address, _permit: permit })
    }

    /// Waits until all places are free again, at most so long. Whether they are.
    pub(crate) async fn all_free(&self, at_most: Duration) -> bool {
        matches!(tokio::time::timeout(at_most, self.free.acquire_many(self.total)).await, Ok(Ok(_)))
    }
}

/// What counts as one address. A customer of an IPv6 provider has at least a /64, so single addresses say nothing.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut by_address = self.slots.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let slots = Arc::new(Slots::new(3, 1));
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let first = slots.take(address("10.0.0.1")).unwrap();
        assert_eq!(slots.take(address("::ffff:10.0.0.1")).unwrap_err(), Full::Address);
        let _v6 = slots.take(address("2001:db8::1")).unwrap();
        assert_eq!(slots.take(address("2001:db8::2")).unwrap_err(), Full::Address);
        let _third = slots.take(None).unwrap();
        assert_eq!(slots.take(None).unwrap_err(), Full::Total);
        drop(first);
        slots.take(address("10.0.0.1")).unwrap();
    }
}
