//! Message ids that sort by time: 41 bits of milliseconds, 10 bits of node, 12 bits of sequence (OUYU-IM's layout and
//! epoch). The clock is an argument.

/// 2015-01-01T00:00+08:00 in Unix milliseconds, OUYU-IM's epoch.
const EPOCH_MS: u64 = 1_420_041_600_000;
const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;
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
    /// A generator for node 0 to 1023; higher bits of `node` are dropped.
    pub const fn new(node: u16) -> Self {
        Self { node: node & ((1 << NODE_BITS) - 1), last_ms: 0, sequence: 0 }
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
    fn a_clock_too_far_back_or_out_of_range_is_an_error() {
        let mut ids = Snowflake::new(0);
        ids.next(NOW).unwrap();
        assert!(ids.next(NOW - MAX_LEAD_MS).is_ok());
        assert_eq!(ids.next(NOW - MAX_LEAD_MS - 1), Err(SnowflakeError::ClockBehind { behind_ms: MAX_LEAD_MS + 1 }));
        assert_eq!(ids.next(0), Err(SnowflakeError::ClockOutOfRange { now_ms: 0 }));
        assert_eq!(ids.next(u64::MAX), Err(SnowflakeError::ClockOutOfRange { now_ms: u64::MAX }));
    }
}
