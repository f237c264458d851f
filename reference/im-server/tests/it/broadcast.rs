//! What the service says to everybody.

use std::sync::Arc;

use crate::common::{TestServer, within};
use im_proto::{Entry, RefusalCode, content_type};
use im_server::BroadcastError;
use im_server::auth::OpenLoopback;
use im_server::store::ConversationKey;

#[tokio::test]
async fn everybody_hears_a_broadcast_once_and_who_was_away_finds_it() {
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| builder.broadcasts(["news".to_owned()]),
    )
    .await;
    let say = async |text: &str| server.server.broadcast("news", "service", content_type::TEXT, text.into()).await;
    let key = ConversationKey::new("b:news").unwrap();
    let mut here = Vec::new();
    for n in 0..5 {
        here.push(server.online(&format!("user {n}"), "phone").await);
    }
    let mut away = server.online("away", "phone").await;
    // They read it from their first login on, which is when they stand in the list.
    within(async {
        while server.store.members(&key, None, 9).await.unwrap().len() < 6 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    away.settled().await;
    drop(away);
    assert_eq!(say("first").await, Ok(1));
    let mut newcomer = server.online("newcomer", "phone").await;
    within(async {
        while server.store.member("newcomer", &key).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(say("second").await, Ok(2));
    here.push(server.online("away", "phone").await);
    for peer in &mut here {
        assert_eq!(peer.entry().await, (1, "service".into(), Entry::text("first")));
        assert_eq!(peer.entry().await, (2, "service".into(), Entry::text("second")));
    }
    assert_eq!(newcomer.entry().await, (2, "service".into(), Entry::text("second")));
    // What was acked does not come again.
    let mut first = here.swap_remove(0);
    first.settled().await;
    drop(first);
    let mut first = server.online("user 0", "phone").await;
    assert_eq!(say("third").await, Ok(3));
    assert_eq!(first.entry().await, (3, "service".into(), Entry::text("third")));

    let id = first.send_to(&im_proto::Conversation::broadcast("news"), "me too");
    assert_eq!(first.refused(id).await.0, RefusalCode::FORBIDDEN);
    let unknown = server.server.broadcast("other", "service", 1, Vec::new()).await;
    assert_eq!(unknown, Err(BroadcastError::Channel("other".into())));
    let long = server.server.broadcast("news", "service", 1, vec![0; 1 << 20]).await;
    assert!(matches!(long, Err(BroadcastError::Invalid(_))), "{long:?}");
}
