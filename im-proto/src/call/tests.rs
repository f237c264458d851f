//! The tables of `docs/spec/calls.md`, each cell tried; and random schedules against the invariants.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;

const SPEC: &str = include_str!("../../../docs/spec/calls.md");
const ID: CallId = CallId(1);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// The rows of the table whose header begins like this.
fn table(header: &str) -> Vec<Vec<&'static str>> {
    let rows: Vec<Vec<_>> = SPEC
        .lines()
        .skip_while(|line| !line.starts_with(header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty(), "{header}");
    rows
}

fn private_signal(name: &str, from: &Device) -> PrivateSignal {
    let callee = if from.user == "bob" { "alice" } else { "bob" };
    match name {
        "invite" => invite(callee),
        "accept" => PrivateSignal::Accept { answer: Payload(vec![2]) },
        "reject" => PrivateSignal::Reject,
        "cancel" => PrivateSignal::Cancel,
        "fail" => PrivateSignal::Fail(FailReason::Equipment),
        "hang-up" => PrivateSignal::HangUp,
        "candidate" => PrivateSignal::Candidate(Payload(vec![3])),
        "heartbeat" => PrivateSignal::Heartbeat,
        other => panic!("{other}"),
    }
}

fn invite(callee: &str) -> PrivateSignal {
    PrivateSignal::Invite { callee: callee.into(), media: Media::Voice, offer: Payload(vec![1]) }
}

fn take(calls: &mut CallServer, now: u64, from: &Device, signal: &str) -> Result<Effects, CallRefusal> {
    calls.handle_private(at(now), from, ID, private_signal(signal, from))
}

fn alice() -> Device {
    Device::new("alice", "phone")
}

fn bob() -> Device {
    Device::new("bob", "phone")
}

/// A call of alice's phone to bob, answered by bob's phone.
fn private_in(state: &str) -> CallServer {
    let mut calls = CallServer::new(CallLimits::default());
    let path: &[(&Device, &str)] = match state {
        "idle" => &[],
        "ringing" | "missed" => &[(&alice(), "invite")],
        "connected" | "lost" => &[(&alice(), "invite"), (&bob(), "accept")],
        "rejected" => &[(&alice(), "invite"), (&bob(), "reject")],
        "cancelled" => &[(&alice(), "invite"), (&alice(), "cancel")],
        "failed" => &[(&alice(), "invite"), (&alice(), "fail")],
        "hung-up" => &[(&alice(), "invite"), (&bob(), "accept"), (&alice(), "hang-up")],
        other => panic!("{other}"),
    };
    for (from, signal) in path {
        assert!(!take(&mut calls, 0, from, signal).unwrap().duplicate);
    }
    match state {
        "missed" => assert_eq!(calls.handle_timeout(at(30)).len(), 3),
        "lost" => assert_eq!(calls.handle_timeout(at(60)).len(), 3),
        _ => {}
    }
    assert_eq!(calls.phase(ID).map_or("idle", Phase::name), state);
    calls
}

