//! Packet ids that sort by time: 41 bits of milliseconds, 5 of datacenter, 5 of worker, 12 of sequence (OUYU-IM's layout
//! and epoch). The clock is an argument.

/// 2015-01-01T00:00+08:00 in Unix milliseconds, OUYU-IM's epoch.
const EPOCH_MS: u64 = 1_420_041_600_000;
const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;
const WORKER_BITS: u32 = 5;
const TIME_BITS: u32 = 41;
/// How far the ids may run ahead of a clock that stands still or went back, in milliseconds.
const MAX_LEAD_MS: u64 = 10_000;

/// Why no id could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnowflakeError {
    /// The clock went back further than ids may run ahead of it.
    #[error("the clock is {behind_ms} ms behind the last id: wait, or correct the clock")]
    ClockBehind {
        /// How far, in milliseconds.
        behind_ms: u64,
    },
    /// The clock is before 2015 or past the 41 bits (year 2084).
    #[error("the clock says {now_ms} ms since 1970, outside of the id's range 2015 to 2084: correct the clock")]
    ClockOutOfRange {
        /// The time given, in Unix milliseconds.
        now_ms: u64,
    },
}

/// Makes ids that are unique per node and never decrease, over up to 10 s of clock going back or of more than 4,096 ids
/// per millisecond.
///
/// ```
/// use im_codec::Snowflake;
/// let mut ids = Snowflake::new(3);
/// let a = ids.next(1_700_000_000_000)?;
/// let b = ids.next(1_699_999_999_000)?; // the clock went back a second
/// assert!(b > a);
/// # Ok::<(), im_codec::SnowflakeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snowflake {
    node: u16,
    last_ms: u64,
    sequence: u16,
}

impl Snowflake {
    /// A generator for node 0 to 1023, which is datacenter * 32 + worker; higher bits of `node` are dropped.
    pub const fn new(node: u16) -> Self {
        Self { node: node & ((1 << NODE_BITS) - 1), last_ms: 0, sequence: 0 }
    }

    /// A generator for a worker, 0 to 31, of a datacenter, 0 to 31, as OUYU-IM names nodes; higher bits are dropped. No
    /// two generators that run at the same time may have the same pair.
    pub const fn of_worker(datacenter: u8, worker: u8) -> Self {
        Self::new((datacenter as u16 & 31) << WORKER_BITS | worker as u16 & 31)
    }

    /// The next id at `now_ms` Unix milliseconds. Always below 2^63, so that it stays positive in a signed 64-bit field.
    pub fn next(&mut self, now_ms: u64) -> Result<u64, SnowflakeError> {
        let since = now_ms.checked_sub(EPOCH_MS).ok_or(SnowflakeError::ClockOutOfRange { now_ms })?;
        let (ms, sequence) = if since > self.last_ms {
            (since, 0)
        } else if self.sequence < (1 << SEQUENCE_BITS) - 1 {
            (self.last_ms, self.sequence + 1)
        } else {
            (self.last_ms + 1, 0)
        };
        if ms - since.min(ms) > MAX_LEAD_MS {
            return Err(SnowflakeError::ClockBehind { behind_ms: ms - since });
        }
        if ms >> TIME_BITS != 0 {
            return Err(SnowflakeError::ClockOutOfRange { now_ms });
        }
        (self.last_ms, self.sequence) = (ms, sequence);
        Ok(ms << (NODE_BITS + SEQUENCE_BITS) | u64::from(self.node) << SEQUENCE_BITS | u64::from(sequence))
    }
}

/// What an id of this layout says. Ids of other generators give parts too, without a meaning.
///
/// ```
/// use im_codec::{Snowflake, SnowflakeParts};
/// let id = Snowflake::of_worker(2, 3).next(1_700_000_000_000)?;
/// let parts = SnowflakeParts::of(id);
/// assert_eq!(parts, SnowflakeParts { unix_ms: 1_700_000_000_000, datacenter: 2, worker: 3, sequence: 0 });
/// assert_eq!(parts.node(), 67);
/// # Ok::<(), im_codec::SnowflakeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnowflakeParts {
    /// When it was made, in Unix milliseconds. A generator whose clock went back runs ahead of it by up to 10 s.
    pub unix_ms: u64,
    /// 0 to 31.
    pub datacenter: u8,
    /// 0 to 31.
    pub worker: u8,
    /// 0 to 4095 within the millisecond.
    pub sequence: u16,
}

impl SnowflakeParts {
    /// The parts of `id`.
    pub const fn of(id: u64) -> Self {
        Self {
            unix_ms: (id >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS,
            datacenter: (id >> (WORKER_BITS + SEQUENCE_BITS) & 31) as u8,
            worker: (id >> SEQUENCE_BITS & 31) as u8,
            sequence: (id & ((1 << SEQUENCE_BITS) - 1)) as u16,
        }
    }

    /// Datacenter and worker as one number, 0 to 1023.
    pub const fn node(&self) -> u16 {
        (self.datacenter as u16) << WORKER_BITS | self.worker as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn ids_are_unique_and_increase_within_a_millisecond_and_beyond_it() {
        let mut ids = Snowflake::new(1023);
        let mut last = 0;
        for _ in 0..10_000 {
            let id = ids.next(NOW).unwrap();
            assert!(id > last && id < 1 << 63);
            last = id;
        }
        assert_eq!(last >> 22, NOW - EPOCH_MS + 2);
    }

    #[test]
    fn an_id_has_the_bits_of_the_java_generator() {
        // OUYU-IM: ((ms - epoch) << 22) | (dc << 17) | (worker << 12) | seq
        let mut ids = Snowflake::of_worker(31, 1);
        ids.next(NOW).unwrap();
        let id = ids.next(NOW).unwrap();
        assert_eq!(id, (NOW - EPOCH_MS) << 22 | 31 << 17 | 1 << 12 | 1);
        let parts = SnowflakeParts::of(id);
        assert_eq!(parts, SnowflakeParts { unix_ms: NOW, datacenter: 31, worker: 1, sequence: 1 });
        assert_eq!(parts.node(), 31 * 32 + 1);
        assert_eq!(SnowflakeParts::of(Snowflake::new(993).next(NOW).unwrap()).node(), 993);
        assert_eq!(SnowflakeParts::of(u64::MAX).sequence, 4095);
    }

    #[test]
    fn a_clock_too_far_back_or_out_of_range_is_an_error() {
        let mut ids = Snowflake::new(0);
        ids.next(NOW).unwrap();
        assert!(ids.next(NOW - MAX_LEAD_MS).is_ok());
        assert_eq!(ids.next(NOW - MAX_LEAD_MS - 1), Err(SnowflakeError::ClockBehind { behind_ms: MAX_LEAD_MS + 1 }));
        assert_eq!(ids.next(0), Err(SnowflakeError::ClockOutOfRange { now_ms: 0 }));
        assert_eq!(ids.next(u64::MAX), Err(SnowflakeError::ClockOutOfRange { now_ms: u64::MAX }));
    }
}
