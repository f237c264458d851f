//! The objects that the golden vectors hold, and the vectors. Written once; the tests of `im-serial-java` include this
//! file too, and then find the vectors in their own `tests/vectors`.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use im_serial::class::{Any, Declared, Record};
use im_serial::v1::*;

fn some(text: &str) -> Option<String> {
    Some(text.into())
}

fn boxed(record: impl Declared) -> Box<dyn Record> {
    Box::new(record)
}

fn chat() -> PChatMessage {
    PChatMessage {
        from: some("u1001"),
        to: some("u1002"),
        create_time: 1_700_000_000_123,
        content_type: 1,
        ..Default::default()
    }
}

/// A case that no Rust string can hold: half of a surrogate pair. Reading it must be a
/// [`Problem::BadString`](im_serial::Problem::BadString), where Java wrote it at all and not a `?`.
pub const LONE_SURROGATE: &str = "push_lone_surrogate";

/// The objects of `vectors/<format>/<case>.bin`, but for [`LONE_SURROGATE`].
pub fn cases() -> Vec<(&'static str, Box<dyn Record>)> {
    let digits = "0123456789";
    let alphabet = "abcdefghijklmnopqrstuvwxyz";
    vec![
        ("pchat_basic", boxed(PChatMessage { content: Some("hello, 你好".into()), ..chat() })),
        ("pchat_empty", boxed(PChatMessage::default())),
        (
            "pchat_routed",
            boxed(PChatMessage {
                content_type: -7,
                content: Some(vec![0x00, 0x01, 0x80, 0xff]),
                base: Message {
                    current_retry: 3,
                    target_server_address: some("10.0.0.2:8080"),
                    routing_tables: Some(vec![
                        Some(RoutingTable { server_address: some("10.0.0.1:8080"), ..Default::default() }),
                        Some(RoutingTable {
                            server_address: some("10.0.0.3:8080"),
                            pre_server_address: some("10.0.0.1:8080"),
                            routed_server_addresses: Some(vec![some("10.0.0.2:8080"), some("10.0.0.3:8080")]),
                        }),
                    ]),
                    is_delivery: true,
                },
                ..chat()
            }),
        ),
        (
            "pchat_emptylist",
            boxed(PChatMessage {
                from: some(""),
                content: Some(Vec::new()),
                base: Message { routing_tables: Some(Vec::new()), ..Default::default() },
                ..Default::default()
            }),
        ),
        (
            "pchat_nullelem",
            boxed(PChatMessage {
                base: Message {
                    routing_tables: Some(vec![
                        None,
                        Some(RoutingTable {
                            server_address: some("h:1"),
                            pre_server_address: None,
                            routed_server_addresses: Some(vec![None, some("x")]),
                        }),
                        Some(RoutingTable { routed_server_addresses: Some(Vec::new()), ..Default::default() }),
                    ]),
                    ..Default::default()
                },
                ..Default::default()
            }),
        ),
        (
            "gchat",
            boxed(GChatMessage {
                from: some("u1001"),
                to: some("g42"),
                content_type: 1,
                content: Some("hi all".into()),
                create_time: 1_700_000_000_123,
                ..Default::default()
            }),
        ),
        (
            "login_basic",
            boxed(LoginMessage {
                identity: some("u1001"),
                app_key: some("ouyu"),
                signature: some("5d41402abc4b2a76b9719d911017c592"),
                signature_algorithm: 1,
                is_open_heart_beat: true,
                heart_beat_read_timeout: 30,
                create_time: 1_700_000_000_123,
                ..Default::default()
            }),
        ),
        (
            "login_extreme",
            boxed(LoginMessage {
                identity: some(""),
                signature_algorithm: -1,
                heart_beat_read_timeout: i32::MIN,
                create_time: i64::MIN,
                ..Default::default()
            }),
        ),
        ("heartbeat", boxed(HeartBeatMessage { from: some("u1001"), content: some("PING"), ..Default::default() })),
        (
            "ack",
            boxed(AcknowledgeMessage {
                from: some("u1001"),
                to: some("u1002"),
                content: some("7130000000000000001"),
                create_time: 1_700_000_000_123,
                ..Default::default()
            }),
        ),
        (
            "push_unicode",
            boxed(PushMessage {
                from: some("张三"),
                to: some("a\0b"),
                content_type: 11,
                content: some("😀 emoji é €"),
                ..Default::default()
            }),
        ),
        (
            "push_200",
            boxed(PushMessage {
                from: some("u1001"),
                to: some("u1001"),
                content_type: 65536,
                content: Some(alphabet.chars().cycle().take(200).collect()),
                create_time: -1,
                ..Default::default()
            }),
        ),
        (
            "push_ascii40_64",
            boxed(PushMessage {
                from: Some(digits.repeat(4)),
                to: some("x"),
                content_type: 2048,
                content: Some(digits.repeat(6) + "abcd"),
                create_time: -262_145,
                ..Default::default()
            }),
        ),
    ]
}

