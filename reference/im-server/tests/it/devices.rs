//! How many devices of a user may be online, and what those are told that have to go.

use std::sync::Arc;

use crate::common::{Peer, TestServer};
use im_proto::policy::{AtLimit, SameDevice};
use im_proto::{CloseCode, Closed};
use im_server::auth::OpenLoopback;
use im_server::{DeviceKind, DevicePolicy};

async fn with(policy: DevicePolicy) -> TestServer {
    let kind = |device: &str| DeviceKind(u8::from(device.starts_with("phone")));
    TestServer::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), |builder| builder.devices(policy, kind))
        .await
}

async fn is_closed(peer: &mut Peer, code: CloseCode, word: &str) {
    let Closed { code: got, reason, .. } = peer.closed().await;
    assert!(got == code && reason.contains(word), "{got}: {reason}");
}

#[tokio::test]
async fn the_oldest_device_goes_where_there_are_too_many() {
    let server = with(DevicePolicy { total: 2, ..DevicePolicy::default() }).await;
    let mut first = server.online("alice", "1").await;
    let mut second = server.online("alice", "2").await;
    let mut third = server.online("alice", "3").await;
    is_closed(&mut first, CloseCode::DEVICE_LIMIT, "at most 2 devices").await;
    // The same device again takes its own place and no other's.
    let mut again = server.online("alice", "3").await;
    is_closed(&mut third, CloseCode::REPLACED, "elsewhere").await;
    second.settled().await;
    again.settled().await;
    let mut bob = server.online("bob", "1").await;
    bob.settled().await;
}

#[tokio::test]
async fn a_kind_has_a_limit_of_its_own() {
    let server = with(DevicePolicy { of_kind: [(DeviceKind(1), 1)].into(), ..DevicePolicy::default() }).await;
    let mut desk = server.online("alice", "desk").await;
    let mut old = server.online("alice", "phone 1").await;
    let mut new = server.online("alice", "phone 2").await;
    is_closed(&mut old, CloseCode::DEVICE_LIMIT, "of this kind").await;
    desk.settled().await;
    new.settled().await;
}

#[tokio::test]
async fn a_strict_policy_refuses_the_new_device() {
    let policy = DevicePolicy {
        total: 1,
        at_limit: AtLimit::Refuse,
        same_device: SameDevice::Refuse,
        ..DevicePolicy::default()
    };
    let server = with(policy).await;
    let mut first = server.online("alice", "1").await;
    for (device, word) in [("2", "at most 1 devices"), ("1", "elsewhere")] {
        let mut other = server.tcp("alice", device).await;
        is_closed(&mut other, CloseCode::LOGIN_REFUSED, word).await;
    }
    first.settled().await;
}
