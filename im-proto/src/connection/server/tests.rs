//! What a peer may say to a server in each state, asked of the role itself: no client of this crate would say most of it.

use alloc::string::{String, ToString};
use alloc::vec;

use im_codec::MessageType;
use im_serial::Kind;
use im_serial::body::{CallSignal, Edit, Presence, Reaction, Recall, Send, Typing, Watch};

use super::*;
use crate::{AbortReason, CloseCode, Command, Fault, MAX_REACTION, Signal, StreamOutcome};

/// A server's connection as if its client had logged in.
fn online() -> Connection<Server> {
    in_state(State::Online, |_| {})
}

fn in_state(state: State, change: impl FnOnce(&mut ServerConfig)) -> Connection<Server> {
    let key = im_crypto::ServerKey::from_bytes([7; 32], &im_crypto::RUSTCRYPTO).unwrap();
    let mut config = ServerConfig::new(&im_crypto::RUSTCRYPTO, key);
    change(&mut config);
    let entropy = Entropy::from_rng(&mut rand_chacha::ChaCha20Rng::from_seed([1; 32])).unwrap();
    let mut connection = Connection::server(Arc::new(config), entropy, Instant::default()).unwrap();
    connection.core.state = state;
    connection.role.receive_max = 8;
    connection.role.feed = Feed::new(8, 0, 8);
    connection
}

use rand_chacha::rand_core::SeedableRng;

fn say(connection: &mut Connection<Server>, id: u64, body: impl Into<Body>) -> Result<(), Error> {
    let Connection { core, role, events } = connection;
    role.on_body(core, events, Instant::default(), id, body.into())
}

/// The refusal that waits to be sent, with its packet id.
fn refusal(connection: &mut Connection<Server>) -> Option<(u64, RefusalCode, String)> {
    match connection.role.answers.pop_front() {
        Some((id, Body::Refused(refused))) => Some((id, RefusalCode(refused.code as u16), refused.reason)),
        _ => None,
    }
}

/// A body of each kind with every field at its default.
fn empty(kind: Kind) -> Body {
    Body::from_record(kind, |_| Ok::<_, ()>(())).unwrap()
}

#[test]
fn before_the_login_a_client_may_log_in_and_nothing_else() {
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Login) {
        let mut connection = in_state(State::LoggingIn, |_| {});
        let error = say(&mut connection, 1, empty(kind)).unwrap_err();
        let got = MessageType(kind.code());
        assert_eq!(error, Error::Unexpected { got, state: State::LoggingIn });
        assert_eq!((error.close_code(), error.fault()), (CloseCode::LOGIN_REQUIRED, Fault::PeerViolated));
        assert!(error.to_string().contains(got.name(im_codec::Version::V2).unwrap()), "{error}");
        assert!(connection.events.is_empty() && connection.role.answers.is_empty());
    }
}

/// What a client may send once it is online. Everything else is the server's to say.
const OF_CLIENTS: &[Kind] = &[
    Kind::Send,
    Kind::Delivered,
    Kind::Recall,
    Kind::Edit,
    Kind::Reaction,
    Kind::Read,
    Kind::Typing,
    Kind::Presence,
    Kind::Watch,
    Kind::CallSignal,
    Kind::RoomJoin,
    Kind::RoomLeave,
    Kind::StreamOpen,
    Kind::StreamDelta,
    Kind::StreamEnd,
    Kind::Request,
    Kind::Response,
    Kind::Refused,
    Kind::SendSealed,
];

#[test]
fn what_only_a_server_says_is_a_violation_that_names_the_packet() {
    for kind in Kind::ALL.iter().copied().filter(|kind| !OF_CLIENTS.contains(kind)) {
        let mut connection = online();
        let error = say(&mut connection, 1, empty(kind)).unwrap_err();
        assert_eq!(error, Error::Unexpected { got: MessageType(kind.code()), state: State::Online });
        assert_eq!(error.close_code(), CloseCode::PROTOCOL);
    }
}

/// What may still be under way for something that is over: not answered.
const OF_THE_PAST: &[Kind] = &[Kind::StreamDelta, Kind::StreamEnd, Kind::Response, Kind::Refused];

