//! Calls of a group: who is invited, who is in, and what they may tell each other.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::table::{Table, Timed};
use super::{
    CallId, CallLimits, CallPlace, CallRecord, CallRefusal, Device, Effect, Effects, EndReason, Media, Notice, Outcome,
    Payload, Phase, Target,
};
use crate::config::valid_name;
use crate::time::Instant;

/// What a participant transmits.
///
/// ```
/// # use im_proto::call::DeviceState;
/// assert!(!DeviceState::default().camera);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct DeviceState {
    /// The camera is on.
    pub camera: bool,
    /// The microphone is on.
    pub microphone: bool,
}

/// What one participant sends to another to connect with it.
///
/// ```
/// # use im_proto::call::PeerKind;
/// assert_eq!(PeerKind::Candidate.name(), "candidate");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// An offer.
    Offer,
    /// The answer to an offer.
    Answer,
    /// A way to reach the sender.
    Candidate,
}

impl PeerKind {
    /// The name of the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "candidate",
        }
    }
}

/// What a device says in a group call.
///
/// ```
/// # use im_proto::call::GroupSignal;
/// assert_eq!(GroupSignal::Quit.name(), "quit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSignal {
    /// Begins a call. The sender is the host and in; a group has one call at a time.
    Setup {
        /// The group.
        group: String,
        /// Voice or video.
        media: Media,
        /// Who is invited; those in another call are told back as busy.
        invite: Vec<String>,
        /// The host's camera and microphone.
        state: DeviceState,
    },
    /// An invited user comes in.
    Accept(DeviceState),
    /// An invited user does not want to.
    Reject,
    /// A member comes in without an invitation.
    Join(DeviceState),
    /// Invites more members.
    Invite(Vec<String>),
    /// The host ends the call for all.
    Cancel,
    /// The sender leaves.
    Quit,
    /// An offer, answer or candidate for another participant.
    Peer {
        /// Which of them.
        kind: PeerKind,
        /// For whom.
        to: String,
        /// The content.
        payload: Payload,
    },
    /// The camera or microphone changed.
    State(DeviceState),
    /// The device is there; due every 15 s.
    Heartbeat,
}

impl GroupSignal {
    /// The name of the specification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Setup { .. } => "setup",
            Self::Accept(_) => "accept",
            Self::Reject => "reject",
            Self::Join(_) => "join",
            Self::Invite(_) => "invite",
            Self::Cancel => "cancel",
            Self::Quit => "quit",
            Self::Peer { kind, .. } => kind.name(),
            Self::State(_) => "state",
            Self::Heartbeat => "heartbeat",
        }
    }

    pub(super) const fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Peer { payload, .. } => Some(payload),
            Self::Setup { .. }
            | Self::Accept(_)
            | Self::Reject
            | Self::Join(_)
            | Self::Invite(_)
            | Self::Cancel
            | Self::Quit
            | Self::State(_)
            | Self::Heartbeat => None,
        }
    }
}

/// What a call asks about users.
pub(super) struct Around<'a> {
    /// Whether a group has a user as a member.
    pub(super) member: &'a dyn Fn(&str, &str) -> bool,
    /// Whether a user is in a private call.
    pub(super) busy: &'a dyn Fn(&str) -> bool,
}

/// A way out of a call whose retry is answered the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Reject,
    Cancel,
    Quit,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Seat {
    device: String,
    /// Counts up; the participant with the lowest follows as host.
    order: u64,
    heard: Instant,
    state: DeviceState,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Person {
    Invited { until: Instant },
    In(Seat),
}

/// What the sender of a signal is in a call.
enum Standing {
    In,
    InOther,
    Invited,
    Member,
}

impl Standing {
    /// What only a device that is in may say.
    const fn inside(&self) -> Result<(), CallRefusal> {
        match self {
            Self::In => Ok(()),
            Self::InOther => Err(CallRefusal::AnsweredElsewhere),
            Self::Invited | Self::Member => Err(CallRefusal::NotInCall),
        }
    }
}

/// What every state of a call knows.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct About {
    group: String,
    starter: Device,
    media: Media,
}

