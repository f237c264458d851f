//! Budgets that fill up again with time: what a peer may cost before it has to wait.

use core::time::Duration;

use crate::time::Instant;

/// How fast a budget fills and how much it holds.
///
/// ```
/// # use im_proto::budget::Rate;
/// # use core::time::Duration;
/// let logins = Rate { amount: 5, per: Duration::from_secs(60), burst: 10 };
/// assert_eq!(Rate::per_second(20, 40).per, Duration::from_secs(1));
/// # let _ = logins;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// So much comes back in each `per`, evenly. Zero: nothing ever does.
    pub amount: u32,
    /// The time for `amount`, in whole microseconds; less counts as one.
    pub per: Duration,
    /// The most that is there at a time, and what is there at the start.
    pub burst: u32,
}

impl Rate {
    /// So much a second.
    pub const fn per_second(amount: u32, burst: u32) -> Self {
        Self { amount, per: Duration::from_secs(1), burst }
    }

    /// What one unit costs in the bucket's own unit, of which `amount` come back each microsecond.
    fn unit(&self) -> u128 {
        u128::from(u64::try_from(self.per.as_micros()).unwrap_or(u64::MAX).max(1))
    }
}

/// One budget: a token bucket in integers, exact to the microsecond.
///
/// In any stretch of time it grants at most `burst` and what came back meanwhile, whatever the clock does: time that was
/// counted once is not counted again after the clock went back.
///
/// ```
/// use core::time::Duration;
/// use im_proto::Instant;
/// use im_proto::budget::{Bucket, Rate};
///
/// let start = Instant::from_micros(0);
/// let mut bucket = Bucket::new(Rate::per_second(2, 3), start);
/// assert!(bucket.take(start, 3).is_ok());
/// assert_eq!(bucket.take(start, 1), Err(Some(Instant::from_micros(500_000))));
/// assert!(bucket.take(Instant::from_micros(500_000), 1).is_ok());
/// assert_eq!(bucket.take(start, 4), Err(None), "more than it ever holds");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    /// In the unit of [`Rate::unit`]: at most 2^96.
    level: u128,
    /// The latest moment seen.
    seen: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, level: u128::from(rate.burst) * rate.unit(), seen: now }
    }

    /// What it grants at most at this moment.
    pub fn available(&mut self, now: Instant) -> u32 {
        self.fill(now);
        u32::try_from(self.level / self.rate.unit()).unwrap_or(u32::MAX)
    }

    /// Takes `cost`, or nothing.
    ///
    /// # Errors
    /// When it will be there if nobody else takes; `None` if never.
    pub fn take(&mut self, now: Instant, cost: u64) -> Result<(), Option<Instant>> {
        self.check(now, cost)?;
        self.level = self.level.saturating_sub(u128::from(cost) * self.rate.unit());
        Ok(())
    }

    /// Gives back what turned out to be well spent; never beyond the burst.
    pub fn give_back(&mut self, now: Instant, cost: u64) {
        self.fill(now);
        self.add(u128::from(cost) * self.rate.unit());
    }

    fn check(&mut self, now: Instant, cost: u64) -> Result<(), Option<Instant>> {
        self.fill(now);
        if cost > u64::from(self.rate.burst) {
            return Err(None);
        }
        let missing = (u128::from(cost) * self.rate.unit()).saturating_sub(self.level);
        if missing == 0 {
            return Ok(());
        }
        if self.rate.amount == 0 {
            return Err(None);
        }
        let wait = missing.div_ceil(u128::from(self.rate.amount));
        // A moment that the clock cannot show does not come.
        Err(u64::try_from(wait).ok().and_then(|wait| self.seen.as_micros().checked_add(wait)).map(Instant::from_micros))
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.as_micros().saturating_sub(self.seen.as_micros());
        self.seen = self.seen.max(now);
        self.add(u128::from(elapsed) * u128::from(self.rate.amount));
    }

    fn add(&mut self, amount: u128) {
        let full = u128::from(self.rate.burst) * self.rate.unit();
        self.level = self.level.saturating_add(amount).min(full);
    }
}