/// With every field empty: an error or a refusal, and nothing that an application would have to look at. An empty presence
/// is one: offline.
#[test]
fn an_empty_body_of_every_kind_reaches_no_application() {
    for kind in OF_CLIENTS.iter().filter(|kind| **kind != Kind::Presence) {
        let mut connection = online();
        let result = say(&mut connection, 1, empty(*kind));
        let answered = result.is_err() || refusal(&mut connection).is_some();
        assert_ne!(answered, OF_THE_PAST.contains(kind), "{kind:?}");
        assert!(connection.events.is_empty(), "{kind:?}: {:?}", connection.events);
    }
}

#[test]
fn behind_its_own_close_a_server_drops_everything() {
    for kind in Kind::ALL {
        let mut connection = in_state(State::Closing, |_| {});
        assert_eq!(say(&mut connection, 1, empty(*kind)), Ok(()));
        assert!(connection.events.is_empty() && connection.role.answers.is_empty());
    }
}

fn kinds() -> [Conversation; 7] {
    [
        Conversation::private("bob"),
        Conversation::group("team"),
        Conversation::room("show"),
        Conversation::broadcast("news"),
        Conversation::notices("friends"),
        Conversation { kind: 0, id: "bob".into() },
        Conversation { kind: 77, id: "bob".into() },
    ]
}

fn message(to: Conversation) -> Body {
    Send { to, content_type: 1, content: b"hi".to_vec() }.into()
}

fn commands(to: &Conversation) -> [Body; 4] {
    let to = || to.clone();
    let reaction = |remove| Reaction { to: to(), about: 3, text: "👍".into(), remove };
    [
        Recall { to: to(), about: 3 }.into(),
        Edit { to: to(), about: 3, content_type: 1, content: b"better".to_vec() }.into(),
        reaction(false).into(),
        reaction(true).into(),
    ]
}

