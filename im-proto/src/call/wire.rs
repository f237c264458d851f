//! Calls as bodies: what a device says, the answer to it, and what devices are told. The numbers are in `docs/spec/calls.md`.

use alloc::string::String;
use alloc::vec::Vec;

use im_serial::body::{CallAnswer, CallNotice, CallSignal as SignalBody};

use super::{
    CallId, CallRefusal, Device, DeviceState, Effects, EndReason, FailReason, GroupSignal, Media, Notice, Payload,
    PeerKind, Phase, PrivateSignal,
};
use crate::config::valid_name;

/// Most names in a signal or notice; more than any call holds.
pub(crate) const MAX_NAMES: usize = 64;

/// What a device says in a call, for [`CallServer::handle_private`](super::CallServer::handle_private) or
/// [`handle_group`](super::CallServer::handle_group).
///
/// ```
/// # use im_proto::call::{CallSignal, PrivateSignal};
/// assert_eq!(CallSignal::Private(PrivateSignal::HangUp).name(), "hang-up");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallSignal {
    /// In a call of two users.
    Private(PrivateSignal),
    /// In a call of a group.
    Group(GroupSignal),
}

impl CallSignal {
    /// The name of the specification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Private(signal) => signal.name(),
            Self::Group(signal) => signal.name(),
        }
    }
}

const PRIVATE: [&str; 8] = ["invite", "accept", "reject", "cancel", "fail", "hang-up", "candidate", "heartbeat"];
const GROUP: [&str; 12] = [
    "setup",
    "accept",
    "reject",
    "join",
    "invite",
    "cancel",
    "quit",
    "offer",
    "answer",
    "candidate",
    "state",
    "heartbeat",
];
const FIRST_GROUP: u32 = 16;

/// The number of a name in a list that is numbered from `first`.
fn code(names: &[&str], first: u32, name: &str) -> u32 {
    names.iter().zip(first..).find(|(known, _)| **known == name).map_or(0, |(_, code)| code)
}

