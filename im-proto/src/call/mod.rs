//! Calls as the server sees them: every signal in every state moves a call or is refused by name.
//!
//! [`CallServer`] keeps who rings, who talks and who is silent; it never reads or keeps an offer, an answer or a candidate.
//! The tables of states, signals and roles are in `docs/spec/calls.md`, and the tests read them from there.

mod group;
mod private;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

pub use group::{DeviceState, GroupSignal, PeerKind};
pub use private::PrivateSignal;
pub use wire::{CallSignal, CallState};

use crate::config::valid_name;
use crate::time::Instant;
use group::GroupCalls;
use private::PrivateCalls;

/// Names a call: drawn at random by the device that begins it, and kept over its retries.
///
/// ```
/// # use im_proto::call::CallId;
/// assert_eq!(CallId(10).to_string(), "000000000000000a");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A device of a user, as its login proved it.
///
/// ```
/// # use im_proto::call::Device;
/// assert_eq!(Device::new("alice", "phone").user, "alice");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// The user.
    pub user: String,
    /// One of the user's devices.
    pub device: String,
}

impl Device {
    /// A device of a user.
    pub fn new(user: &str, device: &str) -> Self {
        Self { user: user.into(), device: device.into() }
    }
}

/// What is transmitted in a call.
///
/// ```
/// # use im_proto::call::Media;
/// assert_ne!(Media::Voice, Media::Video);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// Sound.
    Voice,
    /// Sound and pictures.
    Video,
}

/// An offer, answer or candidate: passed on unread, at most [`CallLimits::max_payload`] bytes, never shown by `Debug`.
///
/// ```
/// # use im_proto::call::Payload;
/// assert_eq!(format!("{:?}", Payload(vec![7; 3])), "<3 bytes>");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// Why a device gave a call up.
///
/// ```
/// # use im_proto::call::{EndReason, FailReason};
/// assert_eq!(EndReason::Failed(FailReason::Busy).name(), "failed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailReason {
    /// The user is in another call.
    Busy,
    /// There is no usable microphone or camera.
    Equipment,
    /// The devices did not reach each other.
    Unreachable,
    /// Anything else.
    Other,
}

/// How a call ended.
///
/// ```
/// # use im_proto::call::EndReason;
/// assert_eq!(EndReason::HungUp.name(), "hung-up");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// One side hung up; of a group call: all but one left.
    HungUp,
    /// The callee did not want it.
    Rejected,
    /// The caller, or the host of a group call, withdrew it.
    Cancelled,
    /// Nobody answered in time.
    Missed,
    /// A device gave up, or the callee was busy.
    Failed(FailReason),
    /// A side was silent for too long.
    Lost,
}

impl EndReason {
    /// The name of the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HungUp => "hung-up",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
            Self::Failed(_) => "failed",
            Self::Lost => "lost",
        }
    }
}

/// What the conversation remembers of a call.
///
/// ```
/// # use im_proto::call::Outcome;
/// # use core::time::Duration;
/// assert_ne!(Outcome::Missed, Outcome::Answered { duration: Duration::ZERO });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// They talked. A side that fell silent counts up to when it was last heard.
    Answered {
        /// For how long.
        duration: Duration,
    },
    /// The callee did not want to.
    Rejected,
    /// The caller withdrew it before it was answered.
    Cancelled,
    /// Nobody answered.
    Missed,
    /// It did not come to talking.
    Failed(FailReason),
}

/// Where a record belongs.
///
/// ```
/// # use im_proto::call::CallPlace;
/// let place = CallPlace::Private { caller: "alice".into(), callee: "bob".into() };
/// assert_ne!(place, CallPlace::Group { group: "team".into(), starter: "alice".into() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallPlace {
    /// The conversation of two users.
    Private {
        /// Who called.
        caller: String,
        /// Who was called.
        callee: String,
    },
    /// The conversation of a group.
    Group {
        /// The group.
        group: String,
        /// Who began the call.
        starter: String,
    },
}