/// The objects of `vectors/ouyu-bodies.tsv`.
pub fn tsv_cases() -> Vec<(&'static str, Box<dyn Record>)> {
    let base = 1_635_500_000_000;
    let heartbeat = |from: &str, to: &str, content: &str, base| {
        boxed(HeartBeatMessage { from: some(from), to: some(to), content: some(content), base })
    };
    vec![
        ("heartbeat_ping", heartbeat("654321", "", "PING", Message::default())),
        ("heartbeat_syn", heartbeat("10.0.0.1:6001", "10.0.0.2:6001", "SYN", Message::default())),
        (
            "heartbeat_ack_routed",
            heartbeat(
                "10.0.0.2:6001",
                "10.0.0.1:6001",
                "ACK",
                Message {
                    current_retry: 1,
                    target_server_address: some("10.0.0.1:6001"),
                    routing_tables: Some(vec![
                        Some(RoutingTable {
                            server_address: some("10.0.0.3:6001"),
                            pre_server_address: some("10.0.0.2:6001"),
                            routed_server_addresses: Some(vec![some("10.0.0.1:6001")]),
                        }),
                        Some(RoutingTable { server_address: some("10.0.0.4:6001"), ..Default::default() }),
                    ]),
                    is_delivery: true,
                },
            ),
        ),
        (
            "login",
            boxed(LoginMessage {
                identity: some("654321"),
                app_key: some("123456"),
                signature: some("0123456789abcdef0123456789abcdef"),
                signature_algorithm: 1,
                is_open_heart_beat: true,
                heart_beat_read_timeout: 15_000,
                create_time: base,
                ..Default::default()
            }),
        ),
        (
            "pchat",
            boxed(PChatMessage {
                from: some("654321"),
                to: some("123456"),
                create_time: base + 1,
                content_type: 1,
                content: Some("你好".into()),
                ..Default::default()
            }),
        ),
        (
            "gchat",
            boxed(GChatMessage {
                from: some("654321"),
                to: some("g1"),
                content_type: 2,
                content: Some(vec![0x00, 0x01, 0xff]),
                create_time: base + 2,
                ..Default::default()
            }),
        ),
        (
            "ack",
            boxed(AcknowledgeMessage {
                from: some("123456"),
                to: some("654321"),
                content: some("903456789012345678"),
                create_time: base + 3,
                ..Default::default()
            }),
        ),
        (
            "push_friend_req",
            boxed(PushMessage {
                from: some("654321"),
                to: some("123456"),
                content_type: 1,
                content: some("REQ"),
                create_time: base + 4,
                ..Default::default()
            }),
        ),
        ("response_fail", boxed(ResponseMessage { code: 500, data: Any(some("bad")), timestamp: base + 5 })),
        ("pchat_empty", boxed(PChatMessage::default())),
        (
            "pchat_negative",
            boxed(PChatMessage {
                from: some(""),
                create_time: -1,
                content_type: -1,
                content: Some(Vec::new()),
                base: Message { current_retry: -1, ..Default::default() },
                ..Default::default()
            }),
        ),
    ]
}

/// The bytes of `tests/vectors/<format>/<case>.bin`.
#[expect(clippy::disallowed_methods, reason = "a test reads its vectors")]
pub fn vector(format: &str, case: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/{format}/{case}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The bytes of `tests/vectors/ouyu-bodies.tsv` for a sample and serializer.
pub fn row(serializer: &str, sample: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/ouyu-bodies.tsv", env!("CARGO_MANIFEST_DIR"));
    let rows = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let hex = rows
        .lines()
        .find_map(|row| row.strip_prefix(sample)?.strip_prefix('\t')?.strip_prefix(serializer)?.strip_prefix('\t'))
        .unwrap_or_else(|| panic!("no row {sample} {serializer}"));
    unhex(hex)
}

/// The bytes of a hex text.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
