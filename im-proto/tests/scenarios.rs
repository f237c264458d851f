//! Scenarios in which messengers lose, repeat or delay messages, or fail their users, each as a test of its own.
//!
//! `box_im_NN`: the list of situations in which box-im fails, as far as the session is concerned. 6 (reading while something arrives) is in
//! `receipts.rs`, 7 (recall) and 8 (what a client may say) are in `commands.rs`, 9 (rights that were taken away) is in
//! `resumption.rs`, under the same names. Not in this crate are:
//!
//! - 2 (a node dies) and 3 (the routing store is flushed): routing belongs to the server's cluster. That no hint is needed for a
//!   message to arrive is `box_im_01`, and crashes of servers are in `simulation.rs`;
//! - 11 (a group of 3,000): one encode, routing and counting of receipts belong to the server and its store;
//! - 13 (friends, join and leave in the same moment): rows of the platform. Calls in the same moment are in `src/call/tests.rs`;
//! - 16 (every signal in every state of a call): `src/call/tests.rs`.
//!
//! `ouyu_im_NN`: faults of OUYU-IM's delivery, 12 to 18 of the list.

mod service;

use std::time::Duration;

use im_proto::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};
use im_proto::*;
use im_sim::{Pair, Submitted, configs};
use service::Service;

fn texts(got: &[(String, u64, String)]) -> Vec<&str> {
    got.iter().map(|(_, _, text)| text.as_str()).collect()
}

/// Alice's phone and bob's phone, online.
fn two() -> (Service, usize, usize) {
    let mut service = Service::new();
    let (alice, bob) = (service.device("alice", "phone"), service.device("bob", "phone"));
    service.connect(alice);
    service.connect(bob);
    (service, alice, bob)
}

/// Exactly one hint is lost. With the next one both messages come, in order and once; without a next one the device gets it when it
/// comes back, or when the server asks the log again.
#[test]
fn box_im_01_a_dropped_push_is_pulled() {
    let (mut service, alice, bob) = two();
    service.devices[bob].hinted = false;
    service.send(alice, "bob", "one");
    assert!(service.got(bob).is_empty(), "the hint was lost");
    service.devices[bob].hinted = true;
    service.send(alice, "bob", "two");
    assert_eq!(texts(&service.got(bob)), ["one", "two"]);

    service.devices[bob].hinted = false;
    service.send(alice, "bob", "three");
    service.connect(bob);
    assert_eq!(texts(&service.got(bob)), ["three"], "and not one or two again");

    service.send(alice, "bob", "four");
    service.devices[bob].server.notify_all();
    service.settle();
    assert_eq!(texts(&service.got(bob)), ["four"]);
    assert_eq!(service.devices[bob].client.stats().duplicates, 0);
}

/// The hint at a later message comes before the one at an earlier message, as with two senders or two servers.
#[test]
fn box_im_01_hints_out_of_order_lose_nothing() {
    let (mut service, alice, bob) = two();
    let desk = service.device("alice", "desk");
    service.connect(desk);
    service.devices[bob].hinted = false;
    service.send(alice, "bob", "one");
    service.send(desk, "bob", "two");
    service.devices[bob].hinted = true;
    for seq in [2, 1] {
        service.hint("alice", &Conversation::private("bob"), seq);
        service.settle();
    }
    assert_eq!(texts(&service.got(bob)), ["one", "two"]);
}

/// The same device on two connections: the older one goes and is told why, so that it does not come back and throw the other one out.
#[test]
fn box_im_04_of_one_device_twice_the_older_goes_with_a_reason() {
    let new = NewDevice { device: "phone".into(), kind: DeviceKind(0) };
    let since = Instant::from_micros(1);
    let online = [OnlineDevice { session: 7, device: "phone".into(), kind: DeviceKind(0), since }];
    let Decision::Admit { kicks } = DevicePolicy::default().decide(&online, &new) else { panic!("refused") };
    let [kick] = kicks.as_slice() else { panic!("{kicks:?}") };
    let mut pair = Pair::online(configs().0, configs().1);
    pair.server.close(pair.now, kick.code, &kick.reason.to_string());
    pair.settle();
    let Some(ClientEvent::Closed(closed)) = pair.client_events.pop() else { panic!() };
    assert_eq!((kick.session, closed.code), (7, CloseCode::REPLACED));
    assert!(closed.authenticated && !closed.may_reconnect() && !closed.reason.is_empty());
    // A device that only comes back is told nothing.
    let Decision::Admit { kicks } = DevicePolicy::default().decide(&[], &new) else { panic!("refused") };
    assert!(kicks.is_empty());
}