/// The one record of an ended call.
///
/// ```
/// # use im_proto::call::{CallId, CallPlace, CallRecord, Media, Outcome};
/// let place = CallPlace::Private { caller: "alice".into(), callee: "bob".into() };
/// let record = CallRecord { call: CallId(1), place, media: Media::Voice, outcome: Outcome::Missed };
/// assert_eq!(record.outcome, Outcome::Missed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallRecord {
    /// The call.
    pub call: CallId,
    /// The conversation.
    pub place: CallPlace,
    /// Voice or video.
    pub media: Media,
    /// How it ended.
    pub outcome: Outcome,
}

/// Who gets a notice.
///
/// ```
/// # use im_proto::call::{Device, Target};
/// let phone = Device::new("alice", "phone");
/// assert!(!Target::OthersOf(phone.clone()).reaches(&phone));
/// assert!(Target::User("alice".into()).reaches(&phone));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// This device.
    Device(Device),
    /// Every device of the user.
    User(String),
    /// Every device of the user but this one.
    OthersOf(Device),
}

impl Target {
    /// Whether a device is meant.
    pub fn reaches(&self, device: &Device) -> bool {
        match self {
            Self::Device(one) => one == device,
            Self::User(user) => *user == device.user,
            Self::OthersOf(one) => one.user == device.user && one.device != device.device,
        }
    }
}

/// What a device is told.
///
/// ```
/// # use im_proto::call::Notice;
/// assert_eq!(Notice::AnsweredElsewhere.name(), "elsewhere");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Somebody calls.
    Invite {
        /// The calling device.
        from: Device,
        /// Voice or video.
        media: Media,
        /// The caller's offer.
        offer: Payload,
    },
    /// The call was answered.
    Accepted {
        /// The device that answered.
        by: Device,
        /// Its answer.
        answer: Payload,
    },
    /// Another device of the same user answered or refused: stop ringing.
    AnsweredElsewhere,
    /// A candidate of the other side.
    Candidate(Payload),
    /// The call is over.
    Ended(EndReason),
    /// A group call wants the user.
    GroupInvite {
        /// The group.
        group: String,
        /// Who invites.
        from: Device,
        /// Voice or video.
        media: Media,
    },
    /// Others were invited to the group call.
    Invited(Vec<String>),
    /// These could not be invited: they are in another call.
    Busy(Vec<String>),
    /// Somebody is in now.
    Joined {
        /// The device.
        who: Device,
        /// Its camera and microphone.
        state: DeviceState,
    },
    /// Somebody is out: refused, did not answer, quit or fell silent.
    Left {
        /// Who.
        user: String,
        /// How.
        reason: EndReason,
        /// Who is the host from now on.
        host: String,
    },
    /// Somebody's camera or microphone changed.
    State {
        /// Whose.
        user: String,
        /// The state.
        state: DeviceState,
    },
    /// An offer, answer or candidate of another participant.
    Peer {
        /// Which of them.
        kind: PeerKind,
        /// Whose.
        from: Device,
        /// The content.
        payload: Payload,
    },
}

impl Notice {
    /// The name of the specification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invite { .. } => "invite",
            Self::Accepted { .. } => "accepted",
            Self::AnsweredElsewhere => "elsewhere",
            Self::Candidate(_) => "candidate",
            Self::Ended(_) => "ended",
            Self::GroupInvite { .. } => "group-invite",
            Self::Invited(_) => "invited",
            Self::Busy(_) => "busy",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::State { .. } => "state",
            Self::Peer { kind, .. } => kind.name(),
        }
    }

    /// Whether it carries what only a device of the call may see.
    pub const fn has_payload(&self) -> bool {
        match self {
            Self::Invite { .. } | Self::Accepted { .. } | Self::Candidate(_) | Self::Peer { .. } => true,
            Self::AnsweredElsewhere
            | Self::Ended(_)
            | Self::GroupInvite { .. }
            | Self::Invited(_)
            | Self::Busy(_)
            | Self::Joined { .. }
            | Self::Left { .. }
            | Self::State { .. } => false,
        }
    }
}