#[test]
fn every_signal_in_every_state_of_a_private_call_does_what_the_table_says() {
    let roles = [alice(), Device::new("alice", "tv"), bob(), Device::new("bob", "tv"), Device::new("mallory", "phone")];
    let signals = ["invite", "accept", "reject", "cancel", "fail", "hang-up", "candidate", "heartbeat"];
    let mut seen = BTreeSet::new();
    for row in table("| state | signal | caller |") {
        let [state, signal, cells @ ..] = &row[..] else { panic!("{row:?}") };
        assert_eq!(cells.len(), roles.len(), "{row:?}");
        assert!(seen.insert((*state, *signal)), "{row:?}");
        for (from, expected) in roles.iter().zip(cells) {
            let mut calls = private_in(state);
            let (before, busy) = (calls.phase(ID), ["alice", "bob"].map(|user| calls.is_busy(user)));
            let result = take(&mut calls, 1, from, signal);
            let after = calls.phase(ID);
            let got = match &result {
                Err(refusal) => refusal.name(),
                Ok(effects) if effects.duplicate => "duplicate",
                Ok(_) if before != after => after.unwrap().name(),
                Ok(effects) if effects.list.is_empty() => "noted",
                Ok(_) => "relayed",
            };
            assert_eq!(got, *expected, "{state}, {signal} from {from:?}");
            match &result {
                Ok(effects) => {
                    assert_eq!(Some(effects.phase), after);
                    assert!(effects.list.len() <= 3);
                    assert!(!effects.duplicate || (effects.list.is_empty() && before == after));
                }
                Err(_) => {
                    assert_eq!(before, after);
                    assert_eq!(busy, ["alice", "bob"].map(|user| calls.is_busy(user)));
                }
            }
            // The same again has no second effect.
            let again = take(&mut calls, 1, from, signal);
            match (&result, again) {
                (Err(first), Err(second)) => assert_eq!(*first, second),
                (Ok(first), Ok(second)) => {
                    let stays = matches!(*signal, "candidate" | "heartbeat");
                    assert!(second.phase == first.phase && (second.duplicate || stays), "{state} {signal}");
                }
                (first, second) => panic!("{state} {signal}: {first:?}, then {second:?}"),
            }
        }
    }
    let states = ["idle", "ringing", "connected", "rejected", "cancelled", "missed", "failed", "hung-up", "lost"];
    let all: BTreeSet<_> = states.iter().flat_map(|state| signals.map(|signal| (*state, signal))).collect();
    assert_eq!(seen, all);
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered { .. } => "answered",
        Outcome::Rejected => "rejected",
        Outcome::Cancelled => "cancelled",
        Outcome::Missed => "missed",
        Outcome::Failed(_) => "failed",
    }
}

#[test]
fn what_is_told_to_whom_is_what_the_table_says() {
    for row in table("| state | what | by |") {
        let [state, what, by, told, record] = row[..] else { panic!("{row:?}") };
        let mut calls = private_in(state);
        let from = if by == "callee" { bob() } else { alice() };
        let list = match what {
            "timeout" => calls.handle_timeout(at(60)),
            "invite to a busy callee" => {
                let carol = Device::new("carol", "phone");
                let _ = calls.handle_private(at(0), &carol, CallId(2), invite("bob")).unwrap();
                take(&mut calls, 1, &from, "invite").unwrap().list
            }
            signal => take(&mut calls, 1, &from, signal).unwrap().list,
        };
        let (mut got, mut records) = (Vec::new(), Vec::new());
        for effect in list {
            match effect {
                Effect::Relay { to, call, notice } => {
                    assert_eq!(call, ID);
                    let to = match &to {
                        Target::Device(device) if *device == alice() => "caller",
                        Target::Device(device) if *device == bob() => "callee",
                        Target::User(user) if user == "bob" => "callee-user",
                        Target::OthersOf(device) if *device == bob() => "callee-others",
                        Target::Device(_) | Target::User(_) | Target::OthersOf(_) => panic!("{row:?}: {to:?}"),
                    };
                    got.push(format!("{} > {to}", notice.name()));
                }
                Effect::Record(record) => {
                    let place = CallPlace::Private { caller: "alice".into(), callee: "bob".into() };
                    assert!(record.place == place && record.call == ID);
                    records.push(outcome_name(record.outcome));
                }
            }
        }
        let or_none = |list: &str| if list.is_empty() { "none".to_string() } else { list.to_string() };
        assert_eq!(or_none(&got.join(", ")), told, "{row:?}");
        assert_eq!(or_none(&records.join(", ")), record, "{row:?}");
    }
}