/// Which budget ran out.
///
/// ```
/// # use im_proto::budget::Budget;
/// assert_eq!(Budget::Messages.name(), "messages");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Budget {
    /// Messages.
    Messages,
    /// Bytes of content.
    Bytes,
    /// Logins.
    Logins,
    /// Signs of typing and presence, call signals, joins of rooms, and streams that are opened.
    Signals,
    /// Pieces of streams.
    Deltas,
}

impl Budget {
    /// Its name in settings and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Logins => "logins",
            Self::Signals => "signals",
            Self::Deltas => "deltas",
        }
    }
}

/// What somebody wants to do.
///
/// ```
/// # use im_proto::budget::Operation;
/// assert_ne!(Operation::Message { bytes: 100 }, Operation::Signal);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A message: one of the messages, and its bytes.
    Message {
        /// Length of the content, in bytes.
        bytes: u32,
    },
    /// A login, right or wrong.
    Login,
    /// A sign of typing or presence, a call signal, a join of a room, or a stream that is opened.
    Signal,
    /// A piece of a stream: one of the pieces, and its bytes.
    Delta {
        /// Length of the piece, in bytes.
        bytes: u32,
    },
}

/// The budget is empty. Nothing was taken.
///
/// ```
/// # use im_proto::{Instant, budget::{Budget, OverBudget}};
/// let refusal = OverBudget { budget: Budget::Logins, at: Some(Instant::from_micros(90)) };
/// assert_eq!(refusal.retry_after(Instant::from_micros(50)).unwrap().as_micros(), 40);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the budget of {} is used up", .budget.name())]
pub struct OverBudget {
    /// Which budget.
    pub budget: Budget,
    /// When the same would be granted if nothing else is asked meanwhile; `None` if never.
    pub at: Option<Instant>,
}

impl OverBudget {
    /// How long to wait; `None` if waiting does not help.
    pub fn retry_after(&self, now: Instant) -> Option<Duration> {
        self.at.map(|at| at.saturating_since(now))
    }
}

/// The rates of one peer.
///
/// ```
/// # use im_proto::budget::{BudgetConfig, Rate};
/// let config = BudgetConfig { messages: Rate::per_second(5, 20), ..BudgetConfig::default() };
/// assert!(config.bytes.burst >= 32 * 1024, "a message of the default limit fits");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Messages.
    pub messages: Rate,
    /// Bytes of content. A message of more bytes than the burst is never granted.
    pub bytes: Rate,
    /// Logins.
    pub logins: Rate,
    /// Signs of typing and presence, call signals, joins of rooms, and streams that are opened.
    pub signals: Rate,
    /// Pieces of streams. Their bytes count with those of messages.
    pub deltas: Rate,
}

impl Default for BudgetConfig {
    /// 20 messages and 256 KiB a second (200 and 2 MiB at once), 6 logins a minute (10 at once), 5 signals a second (50 at
    /// once: the candidates of a call come in a bunch), 50 pieces of streams a second (500 at once).
    fn default() -> Self {
        Self {
            messages: Rate::per_second(20, 200),
            bytes: Rate::per_second(256 * 1024, 2 * 1024 * 1024),
            logins: Rate { amount: 6, per: Duration::from_secs(60), burst: 10 },
            signals: Rate::per_second(5, 50),
            deltas: Rate::per_second(50, 500),
        }
    }
}

/// The budgets of one peer: a user, a device or an address. Its size is fixed, below 400 bytes.
///
/// ```
/// use im_proto::Instant;
/// use im_proto::budget::{Budget, BudgetConfig, Budgets, Operation, Rate};
///
/// let now = Instant::from_micros(0);
/// let config = BudgetConfig { messages: Rate::per_second(1, 1), ..BudgetConfig::default() };
/// let mut budgets = Budgets::new(&config, now);
/// budgets.spend(now, Operation::Message { bytes: 10 })?;
/// let refusal = budgets.spend(now, Operation::Message { bytes: 10 }).unwrap_err();
/// assert_eq!((refusal.budget, refusal.at), (Budget::Messages, Some(Instant::from_micros(1_000_000))));
/// # Ok::<(), im_proto::budget::OverBudget>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    messages: Bucket,
    bytes: Bucket,
    logins: Bucket,
    signals: Bucket,
    deltas: Bucket,
}