fn name(names: &[&'static str], first: u32, code: u32) -> Option<&'static str> {
    usize::try_from(code.checked_sub(first)?).ok().and_then(|at| names.get(at)).copied()
}

/// The kind of signal that a number stands for: whether it is of a group, and its name.
fn signal_name(code: u32) -> Option<(bool, &'static str)> {
    name(&PRIVATE, 1, code).map(|name| (false, name)).or_else(|| Some((true, name(&GROUP, FIRST_GROUP, code)?)))
}

fn media_code(media: Media) -> u32 {
    match media {
        Media::Voice => 1,
        Media::Video => 2,
    }
}

fn media(code: u32) -> Option<Media> {
    match code {
        1 => Some(Media::Voice),
        2 => Some(Media::Video),
        _ => None,
    }
}

fn fail_code(reason: FailReason) -> u32 {
    match reason {
        FailReason::Busy => 1,
        FailReason::Equipment => 2,
        FailReason::Unreachable => 3,
        FailReason::Other => 4,
    }
}

/// A reason of a later version is some other one.
fn fail(code: u32) -> FailReason {
    match code {
        1 => FailReason::Busy,
        2 => FailReason::Equipment,
        3 => FailReason::Unreachable,
        _ => FailReason::Other,
    }
}

/// An end and, of a failed call, why.
fn end_codes(reason: EndReason) -> (u32, u32) {
    match reason {
        EndReason::HungUp => (1, 0),
        EndReason::Rejected => (2, 0),
        EndReason::Cancelled => (3, 0),
        EndReason::Missed => (4, 0),
        EndReason::Failed(reason) => (5, fail_code(reason)),
        EndReason::Lost => (6, 0),
    }
}

fn end(code: u32, fail_code: u32) -> Option<EndReason> {
    Some(match code {
        1 => EndReason::HungUp,
        2 => EndReason::Rejected,
        3 => EndReason::Cancelled,
        4 => EndReason::Missed,
        5 => EndReason::Failed(fail(fail_code)),
        6 => EndReason::Lost,
        _ => return None,
    })
}

fn peer_kind(name: &str) -> Option<PeerKind> {
    [PeerKind::Offer, PeerKind::Answer, PeerKind::Candidate].into_iter().find(|kind| kind.name() == name)
}

/// Names on lines of their own: no name has a line feed.
fn join(names: &[String]) -> String {
    names.join("\n")
}

fn split(names: &str) -> Option<Vec<String>> {
    if names.is_empty() {
        return Some(Vec::new());
    }
    let count = names.split('\n').take(MAX_NAMES + 1).count();
    let all_valid = names.split('\n').take(MAX_NAMES).all(valid_name);
    (count <= MAX_NAMES && all_valid).then(|| names.split('\n').map(String::from).collect())
}

/// Why the body of a signal is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSignal {
    #[error("call signal {0} is not known here")]
    Unknown(u32),
    #[error("media {0} is neither voice (1) nor video (2)")]
    Media(u32),
    #[error("a name in the call signal is not valid, or there are more than {MAX_NAMES}")]
    Names,
    #[error("the id of a call must not be zero")]
    Id,
}

pub(crate) fn signal_body(call: CallId, signal: CallSignal) -> SignalBody {
    let first = match &signal {
        CallSignal::Private(_) => (&PRIVATE[..], 1),
        CallSignal::Group(_) => (&GROUP[..], FIRST_GROUP),
    };
    let mut body = SignalBody { call: call.0, signal: code(first.0, first.1, signal.name()), ..SignalBody::default() };
    let mut state = |state: DeviceState| (body.camera, body.microphone) = (state.camera, state.microphone);
    match signal {
        CallSignal::Private(signal) => match signal {
            PrivateSignal::Invite { callee, media, offer } => {
                (body.user, body.media, body.payload) = (callee, media_code(media), offer.0);
            }
            PrivateSignal::Accept { answer: payload } | PrivateSignal::Candidate(payload) => body.payload = payload.0,
            PrivateSignal::Fail(reason) => body.fail = fail_code(reason),
            PrivateSignal::Reject | PrivateSignal::Cancel | PrivateSignal::HangUp | PrivateSignal::Heartbeat => {}
        },
        CallSignal::Group(signal) => match signal {
            GroupSignal::Setup { group, media, invite, state: own } => {
                state(own);
                (body.group, body.media, body.users) = (group, media_code(media), join(&invite));
            }
            GroupSignal::Accept(own) | GroupSignal::Join(own) | GroupSignal::State(own) => state(own),
            GroupSignal::Invite(users) => body.users = join(&users),
            GroupSignal::Peer { to, payload, .. } => (body.user, body.payload) = (to, payload.0),
            GroupSignal::Reject | GroupSignal::Cancel | GroupSignal::Quit | GroupSignal::Heartbeat => {}
        },
    }
    body
}

pub(crate) fn signal(body: SignalBody) -> Result<(CallId, CallSignal), BadSignal> {
    let SignalBody {
        call,
        signal,
        group,
        user,
        media: media_code,
        fail: fail_code,
        camera,
        microphone,
        users,
        payload,
    } = body;
    if call == 0 {
        return Err(BadSignal::Id);
    }
    let unknown = BadSignal::Unknown(signal);
    let (of_group, name) = signal_name(signal).ok_or(unknown)?;
    let state = DeviceState { camera, microphone };
    let media = || media(media_code).ok_or(BadSignal::Media(media_code));
    let users = || split(&users).ok_or(BadSignal::Names);
    let valid = |name: String| if valid_name(&name) { Ok(name) } else { Err(BadSignal::Names) };
    let payload = Payload(payload);
    let signal = if of_group {
        CallSignal::Group(match name {
            "setup" => GroupSignal::Setup { group: valid(group)?, media: media()?, invite: users()?, state },
            "accept" => GroupSignal::Accept(state),
            "reject" => GroupSignal::Reject,
            "join" => GroupSignal::Join(state),
            "invite" => GroupSignal::Invite(users()?),
            "cancel" => GroupSignal::Cancel,
            "quit" => GroupSignal::Quit,
            "state" => GroupSignal::State(state),
            "heartbeat" => GroupSignal::Heartbeat,
            _ => GroupSignal::Peer { kind: peer_kind(name).ok_or(unknown)?, to: valid(user)?, payload },
        })
    } else {
        CallSignal::Private(match name {
            "invite" => PrivateSignal::Invite { callee: valid(user)?, media: media()?, offer: payload },
            "accept" => PrivateSignal::Accept { answer: payload },
            "reject" => PrivateSignal::Reject,
            "cancel" => PrivateSignal::Cancel,
            "fail" => PrivateSignal::Fail(fail(fail_code)),
            "hang-up" => PrivateSignal::HangUp,
            "candidate" => PrivateSignal::Candidate(payload),
            "heartbeat" => PrivateSignal::Heartbeat,
            _ => return Err(unknown),
        })
    };
    Ok((CallId(call), signal))
}

/// Where a call stands, as the answer to a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallState {
    /// Where the call stands now.
    pub phase: Phase,
    /// The signal was taken before.
    pub duplicate: bool,
}