#[test]
fn the_first_of_two_mutual_invites_stands() {
    let mut calls = private_in("ringing");
    for device in ["phone", "tv"] {
        let refused = calls.handle_private(at(0), &Device::new("bob", device), CallId(2), invite("alice"));
        assert_eq!(refused.unwrap_err(), CallRefusal::Glare { call: ID });
    }
    // Once answered, and for anybody else, it is a plain busy.
    let refused = calls.handle_private(at(0), &bob(), CallId(2), invite("carol"));
    assert_eq!(refused.unwrap_err(), CallRefusal::Busy);
    let refused = private_in("connected").handle_private(at(0), &bob(), CallId(2), invite("alice"));
    assert_eq!(refused.unwrap_err(), CallRefusal::Busy);
    assert_eq!(take(&mut calls, 1, &bob(), "accept").unwrap().phase, Phase::Connected);
}

#[test]
fn a_silent_side_ends_the_call_and_counts_up_to_when_it_was_heard() {
    let mut calls = private_in("connected");
    for now in [15, 30, 45, 60, 75] {
        let _ = take(&mut calls, now, &alice(), "heartbeat").unwrap();
        if now <= 30 {
            let _ = take(&mut calls, now, &bob(), "heartbeat").unwrap();
        }
        assert!(calls.handle_timeout(at(now)).is_empty());
    }
    assert_eq!(calls.poll_timeout(), Some(at(90)));
    // Late, but it takes nothing any more.
    let refused = take(&mut calls, 90, &bob(), "heartbeat").unwrap_err();
    assert_eq!(refused, CallRefusal::Ended(EndReason::Lost));
    let effects = calls.handle_timeout(at(95));
    let Some(Effect::Record(record)) = effects.last() else { panic!() };
    assert_eq!(record.outcome, Outcome::Answered { duration: Duration::from_secs(30) });
    assert!(!calls.is_busy("alice") && !calls.is_busy("bob"));
    assert!(calls.handle_timeout(at(1000)).is_empty());
    assert_eq!((calls.counts(), calls.poll_timeout()), ((0, 0), None));
    let late = take(&mut private_in("ringing"), 30, &bob(), "accept").unwrap_err();
    assert_eq!(late, CallRefusal::Ended(EndReason::Missed));
}

#[test]
fn bounds_and_names_are_checked_before_anything_changes() {
    let limits = CallLimits { max_calls: 1, max_ended: 1, max_payload: 4, ..CallLimits::default() };
    let mut calls = CallServer::new(limits);
    let big = PrivateSignal::Invite { callee: "bob".into(), media: Media::Voice, offer: Payload(vec![0; 5]) };
    assert_eq!(calls.handle_private(at(0), &alice(), ID, big), Err(CallRefusal::TooLarge { len: 5, max: 4 }));
    assert_eq!(calls.handle_private(at(0), &alice(), ID, invite("")), Err(CallRefusal::Name));
    assert_eq!(calls.handle_private(at(0), &Device::new("a", "\n"), ID, invite("bob")), Err(CallRefusal::Name));
    assert_eq!(calls.handle_private(at(0), &alice(), ID, invite("alice")), Err(CallRefusal::SelfCall));
    assert_eq!((calls.counts(), calls.is_busy("alice")), ((0, 0), false));
    let _ = calls.handle_private(at(0), &alice(), ID, invite("bob")).unwrap();
    let dave = Device::new("dave", "phone");
    assert_eq!(calls.handle_private(at(0), &dave, CallId(2), invite("erin")), Err(CallRefusal::TooManyCalls));
    let _ = calls.handle_private(at(0), &alice(), ID, PrivateSignal::Cancel).unwrap();
    let _ = calls.handle_private(at(0), &dave, CallId(2), invite("erin")).unwrap();
    let _ = calls.handle_private(at(0), &dave, CallId(2), PrivateSignal::Cancel).unwrap();
    assert_eq!((calls.counts(), calls.phase(ID)), ((0, 1), None));
}

