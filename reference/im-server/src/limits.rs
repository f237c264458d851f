//! How many connections there may be, in all and from one address, and what they may hold together.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use im_proto::IDLE_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Most addresses without a connection whose refused logins are remembered.
const MAX_REMEMBERED: usize = 65_536;
const MINUTE: Duration = Duration::from_secs(60);

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) total: u32,
    pub(crate) per_address: u32,
    /// Refused logins of one address in a minute.
    pub(crate) refused_logins: u32,
    /// What all connections may hold together before no other one is let in: [`IDLE_BYTES`] each, and what waits in them.
    pub(crate) bytes: u64,
}

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    bounds: Bounds,
    sites: Mutex<Sites>,
    /// Beyond [`IDLE_BYTES`] for each.
    held: AtomicU64,
    metrics: Arc<Metrics>,
}

/// What one session holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    slots: Arc<Slots>,
    bytes: u64,
}

#[derive(Debug)]
struct Sites {
    by_address: BTreeMap<IpAddr, Site>,
    swept: Instant,
}

/// What is known of one address.
#[derive(Debug)]
struct Site {
    connections: u32,
    /// When all refused logins are forgotten. Each is remembered for a minute divided by their number that is allowed.
    clear_at: Instant,
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
    #[error("the connections of this server hold as much memory as they may: come back later")]
    Memory,
    #[error("there are too many connections from your address: close some, or come back later")]
    Address,
    #[error("too many logins from your address were refused: come back in a minute")]
    Logins,
}

impl Slots {
    pub(crate) fn new(bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        let sites = Mutex::new(Sites { by_address: BTreeMap::new(), swept: Instant::now() });
        Self { free: Arc::new(Semaphore::new(bounds.total as usize)), bounds, sites, held: AtomicU64::new(0), metrics }
    }

    fn sites(&self) -> MutexGuard<'_, Sites> {
        // No step can stop half done.
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection, from `address` if that is known.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Full> {
        let slot = self.free.clone().try_acquire_owned().map_err(|_| Full::Total).and_then(|permit| {
            // With this one.
            if self.bytes() > self.bounds.bytes {
                return Err(Full::Memory);
            }
            let address = address.map(site);
            address.map_or(Ok(()), |address| self.enter(address))?;
            Ok(Slot { slots: self.clone(), address, _permit: permit })
        });
        match slot {
            Ok(_) => self.metrics.connected(),
            Err(full) => self.count(full),
        }
        slot
    }

    /// What all connections count for.
    fn bytes(&self) -> u64 {
        let taken = (self.bounds.total as usize).saturating_sub(self.free.available_permits()) as u64;
        taken.saturating_mul(IDLE_BYTES).saturating_add(self.held.load(Ordering::Relaxed))
    }

    fn count(&self, full: Full) {
        self.metrics.refused(match full {
            Full::Total => "total",
            Full::Memory => "memory",
            Full::Address => "address",
            Full::Logins => "logins",
        });
    }

    fn enter(&self, address: IpAddr) -> Result<(), Full> {
        let now = Instant::now();
        let mut sites = self.sites();
        let site = sites.by_address.entry(address).or_insert(Site { connections: 0, clear_at: now });
        if site.connections >= self.bounds.per_address {
            return Err(Full::Address);
        }
        // With one more the last minute would have too many.
        if site.clear_at.saturating_duration_since(now) > MINUTE - self.share() {
            return Err(Full::Logins);
        }
        site.connections += 1;
        Ok(())
    }

    /// For how long a refused login counts.
    fn share(&self) -> Duration {
        MINUTE / self.bounds.refused_logins.max(1)
    }

    fn leave(&self, address: IpAddr) {
        let now = Instant::now();
        let mut sites = self.sites();
        if sites.by_address.len() > MAX_REMEMBERED + self.bounds.total as usize && sites.swept + MINUTE < now {
            sites.swept = now;
            sites.by_address.retain(|_, site| site.connections > 0 || site.clear_at > now);
        }
        let full = sites.by_address.len() > MAX_REMEMBERED + self.bounds.total as usize;
        if let Some(site) = sites.by_address.get_mut(&address) {
            site.connections = site.connections.saturating_sub(1);
            if site.connections == 0 && (site.clear_at <= now || full) {
                sites.by_address.remove(&address);
            }
        }
    }

    /// Whether so many logins of this address were refused that nothing of it is looked at now.
    pub(crate) fn is_shut(&self, address: IpAddr) -> bool {
        let now = Instant::now();
        let sites = self.sites();
        let clear_at = sites.by_address.get(&site(address)).map(|site| site.clear_at);
        clear_at.is_some_and(|clear_at| clear_at.saturating_duration_since(now) > MINUTE - self.share())
    }

    /// A wrong key came from this address. It counts as a refused login.
    pub(crate) fn key_refused(&self, address: IpAddr) {
        let now = Instant::now();
        let mut sites = self.sites();
        if sites.by_address.len() > MAX_REMEMBERED + self.bounds.total as usize {
            sites.by_address.retain(|_, site| site.connections > 0 || site.clear_at > now);
        }
        let full = sites.by_address.len() > MAX_REMEMBERED + self.bounds.total as usize;
        let address = site(address);
        if !full || sites.by_address.contains_key(&address) {
            let site = sites.by_address.entry(address).or_insert(Site { connections: 0, clear_at: now });
            self.refused_at(site, now);
        }
    }