/// The answer is lost with the connection. The client sends the message again under its id, and there is one message.
#[test]
fn box_im_05_a_send_after_an_ambiguous_failure_is_one_message() {
    let (mut service, alice, bob) = two();
    let id = service.devices[alice].client.send(service.now, Message::text("bob", "once")).unwrap();
    let now = service.now;
    let mut up = Vec::new();
    while service.devices[alice].client.poll_transmit(now, &mut up, usize::MAX).is_some() {}
    let taken = service.devices[alice].server.handle_input(now, &mut up);
    assert_eq!(taken, up.len());
    let Some(ServerEvent::Message(message)) = service.devices[alice].server.poll_event() else { panic!() };
    let Submission { packet_id, to, content_type, content } = message;
    let submitted = Submitted { packet_id, to, entry: Entry::Message { content_type, content } };
    service.log.append(now, "alice", "phone", &submitted).unwrap();

    service.connect(alice);
    let bob_id = Conversation::private("bob");
    assert_eq!(service.log.conversation("alice", &bob_id).len(), 1);
    let stored = service.devices[alice].told.iter().filter(|event| matches!(event, ClientEvent::Stored { .. }));
    assert_eq!(stored.count(), 1);
    assert_eq!((packet_id, service.devices[alice].client.unanswered()), (id, 0));
    assert_eq!(texts(&service.got(bob)), ["once"]);
}

/// Whatever it sends, a client that does not log in is closed at the deadline, on both sides.
#[test]
fn box_im_10_a_connection_without_a_login_ends_at_the_deadline() {
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    pair.settle();
    for _ in 0..9 {
        pair.now = pair.now + Duration::from_secs(1);
        pair.server.handle_timeout(pair.now);
        assert_eq!(pair.server.state(), State::LoggingIn);
    }
    pair.now = pair.now + Duration::from_secs(1);
    assert_eq!(pair.client.poll_timeout(), Some((pair.now, Timer::Login)));
    pair.server.handle_timeout(pair.now);
    pair.client.handle_timeout(pair.now);
    assert_eq!((pair.client.state(), pair.server.state()), (State::Closing, State::Closing));
}

/// A device that reads nothing holds its window and nothing else, however much is written to it.
#[test]
fn box_im_10_a_slow_reader_is_bounded() {
    let mut service = Service::new();
    let alice = service.device("alice", "phone");
    let bob = service.device_with("bob", "phone", |config| config.receive_max = 8);
    service.connect(alice);
    service.connect(bob);
    service.devices[bob].connected = false;
    for n in 0..500 {
        service.send(alice, "bob", &n.to_string());
    }
    let mut bytes = Vec::new();
    let (mut fetched, now) = (0, service.now);
    for _ in 0..100 {
        while let Some(event) = service.devices[bob].server.poll_event() {
            let ServerEvent::Fetch { conversation, max_messages, .. } = event else { panic!("{event:?}") };
            let items = service.log.items("bob", "phone", &conversation, fetched, max_messages);
            let after = std::mem::replace(&mut fetched, items.len() as u64);
            service.devices[bob].server.fetched(&conversation, after, items).unwrap();
        }
        while service.devices[bob].server.poll_transmit(now, &mut bytes, usize::MAX).is_some() {}
    }
    assert_eq!((service.devices[bob].server.unacked(), fetched), (8, 8));
}