#[test]
fn a_clock_that_jumps_neither_panics_nor_keeps_a_call_for_ever() {
    for jump in [0, 1, u64::MAX] {
        let mut calls = CallServer::new(CallLimits::default());
        let now = Instant::from_micros;
        let _ = calls.handle_private(now(1 << 40), &alice(), ID, invite("bob")).unwrap();
        let _ = calls.handle_private(now(1 << 40), &bob(), ID, private_signal("accept", &bob())).unwrap();
        let _ = calls.handle_private(now(jump), &alice(), ID, PrivateSignal::Heartbeat);
        let _ = calls.handle_timeout(now(jump));
        assert!(!calls.handle_timeout(now(u64::MAX)).is_empty() || jump == u64::MAX);
        assert_eq!((calls.counts().0, calls.is_busy("bob")), (0, false));
    }
}

// Group calls.

fn members(group: &str, user: &str) -> bool {
    group == "team" && user != "stranger"
}

fn group_signal(name: &str, from: &Device) -> GroupSignal {
    let other = if from.user == "in" { "host" } else { "in" };
    let peer = |kind| GroupSignal::Peer { kind, to: other.into(), payload: Payload(vec![1]) };
    let state = DeviceState { camera: true, microphone: false };
    match name {
        "setup" => GroupSignal::Setup {
            group: "team".into(),
            media: Media::Video,
            invite: vec![other.into()],
            state: DeviceState::default(),
        },
        "accept" => GroupSignal::Accept(DeviceState::default()),
        "reject" => GroupSignal::Reject,
        "join" => GroupSignal::Join(state),
        "invite" => GroupSignal::Invite(vec!["new".into()]),
        "cancel" => GroupSignal::Cancel,
        "quit" => GroupSignal::Quit,
        "offer" => peer(PeerKind::Offer),
        "answer" => peer(PeerKind::Answer),
        "candidate" => peer(PeerKind::Candidate),
        "state" => GroupSignal::State(state),
        "heartbeat" => GroupSignal::Heartbeat,
        other => panic!("{other}"),
    }
}

fn phone(user: &str) -> Device {
    Device::new(user, "phone")
}

fn tell(calls: &mut CallServer, now: u64, from: &Device, signal: GroupSignal) -> Result<Effects, CallRefusal> {
    calls.handle_group(at(now), from, ID, signal, &members)
}

fn setup(invite: &[&str]) -> GroupSignal {
    let invite = invite.iter().map(|user| (*user).into()).collect();
    GroupSignal::Setup { group: "team".into(), media: Media::Video, invite, state: DeviceState::default() }
}

/// A call with `host` and `in` in, `invited` invited, and two who went.
fn group_in(state: &str) -> CallServer {
    let mut calls = CallServer::new(CallLimits::default());
    if state == "idle" {
        return calls;
    }
    let _ = tell(&mut calls, 0, &phone("host"), setup(&["in", "invited", "quit", "rejected"])).unwrap();
    for (user, signal) in [("in", "accept"), ("quit", "accept"), ("quit", "quit"), ("rejected", "reject")] {
        let from = phone(user);
        let _ = tell(&mut calls, 0, &from, group_signal(signal, &from)).unwrap();
    }
    if state == "cancelled" {
        let _ = tell(&mut calls, 0, &phone("host"), GroupSignal::Cancel).unwrap();
    }
    assert_eq!(calls.phase(ID).unwrap().name(), state);
    calls
}

