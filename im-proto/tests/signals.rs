//! Typing, presence and calls between two real ends: never stored, bounded, refused with the wait when there are too many.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use std::time::Duration;

use im_proto::budget::{BudgetConfig, Rate};
use im_proto::call::{
    CallId, CallLimits, CallRefusal, CallServer, CallSignal, CallState, Device, Effect, GroupSignal, Media, Notice,
    Payload, Phase, PrivateSignal, Target,
};
use im_proto::*;
use im_sim::{Pair, configs, credentials};

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

fn team() -> Conversation {
    Conversation::group("team")
}

fn typing(on: bool) -> Signal {
    Signal::Typing { conversation: team(), on }
}

fn said(pair: &mut Pair) -> Vec<(PacketId, Signal)> {
    let events = std::mem::take(&mut pair.server_events);
    let signal = |event| match event {
        ServerEvent::Signal { packet_id, signal } => (packet_id, signal),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(signal).collect()
}

#[test]
fn a_signal_comes_to_the_application_and_goes_to_others_with_the_proven_user() {
    let mut pair = online();
    let id = pair.client.signal(typing(true)).unwrap();
    pair.settle();
    assert_eq!(said(&mut pair), [(id, typing(true))]);
    let told = PeerSignal::Typing { conversation: team(), user: "bob".into(), on: true };
    pair.server.signal(told.clone());
    pair.settle();
    assert_eq!(pair.client_events, [ClientEvent::Signal(told)]);
}

#[test]
fn of_the_same_thing_only_the_last_is_sent() {
    let mut pair = online();
    let mut last = PacketId(0);
    for on in [true, false, true, false] {
        last = pair.client.signal(typing(on)).unwrap();
        pair.server.signal(PeerSignal::Typing { conversation: team(), user: "bob".into(), on });
    }
    pair.settle();
    assert_eq!(said(&mut pair), [(last, typing(false))]);
    assert_eq!(pair.client_events.len(), 1);
    assert_eq!((pair.client.stats().dropped_signals, pair.server.stats().dropped_signals), (0, 0));
}

#[test]
fn nothing_is_kept_for_later() {
    let mut pair = online();
    pair.client.signal(typing(true)).unwrap();
    pair.client.handle_eof(pair.now);
    assert_eq!(pair.client.signal(typing(true)), Err(SignalError::Offline));
    pair.client.connect(im_sim::entropy(6), pair.now).unwrap();
    assert_eq!(pair.client.signal(typing(true)), Err(SignalError::Offline), "not before the login either");
    assert_eq!(pair.client.stats().dropped_signals, 1);
    pair.server = Connection::server(configs().1.into(), im_sim::entropy(5), pair.now).unwrap();
    pair.login();
    assert!(!pair.server_events.iter().any(|event| matches!(event, ServerEvent::Signal { .. })));
}

#[test]
fn presence_goes_only_to_who_watches_and_a_refused_watch_is_none() {
    let mut pair = online();
    let presence = |user: &str| PeerSignal::Presence { user: user.into(), state: PresenceState::AWAY, seen_ms: 7 };
    let watch = |user: &str, on| Signal::Watch { user: user.into(), on };
    pair.server.signal(presence("bob"));
    pair.settle();
    assert_eq!(pair.client_events, []);
    let bob = pair.client.signal(watch("bob", true)).unwrap();
    let carol = pair.client.signal(watch("carol", true)).unwrap();
    let own = pair.client.signal(Signal::Presence(PresenceState::BUSY)).unwrap();
    pair.settle();
    let want = [(bob, watch("bob", true)), (carol, watch("carol", true)), (own, Signal::Presence(PresenceState::BUSY))];
    assert_eq!(said(&mut pair), want);
    pair.server.signal_refused(carol, RefusalCode::FORBIDDEN, "carol does not want it", None).unwrap();
    assert_eq!(pair.server.signal_refused(carol, RefusalCode::FORBIDDEN, "again", None), Err(AnswerError::NotAsked));
    assert!(pair.server.watches("bob") && !pair.server.watches("carol"));
    for user in ["bob", "carol", "dave"] {
        pair.server.signal(presence(user));
    }
    pair.settle();
    let refused = ClientEvent::SignalRefused {
        packet_id: carol,
        code: RefusalCode::FORBIDDEN,
        reason: "carol does not want it".into(),
        retry_after: None,
    };
    assert_eq!(std::mem::take(&mut pair.client_events), [refused, ClientEvent::Signal(presence("bob"))]);
    pair.client.signal(watch("bob", false)).unwrap();
    pair.settle();
    pair.server.signal(presence("bob"));
    pair.settle();
    assert_eq!(pair.client_events, []);
}

#[test]
fn watches_are_bounded_and_the_refusal_says_how_many() {
    let (client, mut server) = configs();
    server.watch_max = 2;
    let mut pair = Pair::online(client, server);
    for user in ["a", "b", "c", "b"] {
        pair.client.signal(Signal::Watch { user: user.into(), on: true }).unwrap();
        pair.settle();
    }
    assert_eq!(said(&mut pair).len(), 3, "watching again is no more");
    let Some(ClientEvent::SignalRefused { code, reason, .. }) = pair.client_events.pop() else { panic!() };
    assert!(code == RefusalCode::INVALID && reason.contains("2 users"), "{reason}");
    assert!(!pair.server.watches("c"));
}

#[test]
fn what_no_server_would_take_is_not_signalled() {
    let mut pair = online();
    let call = |call, signal| Signal::Call { call: CallId(call), signal: CallSignal::Private(signal) };
    let invite = |callee: &str, len| PrivateSignal::Invite {
        callee: callee.into(),
        media: Media::Voice,
        offer: Payload(vec![0; len]),
    };
    for bad in [
        Signal::Typing { conversation: Conversation::room("show"), on: true },
        Signal::Typing { conversation: Conversation::group(""), on: true },
        Signal::Presence(PresenceState(4)),
        Signal::Watch { user: "a\nb".into(), on: true },
        call(0, PrivateSignal::HangUp),
        call(1, invite("", 1)),
        Signal::Call { call: CallId(1), signal: CallSignal::Group(GroupSignal::Invite(vec!["x".into(); 65])) },
    ] {
        assert_eq!(pair.client.signal(bad), Err(SignalError::Invalid));
    }
    let large = pair.client.signal(call(1, invite("bob", 60_000)));
    assert_eq!(large, Err(SignalError::TooLarge { len: 60_000 }));
    pair.settle();
    assert_eq!(pair.server_events, []);
}

#[test]
fn a_slow_reader_costs_a_bounded_number_of_bytes_and_the_drops_are_counted() {
    let (mut client, mut server) = configs();
    (client.signal_bytes, server.signal_bytes) = (20_000, 20_000);
    let mut pair = Pair::online(client, server);
    let candidate = |n: u64| Payload(vec![n as u8; 1000]);
    for n in 0..1000 {
        let signal = CallSignal::Private(PrivateSignal::Candidate(candidate(n)));
        pair.client.signal(Signal::Call { call: CallId(1), signal }).unwrap();
        pair.server.signal(PeerSignal::Call { call: CallId(1), notice: Notice::Candidate(candidate(n)) });
    }
    let dropped = [pair.client.stats().dropped_signals, pair.server.stats().dropped_signals];
    assert!(dropped.iter().all(|dropped| (980..1000).contains(dropped)), "{dropped:?}");
    pair.settle();
    assert_eq!(said(&mut pair).len() as u64, 1000 - dropped[0]);
    let last = PeerSignal::Call { call: CallId(1), notice: Notice::Candidate(candidate(999)) };
    assert_eq!(pair.client_events.last(), Some(&ClientEvent::Signal(last)), "the latest are there");
    assert_eq!(pair.client_events.len() as u64, 1000 - dropped[1]);
}

fn budgets(messages: Rate, signals: Rate) -> (ClientConfig, ServerConfig) {
    let (client, mut server) = configs();
    server.budgets = Some(BudgetConfig { messages, signals, ..BudgetConfig::default() });
    (client, server)
}

#[test]
fn signals_over_the_budget_are_refused_with_the_wait_and_messages_have_their_own() {
    let (client, server) = budgets(Rate::per_second(1, 1), Rate::per_second(2, 3));
    let mut pair = Pair::online(client, server);
    for user in ["a", "b", "c", "d"] {
        pair.client.signal(Signal::Watch { user: user.into(), on: true }).unwrap();
    }
    pair.client.send(pair.now, Message::text("bob", "hi")).unwrap();
    pair.settle();
    let message = pair.server_events.iter().position(|event| matches!(event, ServerEvent::Message(_))).unwrap();
    pair.server_events.remove(message);
    assert_eq!(said(&mut pair).len(), 3);
    let Some(ClientEvent::SignalRefused { code, reason, retry_after, .. }) = pair.client_events.pop() else { panic!() };
    assert_eq!((code, retry_after), (RefusalCode::OVER_BUDGET, Some(Duration::from_millis(500))));
    assert!(reason.contains("signals"), "{reason}");
    assert!(pair.client_events.is_empty() && !pair.server.watches("d"));
    pair.now = pair.now + Duration::from_millis(500);
    pair.client.signal(Signal::Watch { user: "d".into(), on: true }).unwrap();
    pair.settle();
    assert!(pair.server.watches("d"));
}

#[test]
fn messages_and_commands_over_the_budget_wait_as_long_as_they_are_told_and_then_go_through() {
    let (mut client, server) =
        budgets(Rate { amount: 1, per: Duration::from_secs(40), burst: 1 }, Rate::per_second(9, 9));
    client.retry = Backoff { first: Duration::from_millis(10), max: Duration::from_millis(10) };
    let mut pair = Pair::online(client, server);
    let first = pair.client.send(pair.now, Message::text("bob", "one")).unwrap();
    let second = pair.client.command(pair.now, Command::recall(Conversation::private("bob"), 1)).unwrap();
    let began = pair.now;
    pair.settle();
    assert!(matches!(&pair.server_events[..], [ServerEvent::Message(message)] if message.packet_id == first));
    pair.server.stored(first, &Conversation::private("bob"), 1, 1, 0, false).unwrap();
    pair.settle();
    assert_eq!(pair.client.unanswered(), 1);
    while !pair.server_events.iter().any(|event| matches!(event, ServerEvent::Command { .. })) {
        pair.now = pair.client.poll_timeout().unwrap().0;
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
        pair.settle();
    }
    assert!(pair.now.saturating_since(began) >= Duration::from_secs(40));
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Command { packet_id, .. }) if packet_id == second));
    assert_eq!(pair.client.stats().retries, 1, "it did not try in vain meanwhile");
}