/// A device that was never there pages through everything, in every conversation, and through what is written meanwhile.
#[test]
fn box_im_12_a_new_device_pages_through_sixty_thousand_messages() {
    const FRIENDS: u64 = 5;
    const EACH: u64 = 12_000;
    let mut service = Service::new();
    for n in 0..FRIENDS * EACH {
        let (friend, n) = (n % FRIENDS, n / FRIENDS + 1);
        let to = Conversation::private("alice");
        let submitted = Submitted { packet_id: PacketId(n), to, entry: Entry::text(&format!("{friend}:{n}")) };
        service.log.append(service.now, &format!("friend {friend}"), "phone", &submitted).unwrap();
    }
    let tablet = service.device("alice", "tablet");
    service.connect(tablet);
    let got = service.got(tablet);
    assert_eq!(got.len() as u64, FRIENDS * EACH);
    let mut last = [0; FRIENDS as usize];
    for (friend, seq, text) in got {
        let friend: usize = friend.strip_prefix("friend ").unwrap().parse().unwrap();
        last[friend] += 1;
        assert_eq!((seq, text), (last[friend], format!("{friend}:{seq}")));
    }
    assert_eq!(last, [EACH; FRIENDS as usize]);
    assert!(service.log.unread("alice", "tablet", 10).0.is_empty(), "all of it was acked");
}

/// The first attempts fail. The delays double up to the cap, no two clients have the same ones, and then everything goes on.
#[test]
fn box_im_14_a_client_comes_back_by_itself_after_failed_attempts() {
    let delays = |seed: u64| {
        let mut client = Connection::client(configs().0, seed).unwrap();
        let mut now = Instant::from_micros(1_000_000);
        let mut delays = Vec::new();
        for attempt in 0..12 {
            client.connect(im_sim::entropy(attempt), now).unwrap();
            client.handle_eof(now);
            let Some(ClientEvent::Closed(closed)) = client.poll_event() else { panic!() };
            assert!(closed.may_reconnect());
            delays.push(client.reconnect_delay());
            now = now + delays[delays.len() - 1];
        }
        delays
    };
    let (one, other) = (delays(1), delays(2));
    for (attempt, delay) in (0..).zip(&one) {
        let nominal = Duration::from_millis(500 << attempt.min(6)).min(Duration::from_secs(30));
        assert!(*delay >= nominal * 3 / 4 && *delay <= nominal * 5 / 4, "{attempt}: {delay:?}");
    }
    assert_ne!(one, other, "they would come all at once");

    let (mut service, alice, bob) = two();
    service.send(bob, "alice", "while it was away");
    for _ in 0..5 {
        service.cut(alice);
        let now = service.now;
        service.devices[alice].client.connect(im_sim::entropy(99), now).unwrap();
    }
    service.cut(alice);
    service.send(bob, "alice", "and then");
    service.connect(alice);
    assert_eq!(texts(&service.got(alice)), ["while it was away", "and then"]);
}

/// The log does not answer for minutes. The session stays, and everything comes when the log answers.
#[test]
fn box_im_15_a_pull_that_fails_keeps_the_session() {
    let (mut service, alice, bob) = two();
    service.log_is_down = true;
    service.send(alice, "bob", "one");
    service.wait(Duration::from_secs(300));
    service.send(alice, "bob", "two");
    assert!(service.got(bob).is_empty());
    assert_eq!(service.devices[bob].client.state(), State::Online);
    service.log_is_back();
    assert_eq!(texts(&service.got(bob)), ["one", "two"]);
    assert!(service.devices[bob].told.is_empty());
}

