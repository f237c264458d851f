//! The clocks of the operating system, read in this module and nowhere else.
#![expect(clippy::disallowed_methods, reason = "the server owns the clocks, and this is where it reads them")]

use std::time::SystemTime;

use im_proto::Instant;

/// Monotonic time since the clock was made, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// The moment as the protocol counts it.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// The wall clock, in milliseconds since 1970; zero before that.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment for people, like `2026-01-31 23:59:59 UTC`.
pub(crate) fn format_utc(unix_secs: u64) -> String {
    let (date, time) = date_and_time(unix_secs);
    format!("{date} {time} UTC")
}

/// A moment for programs, like `2026-01-31T23:59:59.123Z` (RFC 3339).
pub(crate) fn format_rfc3339(unix_ms: u64) -> String {
    let (date, time) = date_and_time(unix_ms / 1000);
    format!("{date}T{time}.{:03}Z", unix_ms % 1000)
}

fn date_and_time(unix_secs: u64) -> (String, String) {
    let (days, secs) = (unix_secs / 86_400, unix_secs % 86_400);
    // Howard Hinnant's civil_from_days, for days from 1970 on: years begin in March, so that leap days come last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let time = format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60);
    (format!("{year:04}-{month:02}-{day:02}"), time)
}

#[cfg(test)]
mod tests {
    use super::{format_rfc3339, format_utc};

    #[test]
    fn moments_are_written_as_utc() {
        for (secs, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (4_102_444_800, "2100-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(format_utc(secs), text);
        }
        assert_eq!(format_rfc3339(1_709_251_199_042), "2024-02-29T23:59:59.042Z");
    }
}
