//! Calls of two users: each state its own type, moved by value.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::table::{Table, Timed};
use super::{
    CallId, CallLimits, CallPlace, CallRecord, CallRefusal, Device, Effect, Effects, EndReason, FailReason, Media,
    Notice, Outcome, Payload, Phase, Target,
};
use crate::config::valid_name;
use crate::time::Instant;

/// What a device says in a private call.
///
/// ```
/// # use im_proto::call::PrivateSignal;
/// assert_eq!(PrivateSignal::HangUp.name(), "hang-up");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateSignal {
    /// Begins a call. All devices of the callee ring.
    Invite {
        /// Who is called.
        callee: String,
        /// Voice or video.
        media: Media,
        /// The caller's offer.
        offer: Payload,
    },
    /// The callee answers.
    Accept {
        /// The answer to the offer.
        answer: Payload,
    },
    /// The callee does not want to.
    Reject,
    /// The caller withdraws the call before it is answered.
    Cancel,
    /// The device cannot hold the call. A callee's device that cannot even ring says nothing: others may.
    Fail(FailReason),
    /// Ends a call that was answered.
    HangUp,
    /// A way to reach the sender. A caller keeps its own until the call is answered.
    Candidate(Payload),
    /// The device is there; due every 15 s.
    Heartbeat,
}

impl PrivateSignal {
    /// The name of the specification.
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Invite { .. } => Kind::Invite,
            Self::Accept { .. } => Kind::Accept,
            Self::Reject => Kind::Reject,
            Self::Cancel => Kind::Cancel,
            Self::Fail(_) => Kind::Fail,
            Self::HangUp => Kind::HangUp,
            Self::Candidate(_) => Kind::Candidate,
            Self::Heartbeat => Kind::Heartbeat,
        }
    }

    pub(super) const fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Invite { offer: payload, .. } | Self::Accept { answer: payload } | Self::Candidate(payload) => {
                Some(payload)
            }
            Self::Reject | Self::Cancel | Self::Fail(_) | Self::HangUp | Self::Heartbeat => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invite,
    Accept,
    Reject,
    Cancel,
    Fail,
    HangUp,
    Candidate,
    Heartbeat,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::Fail => "fail",
            Self::HangUp => "hang-up",
            Self::Candidate => "candidate",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// What the sender of a signal is in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Caller,
    /// A device of the callee; once the call is answered, the one that answered.
    Callee,
    /// A device of the callee, and another one answered.
    CalleeOther,
    /// Anybody else, the caller's other devices included.
    Outside,
}

impl Role {
    const fn caller(self) -> Result<(), CallRefusal> {
        match self {
            Self::Caller => Ok(()),
            Self::Callee => Err(CallRefusal::WrongRole),
            Self::CalleeOther => Err(CallRefusal::AnsweredElsewhere),
            Self::Outside => Err(CallRefusal::NotInCall),
        }
    }

    const fn callee(self) -> Result<(), CallRefusal> {
        match self {
            Self::Callee => Ok(()),
            Self::Caller => Err(CallRefusal::WrongRole),
            Self::CalleeOther => Err(CallRefusal::AnsweredElsewhere),
            Self::Outside => Err(CallRefusal::NotInCall),
        }
    }

    const fn either(self) -> Result<(), CallRefusal> {
        match self {
            Self::Caller | Self::Callee => Ok(()),
            Self::CalleeOther => Err(CallRefusal::AnsweredElsewhere),
            Self::Outside => Err(CallRefusal::NotInCall),
        }
    }
}

#[derive(Debug)]
struct Parties {
    caller: Device,
    callee: String,
    media: Media,
}

impl Parties {
    fn role(&self, from: &Device, answered: Option<&Device>) -> Role {
        if *from == self.caller {
            Role::Caller
        } else if from.user != self.callee {
            Role::Outside
        } else if answered.is_none_or(|device| device == from) {
            Role::Callee
        } else {
            Role::CalleeOther
        }
    }

    /// A second invite with the same id: a retry, or somebody else's call. The offer is not kept, so not compared.
    fn again(&self, role: Role, callee: &str, media: Media) -> Result<(), CallRefusal> {
        if role == Role::Caller && *callee == *self.callee && media == self.media {
            Ok(())
        } else {
            Err(CallRefusal::IdTaken)
        }
    }

    fn record(&self, call: CallId, outcome: Outcome) -> Effect {
        let place = CallPlace::Private { caller: self.caller.user.clone(), callee: self.callee.clone() };
        Effect::Record(CallRecord { call, place, media: self.media, outcome })
    }
}

/// Who did what to end a call: its retry is answered the same.
type By = Option<(Device, Kind)>;