#[test]
fn every_signal_in_every_state_of_a_group_call_does_what_the_table_says() {
    let roles = [
        phone("host"),
        phone("in"),
        Device::new("in", "tv"),
        phone("invited"),
        phone("member"),
        phone("quit"),
        phone("rejected"),
        phone("stranger"),
    ];
    let mut seen = BTreeSet::new();
    for row in table("| state | signal | host |") {
        let [state, signal, cells @ ..] = &row[..] else { panic!("{row:?}") };
        assert_eq!(cells.len(), roles.len(), "{row:?}");
        assert!(seen.insert((*state, *signal)), "{row:?}");
        for (from, expected) in roles.iter().zip(cells) {
            let mut calls = group_in(state);
            let (before, was_in) = (calls.phase(ID), is_in(&calls, from));
            let result = tell(&mut calls, 1, from, group_signal(signal, from));
            let (after, now_in) = (calls.phase(ID), is_in(&calls, from));
            let out = matches!(*signal, "reject" | "quit") && !calls.is_busy(&from.user);
            let got = match &result {
                Err(refusal) => refusal.name(),
                Ok(effects) if effects.duplicate => "duplicate",
                Ok(_) if before != after => after.unwrap().name(),
                Ok(_) if !was_in && now_in => "in",
                Ok(_) if out => "out",
                Ok(effects) if effects.list.is_empty() => "noted",
                Ok(_) => "relayed",
            };
            assert_eq!(got, *expected, "{state}, {signal} from {from:?}");
            let again = tell(&mut calls, 1, from, group_signal(signal, from));
            match (&result, again) {
                (Err(first), Err(second)) => assert_eq!(*first, second),
                (Ok(first), Ok(second)) => {
                    let stays = matches!(*signal, "offer" | "answer" | "candidate" | "heartbeat");
                    assert!(second.phase == first.phase && (second.duplicate || stays), "{state} {signal}");
                }
                (first, second) => panic!("{state} {signal}: {first:?}, then {second:?}"),
            }
        }
    }
    assert_eq!(seen.len(), 3 * 12);
}

/// A device is in if its heartbeat is taken.
fn is_in(calls: &CallServer, device: &Device) -> bool {
    let mut copy = CallServer { limits: calls.limits, private: PrivateCalls::new(), group: calls.group.clone() };
    tell(&mut copy, 1, device, GroupSignal::Heartbeat).is_ok()
}

fn relays(list: &[Effect]) -> Vec<(String, &'static str)> {
    list.iter()
        .filter_map(|effect| match effect {
            Effect::Relay { to, notice, .. } => {
                let to = match &to {
                    Target::Device(device) => device.user.clone(),
                    Target::User(user) => format!("{user}*"),
                    Target::OthersOf(device) => format!("{}-", device.user),
                };
                Some((to, notice.name()))
            }
            Effect::Record(_) => None,
        })
        .collect()
}

fn pairs(list: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    list.iter().map(|(to, notice)| ((*to).to_string(), *notice)).collect()
}

#[test]
fn participants_are_told_who_comes_and_goes() {
    let mut calls = CallServer::new(CallLimits::default());
    let _ = calls.handle_private(at(0), &phone("carl"), CallId(9), invite("dora")).unwrap();
    let begun = tell(&mut calls, 0, &phone("host"), setup(&["ann", "dora", "ben", "ann"])).unwrap();
    assert_eq!(relays(&begun.list), pairs(&[("ann*", "group-invite"), ("ben*", "group-invite"), ("host", "busy")]));
    let entered = tell(&mut calls, 1, &phone("ann"), GroupSignal::Accept(DeviceState::default())).unwrap();
    assert_eq!(relays(&entered.list), pairs(&[("host", "joined"), ("ann", "joined"), ("ann-", "elsewhere")]));
    assert_eq!(entered.phase, Phase::Connected);
    let more = tell(&mut calls, 2, &phone("ann"), GroupSignal::Invite(vec!["ben".into(), "eve".into()])).unwrap();
    assert_eq!(relays(&more.list), pairs(&[("eve*", "group-invite"), ("host", "invited")]));
    let left = tell(&mut calls, 3, &phone("host"), GroupSignal::Quit).unwrap();
    assert_eq!(relays(&left.list), pairs(&[("ann", "left")]));
    let Effect::Relay { notice: Notice::Left { host, .. }, .. } = &left.list[0] else { panic!() };
    assert_eq!(host, "ann");
    let over = tell(&mut calls, 4, &phone("ann"), GroupSignal::Cancel).unwrap();
    assert_eq!(relays(&over.list), pairs(&[("ben*", "ended"), ("eve*", "ended")]));
    let Some(Effect::Record(record)) = over.list.last() else { panic!() };
    assert_eq!(record.outcome, Outcome::Answered { duration: Duration::from_secs(3) });
    assert_eq!(record.place, CallPlace::Group { group: "team".into(), starter: "host".into() });
    assert!(!["host", "ann", "ben", "eve"].iter().any(|user| calls.is_busy(user)) && calls.is_busy("carl"));
}

