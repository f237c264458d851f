//! What a server may say to a client in each state, asked of the role itself.

use alloc::string::String;

use im_codec::MessageType;
use im_serial::Kind;

use super::*;
use crate::close::CloseCode;
use crate::config::Credentials;

fn in_state(state: State) -> Connection<Client> {
    let key = im_crypto::ServerKey::from_bytes([7; 32], &im_crypto::RUSTCRYPTO).unwrap();
    let alice = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
    let config = ClientConfig::new(&im_crypto::RUSTCRYPTO, key.public(), alice);
    let mut connection = Connection::client(config, 1).unwrap();
    connection.core.state = state;
    connection
}

fn say(connection: &mut Connection<Client>, body: impl Into<Body>) -> Result<(), Error> {
    let Connection { core, role, events } = connection;
    role.on_body(core, events, Instant::default(), 1, body.into())
}

fn empty(kind: Kind) -> Body {
    Body::from_record(kind, |_| Ok::<_, ()>(())).unwrap()
}

/// What a server may send once the client is online.
const OF_SERVERS: &[Kind] = &[
    Kind::Ticket,
    Kind::Epoch,
    Kind::Stored,
    Kind::Refused,
    Kind::Deliver,
    Kind::ReadBy,
    Kind::DeliveredTo,
    Kind::Typing,
    Kind::Presence,
    Kind::CallAnswer,
    Kind::CallNotice,
    Kind::RoomJoined,
    Kind::RoomLeft,
    Kind::RoomMessage,
    Kind::StreamOpen,
    Kind::StreamDelta,
    Kind::StreamEnd,
    Kind::Request,
    Kind::Response,
];

#[test]
fn before_the_login_is_accepted_a_server_may_accept_it_and_nothing_else() {
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::LoginOk) {
        let mut connection = in_state(State::LoggingIn);
        let got = MessageType(kind.code());
        assert_eq!(say(&mut connection, empty(kind)), Err(Error::Unexpected { got, state: State::LoggingIn }));
        assert!(connection.events.is_empty());
    }
}

#[test]
fn what_only_a_client_says_is_a_violation_that_names_the_packet() {
    for kind in Kind::ALL.iter().copied().filter(|kind| !OF_SERVERS.contains(kind)) {
        let mut connection = in_state(State::Online);
        let error = say(&mut connection, empty(kind)).unwrap_err();
        assert_eq!(error, Error::Unexpected { got: MessageType(kind.code()), state: State::Online });
        assert_eq!(error.close_code(), CloseCode::PROTOCOL);
    }
}

/// With every field empty: an error, or nothing that an application would have to look at.
#[test]
fn an_empty_body_of_every_kind_tells_the_application_nothing() {
    for kind in OF_SERVERS {
        let mut connection = in_state(State::Online);
        let _ = say(&mut connection, empty(*kind));
        assert!(connection.events.is_empty(), "{kind:?}: {:?}", connection.events);
    }
}

/// An answer to what was never asked, or was answered before, tells nothing.
#[test]
fn answers_that_nobody_waits_for_are_dropped() {
    let mut connection = in_state(State::Online);
    say(&mut connection, Refused { code: 3, ..Refused::default() }).unwrap();
    say(&mut connection, im_serial::body::CallAnswer { call: 7, phase: 1, ..Default::default() }).unwrap();
    assert!(connection.events.is_empty());
}