#[derive(Debug)]
struct Ringing {
    parties: Parties,
    until: Instant,
}

enum RingingMove {
    Stay,
    Accept(Payload),
    End(EndReason, Outcome),
}

impl Ringing {
    fn decide(&self, now: Instant, from: &Device, signal: PrivateSignal) -> Result<RingingMove, CallRefusal> {
        let role = self.parties.role(from, None);
        let next = match signal {
            PrivateSignal::Invite { callee, media, .. } => {
                self.parties.again(role, &callee, media)?;
                return Ok(RingingMove::Stay);
            }
            PrivateSignal::Accept { answer } => role.callee().map(|()| RingingMove::Accept(answer)),
            PrivateSignal::Reject => role.callee().map(|()| RingingMove::End(EndReason::Rejected, Outcome::Rejected)),
            PrivateSignal::Cancel => role.caller().map(|()| RingingMove::End(EndReason::Cancelled, Outcome::Cancelled)),
            PrivateSignal::Fail(reason) => {
                role.either().map(|()| RingingMove::End(EndReason::Failed(reason), Outcome::Failed(reason)))
            }
            PrivateSignal::HangUp | PrivateSignal::Candidate(_) | PrivateSignal::Heartbeat => {
                role.either().and(Err(CallRefusal::NotConnected))
            }
        }?;
        if self.until <= now { Err(CallRefusal::Ended(EndReason::Missed)) } else { Ok(next) }
    }

    fn accept(self, call: CallId, now: Instant, by: &Device, answer: Payload) -> (State, Vec<Effect>) {
        let caller = Target::Device(self.parties.caller.clone());
        let list = vec![
            relay(caller, call, Notice::Accepted { by: by.clone(), answer }),
            relay(Target::OthersOf(by.clone()), call, Notice::AnsweredElsewhere),
        ];
        let connected =
            Connected { parties: self.parties, with: by.clone(), since: now, caller_heard: now, callee_heard: now };
        (State::Connected(connected), list)
    }

    fn end(self, call: CallId, until: Instant, by: By, reason: EndReason, outcome: Outcome) -> (State, Vec<Effect>) {
        let Parties { caller, callee, .. } = &self.parties;
        let ended = || Notice::Ended(reason);
        let mut list = Vec::with_capacity(3);
        if by.as_ref().is_none_or(|(device, _)| device != caller) {
            list.push(relay(Target::Device(caller.clone()), call, ended()));
        }
        list.push(match &by {
            Some((device, _)) if device.user == *callee => {
                relay(Target::OthersOf(device.clone()), call, Notice::AnsweredElsewhere)
            }
            Some(_) | None => relay(Target::User(callee.clone()), call, ended()),
        });
        list.push(self.parties.record(call, outcome));
        (State::Ended(Ended { parties: self.parties, with: None, by, reason, until }), list)
    }
}

#[derive(Debug)]
struct Connected {
    parties: Parties,
    with: Device,
    since: Instant,
    caller_heard: Instant,
    callee_heard: Instant,
}

enum ConnectedMove {
    Stay,
    Heard,
    Candidate(Payload),
    End(EndReason, Outcome),
}

impl Connected {
    /// When the side that was silent for longer was heard.
    fn heard(&self) -> Instant {
        self.caller_heard.min(self.callee_heard)
    }

    fn lasted(&self, until: Instant) -> Outcome {
        Outcome::Answered { duration: until.saturating_since(self.since) }
    }

    fn decide(
        &self,
        limits: &CallLimits,
        now: Instant,
        from: &Device,
        signal: PrivateSignal,
    ) -> Result<ConnectedMove, CallRefusal> {
        let role = self.parties.role(from, Some(&self.with));
        let next = match signal {
            PrivateSignal::Invite { callee, media, .. } => {
                self.parties.again(role, &callee, media)?;
                return Ok(ConnectedMove::Stay);
            }
            PrivateSignal::Accept { .. } => {
                role.callee()?;
                return Ok(ConnectedMove::Stay);
            }
            PrivateSignal::Reject => role.callee().and(Err(CallRefusal::AlreadyConnected)),
            PrivateSignal::Cancel => role.caller().and(Err(CallRefusal::AlreadyConnected)),
            PrivateSignal::Fail(reason) => {
                role.either().map(|()| ConnectedMove::End(EndReason::Failed(reason), Outcome::Failed(reason)))
            }
            PrivateSignal::HangUp => role.either().map(|()| ConnectedMove::End(EndReason::HungUp, self.lasted(now))),
            PrivateSignal::Candidate(payload) => role.either().map(|()| ConnectedMove::Candidate(payload)),
            PrivateSignal::Heartbeat => role.either().map(|()| ConnectedMove::Heard),
        }?;
        let over = self.heard() + limits.silence <= now;
        if over { Err(CallRefusal::Ended(EndReason::Lost)) } else { Ok(next) }
    }