    fn refused_at(&self, site: &mut Site, now: Instant) {
        // Never more than a minute, however many sessions are refused at once.
        site.clear_at = (site.clear_at.max(now) + self.share()).min(now + MINUTE);
    }

    /// Waits until all places are free again, at most so long. Whether they are.
    pub(crate) async fn all_free(&self, at_most: Duration) -> bool {
        matches!(tokio::time::timeout(at_most, self.free.acquire_many(self.bounds.total)).await, Ok(Ok(_)))
    }
}

impl Held {
    /// So many bytes wait in the session now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes == self.bytes {
            return;
        }
        // Wraps where it becomes less; the sum over all does not.
        let more = bytes.wrapping_sub(self.bytes);
        self.slots.held.fetch_add(more, Ordering::Relaxed);
        self.slots.metrics.held(more.cast_signed());
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Slot {
    /// For a session at this place.
    pub(crate) fn holds(&self) -> Held {
        Held { slots: self.slots.clone(), bytes: 0 }
    }

    /// The connection turns out to be of this address.
    pub(crate) fn belongs_to(&mut self, address: IpAddr) -> Result<(), Full> {
        let address = site(address);
        self.slots.enter(address).inspect_err(|full| self.slots.count(*full))?;
        if let Some(before) = self.address.replace(address) {
            self.slots.leave(before);
        }
        Ok(())
    }

    /// A login was refused here.
    pub(crate) fn login_refused(&self) {
        let Some(address) = self.address else { return };
        let now = Instant::now();
        if let Some(site) = self.slots.sites().by_address.get_mut(&address) {
            self.slots.refused_at(site, now);
        }
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
        if let Some(address) = self.address {
            self.slots.leave(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn slots(total: u32, per_address: u32, refused_logins: u32) -> Arc<Slots> {
        let bounds = Bounds { total, per_address, refused_logins, bytes: 5 * IDLE_BYTES };
        Arc::new(Slots::new(bounds, Arc::new(Metrics::new())))
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_counted_in_all_and_by_address() {
        let slots = slots(3, 1, 10);
        let first = slots.take(address("10.0.0.1")).unwrap();
        assert_eq!(slots.take(address("::ffff:10.0.0.1")).unwrap_err(), Full::Address);
        let _v6 = slots.take(address("2001:db8::1")).unwrap();
        assert_eq!(slots.take(address("2001:db8::2")).unwrap_err(), Full::Address);
        let _third = slots.take(None).unwrap();
        assert_eq!(slots.take(None).unwrap_err(), Full::Total);
        drop(first);
        slots.take(address("10.0.0.1")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_let_in_while_the_connections_hold_more_than_they_may() {
        let slots = slots(10, 10, 10);
        let first = slots.take(None).unwrap();
        let (mut one, mut other) = (first.holds(), first.holds());
        let idle = IDLE_BYTES as usize;
        one.set(2 * idle);
        other.set(2 * idle);
        assert_eq!(slots.take(None).unwrap_err(), Full::Memory, "one too many with it");
        other.set(idle);
        slots.take(None).unwrap();
        other.set(2 * idle);
        assert_eq!(slots.take(None).unwrap_err(), Full::Memory);
        drop(one);
        let _second = slots.take(None).unwrap();
        assert_eq!(slots.bytes(), 4 * IDLE_BYTES);
        drop(other);
        assert_eq!(slots.bytes(), 2 * IDLE_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_behind_a_proxy_counts_for_the_client() {
        let slots = slots(10, 1, 10);
        let mut first = slots.take(None).unwrap();
        first.belongs_to("10.0.0.1".parse().unwrap()).unwrap();
        let mut second = slots.take(None).unwrap();
        assert_eq!(second.belongs_to("10.0.0.1".parse().unwrap()), Err(Full::Address));
        drop(first);
        second.belongs_to("10.0.0.1".parse().unwrap()).unwrap();
        drop(second);
        assert!(slots.sites().by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_many_refused_logins_has_to_wait() {
        let slots = slots(10, 5, 3);
        for _ in 0..3 {
            slots.take(address("10.0.0.1")).unwrap().login_refused();
        }
        assert_eq!(slots.take(address("10.0.0.1")).unwrap_err(), Full::Logins);
        slots.take(address("10.0.0.2")).unwrap();
        tokio::time::advance(MINUTE / 3).await;
        let again = slots.take(address("10.0.0.1")).unwrap();
        for _ in 0..100 {
            again.login_refused();
        }
        drop(again);
        assert_eq!(slots.take(address("10.0.0.1")).unwrap_err(), Full::Logins);
        tokio::time::advance(MINUTE).await;
        drop(slots.take(address("10.0.0.1")).unwrap());
        assert!(slots.sites().by_address.is_empty(), "nothing is left of it");
    }
}
