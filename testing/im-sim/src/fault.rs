//! What can happen to a run, by name, and how often it did.

use std::fmt;

macro_rules! faults {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, )*) => {
        /// A kind of trouble that a run can have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $( $(#[$doc])* $name, )*
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// For people.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

faults! {
    /// A chunk was the connection's last.
    Cut = "connection cut",
    /// A chunk came twice.
    Duplicate = "chunk repeated",
    /// Two chunks changed places.
    Swap = "chunks swapped",
    /// A bit of a chunk changed.
    Corrupt = "bit flipped",
    /// For a time nothing passed.
    Partition = "partition",
    /// A transport was not made.
    DialFailed = "dial failed",
    /// One side lost the transport and the other did not hear of it.
    HalfOpen = "half-open connection",
    /// A writer had to wait for a slow link.
    SlowLink = "writer waited for the link",
    /// A server crashed.
    ServerCrash = "server crashed",
    /// A client crashed and came back with what it had safe.
    ClientCrash = "client crashed",
    /// A clock jumped forward.
    ClockForward = "clock jumped forward",
    /// A clock jumped back.
    ClockBack = "clock jumped back",
    /// A hint that there are messages was lost.
    HintLost = "hint lost",
    /// The store did not take a message.
    NotStored = "message not stored, retry",
    /// The store did not say whether it took a message.
    Unanswered = "store without an answer",
    /// The store took more than a second for an answer.
    SlowStore = "store took over a second",
    /// A log was replaced by another one.
    LogReplaced = "log replaced",
    /// A ticket was shown that was used before.
    UsedTicket = "used ticket shown",
    /// A ticket came to a server that cannot open it.
    ForeignTicket = "ticket of another server",
    /// A message got no answer to any try.
    GivenUp = "message given up",
    /// The login of an older connection came after that of the newer one, which had to go.
    LateLogin = "login came late",
    /// A device went away for a long time.
    Away = "device away for long",
    /// A device joined late, with nothing.
    Late = "device joined late",
}

/// How often each kind happened.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults([u64; Fault::ALL.len()]);

impl Faults {
    /// How often this kind happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, n)| *sum += n);
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = Fault::ALL.iter().filter(|fault| self.of(**fault) > 0);
        f.debug_map().entries(seen.map(|fault| (fault.name(), self.of(*fault)))).finish()
    }
}