impl Budgets {
    /// Full budgets.
    pub fn new(config: &BudgetConfig, now: Instant) -> Self {
        Self {
            messages: Bucket::new(config.messages, now),
            bytes: Bucket::new(config.bytes, now),
            logins: Bucket::new(config.logins, now),
            signals: Bucket::new(config.signals, now),
            deltas: Bucket::new(config.deltas, now),
        }
    }

    /// Takes what the operation costs from all its budgets, or from none.
    ///
    /// # Errors
    /// Which budget is the last to have enough, and when.
    pub fn spend(&mut self, now: Instant, operation: Operation) -> Result<(), OverBudget> {
        let one = |bucket: &mut Bucket, budget| bucket.take(now, 1).map_err(|at| OverBudget { budget, at });
        match operation {
            Operation::Message { bytes } => {
                both(now, (&mut self.messages, Budget::Messages), &mut self.bytes, u64::from(bytes))
            }
            Operation::Delta { bytes } => {
                both(now, (&mut self.deltas, Budget::Deltas), &mut self.bytes, u64::from(bytes))
            }
            Operation::Login => one(&mut self.logins, Budget::Logins),
            Operation::Signal => one(&mut self.signals, Budget::Signals),
        }
    }

    /// Gives back what an operation cost that turned out to be useful: a login that succeeded.
    pub fn give_back(&mut self, now: Instant, operation: Operation) {
        match operation {
            Operation::Message { bytes } => {
                self.messages.give_back(now, 1);
                self.bytes.give_back(now, u64::from(bytes));
            }
            Operation::Delta { bytes } => {
                self.deltas.give_back(now, 1);
                self.bytes.give_back(now, u64::from(bytes));
            }
            Operation::Login => self.logins.give_back(now, 1),
            Operation::Signal => self.signals.give_back(now, 1),
        }
    }
}

