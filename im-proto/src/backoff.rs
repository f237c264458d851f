//! Exponential back-off with jitter.

use core::time::Duration;

use crate::time::micros;

/// Delays that double from `first` to `max`, each spread by a quarter so that many clients do not return at once.
///
/// ```
/// # use im_proto::Backoff;
/// # use core::time::Duration;
/// let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
/// assert_eq!(backoff.max, Backoff::default().max * 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub struct Backoff {
    /// The delay after the first try.
    pub first: Duration,
    /// No delay is longer, before jitter.
    pub max: Duration,
}

impl Default for Backoff {
    /// 500 ms to 30 s.
    fn default() -> Self {
        Self { first: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The delay after `tries` tries (1 or more), between 75 % and 125 % of the nominal one and never zero.
    pub(crate) fn delay(&self, tries: u32, rng: &mut fastrand::Rng) -> Duration {
        let factor = 1u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
        let micros = micros(self.first).saturating_mul(factor).min(micros(self.max));
        let spread = micros / 2;
        let jittered = (micros - micros / 4).saturating_add(rng.u64(0..=spread));
        Duration::from_micros(jittered.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_within_a_quarter_and_never_overflow() {
        let backoff = Backoff::default();
        let mut rng = fastrand::Rng::with_seed(1);
        for (tries, nominal) in [(1, 500), (2, 1_000), (5, 8_000), (7, 30_000), (40, 30_000), (u32::MAX, 30_000)] {
            for _ in 0..100 {
                let ms = backoff.delay(tries, &mut rng).as_millis();
                assert!(ms >= nominal * 3 / 4 && ms <= nominal * 5 / 4, "{tries}: {ms}");
            }
        }
        let zero = Backoff { first: Duration::ZERO, max: Duration::ZERO };
        assert_eq!(zero.delay(1, &mut rng), Duration::from_micros(1));
        let huge = Backoff { first: Duration::MAX, max: Duration::MAX };
        assert!(huge.delay(9, &mut rng) > Duration::from_secs(1 << 40));
    }
}
