//! One direction of a session, and what the attacks on it do with packets.
#![allow(dead_code, reason = "each test file uses its own part")]

use im_crypto::{
    DatagramError, DatagramOpener, DatagramSealer, KeyUpdate, Opener, Padding, RUSTCRYPTO, Sealer, SuiteId,
    finish_plaintext,
};

use super::common::*;
use super::instrumented::established;

/// Every suite of the provider, SM4-GCM too where it is compiled in.
pub(crate) fn suites() -> Vec<SuiteId> {
    RUSTCRYPTO.preferred_suites()
}

pub(crate) type Packet = ([u8; 24], Vec<u8>);

/// One direction of a fresh session; equal calls give equal keys.
pub(crate) fn direction(suite: SuiteId, to_server: bool) -> (Sealer, Opener) {
    let (client, server) = established(&RUSTCRYPTO, suite);
    if to_server { (client.sealer, server.opener) } else { (server.sealer, client.opener) }
}

pub(crate) fn datagrams(suite: SuiteId) -> (DatagramSealer, DatagramOpener) {
    let (sealer, opener) = direction(suite, true);
    (sealer.into_datagrams().unwrap(), opener.into_datagrams().unwrap())
}

pub(crate) fn datagram(sealer: &mut DatagramSealer, content: &[u8]) -> Packet {
    let mut body = content.to_vec();
    finish_plaintext(&mut body, 0, Padding::None);
    let mut header = record_header(sealer.suite(), body.len());
    sealer.seal(&mut header, &mut body).unwrap();
    (header, body)
}

pub(crate) fn receive(opener: &mut DatagramOpener, packet: &Packet) -> Result<Vec<u8>, DatagramError> {
    let mut body = packet.1.clone();
    opener.open(&packet.0, &mut body).map(|opened| [&[opened.inner_type], &*opened.payload].concat())
}

pub(crate) fn run(sealer: &mut Sealer, packets: u8) -> Vec<Packet> {
    (0..packets).map(|n| packet(sealer, 7, &[n], Padding::None)).collect()
}

/// How many packets of a play open before one does not; after that none may.
pub(crate) fn plays<'a>(suite: SuiteId, order: impl IntoIterator<Item = &'a Packet>) -> usize {
    let (_, mut opener) = direction(suite, true);
    let opened: Vec<bool> = order.into_iter().map(|packet| open(&mut opener, &packet.0, &packet.1).is_some()).collect();
    let good = opened.iter().take_while(|good| **good).count();
    assert!(!opened[good..].contains(&true), "nothing opens after a failure");
    good
}

pub(crate) fn update(sealer: &mut Sealer, update: KeyUpdate) -> Packet {
    let [kind, payload] = update.content();
    packet(sealer, kind, &[payload], Padding::None)
}