    fn hear(mut self, now: Instant, from: &Device) -> Self {
        if *from == self.parties.caller {
            self.caller_heard = now;
        } else {
            self.callee_heard = now;
        }
        self
    }

    fn other(&self, from: &Device) -> Device {
        if *from == self.parties.caller { self.with.clone() } else { self.parties.caller.clone() }
    }

    fn end(self, call: CallId, until: Instant, by: By, reason: EndReason, outcome: Outcome) -> (State, Vec<Effect>) {
        let mut list: Vec<_> = [&self.parties.caller, &self.with]
            .into_iter()
            .filter(|device| by.as_ref().is_none_or(|(ended_by, _)| ended_by != *device))
            .map(|device| relay(Target::Device(device.clone()), call, Notice::Ended(reason)))
            .collect();
        list.push(self.parties.record(call, outcome));
        (State::Ended(Ended { parties: self.parties, with: Some(self.with), by, reason, until }), list)
    }
}

#[derive(Debug)]
struct Ended {
    parties: Parties,
    with: Option<Device>,
    by: By,
    reason: EndReason,
    until: Instant,
}

impl Ended {
    /// An ended call only answers: a retry as before, anything else with a refusal.
    fn decide(&self, from: &Device, signal: &PrivateSignal) -> Result<(), CallRefusal> {
        let role = self.parties.role(from, self.with.as_ref());
        if let PrivateSignal::Invite { callee, media, .. } = signal {
            return self.parties.again(role, callee, *media);
        }
        role.either()?;
        let kind = signal.kind();
        let ended_it = self.by.as_ref().is_some_and(|(device, how)| device == from && *how == kind);
        let answered_it = kind == Kind::Accept && self.with.as_ref() == Some(from);
        if ended_it || answered_it { Ok(()) } else { Err(CallRefusal::Ended(self.reason)) }
    }
}

#[derive(Debug)]
enum State {
    Ringing(Ringing),
    Connected(Connected),
    Ended(Ended),
}

/// A live call's deadline depends on the silence that the limits allow, so it is kept beside the state.
#[derive(Debug)]
struct Call {
    state: State,
    deadline: Instant,
}

impl Call {
    fn new(limits: &CallLimits, state: State) -> Self {
        let deadline = match &state {
            State::Ringing(ringing) => ringing.until,
            State::Connected(connected) => connected.heard() + limits.silence,
            State::Ended(ended) => ended.until,
        };
        Self { state, deadline }
    }

    const fn parties(&self) -> &Parties {
        match &self.state {
            State::Ringing(Ringing { parties, .. })
            | State::Connected(Connected { parties, .. })
            | State::Ended(Ended { parties, .. }) => parties,
        }
    }