/// What the caller of the machine has to do.
///
/// ```
/// # use im_proto::call::{CallId, Effect, Notice, Target};
/// let effect = Effect::Relay { to: Target::User("bob".into()), call: CallId(1), notice: Notice::AnsweredElsewhere };
/// assert!(matches!(effect, Effect::Relay { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell devices something. Devices that are not online miss it.
    Relay {
        /// Whom.
        to: Target,
        /// Of which call.
        call: CallId,
        /// What.
        notice: Notice,
    },
    /// Put a record into the conversation.
    Record(CallRecord),
}

/// Where a call stands.
///
/// ```
/// # use im_proto::call::Phase;
/// assert_eq!(Phase::Ringing.name(), "ringing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nobody answered yet.
    Ringing,
    /// Two devices or more are in.
    Connected,
    /// It is over.
    Ended(EndReason),
}

impl Phase {
    /// The name of the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Connected => "connected",
            Self::Ended(reason) => reason.name(),
        }
    }
}

/// The answer to a signal that was taken.
///
/// ```
/// # use im_proto::call::{Effects, Phase};
/// let effects = Effects { phase: Phase::Ringing, duplicate: true, list: vec![] };
/// assert!(effects.list.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Where the call stands now.
    pub phase: Phase,
    /// The signal was taken before; there is nothing to do.
    pub duplicate: bool,
    /// What to do, in order: at most three for a private call, 2 x `max_participants` + 2 for a group call.
    pub list: Vec<Effect>,
}

impl Effects {
    const fn again(phase: Phase) -> Self {
        Self { phase, duplicate: true, list: Vec::new() }
    }

    const fn new(phase: Phase, list: Vec<Effect>) -> Self {
        Self { phase, duplicate: false, list }
    }
}

/// Why a signal was refused. The call is as it was.
///
/// ```
/// # use im_proto::call::CallRefusal;
/// assert_eq!(CallRefusal::NotInCall.name(), "not-in-call");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallRefusal {
    /// A user, device or group name that is none.
    #[error("a name is not valid: 1 to 128 bytes without control characters")]
    Name,
    /// An offer, answer or candidate over the limit.
    #[error("the payload has {len} bytes, the limit is {max}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// There is no such call, or it ended a while ago.
    #[error("there is no such call")]
    UnknownCall,
    /// The id belongs to another call.
    #[error("the id belongs to another call: draw another one")]
    IdTaken,
    /// The device is not in this call.
    #[error("the device is not in this call")]
    NotInCall,
    /// Only the other side may say that.
    #[error("only the other side of the call may say that")]
    WrongRole,
    /// The call was not answered yet.
    #[error("the call is not answered yet")]
    NotConnected,
    /// The call was answered: hang up instead.
    #[error("the call is answered: hang up instead")]
    AlreadyConnected,
    /// Another device of the same user is in the call.
    #[error("another device of this user is in the call")]
    AnsweredElsewhere,
    /// The call is over.
    #[error("the call is over: {}", .0.name())]
    Ended(EndReason),
    /// The sender's user is in a call.
    #[error("the user is in another call")]
    Busy,
    /// Both called each other; this call came first and stands.
    #[error("the other side called first: answer {call}")]
    Glare {
        /// The call to answer.
        call: CallId,
    },
    /// A user cannot call itself.
    #[error("a user cannot call itself")]
    SelfCall,
    /// The server has as many calls as it keeps.
    #[error("the server has too many calls: try later")]
    TooManyCalls,
    /// Not a member of the group.
    #[error("the user is not a member of the group")]
    NotMember,
    /// The user was not invited: join instead.
    #[error("the user was not invited: join instead")]
    NotInvited,
    /// Only the host may cancel.
    #[error("only the host may cancel the call")]
    NotHost,
    /// The other device is not in the call.
    #[error("that user is not in the call")]
    PeerNotIn,
    /// More participants than a call holds.
    #[error("a call holds at most {max} participants")]
    TooManyPeople {
        /// The limit.
        max: usize,
    },
    /// Nobody of those invited is free.
    #[error("nobody of those invited is free")]
    NobodyFree,
    /// The group has a call: join it.
    #[error("the group has a call: join {call}")]
    GroupHasCall {
        /// The call to join.
        call: CallId,
    },
    /// A refusal of a later version of the protocol. Only a client sees it.
    #[error("the signal was refused for a reason that is not known here")]
    Other,
}