#[test]
fn what_no_wait_would_help_is_refused_for_good() {
    let (client, server) = budgets(Rate::per_second(1, 0), Rate::per_second(1, 0));
    let mut pair = Pair::online(client, server);
    let message = pair.client.send(pair.now, Message::text("bob", "one")).unwrap();
    let signal = pair.client.signal(typing(true)).unwrap();
    pair.settle();
    let mut refused: Vec<_> = pair
        .client_events
        .iter()
        .map(|event| match event {
            ClientEvent::Refused { packet_id, code, .. } => (*packet_id, *code, None),
            ClientEvent::SignalRefused { packet_id, code, retry_after, .. } => (*packet_id, *code, *retry_after),
            other => panic!("{other:?}"),
        })
        .collect();
    refused.sort_by_key(|(id, ..)| *id);
    assert_eq!(refused, [message, signal].map(|id| (id, RefusalCode::OVER_BUDGET, None)));
}

/// Two devices, a server with the calls, and what it does with their signals.
struct Switchboard {
    calls: CallServer,
    pairs: Vec<(Device, Pair)>,
}

impl Switchboard {
    fn new() -> Self {
        let pairs = [("alice", "phone"), ("bob", "desk"), ("bob", "phone")].map(|(user, device)| {
            let (mut client, server) = configs();
            client.credentials = credentials(user, device);
            (Device::new(user, device), Pair::online(client, server))
        });
        Self { calls: CallServer::new(CallLimits::default()), pairs: pairs.into() }
    }

