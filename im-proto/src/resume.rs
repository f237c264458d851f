//! What becomes of a session that a device wants to continue: recovered, or reload with the conversations that it is about.

use alloc::vec::Vec;

use im_serial::body::{Conversation, Position, Reload};

/// Most conversations that a login names.
pub const MAX_POSITIONS: usize = 64;

/// What a device says at its login about the session that it wants to continue.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumeRequest {
    /// The session, as a server named it in an earlier login. Not proven: whether it is this device's is for the application to
    /// know, unless a ticket says the same.
    pub session: u64,
    /// What the device has: its most recently active conversations, at most [`MAX_POSITIONS`].
    pub positions: Vec<Position>,
}

/// What the log knows about a conversation that a login named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFacts {
    /// The epoch of the log: another one says that this is another log, and that no seq means what it did.
    pub epoch: u64,
    /// The first seq that the log still has; `head` + 1 where it has none.
    pub oldest: u64,
    /// The last seq.
    pub head: u64,
    /// Up to where the device acked, as the store has it.
    pub acked: u64,
}

/// Why a conversation does not continue where the device stands.
///
/// ```
/// use im_proto::ReloadReason;
/// assert_eq!(ReloadReason::from_code(1), Some(ReloadReason::Epoch));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReloadReason {
    /// The log is another one.
    Epoch = 1,
    /// The log does not reach to where the device says it stands, or the server cannot follow so many conversations.
    Unknown = 2,
    /// The log does not have any more what comes next, or not for this user. It is the same log: what the device has of it stays
    /// right, and between that and the next delivery something is missing for good.
    TooOld = 3,
}

impl ReloadReason {
    /// The reason of a code on the wire.
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Epoch),
            2 => Some(Self::Unknown),
            3 => Some(Self::TooOld),
            _ => None,
        }
    }
}

/// What became of the session, in the answer to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionAnswer {
    /// It is another session: every conversation continues where the server's record of this device ends.
    New,
    /// The same session, and every conversation that the login named continues where the device stands.
    Recovered,
    /// The same session, but some conversations do not continue: an event names each. The others do.
    Reload,
}

impl SessionAnswer {
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::New => 0,
            Self::Recovered => 1,
            Self::Reload => 2,
        }
    }

    /// A code that nobody knows is a session that is not continued.
    pub(crate) const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Recovered,
            2 => Self::Reload,
            _ => Self::New,
        }
    }
}

/// Whether a conversation continues where the device stands.
fn verdict(position: &Position, facts: Option<&LogFacts>) -> Result<(), (ReloadReason, u64)> {
    let Some(facts) = facts else { return Err((ReloadReason::Unknown, 0)) };
    let reason = if position.epoch != facts.epoch {
        ReloadReason::Epoch
    } else if position.seq > facts.head {
        ReloadReason::Unknown
    } else if position.seq.saturating_add(1) < facts.oldest {
        ReloadReason::TooOld
    } else {
        return Ok(());
    };
    Err((reason, facts.epoch))
}

/// A conversation that continues.
pub(crate) struct Continued {
    pub(crate) conversation: Conversation,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) acked: u64,
    pub(crate) head: u64,
    /// The store's record of the device is behind what it acked.
    pub(crate) record_behind: bool,
}

/// Looks at every position; at most `lanes` conversations continue.
pub(crate) fn judge(positions: Vec<Position>, facts: &[LogFacts], lanes: usize) -> (Vec<Continued>, Vec<Reload>) {
    let (mut continued, mut reload) = (Vec::new(), Vec::new());
    for (position, facts) in positions.into_iter().zip(facts.iter().map(Some).chain(core::iter::repeat(None))) {
        let mut result = verdict(&position, facts);
        if result.is_ok() && continued.len() >= lanes {
            result = Err((ReloadReason::Unknown, position.epoch));
        }
        let Position { conversation, epoch, seq, acked } = position;
        match (result, facts) {
            (Ok(()), Some(facts)) => {
                let acked = acked.min(seq);
                let record_behind = acked > facts.acked;
                continued.push(Continued { conversation, epoch, seq, acked, head: facts.head, record_behind });
            }
            (Err((reason, epoch)), _) => reload.push(Reload { conversation, reason: u32::from(reason as u8), epoch }),
            // Without facts there is no good verdict.
            (Ok(()), None) => {}
        }
    }
    (continued, reload)
}

/// The most that a position or a reload takes in a body, bytes: every serialization, a name of this length.
pub(crate) const fn wire_cost(name: usize) -> usize {
    2 * name + 128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(epoch: u64, seq: u64) -> Position {
        Position { conversation: Conversation::private("bob"), epoch, seq, acked: seq }
    }

    const FACTS: LogFacts = LogFacts { epoch: 4, oldest: 11, head: 20, acked: 15 };

    #[test]
    fn a_position_continues_in_its_own_epoch_within_the_log() {
        for (epoch, seq, want) in [
            (4, 20, Ok(())),
            (4, 10, Ok(())),
            (4, 9, Err((ReloadReason::TooOld, 4))),
            (4, 21, Err((ReloadReason::Unknown, 4))),
            (3, 20, Err((ReloadReason::Epoch, 4))),
            (5, 9, Err((ReloadReason::Epoch, 4))),
            (4, u64::MAX, Err((ReloadReason::Unknown, 4))),
        ] {
            assert_eq!(verdict(&position(epoch, seq), Some(&FACTS)), want, "{epoch} {seq}");
        }
        assert_eq!(verdict(&position(4, 20), None), Err((ReloadReason::Unknown, 0)));
    }

    #[test]
    fn facts_that_are_missing_and_lanes_that_are_not_there_are_a_reload() {
        let positions = || Vec::from([position(4, 20), position(4, 12), position(4, 13)]);
        let (continued, reload) = judge(positions(), &[FACTS, FACTS], 9);
        assert_eq!((continued.len(), reload.len()), (2, 1));
        assert!(continued[0].record_behind && !continued[1].record_behind);
        let (continued, reload) = judge(positions(), &[FACTS; 3], 1);
        assert_eq!((continued.len(), reload.len()), (1, 2));
    }
}
