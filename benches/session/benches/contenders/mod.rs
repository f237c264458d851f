//! What is compared.

pub(crate) mod mqtt;
pub(crate) mod ours;
pub(crate) mod quic;

use im_crypto_aws_lc::AWS_LC;
use im_proto::RUSTCRYPTO;

/// Messages that are under way at once: the session's default `send_max`.
pub(crate) const WINDOW: usize = 64;
/// Bytes of a message's content.
pub(crate) const CONTENT: usize = 128;

/// Two ends that bring [`WINDOW`] messages from one to the other, with their acks.
pub(crate) trait Contender {
    fn batch(&mut self);
}

/// A name, and how to make it.
type Entry = (&'static str, fn() -> Box<dyn Contender>);

pub(crate) const CONTENDERS: &[Entry] = &[
    ("im-proto, client to server, each stored", || Box::new(ours::Up::new(&RUSTCRYPTO))),
    ("im-proto, server to client, acked", || Box::new(ours::Down::new(&RUSTCRYPTO))),
    ("im-proto with aws-lc, client to server, each stored", || Box::new(ours::Up::new(&AWS_LC))),
    ("im-proto with aws-lc, server to client, acked", || Box::new(ours::Down::new(&AWS_LC))),
    ("mqtt-protocol-core, QoS 1, not encrypted", || Box::new(mqtt::Qos1::new())),
    ("quinn-proto, one stream for all, answers of 16 bytes", || Box::new(quic::OneStream::new(true))),
    ("quinn-proto, one stream for all, no answers", || Box::new(quic::OneStream::new(false))),
    ("quinn-proto, a stream for each message with its answer", || Box::new(quic::StreamEach::new())),
];