    fn say(&mut self, who: usize, call: u64, signal: PrivateSignal) -> Result<CallState, CallRefusal> {
        let (from, pair) = &mut self.pairs[who];
        let id = pair.client.signal(Signal::Call { call: CallId(call), signal: CallSignal::Private(signal) }).unwrap();
        pair.settle();
        let Some(ServerEvent::Signal { packet_id, signal: Signal::Call { call, signal: CallSignal::Private(signal) } }) =
            pair.server_events.pop()
        else {
            panic!("{:?}", pair.server_events)
        };
        assert_eq!(packet_id, id);
        let result = self.calls.handle_private(pair.now, from, call, signal);
        pair.server.call_answered(packet_id, call, &result).unwrap();
        for effect in result.map(|effects| effects.list).unwrap_or_default() {
            let Effect::Relay { to, call, notice } = effect else { continue };
            for (device, pair) in &mut self.pairs {
                if to.reaches(device) {
                    pair.server.signal(PeerSignal::Call { call, notice: notice.clone() });
                }
            }
        }
        self.pairs.iter_mut().for_each(|(_, pair)| pair.settle());
        let events = &mut self.pairs[who].1.client_events;
        let at = events.iter().position(|event| matches!(event, ClientEvent::CallAnswered { .. })).expect("an answer");
        let ClientEvent::CallAnswered { packet_id, result, .. } = events.remove(at) else { unreachable!() };
        assert_eq!(packet_id, id);
        result
    }