impl CallRefusal {
    /// The name of the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::TooLarge { .. } => "too-large",
            Self::UnknownCall => "unknown-call",
            Self::IdTaken => "id-taken",
            Self::NotInCall => "not-in-call",
            Self::WrongRole => "wrong-role",
            Self::NotConnected => "not-connected",
            Self::AlreadyConnected => "already-connected",
            Self::AnsweredElsewhere => "answered-elsewhere",
            Self::Ended(_) => "over",
            Self::Busy => "busy",
            Self::Glare { .. } => "glare",
            Self::SelfCall => "self-call",
            Self::TooManyCalls => "too-many-calls",
            Self::NotMember => "not-member",
            Self::NotInvited => "not-invited",
            Self::NotHost => "not-host",
            Self::PeerNotIn => "peer-not-in",
            Self::TooManyPeople { .. } => "too-many-people",
            Self::NobodyFree => "nobody-free",
            Self::GroupHasCall { .. } => "group-has-call",
            Self::Other => "other",
        }
    }
}

/// Bounds of calls. All finite.
///
/// ```
/// # use im_proto::call::CallLimits;
/// let limits = CallLimits { max_participants: 4, ..CallLimits::default() };
/// assert!(limits.silence > limits.ring);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// How long a call rings, and how long an invitation to a group call stands.
    pub ring: Duration,
    /// A device in a call that says nothing for so long is out. Devices send a heartbeat each quarter of it.
    pub silence: Duration,
    /// How long an ended call still answers retries.
    pub keep_ended: Duration,
    /// Calls at a time, of each kind.
    pub max_calls: usize,
    /// Ended calls that still answer retries, of each kind; beyond that the oldest is forgotten.
    pub max_ended: usize,
    /// Users in a group call, those invited included.
    pub max_participants: usize,
    /// Longest offer, answer or candidate, in bytes.
    pub max_payload: usize,
}

impl Default for CallLimits {
    /// 30 s of ringing, 60 s of silence (a heartbeat each 15 s), ended calls kept for 60 s, 16,384 calls and as many ended
    /// ones of each kind, 9 participants, 32 KiB.
    fn default() -> Self {
        Self {
            ring: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            keep_ended: Duration::from_secs(60),
            max_calls: 16 * 1024,
            max_ended: 16 * 1024,
            max_participants: 9,
            max_payload: 32 * 1024,
        }
    }
}