#[test]
fn a_silent_participant_is_taken_out_and_the_last_one_ends_the_call() {
    let mut calls = group_in("connected");
    for now in [15, 30, 45, 60] {
        let _ = tell(&mut calls, now, &phone("host"), GroupSignal::Heartbeat).unwrap();
        if now == 30 {
            let gone = calls.handle_timeout(at(30));
            assert_eq!(relays(&gone), pairs(&[("invited*", "ended"), ("host", "left"), ("in", "left")]));
        }
    }
    let refused = tell(&mut calls, 60, &phone("in"), GroupSignal::Heartbeat).unwrap_err();
    assert_eq!(refused, CallRefusal::Ended(EndReason::Lost));
    let over = calls.handle_timeout(at(61));
    assert_eq!(relays(&over), pairs(&[("in", "ended"), ("host", "ended")]));
    assert!(matches!(over.last(), Some(Effect::Record(_))));
    assert!(!calls.is_busy("host"));
}

#[test]
fn bounds_of_group_calls() {
    let limits = CallLimits { max_participants: 3, ..CallLimits::default() };
    let mut calls = CallServer::new(limits);
    let host = phone("host");
    let many = CallRefusal::TooManyPeople { max: 3 };
    assert_eq!(tell(&mut calls, 0, &host, setup(&["a", "b", "c"])), Err(many));
    assert_eq!(tell(&mut calls, 0, &host, setup(&["host"])), Err(CallRefusal::NobodyFree));
    assert_eq!(tell(&mut calls, 0, &host, setup(&["stranger"])), Err(CallRefusal::NotMember));
    let _ = tell(&mut calls, 0, &host, setup(&["a", "b"])).unwrap();
    assert_eq!(tell(&mut calls, 0, &phone("c"), GroupSignal::Join(DeviceState::default())), Err(many));
    assert_eq!(tell(&mut calls, 0, &host, GroupSignal::Invite(vec!["c".into()])), Err(many));
    let second = calls.handle_group(at(0), &phone("c"), CallId(2), setup(&["d"]), &members);
    assert_eq!(second, Err(CallRefusal::GroupHasCall { call: ID }));
    assert_eq!(calls.handle_private(at(0), &phone("c"), ID, invite("d")), Err(CallRefusal::IdTaken));
    assert_eq!(calls.handle_private(at(0), &phone("a"), CallId(3), invite("d")), Err(CallRefusal::Busy));
    let failed = calls.handle_private(at(0), &phone("d"), CallId(3), invite("a")).unwrap();
    assert_eq!(failed.phase, Phase::Ended(EndReason::Failed(FailReason::Busy)));
    let alone = GroupSignal::Peer { kind: PeerKind::Offer, to: "a".into(), payload: Payload::default() };
    assert_eq!(tell(&mut calls, 0, &host, alone), Err(CallRefusal::PeerNotIn));
}

// Random schedules.

#[derive(Debug)]
struct Seen {
    caller: Device,
    callee: String,
    answered: Option<Device>,
    began: Instant,
    heard: BTreeMap<Device, Instant>,
    records: usize,
}

