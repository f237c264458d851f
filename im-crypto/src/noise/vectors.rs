//! Every published vector for X25519 and SHA-256, both roles, and what a broken message does to the state.

use std::{boxed::Box, format, string::String, sync::Arc, vec, vec::Vec};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    Config, HandshakeState, Keypair, NoiseError, Role, by_id,
    pattern::{PATTERNS, Pattern, Token},
};
use crate::{HandshakeId, RUSTCRYPTO, SuiteId, provider::Secret};

/// The interactive and one-way patterns in the notation of Noise rev 34, sections 7.4, 7.5 and appendix 18.1.
const SPECIFICATION: &str = "
N: <- s ... -> e, es
K: -> s, <- s ... -> e, es, ss
X: <- s ... -> e, es, s, ss
NN: -> e, <- e, ee
NK: <- s ... -> e, es <- e, ee
NX: -> e <- e, ee, s, es
XN: -> e <- e, ee -> s, se
XK: <- s ... -> e, es <- e, ee -> s, se
XX: -> e <- e, ee, s, es -> s, se
KN: -> s ... -> e <- e, ee, se
KK: -> s <- s ... -> e, es, ss <- e, ee, se
KX: -> s ... -> e <- e, ee, se, s, es
IN: -> e, s <- e, ee, se
IK: <- s ... -> e, es, s, ss <- e, ee, se
IX: -> e, s <- e, ee, se, s, es
NK1: <- s ... -> e <- e, ee, es
NX1: -> e <- e, ee, s -> es
X1N: -> e <- e, ee -> s <- se
X1K: <- s ... -> e, es <- e, ee -> s <- se
XK1: <- s ... -> e <- e, ee, es -> s, se
X1K1: <- s ... -> e <- e, ee, es -> s <- se
X1X: -> e <- e, ee, s, es -> s <- se
XX1: -> e <- e, ee, s -> es, s, se
X1X1: -> e <- e, ee, s -> es, s <- se
K1N: -> s ... -> e <- e, ee -> se
K1K: -> s <- s ... -> e, es <- e, ee -> se
KK1: -> s <- s ... -> e <- e, ee, se, es
K1K1: -> s <- s ... -> e <- e, ee, es -> se
K1X: -> s ... -> e <- e, ee, s, es -> se
KX1: -> s ... -> e <- e, ee, se, s -> es
K1X1: -> s ... -> e <- e, ee, s -> se, es
I1N: -> e, s <- e, ee -> se
I1K: <- s ... -> e, es, s <- e, ee -> se
IK1: <- s ... -> e, s <- e, ee, se, es
I1K1: <- s ... -> e, s <- e, ee, es -> se
I1X: -> e, s <- e, ee, s, es -> se
IX1: -> e, s <- e, ee, se, s -> es
I1X1: -> e, s <- e, ee, s -> se, es
";