impl About {
    fn again(&self, from: &Device, group: &str, media: Media) -> Result<(), CallRefusal> {
        if *from == self.starter && *group == *self.group && media == self.media {
            Ok(())
        } else {
            Err(CallRefusal::IdTaken)
        }
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Active {
    about: About,
    host: String,
    /// Since when two were in.
    talked: Option<Instant>,
    /// At most `max_participants`.
    people: BTreeMap<String, Person>,
    entered: u64,
    /// Who went last and how; at most `max_participants`.
    gone: Vec<(Device, Way)>,
}

enum Move {
    Stay,
    Enter(DeviceState),
    Leave(Way),
    Invite { free: BTreeSet<String>, busy: Vec<String> },
    Cancel,
    Peer { kind: PeerKind, to: Device, payload: Payload },
    State(DeviceState),
    Heard,
}

impl Active {
    fn seats(&self) -> impl Iterator<Item = (&String, &Seat)> {
        self.people.iter().filter_map(|(user, person)| match person {
            Person::In(seat) => Some((user, seat)),
            Person::Invited { .. } => None,
        })
    }

    fn seat(&self, user: &str) -> Option<&Seat> {
        match self.people.get(user) {
            Some(Person::In(seat)) => Some(seat),
            Some(Person::Invited { .. }) | None => None,
        }
    }

    fn seat_mut(&mut self, user: &str) -> Option<&mut Seat> {
        match self.people.get_mut(user) {
            Some(Person::In(seat)) => Some(seat),
            Some(Person::Invited { .. }) | None => None,
        }
    }

    /// A notice to each device that is in, but for those of `except`.
    fn tell(&self, call: CallId, except: &str, notice: &Notice) -> Vec<Effect> {
        self.seats()
            .filter(|(user, _)| **user != *except)
            .map(|(user, seat)| relay(Target::Device(Device::new(user, &seat.device)), call, notice.clone()))
            .collect()
    }

    const fn phase(&self) -> Phase {
        if self.talked.is_some() { Phase::Connected } else { Phase::Ringing }
    }

    fn standing(&self, from: &Device) -> Standing {
        match self.people.get(&from.user) {
            Some(Person::In(seat)) if seat.device == from.device => Standing::In,
            Some(Person::In(_)) => Standing::InOther,
            Some(Person::Invited { .. }) => Standing::Invited,
            None => Standing::Member,
        }
    }

    fn went(&self, from: &Device, how: Way) -> bool {
        self.gone.iter().any(|(device, way)| device == from && *way == how)
    }

    fn due(&self, silence: core::time::Duration) -> impl Iterator<Item = (Instant, &String, EndReason)> {
        self.people.iter().map(move |(user, person)| match person {
            Person::Invited { until } => (*until, user, EndReason::Missed),
            Person::In(seat) => (seat.heard + silence, user, EndReason::Lost),
        })
    }

    fn decide(
        &self,
        limits: &CallLimits,
        now: Instant,
        from: &Device,
        signal: GroupSignal,
        around: &Around<'_>,
    ) -> Result<Move, CallRefusal> {
        let About { group, .. } = &self.about;
        if !(around.member)(group, &from.user) {
            return Err(CallRefusal::NotMember);
        }
        if let Some((_, _, reason)) =
            self.due(limits.silence).find(|(until, user, _)| **user == from.user && *until <= now)
        {
            return Err(CallRefusal::Ended(reason));
        }
        let standing = self.standing(from);
        match (signal, standing) {
            (GroupSignal::Setup { group, media, .. }, _) => self.about.again(from, &group, media).map(|()| Move::Stay),
            (GroupSignal::Accept(_) | GroupSignal::Join(_), Standing::In) => Ok(Move::Stay),
            (GroupSignal::Accept(_) | GroupSignal::Join(_) | GroupSignal::Reject, Standing::InOther) => {
                Err(CallRefusal::AnsweredElsewhere)
            }
            (GroupSignal::Accept(state) | GroupSignal::Join(state), Standing::Invited) => Ok(Move::Enter(state)),
            (GroupSignal::Accept(_), Standing::Member) => Err(CallRefusal::NotInvited),
            (GroupSignal::Join(state), Standing::Member) => {
                if (around.busy)(&from.user) {
                    Err(CallRefusal::Busy)
                } else {
                    self.room(limits, 1).map(|()| Move::Enter(state))
                }
            }
            (GroupSignal::Reject, Standing::In) => Err(CallRefusal::AlreadyConnected),
            (GroupSignal::Reject, Standing::Invited) => Ok(Move::Leave(Way::Reject)),
            (GroupSignal::Reject, Standing::Member) if self.went(from, Way::Reject) => Ok(Move::Stay),
            (GroupSignal::Reject, Standing::Member) => Err(CallRefusal::NotInvited),
            (GroupSignal::Quit, Standing::Member) if self.went(from, Way::Quit) => Ok(Move::Stay),
            (GroupSignal::Quit, standing) => standing.inside().map(|()| Move::Leave(Way::Quit)),
            (GroupSignal::Cancel, standing) => {
                standing.inside()?;
                if self.host == from.user { Ok(Move::Cancel) } else { Err(CallRefusal::NotHost) }
            }
            (GroupSignal::Heartbeat, standing) => standing.inside().map(|()| Move::Heard),
            (GroupSignal::State(state), standing) => {
                standing.inside()?;
                let same = self.seat(&from.user).is_some_and(|seat| seat.state == state);
                Ok(if same { Move::Stay } else { Move::State(state) })
            }
            (GroupSignal::Peer { kind, to, payload }, standing) => {
                standing.inside()?;
                let peer = self.seat(&to).filter(|_| to != from.user && (around.member)(group, &to));
                let Some(seat) = peer else { return Err(CallRefusal::PeerNotIn) };
                Ok(Move::Peer { kind, to: Device::new(&to, &seat.device), payload })
            }
            (GroupSignal::Invite(users), standing) => {
                standing.inside()?;
                let (mut free, busy) = split(limits, group, users, around)?;
                free.retain(|user| !self.people.contains_key(user));
                let busy: Vec<_> = busy.into_iter().filter(|user| !self.people.contains_key(user)).collect();
                self.room(limits, free.len())?;
                Ok(if free.is_empty() && busy.is_empty() { Move::Stay } else { Move::Invite { free, busy } })
            }
        }
    }

    fn room(&self, limits: &CallLimits, more: usize) -> Result<(), CallRefusal> {
        let max = limits.max_participants;
        if self.people.len().saturating_add(more) > max { Err(CallRefusal::TooManyPeople { max }) } else { Ok(()) }
    }

    fn apply(
        mut self,
        limits: &CallLimits,
        now: Instant,
        from: &Device,
        call: CallId,
        next: Move,
    ) -> (State, Vec<Effect>) {
        if let Some(seat) = self.seat_mut(&from.user).filter(|seat| seat.device == from.device) {
            seat.heard = now;
        }
        let list = match next {
            Move::Stay | Move::Heard => Vec::new(),
            Move::Enter(state) => self.enter(now, from, call, state),
            Move::Leave(way) => return self.leave(limits, now, call, &from.user, Some((from, way)), EndReason::Missed),
            Move::Cancel => {
                return self.end(limits, now, now, call, Some((from.clone(), Way::Cancel)), EndReason::Cancelled);
            }
            Move::Invite { free, busy } => {
                let (group, media) = (&self.about.group, self.about.media);
                let mut list = invites(call, from, group, media, &free);
                if !free.is_empty() {
                    list.extend(self.tell(call, &from.user, &Notice::Invited(free.iter().cloned().collect())));
                }
                list.extend(busy_back(call, from, busy));
                self.people.extend(free.into_iter().map(|user| (user, Person::Invited { until: now + limits.ring })));
                list
            }
            Move::Peer { kind, to, payload } => {
                vec![relay(Target::Device(to), call, Notice::Peer { kind, from: from.clone(), payload })]
            }
            Move::State(state) => {
                if let Some(seat) = self.seat_mut(&from.user) {
                    seat.state = state;
                }
                self.tell(call, &from.user, &Notice::State { user: from.user.clone(), state })
            }
        };
        (State::Active(self), list)
    }

    fn enter(&mut self, now: Instant, from: &Device, call: CallId, state: DeviceState) -> Vec<Effect> {
        let mut list = self.tell(call, &from.user, &Notice::Joined { who: from.clone(), state });
        // The newcomer learns who is in.
        list.extend(self.seats().map(|(user, seat)| {
            let joined = Notice::Joined { who: Device::new(user, &seat.device), state: seat.state };
            relay(Target::Device(from.clone()), call, joined)
        }));
        list.push(relay(Target::OthersOf(from.clone()), call, Notice::AnsweredElsewhere));
        self.entered = self.entered.saturating_add(1);
        let seat = Seat { device: from.device.clone(), order: self.entered, heard: now, state };
        self.people.insert(from.user.clone(), Person::In(seat));
        if self.talked.is_none() && self.seats().nth(1).is_some() {
            self.talked = Some(now);
        }
        list
    }

    /// Takes a user out: by a signal, or because `late` says that its time ran out.
    fn leave(
        mut self,
        limits: &CallLimits,
        now: Instant,
        call: CallId,
        user: &str,
        by: Option<(&Device, Way)>,
        late: EndReason,
    ) -> (State, Vec<Effect>) {
        let reason = match by {
            Some((_, Way::Reject)) => EndReason::Rejected,
            Some((_, Way::Quit)) => EndReason::HungUp,
            Some((_, Way::Cancel)) => EndReason::Cancelled,
            None => late,
        };
        let mut list = Vec::new();
        let mut until = now;
        match self.people.remove(user) {
            Some(Person::In(seat)) if by.is_none() => {
                until = seat.heard;
                list.push(relay(Target::Device(Device::new(user, &seat.device)), call, Notice::Ended(reason)));
            }
            Some(Person::Invited { .. }) => list.push(match by {
                Some((device, _)) => relay(Target::OthersOf(device.clone()), call, Notice::AnsweredElsewhere),
                None => relay(Target::User(user.into()), call, Notice::Ended(reason)),
            }),
            Some(Person::In(_)) | None => {}
        }
        if self.seats().next().is_none() || self.people.len() <= 1 {
            let reason = match (self.talked, reason) {
                (Some(_), _) => EndReason::HungUp,
                // The host alone gave up.
                (None, EndReason::HungUp) => EndReason::Cancelled,
                (None, reason) => reason,
            };
            let by = by.map(|(device, way)| (device.clone(), way));
            let (state, more) = self.end(limits, now, until, call, by, reason);
            list.extend(more);
            return (state, list);
        }
        if *user == *self.host
            && let Some((next, _)) = self.seats().min_by_key(|(_, seat)| seat.order)
        {
            self.host = next.clone();
        }
        if let Some((device, way)) = by {
            self.gone.retain(|(other, _)| other != device);
            self.gone.insert(0, (device.clone(), way));
            self.gone.truncate(limits.max_participants);
        }
        let left = Notice::Left { user: user.into(), reason, host: self.host.clone() };
        list.extend(self.tell(call, user, &left));
        (State::Active(self), list)
    }

    fn end(
        self,
        limits: &CallLimits,
        now: Instant,
        until: Instant,
        call: CallId,
        by: Option<(Device, Way)>,
        reason: EndReason,
    ) -> (State, Vec<Effect>) {
        let mut list = Vec::new();
        for (user, person) in &self.people {
            let to = match person {
                Person::In(seat) => Target::Device(Device::new(user, &seat.device)),
                Person::Invited { .. } => Target::User(user.clone()),
            };
            if by.as_ref().is_none_or(|(device, _)| device.user != *user) {
                list.push(relay(to, call, Notice::Ended(reason)));
            }
        }
        let outcome = match (self.talked, reason) {
            (Some(since), _) => Outcome::Answered { duration: until.saturating_since(since) },
            (None, EndReason::Rejected) => Outcome::Rejected,
            (None, EndReason::Cancelled | EndReason::HungUp) => Outcome::Cancelled,
            (None, EndReason::Missed | EndReason::Lost) => Outcome::Missed,
            (None, EndReason::Failed(reason)) => Outcome::Failed(reason),
        };
        let About { group, starter, media } = &self.about;
        let place = CallPlace::Group { group: group.clone(), starter: starter.user.clone() };
        list.push(Effect::Record(CallRecord { call, place, media: *media, outcome }));
        let until = now + limits.keep_ended;
        (State::Ended(Ended { about: self.about, by, reason, until }), list)
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Ended {
    about: About,
    by: Option<(Device, Way)>,
    reason: EndReason,
    until: Instant,
}

impl Ended {
    /// An ended call only answers the retry of what began or ended it.
    fn decide(&self, from: &Device, signal: &GroupSignal, around: &Around<'_>) -> Result<(), CallRefusal> {
        if !(around.member)(&self.about.group, &from.user) {
            return Err(CallRefusal::NotMember);
        }
        let way = match signal {
            GroupSignal::Setup { group, media, .. } => return self.about.again(from, group, *media),
            GroupSignal::Reject => Some(Way::Reject),
            GroupSignal::Cancel => Some(Way::Cancel),
            GroupSignal::Quit => Some(Way::Quit),
            GroupSignal::Accept(_)
            | GroupSignal::Join(_)
            | GroupSignal::Invite(_)
            | GroupSignal::Peer { .. }
            | GroupSignal::State(_)
            | GroupSignal::Heartbeat => None,
        };
        let ended_it = self.by.as_ref().is_some_and(|(device, how)| device == from && Some(*how) == way);
        if ended_it { Ok(()) } else { Err(CallRefusal::Ended(self.reason)) }
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum State {
    Active(Active),
    Ended(Ended),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Call {
    state: State,
    deadline: Instant,
}

impl Call {
    fn new(limits: &CallLimits, state: State) -> Self {
        let deadline = match &state {
            State::Active(active) => active.due(limits.silence).map(|(at, ..)| at).min().unwrap_or_default(),
            State::Ended(ended) => ended.until,
        };
        Self { state, deadline }
    }

    const fn phase(&self) -> Phase {
        match &self.state {
            State::Active(active) => active.phase(),
            State::Ended(ended) => Phase::Ended(ended.reason),
        }
    }

    fn users(&self) -> BTreeSet<String> {
        match &self.state {
            State::Active(active) => active.people.keys().cloned().collect(),
            State::Ended(_) => BTreeSet::new(),
        }
    }
}

impl Timed for Call {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct GroupCalls {
    table: Table<Call>,
    /// Who is in which call, invitations included; at most `max_calls` x `max_participants`.
    busy: BTreeMap<String, CallId>,
    /// The call of each group; at most `max_calls`.
    groups: BTreeMap<String, CallId>,
}

impl GroupCalls {
    pub(super) const fn new() -> Self {
        Self { table: Table::new(), busy: BTreeMap::new(), groups: BTreeMap::new() }
    }

    pub(super) fn knows(&self, call: CallId) -> bool {
        self.table.get(call).is_some()
    }

    pub(super) fn is_busy(&self, user: &str) -> bool {
        self.busy.contains_key(user)
    }

    pub(super) fn phase(&self, call: CallId) -> Option<Phase> {
        self.table.get(call).map(Call::phase)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        self.table.counts()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.table.next()
    }

    pub(super) fn handle(
        &mut self,
        limits: &CallLimits,
        now: Instant,
        from: &Device,
        id: CallId,
        signal: GroupSignal,
        around: &Around<'_>,
    ) -> Result<Effects, CallRefusal> {
        let private = around.busy;
        let either = |user: &str| private(user) || self.is_busy(user);
        let around = Around { member: around.member, busy: &either };
        let Some(call) = self.table.get(id) else {
            let (state, list) = self.begin(limits, now, from, id, signal, &around)?;
            return Ok(Effects::new(self.put(limits, id, state, &BTreeSet::new()), list));
        };
        let next = match &call.state {
            State::Active(active) => active.decide(limits, now, from, signal, &around)?,
            State::Ended(ended) => {
                ended.decide(from, &signal, &around)?;
                return Ok(Effects::again(call.phase()));
            }
        };
        if matches!(next, Move::Stay) {
            return Ok(Effects::again(call.phase()));
        }
        let before = call.users();
        // From here on the signal is taken.
        let Some(Call { state: State::Active(active), .. }) = self.table.take(id) else {
            return Err(CallRefusal::UnknownCall);
        };
        let (state, list) = active.apply(limits, now, from, id, next);
        Ok(Effects::new(self.put(limits, id, state, &before), list))
    }

    fn begin(
        &self,
        limits: &CallLimits,
        now: Instant,
        from: &Device,
        id: CallId,
        signal: GroupSignal,
        around: &Around<'_>,
    ) -> Result<(State, Vec<Effect>), CallRefusal> {
        let GroupSignal::Setup { group, media, invite, state } = signal else { return Err(CallRefusal::UnknownCall) };
        if !valid_name(&group) {
            return Err(CallRefusal::Name);
        }
        if !(around.member)(&group, &from.user) {
            return Err(CallRefusal::NotMember);
        }
        if let Some(call) = self.groups.get(&group) {
            return Err(CallRefusal::GroupHasCall { call: *call });
        }
        if (around.busy)(&from.user) {
            return Err(CallRefusal::Busy);
        }
        if self.table.counts().0 >= limits.max_calls {
            return Err(CallRefusal::TooManyCalls);
        }
        let (mut free, busy) = split(limits, &group, invite, around)?;
        free.remove(&from.user);
        if free.is_empty() {
            return Err(CallRefusal::NobodyFree);
        }
        let max = limits.max_participants;
        if free.len() >= max {
            return Err(CallRefusal::TooManyPeople { max });
        }
        let mut list = invites(id, from, &group, media, &free);
        list.extend(busy_back(id, from, busy));
        let seat = Seat { device: from.device.clone(), order: 0, heard: now, state };
        let mut people: BTreeMap<_, _> =
            free.into_iter().map(|user| (user, Person::Invited { until: now + limits.ring })).collect();
        people.insert(from.user.clone(), Person::In(seat));
        let about = About { group, starter: from.clone(), media };
        let active = Active { about, host: from.user.clone(), talked: None, people, entered: 0, gone: Vec::new() };
        Ok((State::Active(active), list))
    }

    /// Puts a call back and keeps the indexes of users and groups true.
    fn put(&mut self, limits: &CallLimits, id: CallId, state: State, before: &BTreeSet<String>) -> Phase {
        let call = Call::new(limits, state);
        let (users, phase) = (call.users(), call.phase());
        for user in before.difference(&users) {
            self.busy.remove(user);
        }
        self.busy.extend(users.into_iter().map(|user| (user, id)));
        match &call.state {
            State::Active(active) => {
                self.groups.insert(active.about.group.clone(), id);
            }
            State::Ended(ended) => {
                self.groups.remove(&ended.about.group);
            }
        }
        self.table.put(id, call, limits.max_ended);
        phase
    }

    pub(super) fn handle_timeout(&mut self, limits: &CallLimits, now: Instant, effects: &mut Vec<Effect>) {
        while let Some((id, call)) = self.table.take_due(now) {
            let before = call.users();
            let mut state = call.state;
            if matches!(state, State::Ended(_)) {
                continue;
            }
            // Each round takes a user out.
            while let State::Active(active) = state {
                let due = active.due(limits.silence).filter(|(at, ..)| *at <= now).min_by_key(|(at, ..)| *at);
                let Some((user, reason)) = due.map(|(_, user, reason)| (user.clone(), reason)) else {
                    state = State::Active(active);
                    break;
                };
                let (next, list) = active.leave(limits, now, id, &user, None, reason);
                effects.extend(list);
                state = next;
            }
            self.put(limits, id, state, &before);
        }
    }
}

/// Those named, without repetition: who is free and who is in another call.
fn split(
    limits: &CallLimits,
    group: &str,
    users: Vec<String>,
    around: &Around<'_>,
) -> Result<(BTreeSet<String>, Vec<String>), CallRefusal> {
    let max = limits.max_participants;
    if users.len() > max {
        return Err(CallRefusal::TooManyPeople { max });
    }
    if !users.iter().all(|user| valid_name(user)) {
        return Err(CallRefusal::Name);
    }
    if !users.iter().all(|user| (around.member)(group, user)) {
        return Err(CallRefusal::NotMember);
    }
    let users: BTreeSet<_> = users.into_iter().collect();
    let (busy, free): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| (around.busy)(user));
    Ok((free.into_iter().collect(), busy))
}

fn invites(call: CallId, from: &Device, group: &str, media: Media, users: &BTreeSet<String>) -> Vec<Effect> {
    let notice = Notice::GroupInvite { group: group.into(), from: from.clone(), media };
    users.iter().map(|user| relay(Target::User(user.clone()), call, notice.clone())).collect()
}

fn busy_back(call: CallId, from: &Device, busy: Vec<String>) -> Option<Effect> {
    (!busy.is_empty()).then(|| relay(Target::Device(from.clone()), call, Notice::Busy(busy)))
}

const fn relay(to: Target, call: CallId, notice: Notice) -> Effect {
    Effect::Relay { to, call, notice }
}