fn check_payload(seen: &Seen, effect: &Effect) {
    let Effect::Relay { to, notice, .. } = effect else { return };
    let allowed = match to {
        Target::Device(device) => *device == seen.caller || Some(device) == seen.answered.as_ref(),
        Target::User(user) => *user == seen.callee && matches!(notice, Notice::Invite { .. } | Notice::Ended(_)),
        Target::OthersOf(device) => device.user == seen.callee && !notice.has_payload(),
    };
    assert!(allowed, "{effect:?} in {seen:?}");
}

#[test]
fn random_private_calls_keep_the_invariants() {
    let devices: Vec<_> = ["alice", "bob"]
        .iter()
        .flat_map(|user| ["phone", "tv", "web"].map(|device| Device::new(user, device)))
        .chain([phone("mallory")])
        .collect();
    let names = ["invite", "accept", "reject", "cancel", "fail", "hang-up", "candidate", "heartbeat"];
    let (mut talked, mut lost, mut missed) = (0, 0, 0);
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = CallLimits { max_ended: 4, max_calls: 4, ..CallLimits::default() };
        let mut calls = CallServer::new(limits);
        let mut seen = BTreeMap::<CallId, Seen>::new();
        let (mut now, mut next) = (at(1), 0);
        for _ in 0..200 {
            let most = if rng.u8(..) < 40 { 70_000 } else { 4_000 };
            now = now + Duration::from_millis(rng.u64(0..most));
            let mut effects = calls.handle_timeout(now);
            assert!(calls.poll_timeout().is_none_or(|at| at > now), "seed {seed}");
            let from = rng.choice(&devices).unwrap().clone();
            // Signals that mostly fit, so that calls get somewhere.
            let name = if rng.bool() { names[rng.usize(1..2)] } else { rng.choice(names).unwrap() };
            let known: Vec<_> = seen.keys().copied().filter(|id| calls.phase(*id).is_some()).collect();
            let id = match rng.choice(&known) {
                Some(id) if name != "invite" || rng.bool() => *id,
                _ => {
                    next += 1;
                    CallId(next)
                }
            };
            let signal = private_signal(name, &from);
            let result = calls.handle_private(now, &from, id, signal.clone());
            if let Ok(taken) = &result {
                if let (PrivateSignal::Invite { callee, .. }, false) = (&signal, taken.duplicate) {
                    let new = Seen {
                        caller: from.clone(),
                        callee: callee.clone(),
                        answered: None,
                        began: now,
                        heard: BTreeMap::new(),
                        records: 0,
                    };
                    assert!(seen.insert(id, new).is_none());
                }
                let call = seen.get_mut(&id).unwrap();
                if !taken.duplicate {
                    assert!(from.user != "mallory" || from == call.caller, "seed {seed}");
                    call.heard.insert(from.clone(), now);
                }
                if name == "accept" && !taken.duplicate {
                    call.answered = Some(from.clone());
                    call.heard.insert(call.caller.clone(), now);
                    talked += 1;
                }
                effects.extend(taken.list.iter().cloned());
            }
            for effect in &effects {
                match effect {
                    Effect::Relay { call, .. } => check_payload(&seen[call], effect),
                    Effect::Record(record) => {
                        seen.get_mut(&record.call).unwrap().records += 1;
                        missed += usize::from(record.outcome == Outcome::Missed);
                    }
                }
            }
            let mut connected = BTreeMap::<&str, usize>::new();
            for (id, call) in &seen {
                match calls.phase(*id) {
                    Some(Phase::Ringing) => {
                        assert_eq!(call.records, 0);
                        assert!(now.saturating_since(call.began) < limits.ring, "seed {seed}");
                    }
                    Some(Phase::Connected) => {
                        assert_eq!(call.records, 0);
                        for device in [&call.caller, call.answered.as_ref().unwrap()] {
                            assert!(now.saturating_since(call.heard[device]) < limits.silence, "seed {seed}");
                        }
                        for user in [&call.caller.user, &call.callee] {
                            *connected.entry(user).or_default() += 1;
                        }
                    }
                    Some(Phase::Ended(reason)) => {
                        assert_eq!(call.records, 1, "seed {seed}: {call:?}");
                        lost += usize::from(reason == EndReason::Lost);
                    }
                    None => assert_eq!(call.records, 1, "seed {seed}: {call:?}"),
                }
            }
            assert!(connected.values().all(|count| *count == 1), "seed {seed}");
            let (live, ended) = calls.counts();
            assert!(live <= limits.max_calls && ended <= limits.max_ended, "seed {seed}");
        }
        let _ = calls.handle_timeout(now + Duration::from_secs(600));
        assert_eq!(calls.counts().0, 0);
        assert!(!devices.iter().any(|device| calls.is_busy(&device.user)));
    }
    assert!(talked > 100 && lost > 10 && missed > 100, "{talked} {lost} {missed}");
}

