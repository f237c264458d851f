//! Requests and responses between two real ends, both ways: one answer, within its time, never sent again.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use std::time::Duration;

use im_proto::budget::{BudgetConfig, Rate};
use im_proto::*;
use im_sim::{Pair, configs};

const SECOND: Duration = Duration::from_secs(1);

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

fn request(content: &[u8]) -> Request {
    Request::new("files.put", content.to_vec(), 5 * SECOND)
}

fn later(pair: &mut Pair, by: Duration) {
    pair.now = pair.now + by;
    pair.client.handle_timeout(pair.now);
    pair.server.handle_timeout(pair.now);
    pair.settle();
}

#[test]
fn a_client_asks_and_the_application_answers_once() {
    let mut pair = online();
    let id = pair.client.request(pair.now, &request(b"name")).unwrap();
    pair.settle();
    let asked = ServerEvent::Request { packet_id: id, request: request(b"name") };
    assert_eq!(std::mem::take(&mut pair.server_events), [asked]);
    pair.server.respond(id, 200, b"done".to_vec()).unwrap();
    assert_eq!(pair.server.respond(id, 200, b"again".to_vec()), Err(AnswerError::NotAsked));
    assert_eq!(pair.server.refuse_request(id, RefusalCode::INVALID, "", None), Err(AnswerError::NotAsked));
    pair.settle();
    assert_eq!(pair.server.respond(id, 200, b"again".to_vec()), Err(AnswerError::NotAsked));
    let answered = ClientEvent::Response { packet_id: id, content_type: 200, content: b"done".to_vec() };
    assert_eq!(std::mem::take(&mut pair.client_events), [answered]);
    later(&mut pair, 10 * SECOND);
    assert_eq!(pair.client_events, [], "and no timeout behind it");
}

#[test]
fn a_server_asks_and_the_client_answers_or_refuses() {
    let mut pair = online();
    let ids = [(), (), ()].map(|()| pair.server.request(pair.now, &request(b"")).unwrap());
    pair.settle();
    assert_eq!(pair.client_events.len(), 3);
    pair.client.respond(ids[1], 0, b"yes".to_vec()).unwrap();
    pair.client.refuse_request(ids[0], RefusalCode::UNKNOWN_METHOD, "what?", Some(SECOND)).unwrap();
    pair.settle();
    let refused = RequestFailure::Refused {
        code: RefusalCode::UNKNOWN_METHOD,
        reason: "what?".into(),
        retry_after: Some(SECOND),
    };
    let want = [
        ServerEvent::Response { packet_id: ids[1], content_type: 0, content: b"yes".to_vec() },
        ServerEvent::RequestFailed { packet_id: ids[0], failure: refused },
    ];
    assert_eq!(std::mem::take(&mut pair.server_events), want);
    later(&mut pair, 5 * SECOND);
    let timeout = ServerEvent::RequestFailed { packet_id: ids[2], failure: RequestFailure::Timeout };
    assert_eq!(std::mem::take(&mut pair.server_events), [timeout]);
}

#[test]
fn a_request_without_an_answer_is_over_at_its_time_and_what_comes_later_is_counted() {
    let mut pair = online();
    let id = pair.client.request(pair.now, &request(b"")).unwrap();
    pair.settle();
    // The answer is under way when the time is over.
    pair.server.respond(id, 0, Vec::new()).unwrap();
    pair.transmit_server();
    let due = pair.client.poll_timeout().unwrap();
    assert_eq!(due, (pair.now + 5 * SECOND, Timer::Retry));
    pair.now = due.0;
    pair.client.handle_timeout(pair.now);
    pair.settle();
    let timeout = ClientEvent::RequestFailed { packet_id: id, failure: RequestFailure::Timeout };
    assert_eq!(std::mem::take(&mut pair.client_events), [timeout]);
    assert_eq!(pair.client.stats().late_responses, 1);

    let id = pair.client.request(pair.now, &request(b"")).unwrap();
    pair.settle();
    later(&mut pair, 5 * SECOND);
    assert_eq!(pair.server.respond(id, 0, Vec::new()), Err(AnswerError::NotAsked), "the server knows too");
    assert_eq!(pair.server.refuse_request(id, RefusalCode::INVALID, "", None), Err(AnswerError::NotAsked));
}

#[test]
fn a_request_that_did_not_get_out_in_its_time_is_not_sent_any_more() {
    let mut pair = online();
    let id = pair.client.request(pair.now, &request(b"")).unwrap();
    pair.now = pair.now + 5 * SECOND;
    pair.client.handle_timeout(pair.now);
    pair.settle();
    let timeout = ClientEvent::RequestFailed { packet_id: id, failure: RequestFailure::Timeout };
    assert_eq!((&pair.client_events[..], pair.server_events.len()), (&[timeout][..], 0));
}