/// Takes one of the first budget and so many bytes of the second, or nothing.
fn both(
    now: Instant,
    (pieces, budget): (&mut Bucket, Budget),
    content: &mut Bucket,
    bytes: u64,
) -> Result<(), OverBudget> {
    let refused = [(budget, pieces.check(now, 1)), (Budget::Bytes, content.check(now, bytes))]
        .into_iter()
        .filter_map(|(budget, result)| result.err().map(|at| OverBudget { budget, at }))
        .max_by_key(|refusal| refusal.at.map_or(u64::MAX, Instant::as_micros));
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    pieces.take(now, 1).map_err(|at| OverBudget { budget, at })?;
    content.take(now, bytes).map_err(|at| OverBudget { budget: Budget::Bytes, at })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// All grants since the start, and a sum over them for each question: what was granted since any earlier moment is at
    /// most the burst and what came back since. u128 holds every term exactly: 2^32 x 2^64 at most, times a few hundred.
    struct Oracle {
        rate: Rate,
        grants: Vec<(u64, u128)>,
        latest: u64,
    }

    impl Oracle {
        fn allows(&mut self, now: u64, cost: u128) -> bool {
            self.latest = self.latest.max(now);
            let per = self.rate.per.as_micros().max(1);
            let mut since = cost;
            if since > u128::from(self.rate.burst) {
                return false;
            }
            self.grants.iter().rev().all(|(at, granted)| {
                since += granted;
                since * per
                    <= u128::from(self.rate.burst) * per + u128::from(self.latest - at) * u128::from(self.rate.amount)
            })
        }
    }

    fn random_rate(rng: &mut fastrand::Rng) -> Rate {
        let number = |rng: &mut fastrand::Rng| match rng.u8(0..6) {
            0 => 0,
            1 => u32::MAX,
            2 => rng.u32(..),
            _ => rng.u32(1..20),
        };
        let per = match rng.u8(0..6) {
            0 => Duration::ZERO,
            1 => Duration::from_micros(u64::MAX),
            2 => Duration::from_micros(rng.u64(1..100)),
            _ => Duration::from_micros(rng.u64(1..2_000_000)),
        };
        Rate { amount: number(rng), per, burst: number(rng) }
    }

    #[test]
    fn a_bucket_grants_what_the_oracle_grants_whatever_the_clock_does() {
        let (mut granted, mut refused, mut kept) = (0, 0, 0);
        for seed in 0..2_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let rate = random_rate(&mut rng);
            let mut now = rng.u64(0..1_000_000);
            let mut bucket = Bucket::new(rate, Instant::from_micros(now));
            let mut oracle = Oracle { rate, grants: vec![], latest: now };
            for _ in 0..100 {
                now = match rng.u8(0..20) {
                    0 => now.saturating_sub(rng.u64(0..3_000_000)),
                    1 if rng.u8(..) < 10 => u64::MAX,
                    2 => rng.u64(..) >> 30,
                    3..=9 => now,
                    _ => now.saturating_add(rng.u64(0..1_500_000)),
                };
                let cost = if rng.u8(..) < 5 { rng.u64(..) } else { rng.u64(0..6) };
                let allowed = oracle.allows(now, cost.into());
                let available = bucket.available(Instant::from_micros(now));
                assert!(available <= rate.burst, "seed {seed}");
                match bucket.take(Instant::from_micros(now), cost) {
                    Ok(()) => {
                        assert!(allowed, "seed {seed}: granted {cost} at {now}, {rate:?}");
                        oracle.grants.push((oracle.latest, cost.into()));
                        granted += 1;
                    }
                    Err(at) => {
                        assert!(!allowed, "seed {seed}: refused {cost} at {now}, {rate:?}");
                        refused += 1;
                        // What it promises is the first moment that the oracle allows.
                        if let Some(at) = at {
                            let latest = oracle.latest;
                            assert!(at.as_micros() > latest);
                            assert!(oracle.allows(at.as_micros(), cost.into()), "seed {seed}");
                            oracle.latest = latest;
                            assert!(!oracle.allows(at.as_micros() - 1, cost.into()), "seed {seed}");
                            oracle.latest = latest;
                            kept += 1;
                        } else {
                            let latest = oracle.latest;
                            assert!(!oracle.allows(u64::MAX, cost.into()), "seed {seed}: never is not true");
                            oracle.latest = latest;
                        }
                    }
                }
            }
        }
        assert!(granted > 10_000 && refused > 10_000 && kept > 1_000, "{granted} {refused} {kept}");
    }

    #[test]
    fn a_message_takes_from_both_budgets_or_from_none() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let config = BudgetConfig {
            messages: Rate::per_second(1, 2),
            bytes: Rate::per_second(10, 100),
            ..BudgetConfig::default()
        };
        let mut budgets = Budgets::new(&config, at(0));
        let message = |bytes| Operation::Message { bytes };
        assert_eq!(budgets.spend(at(0), message(101)), Err(OverBudget { budget: Budget::Bytes, at: None }));
        budgets.spend(at(0), message(90)).unwrap();
        let full = budgets.clone();
        assert_eq!(budgets.spend(at(0), message(20)), Err(OverBudget { budget: Budget::Bytes, at: Some(at(1)) }));
        assert_eq!(budgets, full);
        budgets.spend(at(0), message(10)).unwrap();
        // Both are empty: the later one counts.
        assert_eq!(budgets.spend(at(0), message(20)), Err(OverBudget { budget: Budget::Bytes, at: Some(at(2)) }));
        assert_eq!(budgets.spend(at(0), message(0)), Err(OverBudget { budget: Budget::Messages, at: Some(at(1)) }));
        budgets.give_back(at(0), message(100));
        budgets.spend(at(0), message(100)).unwrap();
    }

    #[test]
    fn logins_and_signals_have_budgets_of_their_own() {
        let now = Instant::from_micros(7);
        let mut budgets = Budgets::new(&BudgetConfig::default(), now);
        for _ in 0..10 {
            budgets.spend(now, Operation::Login).unwrap();
        }
        let refusal = budgets.spend(now, Operation::Login).unwrap_err();
        assert_eq!((refusal.budget, refusal.retry_after(now)), (Budget::Logins, Some(Duration::from_secs(10))));
        budgets.give_back(now, Operation::Login);
        budgets.spend(now, Operation::Login).unwrap();
        for _ in 0..50 {
            budgets.spend(now, Operation::Signal).unwrap();
        }
        assert_eq!(budgets.spend(now, Operation::Signal).unwrap_err().budget, Budget::Signals);
        budgets.spend(now, Operation::Message { bytes: 1 }).unwrap();
        assert!(size_of::<Budgets>() < 400, "{}", size_of::<Budgets>());
    }
}