/// Reads `XXpsk0+psk3`, `NNhfs+psk0` and the like: the specification's pattern with its modifiers (section 9.3, and section 5 of
/// noise_hfs_spec).
pub(crate) fn specified(name: &str) -> Pattern {
    let base: String = name.chars().take_while(|c| !c.is_ascii_lowercase()).collect();
    let modifiers = &name[base.len()..];
    let prefix = format!("{base}: ");
    let text = SPECIFICATION.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    let (pre, body) = text.split_once(" ... ").unwrap_or(("", text));
    let mut messages: Vec<Vec<Token>> = Vec::new();
    for word in body.split([' ', ',']).filter(|word| !word.is_empty()) {
        let token = match word {
            "->" | "<-" => {
                messages.push(Vec::new());
                continue;
            }
            "e" => Token::E,
            "s" => Token::S,
            "ee" => Token::Ee,
            "es" => Token::Es,
            "se" => Token::Se,
            "ss" => Token::Ss,
            other => panic!("token {other}"),
        };
        messages.last_mut().unwrap().push(token);
    }
    for modifier in modifiers.split('+').filter(|modifier| !modifier.is_empty()) {
        if modifier == "hfs" {
            let is_dh = |token: &Token| matches!(token, Token::Ee | Token::Es | Token::Se | Token::Ss);
            let e = messages[0].iter().position(|token| *token == Token::E).unwrap();
            let at = messages[0].iter().position(is_dh).unwrap_or(e);
            messages[0].insert(at + 1, Token::E1);
            let (message, at) = messages
                .iter()
                .enumerate()
                .find_map(|(n, tokens)| Some((n, tokens.iter().position(|token| *token == Token::Ee)?)))
                .unwrap();
            messages[message].insert(at + 1, Token::Ekem1);
            continue;
        }
        match modifier.strip_prefix("psk").unwrap().parse().unwrap() {
            0_usize => messages[0].insert(0, Token::Psk),
            n => messages[n - 1].push(Token::Psk),
        }
    }
    let messages: Vec<&'static [Token]> = messages.into_iter().map(|tokens| &*tokens.leak()).collect();
    Pattern {
        name: String::from(name).leak(),
        initiator_known: pre.contains("-> s"),
        responder_known: pre.contains("<- s"),
        messages: messages.leak(),
    }
}

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    protocol_name: String,
    init_prologue: String,
    resp_prologue: String,
    #[serde(default)]
    init_psks: Vec<String>,
    #[serde(default)]
    resp_psks: Vec<String>,
    init_static: Option<String>,
    resp_static: Option<String>,
    init_ephemeral: String,
    resp_ephemeral: Option<String>,
    init_remote_static: Option<String>,
    resp_remote_static: Option<String>,
    handshake_hash: Option<String>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    payload: String,
    ciphertext: String,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn key(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

fn secret(text: &str) -> Box<Secret> {
    Box::new(Zeroizing::new(key(text)))
}

fn pair(text: &str) -> Arc<Keypair> {
    Arc::new(Keypair::new(secret(text), &RUSTCRYPTO).unwrap())
}

fn run(vector: &Vector) {
    let name: Vec<&str> = vector.protocol_name.split('_').collect();
    let pattern = specified(name[1]);
    let suite = if name[3] == "AESGCM" { SuiteId::AES_256_GCM } else { SuiteId::CHACHA20_POLY1305 };
    let cipher = RUSTCRYPTO.aead(suite).unwrap();
    let statics = [vector.init_static.as_deref().map(pair), vector.resp_static.as_deref().map(pair)];
    let psks: [Vec<Secret>; 2] =
        [&vector.init_psks, &vector.resp_psks].map(|list| list.iter().map(|k| Zeroizing::new(key(k))).collect());
    let prologues = [hex(&vector.init_prologue), hex(&vector.resp_prologue)];
    let mut initiator = HandshakeState::new(Config {
        provider: &RUSTCRYPTO,
        cipher,
        pattern,
        role: Role::Initiator,
        prologue: &prologues[0],
        s: statics[0].clone(),
        kem_seed: None,
        e: secret(&vector.init_ephemeral),
        rs: vector.init_remote_static.as_deref().map(key),
        psks: psks[0].clone(),
    })
    .unwrap();
    let mut responder = HandshakeState::new(Config {
        provider: &RUSTCRYPTO,
        cipher,
        pattern,
        role: Role::Responder,
        prologue: &prologues[1],
        s: statics[1].clone(),
        kem_seed: None,
        e: secret(vector.resp_ephemeral.as_deref().unwrap_or(&vector.init_ephemeral)),
        rs: vector.resp_remote_static.as_deref().map(key),
        psks: psks[1].clone(),
    })
    .unwrap();

    let one_way = pattern.messages.len() == 1;
    let mut counters = [0, 0];
    for (index, message) in vector.messages.iter().enumerate() {
        let (payload, expected) = (hex(&message.payload), hex(&message.ciphertext));
        let from_initiator = index % 2 == 0 || one_way;
        let (writer, reader) =
            if from_initiator { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
        if index < pattern.messages.len() {
            let mut wire = Vec::new();
            writer.write_message(&payload, &mut wire).unwrap();
            assert_eq!(wire, expected, "{} message {index}", vector.protocol_name);
            let keyed = pattern.messages[..=index].concat().iter().any(|token| !matches!(token, Token::E | Token::S));
            reject_changes(reader, &wire, keyed);
            assert_eq!(reader.read_message(&mut wire).unwrap(), payload);
        } else {
            assert!(writer.finished() && reader.finished());
            let direction = usize::from(!from_initiator);
            let n = counters[direction];
            counters[direction] += 1;
            let (cipher, keys) = writer.symmetric().split();
            let mut wire = payload.clone();
            let tag = cipher.seal(&keys[direction], n, &[], &mut wire).unwrap();
            assert_eq!([wire.as_slice(), &tag].concat(), expected, "{} message {index}", vector.protocol_name);
            let (cipher, keys) = reader.symmetric().split();
            cipher.open(&keys[direction], n, &[], &mut wire, &tag).unwrap();
            assert_eq!(wire, payload);
        }
    }
    if let Some(expected) = &vector.handshake_hash {
        assert_eq!(initiator.symmetric().h().as_slice(), hex(expected), "{}", vector.protocol_name);
    }
    let (initiator, responder) = (initiator.finish().unwrap(), responder.finish().unwrap());
    assert_eq!(initiator, responder);
}

/// The reader goes on with the true message after it refused changed ones: nothing of them stayed in its state.
fn reject_changes(reader: &mut HandshakeState, wire: &[u8], keyed: bool) {
    let before = *reader.symmetric().h();
    assert_eq!(reader.read_message(&mut wire[..15].to_vec()), Err(NoiseError::Truncated));
    let mut changed = wire.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    // A first message that no key covers has no tag that could fail.
    if keyed {
        assert_eq!(reader.read_message(&mut changed), Err(NoiseError::BadTag));
    }
    assert_eq!(*reader.symmetric().h(), before);
}

fn all() -> Vec<Vector> {
    let files =
        [include_str!("../../tests/vectors/noise/cacophony.json"), include_str!("../../tests/vectors/noise/snow.json")];
    files.iter().flat_map(|file| serde_json::from_str::<File>(file).unwrap().vectors).collect()
}

#[test]
fn published_vectors() {
    let vectors = all();
    assert_eq!(vectors.len(), 220);
    vectors.iter().for_each(run);
}

#[test]
fn table_is_the_specification() {
    for (id, pattern) in PATTERNS {
        assert_eq!(pattern, specified(pattern.name));
        assert_eq!(id.name(), Some(pattern.name));
    }
    assert_eq!(by_id(HandshakeId(0)), None);
    assert_eq!(by_id(HandshakeId(9)), None);
}

/// The points of small order of Curve25519 and their non-canonical forms, little-endian.
pub(crate) fn weak_points() -> Vec<[u8; 32]> {
    let fixed = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    let mut points = vec![
        fixed(0, 0, 0),
        fixed(1, 0, 0),
        key("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        key("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        fixed(0xec, 0xff, 0x7f),
        fixed(0xed, 0xff, 0x7f),
        fixed(0xee, 0xff, 0x7f),
    ];
    // The top bit is ignored by X25519, so each has a twin.
    let twins: Vec<_> = points
        .iter()
        .map(|point| {
            let mut twin = *point;
            twin[31] |= 0x80;
            twin
        })
        .collect();
    points.extend(twins);
    points
}

#[test]
fn weak_points_are_refused() {
    let cipher = RUSTCRYPTO.aead(SuiteId::CHACHA20_POLY1305).unwrap();
    let own = pair("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
    let config = |role, s, rs| Config {
        provider: &RUSTCRYPTO,
        cipher,
        pattern: by_id(HandshakeId::NK).unwrap(),
        role,
        prologue: b"",
        s,
        kem_seed: None,
        e: secret("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
        rs,
        psks: vec![],
    };
    for point in weak_points() {
        let mut out = vec![7];
        let mut initiator = HandshakeState::new(config(Role::Initiator, None, Some(point))).unwrap();
        assert_eq!(initiator.write_message(b"", &mut out), Err(NoiseError::WeakPublicKey));
        assert_eq!(out, [7]);

        let mut responder = HandshakeState::new(config(Role::Responder, Some(Arc::clone(&own)), None)).unwrap();
        let mut message = [point.as_slice(), &[0; 16]].concat();
        assert_eq!(responder.read_message(&mut message), Err(NoiseError::WeakPublicKey));

        let mut initiator = HandshakeState::new(config(Role::Initiator, None, Some(own.public))).unwrap();
        initiator.write_message(b"", &mut out).unwrap();
        assert_eq!(initiator.read_message(&mut message), Err(NoiseError::WeakPublicKey));
    }
}

#[test]
fn turns_are_kept() {
    let cipher = RUSTCRYPTO.aead(SuiteId::CHACHA20_POLY1305).unwrap();
    let mut state = HandshakeState::new(Config {
        provider: &RUSTCRYPTO,
        cipher,
        pattern: by_id(HandshakeId::XX).unwrap(),
        role: Role::Initiator,
        prologue: b"",
        s: None,
        kem_seed: None,
        e: secret("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
        rs: None,
        psks: vec![],
    })
    .unwrap();
    assert_eq!(state.read_message(&mut [0; 64]), Err(NoiseError::Local));
    let mut out = Vec::new();
    state.write_message(b"", &mut out).unwrap();
    assert_eq!(state.write_message(b"", &mut out), Err(NoiseError::Local));
    assert_eq!(out.len(), 32);
    assert!(state.finish().is_err());
}