/// All calls of a server: what each signal does, whom it is told to, and what the conversation keeps.
///
/// The driver gives it each signal with the device that the login proved, does what the [`Effects`] say, and calls
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) has passed. A user is in one call at a
/// time, private or of a group, ringing included. A call whose time ran out takes no signal any more, even where
/// `handle_timeout` comes late. No payload is kept.
///
/// Worst case of memory, with names of at most 128 bytes: (`max_calls` + `max_ended`) x (2 KiB for a private call +
/// `max_participants` x 1 KiB for a group call).
///
/// ```
/// use core::time::Duration;
/// use im_proto::Instant;
/// use im_proto::call::{CallId, CallLimits, CallServer, Device, Effect, Media, Outcome, Payload, PrivateSignal, Target};
///
/// let mut calls = CallServer::new(CallLimits::default());
/// let (alice, bob) = (Device::new("alice", "phone"), Device::new("bob", "tablet"));
/// let (id, at) = (CallId(7), |seconds: u64| Instant::from_micros(seconds * 1_000_000));
///
/// let offer = Payload(b"offer".to_vec());
/// let invite = PrivateSignal::Invite { callee: "bob".into(), media: Media::Voice, offer };
/// let rings = calls.handle_private(at(0), &alice, id, invite)?;
/// assert!(matches!(&rings.list[0], Effect::Relay { to: Target::User(user), .. } if user == "bob"));
///
/// let _ = calls.handle_private(at(5), &bob, id, PrivateSignal::Accept { answer: Payload::default() })?;
/// let ended = calls.handle_private(at(25), &alice, id, PrivateSignal::HangUp)?;
/// let Some(Effect::Record(record)) = ended.list.last() else { panic!() };
/// assert_eq!(record.outcome, Outcome::Answered { duration: Duration::from_secs(20) });
/// # Ok::<(), im_proto::call::CallRefusal>(())
/// ```
#[derive(Debug)]
pub struct CallServer {
    limits: CallLimits,
    private: PrivateCalls,
    group: GroupCalls,
}

impl CallServer {
    /// No calls yet.
    pub const fn new(limits: CallLimits) -> Self {
        Self { limits, private: PrivateCalls::new(), group: GroupCalls::new() }
    }

    /// Takes a signal of a private call. That the two may call each other is checked before.
    ///
    /// # Errors
    /// The signal does not fit: nothing changed.
    pub fn handle_private(
        &mut self,
        now: Instant,
        from: &Device,
        call: CallId,
        signal: PrivateSignal,
    ) -> Result<Effects, CallRefusal> {
        self.check(from, signal.payload())?;
        if self.group.knows(call) {
            return Err(CallRefusal::IdTaken);
        }
        let Self { limits, private, group } = self;
        private.handle(limits, now, from, call, signal, &|user| group.is_busy(user))
    }

    /// Takes a signal of a group call. `member` says whether a group (first) has a user (second) as a member.
    ///
    /// # Errors
    /// The signal does not fit: nothing changed.
    pub fn handle_group(
        &mut self,
        now: Instant,
        from: &Device,
        call: CallId,
        signal: GroupSignal,
        member: &dyn Fn(&str, &str) -> bool,
    ) -> Result<Effects, CallRefusal> {
        self.check(from, signal.payload())?;
        if self.private.knows(call) {
            return Err(CallRefusal::IdTaken);
        }
        let Self { limits, private, group } = self;
        let around = group::Around { member, busy: &|user| private.is_busy(user) };
        group.handle(limits, now, from, call, signal, &around)
    }

    /// Ends what rang or was silent for too long, and forgets what ended long ago. At most three effects for each private
    /// call, and 2 x `max_participants` + 2 for each change of a group call.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.private.handle_timeout(&self.limits, now, &mut effects);
        self.group.handle_timeout(&self.limits, now, &mut effects);
        effects
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.private.poll_timeout(), self.group.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether the user is in a call, ringing included.
    pub fn is_busy(&self, user: &str) -> bool {
        self.private.is_busy(user) || self.group.is_busy(user)
    }

    /// Where a call stands; `None` if it is not known (any more).
    pub fn phase(&self, call: CallId) -> Option<Phase> {
        self.private.phase(call).or_else(|| self.group.phase(call))
    }

    /// How many calls are under way, and how many ended ones still answer retries.
    pub fn counts(&self) -> (usize, usize) {
        let ((a, b), (c, d)) = (self.private.counts(), self.group.counts());
        (a.saturating_add(c), b.saturating_add(d))
    }

    fn check(&self, from: &Device, payload: Option<&Payload>) -> Result<(), CallRefusal> {
        if !valid_name(&from.user) || !valid_name(&from.device) {
            return Err(CallRefusal::Name);
        }
        let (len, max) = (payload.map_or(0, |payload| payload.0.len()), self.limits.max_payload);
        if len > max { Err(CallRefusal::TooLarge { len, max }) } else { Ok(()) }
    }
}