#[test]
fn the_end_of_a_connection_leaves_requests_unknown_and_nobody_asks_again() {
    let mut pair = online();
    let own = pair.client.request(pair.now, &request(b"")).unwrap();
    let other = pair.server.request(pair.now, &request(b"")).unwrap();
    pair.settle();
    let waits = pair.client.request(pair.now, &request(b"")).unwrap();
    pair.client_events.clear();
    pair.client.handle_eof(pair.now);
    pair.server.handle_eof(pair.now);
    let failure = || RequestFailure::Unknown;
    let client: Vec<_> = std::iter::from_fn(|| pair.client.poll_event()).collect();
    let failed = |packet_id| ClientEvent::RequestFailed { packet_id, failure: failure() };
    assert_eq!(client[..2], [failed(own), failed(waits)]);
    let server: Vec<_> = std::iter::from_fn(|| pair.server.poll_event()).collect();
    assert_eq!(server[0], ServerEvent::RequestFailed { packet_id: other, failure: failure() });
    assert_eq!(pair.client.request(pair.now, &request(b"")), Err(RequestError::Offline));
    assert!(matches!(pair.client.respond(other, 0, Vec::new()), Err(AnswerError::State(State::Offline))));

    pair.client.connect(im_sim::entropy(6), pair.now).unwrap();
    pair.server = Connection::server(configs().1.into(), im_sim::entropy(5), pair.now).unwrap();
    pair.server_events.clear();
    pair.login();
    assert!(!pair.server_events.iter().any(|event| matches!(event, ServerEvent::Request { .. })));
    assert!(matches!(pair.client.respond(other, 0, Vec::new()), Err(AnswerError::NotAsked)), "of another connection");
}

#[test]
fn requests_are_bounded_both_ways_and_the_refusal_says_so() {
    let (mut client, mut server) = configs();
    client.requests_max = 4;
    server.requests_max = 2;
    let mut pair = Pair::online(client, server);
    let ids: Vec<_> = (0..4).map(|_| pair.client.request(pair.now, &request(b"")).unwrap()).collect();
    assert_eq!(pair.client.request(pair.now, &request(b"")), Err(RequestError::TooMany { max: 4 }));
    pair.settle();
    assert_eq!(pair.server_events.len(), 2);
    for id in &ids[2..] {
        let failed = pair.client_events.remove(0);
        let ClientEvent::RequestFailed { packet_id, failure: RequestFailure::Refused { code, reason, .. } } = failed
        else {
            panic!("{failed:?}")
        };
        assert!((packet_id, code) == (*id, RefusalCode::TOO_MANY) && reason.contains("too many"), "{reason}");
    }
    let large = pair.client.request(pair.now, &request(&[0; 32 * 1024 + 1]));
    assert_eq!(large, Err(RequestError::TooLarge { len: 32 * 1024 + 1, max: 32 * 1024 }));
    let too_large = AnswerError::TooLarge { len: 32 * 1024 + 1, max: 32 * 1024 };
    assert_eq!(pair.server.respond(ids[0], 0, vec![0; 32 * 1024 + 1]), Err(too_large));
    pair.server.respond(ids[0], 0, vec![0; 32 * 1024]).unwrap();
    pair.settle();
    assert!(
        matches!(pair.client_events.pop(), Some(ClientEvent::Response { content, .. }) if content.len() == 32 * 1024)
    );
    for bad in [
        Request::new("", vec![], SECOND),
        Request::new("a\nb", vec![], SECOND),
        Request::new("a", vec![], Duration::ZERO),
    ] {
        assert_eq!(pair.client.request(pair.now, &bad), Err(RequestError::Invalid));
    }
}

#[test]
fn requests_that_cannot_get_out_are_bounded_in_bytes() {
    let (mut client, mut server) = configs();
    client.requests_max = 4;
    (server.requests_max, server.request_bytes) = (1000, 20_000);
    let mut pair = Pair::online(client, server);
    let mut asked = 0_usize;
    while pair.server.request(pair.now, &request(&[0; 1000])).is_ok() {
        asked += 1;
    }
    assert_eq!(pair.server.request(pair.now, &request(&[0; 1000])), Err(RequestError::Blocked));
    assert!((10..20).contains(&asked), "{asked}");
    pair.settle();
    // The client takes 4 and refuses the rest by itself.
    let came = pair.client_events.iter().filter(|event| matches!(event, ClientEvent::Request { .. })).count();
    assert_eq!((came, pair.server_events.len()), (4, asked - 4));
    pair.server.request(pair.now, &request(&[0; 1000])).unwrap();
}

#[test]
fn requests_cost_the_budget_of_messages() {
    let (client, mut server) = configs();
    let messages = Rate::per_second(1, 2);
    server.budgets = Some(BudgetConfig { messages, ..BudgetConfig::default() });
    let mut pair = Pair::online(client, server);
    for _ in 0..3 {
        pair.client.request(pair.now, &request(b"")).unwrap();
    }
    pair.settle();
    assert_eq!(pair.server_events.len(), 2);
    let Some(ClientEvent::RequestFailed { failure: RequestFailure::Refused { code, retry_after, .. }, .. }) =
        pair.client_events.pop()
    else {
        panic!()
    };
    assert_eq!((code, retry_after), (RefusalCode::OVER_BUDGET, Some(SECOND)));
}

/// Both sides count from somewhere of their own; an answer never meets the other side's request.
#[test]
fn requests_of_both_sides_with_one_id_do_not_meet() {
    let mut pair = online();
    let from_server = pair.server.request(pair.now, &request(b"s")).unwrap();
    pair.settle();
    pair.client_events.clear();
    // The server's own id as the answer to a request that the client never sent.
    assert_eq!(pair.server.respond(from_server, 0, Vec::new()), Err(AnswerError::NotAsked));
    pair.client.respond(from_server, 0, b"c".to_vec()).unwrap();
    pair.settle();
    assert_eq!(pair.server_events.len(), 1);
    assert_eq!((pair.client.stats().late_responses, pair.server.stats().late_responses), (0, 0));
}
