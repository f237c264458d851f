//! What this machine and these build flags make of each suite: nanoseconds per sealed packet, and the order to offer.
//!
//! ```sh
//! cargo run --release -p im-crypto --example suites
//! RUSTFLAGS="-Ctarget-cpu=native" cargo run --release -p im-crypto --example suites
//! ```
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::error::Error;
use std::time::{Duration, Instant};

use im_crypto::{
    Accepted, Client, ClientPolicy, Entropy, HEADER_LEN, HandshakeId, Offer, Padding, RUSTCRYPTO, SUITE_OFFSET, Sealer,
    Server, ServerContext, ServerKey, ServerPolicy, SuiteId, finish_plaintext,
};

/// A server's sealer after a handshake that allowed one suite.
fn sealer(suite: SuiteId) -> Result<Sealer, Box<dyn Error>> {
    let entropy = || Entropy::from_rng(&mut getrandom::SysRng);
    let key = ServerKey::generate(&RUSTCRYPTO, entropy()?)?;
    let policy = ClientPolicy {
        offer: Offer { suites: vec![suite], formats: vec![16], max_body: 65_536 },
        handshakes: vec![HandshakeId::NK],
        require_pq: false,
        allow_plaintext: false,
    };
    let start = Client::new(&RUSTCRYPTO, policy, &[key.public()])?.start(entropy()?)?;
    let (header, mut hello) = ([0; HEADER_LEN], Vec::new());
    start.write(&header, &mut hello)?;
    let policy = ServerPolicy {
        suites: vec![suite],
        formats: vec![16],
        max_body: 65_536,
        handshakes: vec![HandshakeId::NK],
        require_pq: false,
        require_binding: false,
        allow_plaintext: false,
    };
    let mut context = ServerContext::new(std::slice::from_ref(&key));
    let server = Server::new(&RUSTCRYPTO, policy)?.start(entropy()?);
    match server.accept(&mut context, &header, &mut hello, &mut Vec::new())? {
        Accepted::Established(established) => Ok(established.sealer),
        other @ (Accepted::Wait(_) | Accepted::Retry) => {
            Err(format!("NK ends with the reply, but the server is at {other:?}").into())
        }
    }
}

/// Nanoseconds per packet: the best of many short windows, which others on the machine disturb least.
fn nanoseconds(suite: SuiteId, size: usize) -> Result<u128, Box<dyn Error>> {
    const PACKETS: u32 = 200;
    let mut plain = vec![1; size - 1];
    finish_plaintext(&mut plain, 0, Padding::None);
    let mut header = [0; HEADER_LEN];
    header[SUITE_OFFSET] = suite.0;
    let (mut sealer, mut sealed) = (sealer(suite)?, plain.clone());
    let mut best = Duration::MAX;
    for _ in 0..500 {
        let begun = Instant::now();
        for _ in 0..PACKETS {
            sealer.seal_into(&header, &plain, &mut sealed)?;
        }
        best = best.min(begun.elapsed());
    }
    Ok(best.as_nanos() / u128::from(PACKETS))
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<20} {:>7} {:>7} {:>7} {:>7}", "ns per packet of", "64 B", "256 B", "1 KiB", "16 KiB");
    for suite in RUSTCRYPTO.aeads {
        print!("{:<20}", suite.id().to_string());
        for size in [64, 256, 1024, 16 * 1024] {
            print!(" {:>7}", nanoseconds(suite.id(), size)?);
        }
        println!("{}", if suite.is_accelerated() { "" } else { "   in software" });
    }
    let order: Vec<_> = RUSTCRYPTO.preferred_suites().iter().map(ToString::to_string).collect();
    println!("offer: {}", order.join(", "));
    Ok(())
}
