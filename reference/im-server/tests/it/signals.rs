//! What is said and never stored: typing, presence, calls.

use std::sync::Arc;

use crate::common::{Peer, TestServer};
use im_proto::call::{
    CallId, CallRefusal, CallSignal, Device, DeviceState, EndReason, GroupSignal, Media, Notice, Payload, Phase,
    PrivateSignal,
};
use im_proto::{ClientEvent, Conversation, PeerSignal, PresenceState, RefusalCode, Signal};
use im_server::auth::OpenLoopback;
use im_server::store::Standing;
use im_server::{Answer, Directory};

fn typing(conversation: &Conversation, on: bool) -> Signal {
    Signal::Typing { conversation: conversation.clone(), on }
}

#[tokio::test]
async fn typing_is_seen_by_the_others_of_the_conversation() {
    let server = TestServer::start().await;
    server.server.groups().create("team", "alice").await.unwrap();
    server.server.groups().add_all("team", ["bob", "carol"]).await.unwrap();
    let mut alice = server.online("alice", "phone").await;
    let (mut phone, mut desk) = (server.online("bob", "phone").await, server.online("bob", "desk").await);
    let mut carol = server.online("carol", "phone").await;
    // Their places in the group are taken when this is answered.
    for peer in [&mut alice, &mut phone, &mut desk, &mut carol] {
        peer.connection.signal(Signal::Watch { user: "nobody".into(), on: true }).unwrap();
        assert!(matches!(peer.signal().await, PeerSignal::Presence { state: PresenceState::OFFLINE, .. }));
    }
    alice.connection.signal(typing(&Conversation::private("bob"), true)).unwrap();
    alice.flush().await;
    let expected = PeerSignal::Typing { conversation: Conversation::private("alice"), user: "alice".into(), on: true };
    assert_eq!(phone.signal().await, expected);
    assert_eq!(desk.signal().await, expected);
    let team = Conversation::group("team");
    alice.connection.signal(typing(&team, false)).unwrap();
    alice.flush().await;
    let expected = PeerSignal::Typing { conversation: team.clone(), user: "alice".into(), on: false };
    for peer in [&mut phone, &mut desk, &mut carol] {
        assert_eq!(peer.signal().await, expected);
    }
    phone.connection.signal(typing(&team, true)).unwrap();
    phone.flush().await;
    let expected = PeerSignal::Typing { conversation: team, user: "bob".into(), on: true };
    assert_eq!(alice.signal().await, expected);
}

async fn presence(peer: &mut Peer) -> (String, PresenceState, u64) {
    match peer.signal().await {
        PeerSignal::Presence { user, state, seen_ms } => (user, state, seen_ms),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_watches_is_told_of_presence_now_and_from_now_on() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    alice.connection.signal(Signal::Watch { user: "bob".into(), on: true }).unwrap();
    let told = |state| ("bob".to_owned(), state, 0);
    assert_eq!(presence(&mut alice).await, told(PresenceState::OFFLINE));
    let mut phone = server.online("bob", "phone").await;
    assert_eq!(presence(&mut alice).await, told(PresenceState::ONLINE));
    phone.connection.signal(Signal::Presence(PresenceState::AWAY)).unwrap();
    phone.flush().await;
    assert_eq!(presence(&mut alice).await, told(PresenceState::AWAY));
    // A second device is there and wants not to be disturbed.
    let mut desk = server.online("bob", "desk").await;
    assert_eq!(presence(&mut alice).await, told(PresenceState::ONLINE));
    desk.connection.signal(Signal::Presence(PresenceState::BUSY)).unwrap();
    desk.flush().await;
    assert_eq!(presence(&mut alice).await, told(PresenceState::BUSY));
    drop(desk);
    assert_eq!(presence(&mut alice).await, told(PresenceState::AWAY));
    alice.connection.signal(Signal::Watch { user: "bob".into(), on: false }).unwrap();
    alice.settled().await;
    drop(phone);
    alice.connection.signal(Signal::Watch { user: "carol".into(), on: true }).unwrap();
    assert_eq!(presence(&mut alice).await.0, "carol", "bob is watched no more");
}

/// Lets nobody look at bob, write to him, or into a room.
struct Shy;

impl Directory for Shy {
    fn member<'a>(&'a self, _group: &'a str, _user: &'a str) -> Answer<'a, Option<Standing>> {
        Box::pin(async { Ok(None) })
    }

    fn may_write<'a>(&'a self, _user: &'a str, other: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(other != "bob") })
    }

    fn may_watch<'a>(&'a self, _user: &'a str, other: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(other != "bob") })
    }

    fn may_join<'a>(&'a self, _user: &'a str, room: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(room != "backstage") })
    }
}