    fn told(&mut self, who: usize) -> Vec<Notice> {
        let events = std::mem::take(&mut self.pairs[who].1.client_events);
        let notice = |event| match event {
            ClientEvent::Signal(PeerSignal::Call { call: CallId(7), notice }) => notice,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(notice).collect()
    }
}

#[test]
fn a_call_goes_from_end_to_end_over_the_wire() {
    let mut board = Switchboard::new();
    let (offer, answer) = (Payload(b"offer".to_vec()), Payload(b"answer".to_vec()));
    let invite = || PrivateSignal::Invite { callee: "bob".into(), media: Media::Video, offer: offer.clone() };
    let state = |phase, duplicate| Ok(CallState { phase, duplicate });
    assert_eq!(board.say(0, 7, invite()), state(Phase::Ringing, false));
    assert_eq!(board.say(0, 7, invite()), state(Phase::Ringing, true), "a retry is answered and does nothing");
    let rings = Notice::Invite { from: Device::new("alice", "phone"), media: Media::Video, offer: offer.clone() };
    assert_eq!((board.told(1), board.told(2)), (vec![rings.clone()], vec![rings]));
    assert_eq!(board.say(0, 7, PrivateSignal::Accept { answer: answer.clone() }), Err(CallRefusal::WrongRole));
    assert_eq!(board.say(1, 7, PrivateSignal::Accept { answer: answer.clone() }), state(Phase::Connected, false));
    assert_eq!(board.told(0), [Notice::Accepted { by: Device::new("bob", "desk"), answer }]);
    assert_eq!(board.told(2), [Notice::AnsweredElsewhere]);
    assert_eq!(board.say(2, 7, PrivateSignal::HangUp), Err(CallRefusal::AnsweredElsewhere));
    let large = Payload(vec![0; 40_000]);
    let refused = CallRefusal::TooLarge { len: 40_000, max: 32 * 1024 };
    assert_eq!(board.say(1, 7, PrivateSignal::Candidate(large)), Err(refused));
    assert_eq!(board.say(1, 7, PrivateSignal::HangUp), state(Phase::Ended(call::EndReason::HungUp), false));
    assert_eq!(board.told(0), [Notice::Ended(call::EndReason::HungUp)]);
    assert!(Target::User("bob".into()).reaches(&board.pairs[2].0));
}

#[test]
fn a_call_signal_is_answered_once() {
    let mut pair = online();
    let signal = CallSignal::Private(PrivateSignal::HangUp);
    let id = pair.client.signal(Signal::Call { call: CallId(7), signal }).unwrap();
    pair.settle();
    assert_eq!(pair.server.signal_refused(id, RefusalCode::FORBIDDEN, "", None), Err(AnswerError::NotAsked));
    pair.server.call_answered(id, CallId(7), &Err(CallRefusal::UnknownCall)).unwrap();
    let again = pair.server.call_answered(id, CallId(7), &Err(CallRefusal::UnknownCall));
    assert_eq!(again, Err(AnswerError::NotAsked));
    pair.settle();
    let result = Err(CallRefusal::UnknownCall);
    assert_eq!(pair.client_events, [ClientEvent::CallAnswered { packet_id: id, call: CallId(7), result }]);
}