const REFUSALS: [&str; 22] = [
    "name",
    "too-large",
    "unknown-call",
    "id-taken",
    "not-in-call",
    "wrong-role",
    "not-connected",
    "already-connected",
    "answered-elsewhere",
    "over",
    "busy",
    "glare",
    "self-call",
    "too-many-calls",
    "not-member",
    "not-invited",
    "not-host",
    "peer-not-in",
    "too-many-people",
    "nobody-free",
    "group-has-call",
    "other",
];

pub(crate) fn answer_body(call: CallId, result: &Result<Effects, CallRefusal>) -> CallAnswer {
    let mut body = CallAnswer { call: call.0, ..CallAnswer::default() };
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    match result {
        Ok(Effects { phase, duplicate, .. }) => {
            body.duplicate = *duplicate;
            match phase {
                Phase::Ringing => body.phase = 1,
                Phase::Connected => body.phase = 2,
                Phase::Ended(reason) => {
                    body.phase = 3;
                    (body.end, body.fail) = end_codes(*reason);
                }
            }
        }
        Err(refusal) => {
            body.refusal = code(&REFUSALS, 1, refusal.name());
            match *refusal {
                CallRefusal::TooLarge { len, max } => (body.len, body.max) = (number(len), number(max)),
                CallRefusal::TooManyPeople { max } => body.max = number(max),
                CallRefusal::Glare { call } | CallRefusal::GroupHasCall { call } => body.other = call.0,
                CallRefusal::Ended(reason) => (body.end, body.fail) = end_codes(reason),
                CallRefusal::Name
                | CallRefusal::UnknownCall
                | CallRefusal::IdTaken
                | CallRefusal::NotInCall
                | CallRefusal::WrongRole
                | CallRefusal::NotConnected
                | CallRefusal::AlreadyConnected
                | CallRefusal::AnsweredElsewhere
                | CallRefusal::Busy
                | CallRefusal::SelfCall
                | CallRefusal::TooManyCalls
                | CallRefusal::NotMember
                | CallRefusal::NotInvited
                | CallRefusal::NotHost
                | CallRefusal::PeerNotIn
                | CallRefusal::NobodyFree
                | CallRefusal::Other => {}
            }
        }
    }
    body
}

