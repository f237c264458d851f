//! Every handshake, a resumption and a RETRY with fixed entropy, byte for byte as in `docs/spec/vectors/handshake.json`.
//! After a meant change: `UPDATE_VECTORS=1 cargo test -p im-crypto --all-features --test golden_handshake`.
#![cfg(feature = "pq")]

mod common;

use common::golden::{Golden, transcripts};
use im_crypto::RUSTCRYPTO;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/vectors/handshake.json");

#[test]
fn golden_handshakes() {
    let actual = transcripts(&RUSTCRYPTO);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&actual).unwrap();
        text.push('\n');
        #[expect(clippy::disallowed_methods, reason = "the one test that writes the vectors")]
        std::fs::write(PATH, text).unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "the vectors are a file of the specification")]
    let read = std::fs::read(PATH).unwrap();
    let expected: Vec<Golden> = serde_json::from_slice(&read).unwrap();
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual, expected, "{}", actual.name);
    }
    assert_eq!(actual.len(), expected.len());
}