    const fn phase(&self) -> Phase {
        match &self.state {
            State::Ringing(_) => Phase::Ringing,
            State::Connected(_) => Phase::Connected,
            State::Ended(ended) => Phase::Ended(ended.reason),
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

/// A decision, with what it needs and no reference to the call.
enum Move {
    Stay,
    Ringing(RingingMove),
    Connected(ConnectedMove),
}

#[derive(Debug)]
pub(super) struct PrivateCalls {
    table: Table<Call>,
    /// Who is in which call; two entries for each call under way.
    busy: BTreeMap<String, CallId>,
}

impl PrivateCalls {
    pub(super) const fn new() -> Self {
        Self { table: Table::new(), busy: BTreeMap::new() }
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
        signal: PrivateSignal,
        elsewhere: &dyn Fn(&str) -> bool,
    ) -> Result<Effects, CallRefusal> {
        let Some(call) = self.table.get(id) else {
            return self.begin(limits, now, from, id, signal, elsewhere);
        };
        let (kind, phase) = (signal.kind(), call.phase());
        let next = match &call.state {
            State::Ringing(ringing) => Move::Ringing(ringing.decide(now, from, signal)?),
            State::Connected(connected) => Move::Connected(connected.decide(limits, now, from, signal)?),
            State::Ended(ended) => {
                ended.decide(from, &signal)?;
                Move::Stay
            }
        };
        // From here on the signal is taken.
        let Some(call) = self.table.take(id) else { return Err(CallRefusal::UnknownCall) };
        let (until, by) = (now + limits.keep_ended, Some((from.clone(), kind)));
        let (state, list) = match (call.state, next) {
            (State::Ringing(ringing), Move::Ringing(RingingMove::Accept(answer))) => {
                ringing.accept(id, now, from, answer)
            }
            (State::Ringing(ringing), Move::Ringing(RingingMove::End(reason, outcome))) => {
                ringing.end(id, until, by, reason, outcome)
            }
            (State::Connected(connected), Move::Connected(ConnectedMove::Heard)) => {
                (State::Connected(connected.hear(now, from)), Vec::new())
            }
            (State::Connected(connected), Move::Connected(ConnectedMove::Candidate(payload))) => {
                let to = Target::Device(connected.other(from));
                (State::Connected(connected.hear(now, from)), vec![relay(to, id, Notice::Candidate(payload))])
            }
            (State::Connected(connected), Move::Connected(ConnectedMove::End(reason, outcome))) => {
                connected.end(id, until, by, reason, outcome)
            }
            (state, Move::Stay | Move::Ringing(_) | Move::Connected(_)) => {
                self.table.put(id, Call { state, deadline: call.deadline }, limits.max_ended);
                return Ok(Effects::again(phase));
            }
        };
        Ok(Effects::new(self.put(limits, id, state), list))
    }

    fn begin(
        &mut self,
        limits: &CallLimits,
        now: Instant,
        from: &Device,
        id: CallId,
        signal: PrivateSignal,
        elsewhere: &dyn Fn(&str) -> bool,
    ) -> Result<Effects, CallRefusal> {
        let PrivateSignal::Invite { callee, media, offer } = signal else { return Err(CallRefusal::UnknownCall) };
        if !valid_name(&callee) {
            return Err(CallRefusal::Name);
        }
        if callee == from.user {
            return Err(CallRefusal::SelfCall);
        }
        if let Some(other) = self.busy.get(&from.user) {
            // The first of two mutual invites stands: no offer has to be withdrawn, and there is one call and one record.
            let mutual = self
                .table
                .get(*other)
                .is_some_and(|call| matches!(call.state, State::Ringing(_)) && call.parties().caller.user == callee);
            return Err(if mutual { CallRefusal::Glare { call: *other } } else { CallRefusal::Busy });
        }
        if elsewhere(&from.user) {
            return Err(CallRefusal::Busy);
        }
        if self.table.counts().0 >= limits.max_calls {
            return Err(CallRefusal::TooManyCalls);
        }
        let parties = Parties { caller: from.clone(), callee, media };
        if self.is_busy(&parties.callee) || elsewhere(&parties.callee) {
            let reason = FailReason::Busy;
            let list = vec![parties.record(id, Outcome::Failed(reason))];
            let until = now + limits.keep_ended;
            let ended = Ended { parties, with: None, by: None, reason: EndReason::Failed(reason), until };
            return Ok(Effects::new(self.put(limits, id, State::Ended(ended)), list));
        }
        for user in [&parties.caller.user, &parties.callee] {
            self.busy.insert(user.clone(), id);
        }
        let invite = Notice::Invite { from: from.clone(), media, offer };
        let list = vec![relay(Target::User(parties.callee.clone()), id, invite)];
        let ringing = Ringing { parties, until: now + limits.ring };
        Ok(Effects::new(self.put(limits, id, State::Ringing(ringing)), list))
    }

    /// Puts a call back; an ended one makes its users free.
    fn put(&mut self, limits: &CallLimits, id: CallId, state: State) -> Phase {
        let call = Call::new(limits, state);
        let phase = call.phase();
        if let State::Ended(Ended { parties, .. }) = &call.state {
            for user in [&parties.caller.user, &parties.callee] {
                // A call that never rang did not make its users busy; another one may have.
                if self.busy.get(user) == Some(&id) {
                    self.busy.remove(user);
                }
            }
        }
        self.table.put(id, call, limits.max_ended);
        phase
    }

    pub(super) fn handle_timeout(&mut self, limits: &CallLimits, now: Instant, effects: &mut Vec<Effect>) {
        while let Some((id, call)) = self.table.take_due(now) {
            let until = now + limits.keep_ended;
            let (state, list) = match call.state {
                State::Ringing(ringing) => ringing.end(id, until, None, EndReason::Missed, Outcome::Missed),
                State::Connected(connected) => {
                    let outcome = connected.lasted(connected.heard());
                    connected.end(id, until, None, EndReason::Lost, outcome)
                }
                State::Ended(_) => continue,
            };
            effects.extend(list);
            self.put(limits, id, state);
        }
    }
}

const fn relay(to: Target, call: CallId, notice: Notice) -> Effect {
    Effect::Relay { to, call, notice }
}
