#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use super::mailbox::MAX_HINTS;
use super::*;
use futures_util::FutureExt;
use im_proto::RoomPost;

fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(DevicePolicy::default()))
}

fn join(hub: &Arc<Hub>, user: &str, device: &str) -> Membership {
    hub.join(&user.into(), &device.into(), DeviceKind(0), Instant::default()).unwrap()
}

/// What waits; nothing that is expected may have to be waited for.
fn mail(member: &Membership) -> Mail {
    member.mailbox.take().now_or_never().expect("no mail")
}

fn notify(hub: &Hub, user: &str, conversation: &Conversation, head: u64, except: &Arc<Mailbox>) {
    hub.notify(Place { user, conversation }, head, except);
}

#[test]
fn both_users_hear_of_a_message_but_not_the_session_that_stored_it() {
    let hub = hub();
    let (phone, desk) = (join(&hub, "alice", "phone"), join(&hub, "alice", "desk"));
    let bob = join(&hub, "bob", "phone");
    let to = Conversation::private("bob");
    notify(&hub, "alice", &to, 2, &phone.mailbox);
    notify(&hub, "alice", &to, 1, &phone.mailbox);
    assert_eq!(mail(&desk).heads, BTreeMap::from([(Conversation::private("bob"), 2)]));
    assert_eq!(mail(&bob).heads, BTreeMap::from([(Conversation::private("alice"), 2)]));
    assert!(phone.mailbox.lock().heads.is_empty());
}

#[test]
fn the_same_device_again_replaces_the_older_session_and_keeps_its_place() {
    let hub = hub();
    let older = join(&hub, "alice", "phone");
    let newer = join(&hub, "alice", "phone");
    assert_eq!(mail(&older).kicked.unwrap().0, im_proto::CloseCode::REPLACED);
    drop(older);
    notify(&hub, "alice", &Conversation::private("alice"), 1, &Arc::default());
    assert_eq!(mail(&newer).heads.len(), 1);
    drop(newer);
    assert!(hub.users.read().unwrap().is_empty());
}

#[test]
fn a_mailbox_holds_no_more_than_its_bounds_and_says_so() {
    let hub = hub();
    let bob = join(&hub, "bob", "phone");
    let to = Conversation::private("bob");
    for n in 0..=MAX_HINTS {
        let user = format!("user {n}");
        notify(&hub, &user, &to, 1, &Arc::default());
        hub.recalled(Place { user: &user, conversation: &to }, 1);
        hub.typing(Place { user: &user, conversation: &to }, true);
        let whose = Whose { conversation: Conversation::private(&*user), user: "x".into(), what: Receipt::Read };
        bob.mailbox.receipt(whose, 1, 1);
        bob.mailbox.post(RoomPost::new(&Conversation::room("r"), "x", 1, 1, 1, vec![0; 1024]).unwrap(), 1024);
    }
    for n in 0..MAX_HINTS {
        hub.typing(Place { user: &format!("other {n}"), conversation: &to }, true);
    }
    let mail = mail(&bob);
    assert!(mail.overflow && mail.recalls_lost && mail.receipts_lost);
    assert_eq!((mail.heads.len(), mail.recalled.len(), mail.receipts.len()), (MAX_HINTS, 256, 256));
    assert_eq!(mail.signals.len(), 512);
    let lost: u64 = mail.posts_lost.values().sum();
    assert_eq!((mail.posts.len(), lost), (170, MAX_HINTS as u64 + 1 - 170));
}

/// Every session of everybody, the one that recalled included: it may have fetched the message too.
#[test]
fn a_recall_is_for_all_sessions_of_the_conversation() {
    let hub = hub();
    let (phone, desk, bob) = (join(&hub, "alice", "phone"), join(&hub, "alice", "desk"), join(&hub, "bob", "b"));
    let to = Conversation::private("bob");
    hub.recalled(Place { user: "alice", conversation: &to }, 3);
    for member in [&phone, &desk] {
        assert_eq!(member.mailbox.take_recalls(), (vec![(to.clone(), 3)], false));
    }
    assert_eq!(mail(&bob).recalled, [(Conversation::private("alice"), 3)]);
}

#[test]
fn a_group_message_is_for_members_that_are_online_and_nobody_else() {
    let hub = hub();
    let (alice, bob, eve) = (join(&hub, "alice", "a"), join(&hub, "bob", "b"), join(&hub, "eve", "e"));
    let group = ConversationKey::new("g:team").unwrap();
    hub.enter_group(&group, "alice");
    assert!(bob.enter_groups(std::slice::from_ref(&group), bob.mailbox.removals()));
    hub.enter_group(&group, "offline");
    let to = Conversation::group("team");
    notify(&hub, "alice", &to, 3, &alice.mailbox);
    assert_eq!(mail(&bob).heads, BTreeMap::from([(to.clone(), 3)]));
    assert!(eve.mailbox.lock().heads.is_empty());
    let before = bob.mailbox.removals();
    hub.leave_group(&group, "bob");
    notify(&hub, "alice", &to, 4, &alice.mailbox);
    assert!(bob.mailbox.lock().heads.is_empty());
    // What was read before the removal must not bring bob back.
    assert!(!bob.enter_groups(&[group], before));
    drop((alice, bob));
    assert!(hub.groups.read().unwrap().is_empty());
}

#[test]
fn who_watches_is_told_of_changes_and_forgotten_with_the_session() {
    let hub = hub();
    let mut alice = join(&hub, "alice", "a");
    alice.watch("bob".into());
    let states = |mail: Mail| -> Vec<PresenceState> {
        let state = |signal| match signal {
            PeerSignal::Presence { state, .. } => state,
            other => panic!("{other:?}"),
        };
        mail.signals.into_iter().map(|(_, signal)| state(signal)).collect()
    };
    let (phone, desk) = (join(&hub, "bob", "phone"), join(&hub, "bob", "desk"));
    phone.set_presence(PresenceState::AWAY);
    desk.set_presence(PresenceState::BUSY);
    drop(desk);
    drop(phone);
    let seen = states(mail(&alice));
    use PresenceState as P;
    assert_eq!(seen, [P::OFFLINE, P::ONLINE, P::BUSY, P::AWAY, P::OFFLINE]);
    alice.enter_room("show".into());
    drop(alice);
    assert!(hub.watches.is_empty() && hub.rooms.is_empty());
}

#[test]
fn ten_thousand_in_a_room_share_one_message_each_once() {
    let hub = hub();
    let join = |n: usize| {
        let mut member = join(&hub, &format!("user {n}"), "phone");
        member.enter_room("show".into());
        member
    };
    let members: Vec<_> = (0..10_000).map(join).collect();
    for n in 0..5 {
        let post = RoomPost::new(&Conversation::room("show"), "x", n, 1, 1, vec![0; 1000]).unwrap();
        hub.rooms.post(&post, 1000);
    }
    for member in &members {
        let mail = mail(member);
        assert_eq!((mail.posts.len(), mail.posts_lost.len()), (5, 0));
    }
    drop(members);
    assert!(hub.rooms.is_empty() && hub.users.read().unwrap().is_empty());
}