/// What was written in a month comes in order and once, and what the device had before does not come again.
#[test]
fn a_device_that_was_away_for_a_month_gets_what_it_lacks() {
    let (mut service, alice, bob) = two();
    let carol = service.device("carol", "phone");
    service.connect(carol);
    service.send(alice, "bob", "before");
    assert_eq!(texts(&service.got(bob)), ["before"]);
    service.cut(bob);
    for device in [alice, carol] {
        service.cut(device);
    }
    let mut expected = Vec::new();
    for day in 0..30 {
        service.now = service.now + Duration::from_secs(86_400);
        for (device, name) in [(alice, "alice"), (carol, "carol")] {
            service.connect(device);
            for n in 0..10 {
                service.send(device, "bob", &format!("{day}.{n}"));
                expected.push((name.to_string(), format!("{day}.{n}")));
            }
            service.cut(device);
        }
    }
    service.connect(bob);
    let got = service.got(bob);
    for name in ["alice", "carol"] {
        let of = |who: &str| who == name;
        let got: Vec<_> = got.iter().filter(|(who, ..)| of(who)).map(|(_, _, text)| text).collect();
        let expected: Vec<_> = expected.iter().filter(|(who, _)| of(who)).map(|(_, text)| text).collect();
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(service.devices[bob].client.stats().duplicates, 0);
}

/// The server dies with the session in it. No record of it stands in the way of the next login.
#[test]
fn ouyu_im_12_a_crash_leaves_no_stale_login() {
    let (mut service, alice, bob) = two();
    service.send(alice, "bob", "one");
    // The server's side is gone without a close; the client finds out by itself.
    service.devices[bob].connected = false;
    service.send(alice, "bob", "two");
    let idle = Duration::from_secs(61);
    service.now = service.now + idle;
    let now = service.now;
    service.devices[bob].client.handle_timeout(now);
    assert_ne!(service.devices[bob].client.state(), State::Online, "a silent server is left");
    service.connect(bob);
    assert_eq!(service.devices[bob].client.state(), State::Online);
    assert_eq!(texts(&service.got(bob)), ["one", "two"]);
}

/// Offline there is a log and not one slot: everything comes, in order.
#[test]
fn ouyu_im_13_everything_that_was_sent_while_offline_arrives() {
    let (mut service, alice, bob) = two();
    service.cut(bob);
    let sent: Vec<String> = (0..300).map(|n| format!("message {n}")).collect();
    for text in &sent {
        service.send(alice, "bob", text);
    }
    service.connect(bob);
    assert_eq!(texts(&service.got(bob)), sent);
}

/// Nobody answers. The delays double up to their cap, the tries end, the outcome is told once, and nothing of it is left.
#[test]
fn ouyu_im_14_retry_is_bounded_and_backs_off() {
    let (mut client, server) = configs();
    client.max_tries = 7;
    let mut pair = Pair::online(client, server);
    let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
    let (mut tries, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        pair.settle();
        for event in pair.server_events.drain(..) {
            tries.extend(matches!(event, ServerEvent::Message(message) if message.packet_id == id).then_some(pair.now));
        }
        unknown.extend(pair.client_events.drain(..).filter(|event| matches!(event, ClientEvent::Unknown { .. })));
        pair.now = pair.client.poll_timeout().unwrap().0;
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
    }
    assert_eq!((tries.len(), pair.client.stats().retries), (7, 6));
    for (pause, secs) in tries.windows(2).zip([5, 10, 20, 40, 60, 60]) {
        let (pause, nominal) = (pause[1].saturating_since(pause[0]), Duration::from_secs(secs));
        assert!(pause >= nominal * 3 / 4 && pause <= nominal * 5 / 4, "{pause:?} instead of {nominal:?}");
    }
    assert_eq!(unknown, [ClientEvent::Unknown { packet_id: id }]);
    assert_eq!((pair.client.unanswered(), pair.client.buffered()), (0, 0));
}

/// The last try is refused for now. If each try was, the message is not stored; if one had no answer, nobody knows.
#[test]
fn a_try_without_an_answer_leaves_a_doubt_that_a_later_refusal_does_not_take() {
    for silent in [false, true] {
        let (mut client, server) = configs();
        client.max_tries = 2;
        let mut pair = Pair::online(client, server);
        let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
        for last in [false, true] {
            while !pair.server_events.drain(..).any(|event| matches!(event, ServerEvent::Message(_))) {
                pair.settle();
                if pair.server_events.is_empty() {
                    pair.now = pair.client.poll_timeout().unwrap().0;
                    pair.client.handle_timeout(pair.now);
                }
            }
            if last || !silent {
                pair.server.refused(id, RefusalCode::STORE, "not now", true).unwrap();
                pair.settle();
            }
        }
        let unknown = pair.client_events.contains(&ClientEvent::Unknown { packet_id: id });
        let refused = pair.client_events.iter().any(|event| matches!(event, ClientEvent::Refused { .. }));
        assert_eq!((unknown, refused), (silent, !silent));
    }
}

/// Until the server says that it is durable nobody is told anything, however long that takes.
#[test]
fn ouyu_im_15_nothing_is_acked_before_it_is_durable() {
    let mut pair = Pair::online(configs().0, configs().1);
    let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
    for _ in 0..20 {
        pair.settle();
        assert!(pair.client_events.is_empty() && pair.client.unanswered() == 1);
        pair.now = pair.client.poll_timeout().unwrap().0;
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
    }
    pair.server.stored(id, &Conversation::private("bob"), 1, 1, 0, false).unwrap();
    pair.settle();
    assert!(matches!(pair.client_events.as_slice(), [ClientEvent::Stored { packet_id, .. }] if *packet_id == id));
}

/// A message is the same each time that it is sent, whatever happens to other messages and connections in between.
#[test]
fn ouyu_im_16_a_message_that_is_sent_again_is_the_same() {
    let mut pair = Pair::online(configs().0, configs().1);
    let id = pair.client.send(pair.now, Message::text("bob", "the first")).unwrap();
    let mut seen = Vec::new();
    for n in 0..4 {
        pair.settle();
        let messages = pair.server_events.drain(..).filter_map(|event| {
            let ServerEvent::Message(message) = event else { return None };
            (message.packet_id == id).then_some(message)
        });
        seen.extend(messages);
        pair.client.send(pair.now, Message::text("carol", &format!("another {n}"))).unwrap();
        pair.client.handle_eof(pair.now);
        pair.server = Connection::server(configs().1.into(), im_sim::entropy(20 + n), pair.now).unwrap();
        pair.client.connect(im_sim::entropy(40 + n), pair.now).unwrap();
        (pair.to_client, pair.to_server) = (Vec::new(), Vec::new());
        pair.login();
    }
    assert!(seen.len() >= 4, "{}", seen.len());
    assert!(seen.iter().all(|message| *message == seen[0] && message.content == b"the first"));
}

/// Every answer to a login can be read in every format: accepted with who it is, or refused with the reason.
#[test]
fn ouyu_im_17_a_login_is_answered_in_every_format() {
    for format in configs().0.formats.ids() {
        let (mut client, server) = configs();
        client.formats = client.formats.select(&[format]);
        let mut accepted = Pair::new(client.clone(), server);
        accepted.login();
        let told = |event: &ClientEvent| matches!(event, ClientEvent::LoggedIn { user, .. } if user == "alice");
        assert!(accepted.client_events.iter().any(told), "{format:?}");

        let mut refused = Pair::new(client, configs().1);
        refused.settle();
        refused.server.refuse_login(refused.now, "the token expired: get a new one").unwrap();
        assert_eq!(refused.server.refuse_login(refused.now, "again"), Err(AnswerError::State(State::Closing)));
        refused.settle();
        let Some(ClientEvent::Closed(closed)) = refused.client_events.pop() else { panic!("{format:?}") };
        assert_eq!((closed.code, closed.by, closed.authenticated), (CloseCode::LOGIN_REFUSED, ClosedBy::Peer, true));
        assert!(closed.reason.contains("expired") && !closed.may_reconnect());
    }
}

/// Each device has a format of its own, and gets everything in it.
#[test]
fn ouyu_im_18_each_device_reads_its_own_format() {
    let mut service = Service::new();
    let formats = configs().0.formats.ids();
    let devices: Vec<usize> = formats
        .iter()
        .map(|format| {
            let name = format!("{format:?}");
            service.device_with(&name.clone(), &name, |config| config.formats = config.formats.select(&[*format]))
        })
        .collect();
    for device in &devices {
        service.connect(*device);
    }
    for (from, to) in devices.iter().flat_map(|from| devices.iter().map(move |to| (*from, *to))) {
        if from != to {
            let (name, text) = (service.devices[to].user.clone(), format!("from {from} to {to}"));
            service.send(from, &name, &text);
            assert_eq!(texts(&service.got(to)), [text]);
        }
    }
}