#[test]
fn random_group_calls_keep_the_invariants() {
    let users = ["host", "in", "new", "dan", "eve", "stranger"];
    let names =
        ["setup", "accept", "reject", "join", "invite", "cancel", "quit", "offer", "candidate", "state", "heartbeat"];
    let (mut offers, mut ended) = (0, 0);
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = CallLimits { max_participants: 3, max_ended: 4, ..CallLimits::default() };
        let mut calls = CallServer::new(limits);
        let (mut now, mut id) = (at(1), 1);
        let mut records = BTreeMap::<CallId, usize>::new();
        for _ in 0..200 {
            let most = if rng.u8(..) < 20 { 70_000 } else { 3_000 };
            now = now + Duration::from_millis(rng.u64(0..most));
            let mut effects = calls.handle_timeout(now);
            assert!(calls.poll_timeout().is_none_or(|at| at > now), "seed {seed}");
            let user = rng.choice(users).unwrap();
            let from = Device::new(user, if rng.u8(..) < 50 { "tv" } else { "phone" });
            let name = rng.choice(names).unwrap();
            if name == "setup" && records.contains_key(&CallId(id)) {
                id += 1;
            }
            let call = CallId(id);
            let inside = |calls: &CallServer, device: &Device| {
                let group = calls.group.clone();
                let mut copy = CallServer { limits, private: PrivateCalls::new(), group };
                copy.handle_group(now, device, call, GroupSignal::Heartbeat, &members).is_ok()
            };
            let sender_in = inside(&calls, &from);
            if let Ok(taken) = calls.handle_group(now, &from, call, group_signal(name, &from), &members) {
                assert_ne!(user, "stranger");
                assert!(taken.list.len() <= 2 * limits.max_participants + 2, "seed {seed}");
                for effect in &taken.list {
                    if let Effect::Relay { to: Target::Device(to), notice: Notice::Peer { .. }, .. } = effect {
                        offers += 1;
                        assert!(sender_in && inside(&calls, to) && to.user != user, "seed {seed}");
                    } else if let Effect::Relay { notice, .. } = effect {
                        assert!(!notice.has_payload());
                    }
                }
                effects.extend(taken.list);
            }
            for effect in effects {
                if let Effect::Record(record) = effect {
                    *records.entry(record.call).or_default() += 1;
                }
            }
            let live = matches!(calls.phase(call), Some(Phase::Ringing | Phase::Connected));
            let busy = users.iter().filter(|user| calls.is_busy(user)).count();
            assert!(if live { (2..=limits.max_participants).contains(&busy) } else { busy == 0 }, "seed {seed}");
            let known = records.get(&call).copied();
            assert_eq!(known, if live || calls.phase(call).is_none() && known.is_none() { None } else { Some(1) });
        }
        ended += records.len();
        assert!(records.values().all(|count| *count == 1), "seed {seed}");
    }
    assert!(offers > 100 && ended > 500, "{offers} {ended}");
}