/// An answer of a later version is [`CallRefusal::Other`].
pub(crate) fn answer(body: &CallAnswer) -> (CallId, Result<CallState, CallRefusal>) {
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let CallAnswer { call, phase, end: end_code, fail, duplicate, refusal, other, len, max } = *body;
    let end = end(end_code, fail);
    let phase = match phase {
        1 => Some(Phase::Ringing),
        2 => Some(Phase::Connected),
        3 => end.map(Phase::Ended),
        _ => None,
    };
    let result = match (refusal, phase) {
        (0, Some(phase)) => Ok(CallState { phase, duplicate }),
        _ => Err(match name(&REFUSALS, 1, refusal).unwrap_or_default() {
            "name" => CallRefusal::Name,
            "too-large" => CallRefusal::TooLarge { len: number(len), max: number(max) },
            "unknown-call" => CallRefusal::UnknownCall,
            "id-taken" => CallRefusal::IdTaken,
            "not-in-call" => CallRefusal::NotInCall,
            "wrong-role" => CallRefusal::WrongRole,
            "not-connected" => CallRefusal::NotConnected,
            "already-connected" => CallRefusal::AlreadyConnected,
            "answered-elsewhere" => CallRefusal::AnsweredElsewhere,
            "over" => end.map_or(CallRefusal::Other, CallRefusal::Ended),
            "busy" => CallRefusal::Busy,
            "glare" => CallRefusal::Glare { call: CallId(other) },
            "self-call" => CallRefusal::SelfCall,
            "too-many-calls" => CallRefusal::TooManyCalls,
            "not-member" => CallRefusal::NotMember,
            "not-invited" => CallRefusal::NotInvited,
            "not-host" => CallRefusal::NotHost,
            "peer-not-in" => CallRefusal::PeerNotIn,
            "too-many-people" => CallRefusal::TooManyPeople { max: number(max) },
            "nobody-free" => CallRefusal::NobodyFree,
            "group-has-call" => CallRefusal::GroupHasCall { call: CallId(other) },
            _ => CallRefusal::Other,
        }),
    };
    (CallId(call), result)
}

const NOTICES: [&str; 14] = [
    "invite",
    "accepted",
    "elsewhere",
    "ended",
    "group-invite",
    "invited",
    "busy",
    "joined",
    "left",
    "state",
    "candidate",
    "peer-offer",
    "peer-answer",
    "peer-candidate",
];

pub(crate) fn notice_body(call: CallId, notice: Notice) -> CallNotice {
    let mut body = CallNotice { call: call.0, ..CallNotice::default() };
    let peer = if let Notice::Peer { kind, .. } = &notice { Some(*kind) } else { None };
    let name = match peer {
        Some(PeerKind::Offer) => "peer-offer",
        Some(PeerKind::Answer) => "peer-answer",
        Some(PeerKind::Candidate) => "peer-candidate",
        None => notice.name(),
    };
    body.notice = code(&NOTICES, 1, name);
    let device = |body: &mut CallNotice, from: Device| (body.user, body.device) = (from.user, from.device);
    let state = |body: &mut CallNotice, state: DeviceState| {
        (body.camera, body.microphone) = (state.camera, state.microphone);
    };
    match notice {
        Notice::Invite { from, media, offer } => {
            device(&mut body, from);
            (body.media, body.payload) = (media_code(media), offer.0);
        }
        Notice::Accepted { by, answer } => {
            device(&mut body, by);
            body.payload = answer.0;
        }
        Notice::AnsweredElsewhere => {}
        Notice::Candidate(payload) => body.payload = payload.0,
        Notice::Ended(reason) => (body.end, body.fail) = end_codes(reason),
        Notice::GroupInvite { group, from, media } => {
            device(&mut body, from);
            (body.group, body.media) = (group, media_code(media));
        }
        Notice::Invited(users) | Notice::Busy(users) => body.users = join(&users),
        Notice::Joined { who, state: of } => {
            device(&mut body, who);
            state(&mut body, of);
        }
        Notice::Left { user, reason, host } => {
            (body.user, body.host) = (user, host);
            (body.end, body.fail) = end_codes(reason);
        }
        Notice::State { user, state: of } => {
            body.user = user;
            state(&mut body, of);
        }
        Notice::Peer { from, payload, .. } => {
            device(&mut body, from);
            body.payload = payload.0;
        }
    }
    body
}