#[tokio::test]
async fn what_the_directory_does_not_allow_is_refused_by_name() {
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| builder.directory(Arc::new(Shy)),
    )
    .await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let id = alice.connection.signal(Signal::Watch { user: "bob".into(), on: true }).unwrap();
    let (code, reason) = alice.refused(id).await;
    assert!(code == RefusalCode::FORBIDDEN && reason.contains("presence"), "{code}: {reason}");
    let id = alice.connection.signal(typing(&Conversation::private("bob"), true)).unwrap();
    assert_eq!(alice.refused(id).await.0, RefusalCode::FORBIDDEN);
    let id = alice.connection.join_room(&Conversation::room("backstage")).unwrap();
    assert_eq!(alice.refused(id).await.0, RefusalCode::FORBIDDEN);
    let invite = PrivateSignal::Invite { callee: "bob".into(), media: Media::Voice, offer: Payload(vec![1]) };
    let id = alice.connection.signal(Signal::Call { call: CallId(1), signal: CallSignal::Private(invite) }).unwrap();
    assert_eq!(alice.refused(id).await.0, RefusalCode::FORBIDDEN);
    // Bob heard nothing of all that.
    bob.connection.signal(Signal::Watch { user: "alice".into(), on: true }).unwrap();
    assert_eq!(presence(&mut bob).await.0, "alice");
}

async fn call(peer: &mut Peer, signal: PrivateSignal) -> Phase {
    answer(peer, CallSignal::Private(signal)).await.unwrap()
}

async fn answer(peer: &mut Peer, signal: CallSignal) -> Result<Phase, CallRefusal> {
    let id = peer.connection.signal(Signal::Call { call: CallId(7), signal }).unwrap();
    let answered = peer.until(|event| match event {
        ClientEvent::CallAnswered { packet_id, result, .. } if packet_id == id => Some(result),
        _ => None,
    });
    answered.await.map(|state| state.phase)
}

async fn notice(peer: &mut Peer) -> Notice {
    match peer.signal().await {
        PeerSignal::Call { call: CallId(7), notice } => notice,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_rings_on_all_devices_and_is_taken_by_one() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let (mut phone, mut desk) = (server.online("bob", "phone").await, server.online("bob", "desk").await);
    let payload = |byte| Payload(vec![byte; 9]);
    let invite = PrivateSignal::Invite { callee: "bob".into(), media: Media::Video, offer: payload(1) };
    assert_eq!(call(&mut alice, invite).await, Phase::Ringing);
    for peer in [&mut phone, &mut desk] {
        let from = Device::new("alice", "phone");
        assert_eq!(notice(peer).await, Notice::Invite { from, media: Media::Video, offer: payload(1) });
    }
    assert_eq!(call(&mut phone, PrivateSignal::Accept { answer: payload(2) }).await, Phase::Connected);
    assert_eq!(notice(&mut alice).await, Notice::Accepted { by: Device::new("bob", "phone"), answer: payload(2) });
    assert_eq!(notice(&mut desk).await, Notice::AnsweredElsewhere);
    assert_eq!(call(&mut alice, PrivateSignal::Candidate(payload(3))).await, Phase::Connected);
    assert_eq!(notice(&mut phone).await, Notice::Candidate(payload(3)));
    assert_eq!(call(&mut phone, PrivateSignal::HangUp).await, Phase::Ended(EndReason::HungUp));
    assert_eq!(notice(&mut alice).await, Notice::Ended(EndReason::HungUp));
}

#[tokio::test]
async fn a_call_of_a_group_is_for_its_members() {
    let server = TestServer::start().await;
    server.server.groups().create("team", "alice").await.unwrap();
    server.server.groups().add_all("team", ["bob", "carol"]).await.unwrap();
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let mut eve = server.online("eve", "phone").await;
    let state = DeviceState { camera: false, microphone: true };
    let setup = |invite: &[&str]| {
        let invite = invite.iter().map(|user| (*user).to_owned()).collect();
        CallSignal::Group(GroupSignal::Setup { group: "team".into(), media: Media::Voice, invite, state })
    };
    assert_eq!(answer(&mut eve, setup(&["bob"])).await, Err(CallRefusal::NotMember));
    assert_eq!(answer(&mut alice, setup(&["bob", "eve"])).await, Err(CallRefusal::NotMember));
    assert_eq!(answer(&mut alice, setup(&["bob"])).await, Ok(Phase::Ringing));
    let invited =
        Notice::GroupInvite { group: "team".into(), from: Device::new("alice", "phone"), media: Media::Voice };
    assert_eq!(notice(&mut bob).await, invited);
    assert_eq!(answer(&mut bob, CallSignal::Group(GroupSignal::Accept(state))).await, Ok(Phase::Connected));
    assert_eq!(notice(&mut alice).await, Notice::Joined { who: Device::new("bob", "phone"), state });
    assert_eq!(answer(&mut eve, CallSignal::Group(GroupSignal::Join(state))).await, Err(CallRefusal::NotMember));
    assert_eq!(answer(&mut bob, CallSignal::Group(GroupSignal::Quit)).await.map(drop), Ok(()));
}