#[test]
fn messages_go_to_private_conversations_groups_and_rooms_and_commands_to_the_first_two() {
    for to in kinds() {
        for (body, message) in commands(&to).into_iter().map(|body| (body, false)).chain([(message(to.clone()), true)])
        {
            let mut connection = online();
            say(&mut connection, 9, body).unwrap();
            let want = match to.kind {
                1 | 2 => None,
                3 if message => None,
                3 => Some((RefusalCode::INVALID, "room")),
                4 => Some((RefusalCode::FORBIDDEN, "broadcast")),
                5 => Some((RefusalCode::FORBIDDEN, "notices")),
                0 => Some((RefusalCode::INVALID, "kind 0")),
                _ => Some((RefusalCode::INVALID, "kind 77")),
            };
            match (want, refusal(&mut connection)) {
                (None, None) => assert_eq!((connection.events.len(), connection.role.unanswered), (1, 1)),
                (Some((code, word)), Some((id, got, reason))) => {
                    assert!((id, got) == (9, code) && reason.contains(word), "{to}: {got} {reason}");
                    assert!(connection.events.is_empty() && connection.role.unanswered == 0);
                }
                other => panic!("{to}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_command_comes_to_the_application_with_all_it_needs() {
    let to = Conversation::group("team");
    let want = [
        Command::recall(to.clone(), 3),
        Command::edit(to.clone(), 3, "better"),
        Command::react(to.clone(), 3, "👍"),
        Command::unreact(to.clone(), 3, "👍"),
    ];
    for (body, want) in commands(&to).into_iter().zip(want) {
        let mut connection = online();
        say(&mut connection, 9, body).unwrap();
        let command = ServerEvent::Command { packet_id: PacketId(9), command: want };
        assert_eq!(connection.poll_event(), Some(command));
        connection.stored(PacketId(9), &to, 50, 4, 5, false).unwrap();
        assert_eq!(connection.stored(PacketId(9), &to, 50, 4, 5, false), Err(AnswerError::NotAsked));
    }
}

#[test]
fn a_command_that_is_not_well_formed_is_refused_by_name() {
    let to = || Conversation::group("team");
    let reaction = |text: &str| Reaction { to: to(), about: 3, text: text.into(), remove: false };
    let long = "x".repeat(MAX_REACTION + 1);
    let cases: [(u64, Body, RefusalCode, &str); 9] = [
        (9, Recall { to: to(), about: 0 }.into(), RefusalCode::INVALID, "seq"),
        (9, Edit { to: to(), ..Edit::default() }.into(), RefusalCode::INVALID, "seq"),
        (9, Recall { to: Conversation::group(""), about: 1 }.into(), RefusalCode::INVALID, "valid name"),
        (9, Recall { to: Conversation::group("a\nb"), about: 1 }.into(), RefusalCode::INVALID, "valid name"),
        (9, reaction("").into(), RefusalCode::INVALID, "reaction"),
        (9, reaction("a\u{7}").into(), RefusalCode::INVALID, "reaction"),
        (9, reaction(&long).into(), RefusalCode::INVALID, "reaction"),
        (
            9,
            Edit { to: to(), about: 1, content_type: 1, content: vec![0; 32 * 1024 + 1] }.into(),
            RefusalCode::TOO_LARGE,
            "limit",
        ),
        (0, Recall { to: to(), about: 1 }.into(), RefusalCode::INVALID, "packet id"),
    ];
    for (id, body, code, word) in cases {
        let mut connection = online();
        say(&mut connection, id, body).unwrap();
        let (of, got, reason) = refusal(&mut connection).expect(word);
        assert!((of, got) == (id, code) && reason.contains(word), "{got} {reason}");
        assert!(connection.events.is_empty());
    }
}

#[test]
fn an_ack_names_a_conversation_that_has_positions() {
    for conversation in kinds() {
        let mut connection = online();
        let kind = conversation.kind;
        let result = say(&mut connection, 0, Delivered { conversation, up_to: 1, epoch: 0 });
        match kind {
            1 | 2 | 4 | 5 => assert!(result.is_ok() && connection.events.len() == 1),
            _ => assert_eq!(result, Err(Error::ConversationKind { kind })),
        }
    }
}

#[test]
fn a_signal_that_is_not_well_formed_is_refused_by_name() {
    let typing = |conversation| Typing { conversation, user: String::new(), on: true };
    let call = |signal| CallSignal { call: 7, signal, user: "bob".into(), media: 1, ..CallSignal::default() };
    let cases: [(u64, Body, &str); 11] = [
        (9, typing(Conversation::room("show")).into(), "private conversation or a group"),
        (9, typing(Conversation::broadcast("news")).into(), "private conversation or a group"),
        (9, typing(Conversation::group("")).into(), "private conversation or a group"),
        (9, Presence { state: 4, ..Presence::default() }.into(), "presence 4"),
        (9, Presence { state: 192, ..Presence::default() }.into(), "presence 192"),
        (9, Watch { user: "a\nb".into(), on: true }.into(), "valid name"),
        (9, call(9).into(), "call signal 9"),
        (9, CallSignal { media: 7, ..call(1) }.into(), "media 7"),
        (9, CallSignal { call: 0, ..call(1) }.into(), "zero"),
        (9, CallSignal { users: "x\n".repeat(65), ..call(20) }.into(), "64"),
        (0, call(1).into(), "packet id"),
    ];
    for (id, body, word) in cases {
        let mut connection = online();
        say(&mut connection, id, body).unwrap();
        let (of, code, reason) = refusal(&mut connection).expect(word);
        assert!((of, code) == (id, RefusalCode::INVALID) && reason.contains(word), "{code} {reason}");
        assert!(connection.events.is_empty() && connection.role.unanswered == 0);
    }
}

/// What a client wrote as the user of its own typing or presence does not come to the application at all.
#[test]
fn nobody_types_in_the_name_of_another() {
    let mut connection = online();
    let typing = Typing { conversation: Conversation::group("team"), user: "bob".into(), on: true };
    say(&mut connection, 9, typing).unwrap();
    let signal = Signal::Typing { conversation: Conversation::group("team"), on: true };
    assert_eq!(connection.poll_event(), Some(ServerEvent::Signal { packet_id: PacketId(9), signal }));
}

#[test]
fn what_is_over_a_budget_is_refused_in_every_class_and_reaches_no_application() {
    use crate::budget::{BudgetConfig, Rate};
    let nothing = Rate { amount: 1, per: Duration::from_secs(10), burst: 0 };
    let budgets = BudgetConfig { messages: nothing, signals: nothing, ..BudgetConfig::default() };
    let team = Conversation::group("team");
    let signals = [
        Body::from(Typing { conversation: team.clone(), user: String::new(), on: true }),
        Presence::default().into(),
        Watch { user: "bob".into(), on: true }.into(),
        CallSignal { call: 7, signal: 6, ..CallSignal::default() }.into(),
    ];
    for body in commands(&team).into_iter().chain(signals).chain([message(team)]) {
        let mut connection = online();
        connection.role.budgets = Some(Box::new(Budgets::new(&budgets, Instant::default())));
        let kind = body.kind();
        say(&mut connection, 9, body).unwrap();
        let (id, code, reason) = refusal(&mut connection).unwrap_or_else(|| panic!("{kind:?}"));
        assert_eq!((id, code), (9, RefusalCode::OVER_BUDGET), "{kind:?}: {reason}");
        assert!(connection.events.is_empty() && connection.role.unanswered == 0, "{kind:?}");
    }
}

#[test]
fn a_join_names_a_room_has_a_packet_id_and_is_asked_once() {
    use im_serial::body::{RoomJoin, RoomLeave};
    let join = |id: &str| RoomJoin { room: Conversation::room(id) };
    for (id, room, word) in [
        (0, Conversation::room("show"), "packet id"),
        (1, Conversation::group("show"), "room"),
        (1, Conversation { kind: 77, id: "show".into() }, "room"),
        (1, Conversation::room("a\nb"), "room"),
    ] {
        let mut connection = online();
        say(&mut connection, id, RoomJoin { room }).unwrap();
        let (refused, code, reason) = refusal(&mut connection).unwrap();
        assert!(refused == id && code == RefusalCode::INVALID && reason.contains(word), "{reason}");
        assert!(connection.events.is_empty() && connection.role.unanswered == 0);
    }
    let mut connection = online();
    for (id, name) in [(1, "a"), (1, "b"), (2, "a")] {
        say(&mut connection, id, join(name)).unwrap();
    }
    assert_eq!((connection.events.len(), connection.role.unanswered), (1, 1), "one id is one join, and one room too");
    assert!(refusal(&mut connection).unwrap().2.contains("asked") && refusal(&mut connection).is_some());
    connection.accept_join(PacketId(1)).unwrap();
    assert_eq!(connection.accept_join(PacketId(1)), Err(AnswerError::NotAsked));
    assert_eq!(connection.role.unanswered, 0);
    connection.role.answers.clear();
    // Who is in is told so again, and the application is not asked.
    say(&mut connection, 3, join("a")).unwrap();
    assert!(matches!(connection.role.answers.pop_front(), Some((3, Body::RoomJoined(_)))));
    say(&mut connection, 4, RoomLeave { room: Conversation::room("b") }).unwrap();
    assert_eq!(refusal(&mut connection).unwrap().1, RefusalCode::INVALID);
    assert_eq!(connection.events.len(), 1);
}

#[test]
fn a_stream_of_a_client_is_named_by_its_packet_id_and_has_no_holes() {
    use im_serial::body::{StreamDelta, StreamEnd, StreamOpen};
    let open = |stream| StreamOpen { stream, conversation: Conversation::group("team"), ..StreamOpen::default() };
    let delta = |offset, len| StreamDelta { stream: 7, offset, content: vec![0; len] };
    let opened = |change: fn(&mut ServerConfig)| {
        let mut connection = in_state(State::Online, change);
        say(&mut connection, 7, open(7)).unwrap();
        assert!(matches!(connection.events.pop_front(), Some(ServerEvent::StreamOpened { stream: PacketId(7), .. })));
        connection
    };
    for (id, stream) in [(0, 0), (8, 9), (7, 7)] {
        let mut connection = opened(|_| {});
        say(&mut connection, id, open(stream)).unwrap();
        assert_eq!(refusal(&mut connection).unwrap().1, RefusalCode::INVALID, "{id} {stream}");
        assert!(connection.events.is_empty());
    }
    for to in kinds() {
        let mut connection = online();
        say(&mut connection, 7, StreamOpen { stream: 7, conversation: to.clone(), ..StreamOpen::default() }).unwrap();
        assert_eq!(refusal(&mut connection).is_none(), matches!(to.kind, 1..=3), "{to}");
    }
    let ended = |connection: &mut Connection<Server>| match connection.events.pop_front() {
        Some(ServerEvent::StreamEnded { stream: PacketId(7), outcome }) => outcome,
        other => panic!("{other:?}"),
    };
    let end = |len| StreamEnd { stream: 7, len, ..StreamEnd::default() };
    for (bad, code, word) in [
        (Body::from(delta(1, 1)), RefusalCode::INVALID, "missing"),
        (delta(0, 32 * 1024 + 1).into(), RefusalCode::TOO_LARGE, "piece"),
        (end(5).into(), RefusalCode::INVALID, "length"),
    ] {
        let mut connection = opened(|_| {});
        say(&mut connection, 7, bad).unwrap();
        let (id, got, reason) = refusal(&mut connection).unwrap();
        assert!((id, got) == (7, code) && reason.contains(word), "{reason}");
        let want = if code == RefusalCode::INVALID { AbortReason::Other } else { AbortReason::Limit };
        assert_eq!(ended(&mut connection), StreamOutcome::Aborted(want));
        // What is still under way costs nobody anything.
        say(&mut connection, 7, delta(0, 9)).unwrap();
        say(&mut connection, 7, end(9)).unwrap();
        assert!(refusal(&mut connection).is_none() && connection.events.is_empty());
        assert_eq!(connection.core.stats.dropped_deltas, 1);
    }
}

#[test]
fn a_request_of_a_client_has_an_id_a_method_and_a_time() {
    use im_serial::body::{Refused, Request, Response};
    let request = || Request { method: "m".into(), timeout_ms: 1, ..Request::default() };
    for (id, body, code) in [
        (0, request(), RefusalCode::INVALID),
        (1, Request { method: "a\nb".into(), ..request() }, RefusalCode::INVALID),
        (1, Request { timeout_ms: 0, ..request() }, RefusalCode::INVALID),
        (1, Request { content: vec![0; 32 * 1024 + 1], ..request() }, RefusalCode::TOO_LARGE),
    ] {
        let mut connection = online();
        say(&mut connection, id, body).unwrap();
        let (refused, got, _) = refusal(&mut connection).unwrap();
        assert!((refused, got) == (id, code) && connection.events.is_empty());
    }
    let mut connection = online();
    say(&mut connection, 1, Request { timeout_ms: u32::MAX, ..request() }).unwrap();
    say(&mut connection, 1, request()).unwrap();
    assert_eq!(refusal(&mut connection).unwrap().1, RefusalCode::INVALID, "one id, one request");
    let hour = Some(Instant::default() + Duration::from_secs(3600));
    assert_eq!((connection.events.len(), connection.role.live().requests.due()), (1, hour));
    // Answers to nothing are counted and change nothing.
    say(&mut connection, 5, Response::default()).unwrap();
    say(&mut connection, 5, Refused::default()).unwrap();
    assert_eq!((connection.core.stats.late_responses, connection.events.len()), (2, 1));
}

#[test]
fn parts_that_are_none_are_refused_by_name() {
    use im_serial::body::SendSealed;
    let part = |user: &str, device: &str| {
        let mut bytes = vec![user.len() as u8];
        bytes.extend(user.bytes().chain([device.len() as u8]).chain(device.bytes()).chain([0, 0, 0, 1, 7]));
        bytes
    };
    let (alice, bob) = (part("alice", "a"), part("bob", "b"));
    let good = [alice.clone(), bob.clone()].concat();
    let say_parts = |id, parts| {
        let mut connection = online();
        let body = SendSealed { to: Conversation::private("bob"), content_type: 1, parts };
        say(&mut connection, id, body).unwrap();
        (refusal(&mut connection), connection)
    };
    for (parts, code, word) in [
        (Vec::new(), RefusalCode::INVALID, "no part"),
        ([bob.clone(), alice.clone()].concat(), RefusalCode::INVALID, "order"),
        ([alice.clone(), alice.clone()].concat(), RefusalCode::INVALID, "order"),
        (part("", "a"), RefusalCode::INVALID, "not valid"),
        (vec![5, b'x'], RefusalCode::INVALID, "cut short"),
        (vec![0; 32 * 1024 + 1], RefusalCode::TOO_LARGE, "limit"),
    ] {
        let (refused, connection) = say_parts(9, parts);
        let (id, got, reason) = refused.unwrap();
        assert!((id, got) == (9, code) && reason.contains(word), "{reason}");
        assert!(connection.events.is_empty() && connection.role.unanswered == 0);
    }
    assert_eq!(say_parts(0, good.clone()).0.unwrap().1, RefusalCode::INVALID);
    let (refused, connection) = say_parts(9, good);
    assert!(refused.is_none() && connection.role.unanswered == 1);
    assert!(
        matches!(connection.events.front(), Some(ServerEvent::Sealed(message)) if message.parts.iter().count() == 2)
    );
}
