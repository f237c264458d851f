use super::*;
use alloc::format;
use alloc::vec;
use im_crypto::{RUSTCRYPTO, ServerKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

fn entropy(seed: u64) -> Entropy {
    Entropy::from_rng(&mut ChaCha20Rng::seed_from_u64(seed)).unwrap()
}

fn endpoint(config: EndpointConfig) -> Endpoint {
    let server = ServerConfig::new(&RUSTCRYPTO, ServerKey::from_bytes([7; 32], &RUSTCRYPTO).unwrap());
    Endpoint::new(config, Arc::new(server), entropy(1))
}

const fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

fn accept(endpoint: &mut Endpoint, address: u8) -> Result<Handle, AdmissionError> {
    let arrival = Arrival { address: vec![address], ..Arrival::at(1_800_000_000) };
    endpoint.accept(at(0), arrival, entropy(2)).map(|(handle, _)| handle)
}

fn admit(endpoint: &mut Endpoint, secs: u64, handle: Handle, device: &str) -> Vec<Handle> {
    let kicks = endpoint.admit(at(secs), handle, "alice", device, DeviceKind(0)).unwrap();
    kicks.into_iter().map(|(handle, _)| handle).collect()
}

/// What has to hold at any time.
fn check(endpoint: &Endpoint) {
    let entries = endpoint.connections.values();
    assert_eq!(endpoint.handshakes, entries.clone().filter(|entry| entry.owner.is_none()).count());
    assert_eq!(endpoint.reported, entries.clone().map(|entry| entry.reported).sum::<u64>());
    assert_eq!(
        endpoint.addresses.values().sum::<usize>(),
        entries.clone().filter(|entry| !entry.address.is_empty()).count()
    );
    let here = entries.filter(|entry| entry.owner.as_ref().is_some_and(|owner| !owner.kicked)).count();
    assert_eq!(endpoint.users.values().map(BTreeSet::len).sum::<usize>(), here);
    let ended = endpoint.sessions.values().filter(|session| session.held.is_err()).count();
    assert_eq!(endpoint.ended.len(), ended);
}

#[test]
fn each_limit_refuses_by_name_and_lets_in_again_when_there_is_room() {
    let config =
        EndpointConfig { max_handshakes: 3, max_per_address: 2, max_bytes: 5 * IDLE_BYTES, ..Default::default() };
    let mut endpoint = endpoint(config);
    let first = accept(&mut endpoint, 1).unwrap();
    accept(&mut endpoint, 1).unwrap();
    let error = accept(&mut endpoint, 1).unwrap_err();
    assert_eq!((error, error.close_code()), (AdmissionError::Address { max: 2 }, CloseCode::BUSY));
    accept(&mut endpoint, 2).unwrap();
    assert_eq!(accept(&mut endpoint, 3), Err(AdmissionError::Handshakes { max: 3 }));
    assert!(admit(&mut endpoint, 1, first, "phone").is_empty());
    accept(&mut endpoint, 3).unwrap();
    let error = accept(&mut endpoint, 4).unwrap_err();
    assert_eq!(error, AdmissionError::Handshakes { max: 3 }, "the one that logged in does not count");
    endpoint.ended(at(2), first);
    check(&endpoint);
    assert_eq!((endpoint.len(), endpoint.bytes()), (3, 3 * IDLE_BYTES));

    endpoint.config.max_handshakes = 9;
    accept(&mut endpoint, 5).unwrap();
    accept(&mut endpoint, 5).unwrap();
    let error = accept(&mut endpoint, 6).unwrap_err();
    assert_eq!(error, AdmissionError::Memory { used: 5 * IDLE_BYTES, max: 5 * IDLE_BYTES });
    check(&endpoint);
}

#[test]
fn over_the_budget_who_holds_most_has_to_go() {
    let mut endpoint = endpoint(EndpointConfig { max_bytes: 100_000, ..Default::default() });
    let handles: Vec<_> = (0..3).map(|n| accept(&mut endpoint, n).unwrap()).collect();
    assert_eq!(endpoint.report(handles[0], 20_000), None);
    assert_eq!(endpoint.report(handles[1], 50_000), None);
    let (most, event) = endpoint.report(handles[2], 20_000).unwrap();
    assert_eq!((most, event.code), (handles[1], CloseCode::BUSY));
    endpoint.ended(at(1), most);
    assert_eq!(endpoint.report(handles[2], 10), None);
    assert_eq!(endpoint.bytes(), 2 * IDLE_BYTES + 20_010);
    check(&endpoint);
}

#[test]
fn a_device_has_one_session_which_its_late_end_does_not_take_along() {
    let mut endpoint = endpoint(EndpointConfig { keep_sessions: Duration::from_secs(10), ..Default::default() });
    let old = accept(&mut endpoint, 1).unwrap();
    assert!(admit(&mut endpoint, 0, old, "phone").is_empty());
    endpoint.set_session(old, 7);
    assert!(endpoint.may_resume("alice", "phone", 7));
    assert!(!endpoint.may_resume("alice", "desk", 7) && !endpoint.may_resume("alice", "phone", 0));

    let new = accept(&mut endpoint, 1).unwrap();
    assert_eq!(admit(&mut endpoint, 1, new, "phone"), [old]);
    endpoint.set_session(new, 8);
    assert_eq!(endpoint.connections_of("alice").collect::<Vec<_>>(), [new]);
    endpoint.ended(at(2), old);
    check(&endpoint);
    assert!(endpoint.may_resume("alice", "phone", 8) && !endpoint.may_resume("alice", "phone", 7));

    endpoint.ended(at(3), new);
    assert!(endpoint.may_resume("alice", "phone", 8));
    let other = accept(&mut endpoint, 1).unwrap();
    endpoint.ended(at(13), other);
    assert!(!endpoint.may_resume("alice", "phone", 8), "for ten seconds");
    assert!(endpoint.sessions.is_empty());
    check(&endpoint);
}

#[test]
fn kept_sessions_are_bounded_and_the_oldest_goes() {
    let mut endpoint = endpoint(EndpointConfig { max_sessions: 2, ..Default::default() });
    for n in 0..4 {
        let handle = accept(&mut endpoint, 1).unwrap();
        assert!(admit(&mut endpoint, n, handle, &format!("device {n}")).is_empty());
        endpoint.set_session(handle, n + 1);
        endpoint.ended(at(n), handle);
        check(&endpoint);
    }
    let known = |n: u64| endpoint.may_resume("alice", &format!("device {n}"), n + 1);
    assert_eq!([known(0), known(1), known(2), known(3)], [false, false, true, true]);
}

#[test]
fn the_policy_kicks_or_refuses_and_a_ticket_is_good_once() {
    let devices = DevicePolicy { total: 2, ..Default::default() };
    let mut endpoint = endpoint(EndpointConfig { devices, ..Default::default() });
    let handles: Vec<_> = (0..4).map(|n| accept(&mut endpoint, n).unwrap()).collect();
    assert!(admit(&mut endpoint, 1, handles[0], "a").is_empty());
    assert!(admit(&mut endpoint, 2, handles[1], "b").is_empty());
    assert_eq!(admit(&mut endpoint, 3, handles[2], "c"), [handles[0]]);
    check(&endpoint);
    endpoint.config.devices.at_limit = crate::policy::AtLimit::Refuse;
    let refused = endpoint.admit(at(4), handles[3], "alice", "d", DeviceKind(0)).unwrap_err();
    assert_eq!((refused.code, &*refused.reason), (CloseCode::LOGIN_REFUSED, "at most 2 devices may be online"));
    assert_eq!(endpoint.connections_of("alice").count(), 2);
    for handle in handles {
        endpoint.ended(at(5), handle);
        endpoint.ended(at(5), handle);
        check(&endpoint);
    }
    assert!(endpoint.is_empty() && endpoint.users.is_empty() && endpoint.addresses.is_empty());
    let ticket = TicketUse { id: [1; 16], expires: 2_000, now: 1_000 };
    assert!(endpoint.spend(&ticket) && !endpoint.spend(&ticket));
}
