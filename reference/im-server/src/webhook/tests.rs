//! Signatures against the specification's own verifier, bodies, and the order of lanes.

use std::time::Duration;

use tokio::time::Instant;

use super::lanes::Lanes;
use super::sign::{Secret, signature};
use super::{WebhookError, Webhooks, payload};
use crate::hooks::service_device;
use crate::store::{ConversationKey, EntryKind, OutboxEvent, StoredEntry};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_c29tZSBvdGhlciBzZWNyZXQgb2Ygb3Vycw==";

#[test]
fn signatures_are_those_of_the_specification() {
    // The example of the specification.
    let body = br#"{"test": 2432232314}"#;
    let secrets = [Secret::parse(SECRET).ok().unwrap()];
    let signed = signature(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let both = [Secret::parse(SECRET).ok().unwrap(), Secret::parse(OTHER).ok().unwrap()];
    let signed = signature(&both, "msg_1", 1, body);
    assert_eq!(signed.split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
}

#[test]
fn addresses_and_secrets_that_are_none_are_refused_and_secrets_not_shown() {
    for url in ["", "app.example", "ftp://app.example/", "https:///x", "https://u:p@app.example/", "/im"] {
        assert_eq!(Webhooks::new(url, SECRET).unwrap_err(), WebhookError::Url(url.into()), "{url}");
    }
    for secret in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!!!!"] {
        let error = Webhooks::new("https://app.example/im?x=1", secret).unwrap_err();
        assert!(error == WebhookError::Secret && !error.to_string().contains("c2hvcnQ"), "{error}");
    }
    let good = Webhooks::new("http://[::1]:80/", SECRET).unwrap();
    assert!(!format!("{good:?}").contains("MfKQ") && !good.is_secure());
    assert!(matches!(good.authorities(b"nothing"), Err(WebhookError::Authorities(_))));
}

fn entry(kind: EntryKind, content: &[u8]) -> StoredEntry {
    StoredEntry {
        seq: 3,
        message_id: 1 << 60,
        time_ms: 1_709_251_199_042,
        from: "ann".into(),
        device: "phone".into(),
        packet_id: 1,
        kind,
        recalled: false,
        content_type: 1,
        content: content.to_vec(),
    }
}

#[test]
fn a_body_says_what_happened_and_shows_content_only_where_it_may() {
    let chat = ConversationKey::new("p:3:ann:bob").unwrap();
    let body = |entry: &StoredEntry, content| -> serde_json::Value {
        serde_json::from_slice(&payload::body(&chat, entry, content).unwrap()).unwrap()
    };
    let said = body(&entry(EntryKind::Message, b"hi"), true);
    assert_eq!(
        said,
        serde_json::json!({
            "type": "message.stored",
            "timestamp": "2024-02-29T23:59:59.042Z",
            "data": {
                "message_id": "1152921504606846976",
                "conversation": {"kind": "private", "id": "bob"},
                "seq": 3, "from": "ann", "device": "phone", "sealed": false, "recalled": false,
                "content_type": 1, "content": "hi",
            },
        })
    );
    let pushed = StoredEntry { device: service_device("shop", "order-7"), ..entry(EntryKind::Message, b"hi") };
    let pushed = body(&pushed, true);
    assert_eq!((&pushed["data"]["service"], pushed["data"].get("device")), (&"shop".into(), None));
    assert!(!pushed.to_string().contains("u0001"), "{pushed}");
    let edit = body(&entry(EntryKind::Edit { about: 2 }, b"\xff"), true);
    assert_eq!((&edit["type"], &edit["data"]["about"]), (&"message.edited".into(), &2.into()));
    assert_eq!((&edit["data"]["content_base64"], edit["data"].get("content")), (&"/w==".into(), None));
    let recalled = StoredEntry { recalled: true, ..entry(EntryKind::Message, b"hi") };
    for (entry, content) in
        [(entry(EntryKind::Sealed, b"hi"), true), (recalled, true), (entry(EntryKind::Message, b"hi"), false)]
    {
        let shown = body(&entry, content).to_string();
        assert!(!shown.contains("\"content\"") && !shown.contains("base64"), "{shown}");
    }
}

#[test]
fn a_lane_has_one_event_under_way_and_those_that_wait_do_not_hold_others() {
    let event = |number: u64, name: &str| OutboxEvent {
        number,
        conversation: ConversationKey::new(name).unwrap(),
        seq: number,
        message_id: number,
        since_ms: 0,
    };
    let now = Instant::now();
    let mut lanes = Lanes::default();
    for (number, name) in [(1, "a"), (2, "a"), (3, "b")] {
        lanes.push(event(number, name));
    }
    let next = |lanes: &mut Lanes, at| lanes.next(at).map(|event| event.number);
    assert_eq!((next(&mut lanes, now), next(&mut lanes, now), next(&mut lanes, now)), (Some(1), Some(3), None));
    let (a, b) = (event(1, "a").conversation, event(1, "b").conversation);
    let later = now + Duration::from_secs(1);
    assert_eq!((lanes.failed(&a), lanes.failed(&a)), (0, 1));
    lanes.again(a.clone(), later);
    lanes.done(&b);
    lanes.push(event(4, "b"));
    assert_eq!((next(&mut lanes, now), next(&mut lanes, now), lanes.due()), (Some(4), None, Some(later)));
    assert_eq!(next(&mut lanes, later), Some(1));
    lanes.done(&a);
    assert_eq!((next(&mut lanes, later), lanes.failed(&a), lanes.held()), (Some(2), 0, 2));
}