/// `None` for a notice of a later version.
pub(crate) fn notice(body: CallNotice) -> Option<(CallId, Notice)> {
    let CallNotice { call, notice, group, user, device, media: media_code, end: end_code, fail, .. } = body;
    let CallNotice { camera, microphone, users, host, payload, .. } = body;
    let (state, payload) = (DeviceState { camera, microphone }, Payload(payload));
    let from = Device { user, device };
    let notice = match name(&NOTICES, 1, notice)? {
        "invite" => Notice::Invite { from, media: media(media_code)?, offer: payload },
        "accepted" => Notice::Accepted { by: from, answer: payload },
        "elsewhere" => Notice::AnsweredElsewhere,
        "candidate" => Notice::Candidate(payload),
        "ended" => Notice::Ended(end(end_code, fail)?),
        "group-invite" => Notice::GroupInvite { group, from, media: media(media_code)? },
        "invited" => Notice::Invited(split(&users)?),
        "busy" => Notice::Busy(split(&users)?),
        "joined" => Notice::Joined { who: from, state },
        "left" => Notice::Left { user: from.user, reason: end(end_code, fail)?, host },
        "state" => Notice::State { user: from.user, state },
        "peer-offer" => Notice::Peer { kind: PeerKind::Offer, from, payload },
        "peer-answer" => Notice::Peer { kind: PeerKind::Answer, from, payload },
        "peer-candidate" => Notice::Peer { kind: PeerKind::Candidate, from, payload },
        _ => return None,
    };
    Some((CallId(call), notice))
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    const STATE: DeviceState = DeviceState { camera: true, microphone: false };

    fn payload() -> Payload {
        Payload(vec![1, 2, 3])
    }

    fn signals() -> Vec<CallSignal> {
        let peer = |kind| GroupSignal::Peer { kind, to: "bob".into(), payload: payload() };
        let private = [
            PrivateSignal::Invite { callee: "bob".into(), media: Media::Video, offer: payload() },
            PrivateSignal::Accept { answer: payload() },
            PrivateSignal::Reject,
            PrivateSignal::Cancel,
            PrivateSignal::Fail(FailReason::Equipment),
            PrivateSignal::HangUp,
            PrivateSignal::Candidate(payload()),
            PrivateSignal::Heartbeat,
        ];
        let group = [
            GroupSignal::Setup {
                group: "team".into(),
                media: Media::Voice,
                invite: vec!["bob".into(), "carol".into()],
                state: STATE,
            },
            GroupSignal::Accept(STATE),
            GroupSignal::Reject,
            GroupSignal::Join(STATE),
            GroupSignal::Invite(vec!["dave".into()]),
            GroupSignal::Cancel,
            GroupSignal::Quit,
            peer(PeerKind::Offer),
            peer(PeerKind::Answer),
            peer(PeerKind::Candidate),
            GroupSignal::State(STATE),
            GroupSignal::Heartbeat,
        ];
        private.into_iter().map(CallSignal::Private).chain(group.into_iter().map(CallSignal::Group)).collect()
    }

    #[test]
    fn every_signal_comes_back_from_its_body_under_a_number_of_its_own() {
        let mut codes = Vec::new();
        for signal in signals() {
            let body = signal_body(CallId(7), signal.clone());
            codes.push(body.signal);
            assert_eq!(super::signal(body), Ok((CallId(7), signal)));
        }
        assert_eq!(codes, (1..=8).chain(16..=27).collect::<Vec<_>>());
    }

    #[test]
    fn a_signal_that_is_none_is_named() {
        let body = |signal| SignalBody { call: 7, signal, user: "bob".into(), media: 1, ..SignalBody::default() };
        for unknown in [0, 9, 15, 28, u32::MAX] {
            assert_eq!(signal(body(unknown)), Err(BadSignal::Unknown(unknown)));
        }
        assert_eq!(signal(SignalBody { call: 0, ..body(1) }), Err(BadSignal::Id));
        assert_eq!(signal(SignalBody { media: 3, ..body(1) }), Err(BadSignal::Media(3)));
        assert_eq!(signal(SignalBody { user: String::new(), ..body(1) }), Err(BadSignal::Names));
        assert_eq!(signal(SignalBody { user: "a\nb".into(), ..body(1) }), Err(BadSignal::Names));
        for users in ["\n", "a\n", "a\u{7}", &vec!["a"; MAX_NAMES + 1].join("\n")] {
            assert_eq!(signal(SignalBody { users: users.into(), ..body(20) }), Err(BadSignal::Names), "{users:?}");
        }
        let most = vec!["a"; MAX_NAMES].join("\n");
        assert!(signal(SignalBody { users: most, ..body(20) }).is_ok());
    }

    fn refusals() -> Vec<CallRefusal> {
        vec![
            CallRefusal::Name,
            CallRefusal::TooLarge { len: 9, max: 5 },
            CallRefusal::UnknownCall,
            CallRefusal::IdTaken,
            CallRefusal::NotInCall,
            CallRefusal::WrongRole,
            CallRefusal::NotConnected,
            CallRefusal::AlreadyConnected,
            CallRefusal::AnsweredElsewhere,
            CallRefusal::Ended(EndReason::Failed(FailReason::Unreachable)),
            CallRefusal::Busy,
            CallRefusal::Glare { call: CallId(8) },
            CallRefusal::SelfCall,
            CallRefusal::TooManyCalls,
            CallRefusal::NotMember,
            CallRefusal::NotInvited,
            CallRefusal::NotHost,
            CallRefusal::PeerNotIn,
            CallRefusal::TooManyPeople { max: 9 },
            CallRefusal::NobodyFree,
            CallRefusal::GroupHasCall { call: CallId(8) },
            CallRefusal::Other,
        ]
    }

    fn ends() -> Vec<EndReason> {
        let fails = [FailReason::Busy, FailReason::Equipment, FailReason::Unreachable, FailReason::Other];
        let others = [EndReason::HungUp, EndReason::Rejected, EndReason::Cancelled, EndReason::Missed, EndReason::Lost];
        others.into_iter().chain(fails.map(EndReason::Failed)).collect()
    }

    #[test]
    fn every_answer_comes_back_from_its_body() {
        for (refusal, number) in refusals().into_iter().zip(1..) {
            let body = answer_body(CallId(7), &Err(refusal));
            assert_eq!(body.refusal, number, "{}", refusal.name());
            assert_eq!(answer(&body), (CallId(7), Err(refusal)));
        }
        assert_eq!(refusals().len(), REFUSALS.len());
        let phases = [Phase::Ringing, Phase::Connected].into_iter().chain(ends().into_iter().map(Phase::Ended));
        for phase in phases {
            for duplicate in [false, true] {
                let body = answer_body(CallId(7), &Ok(Effects { phase, duplicate, list: Vec::new() }));
                assert_eq!(answer(&body), (CallId(7), Ok(CallState { phase, duplicate })));
            }
        }
        // Of a later version.
        let later = [(99, 1, 0), (0, 0, 0), (0, 4, 0), (0, 3, 99), (10, 0, 99)];
        for (refusal, phase, end) in later {
            let body = CallAnswer { call: 7, refusal, phase, end, ..CallAnswer::default() };
            assert_eq!(answer(&body), (CallId(7), Err(CallRefusal::Other)));
        }
    }

    #[test]
    fn every_notice_comes_back_from_its_body_and_shows_no_payload() {
        let from = || Device::new("bob", "desk");
        let peer = |kind| Notice::Peer { kind, from: from(), payload: payload() };
        let mut notices = vec![
            Notice::Invite { from: from(), media: Media::Voice, offer: payload() },
            Notice::Accepted { by: from(), answer: payload() },
            Notice::AnsweredElsewhere,
            Notice::GroupInvite { group: "team".into(), from: from(), media: Media::Video },
            Notice::Invited(vec!["carol".into(), "dave".into()]),
            Notice::Busy(Vec::new()),
            Notice::Joined { who: from(), state: STATE },
            Notice::Left { user: "bob".into(), reason: EndReason::Lost, host: "carol".into() },
            Notice::State { user: "bob".into(), state: STATE },
            Notice::Candidate(payload()),
            peer(PeerKind::Offer),
            peer(PeerKind::Answer),
            peer(PeerKind::Candidate),
        ];
        notices.extend(ends().into_iter().map(Notice::Ended));
        for notice in notices {
            let body = notice_body(CallId(7), notice.clone());
            assert!(body.notice > 0 && !format!("{body:?}").contains("1, 2, 3"), "{body:?}");
            assert_eq!(super::notice(body), Some((CallId(7), notice)));
        }
        for unknown in [0, 15, u32::MAX] {
            let later = CallNotice { notice: unknown, ..CallNotice::default() };
            assert_eq!(notice(later), None);
        }
        assert!(BadSignal::Unknown(9).to_string().contains('9'));
    }
}
