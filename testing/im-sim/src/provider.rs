//! A provider without expensive mathematics: what is tested with it is everything around the key agreement.

use std::sync::LazyLock;

use im_crypto::{
    CryptoError, CryptoProvider, HkdfSha256, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768, MlKem768Key,
    RUSTCRYPTO, Secret, X25519,
};

/// A Mersenne prime.
const P: u64 = (1 << 61) - 1;

/// A commutative operation in place of X25519: multiplication modulo a prime. It hides nothing, but it is as sensitive to a
/// changed key, and no fuzzer can forge with the one any better than with the other.
struct Product;

fn scalar(secret: &[u8; 32]) -> u64 {
    let (first, _) = secret.split_first_chunk().expect("32 bytes");
    u64::from_le_bytes(*first) % (P - 1) + 1
}

fn product(a: u64, b: u64) -> [u8; 32] {
    let product = u64::try_from(u128::from(a) * u128::from(b) % u128::from(P)).expect("less than P");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&product.to_le_bytes());
    bytes
}

impl X25519 for Product {
    fn public_key(&self, secret: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        Ok(product(7, scalar(secret)))
    }

    fn agree(&self, secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, CryptoError> {
        let (first, rest) = public.split_first_chunk().expect("32 bytes");
        match u64::from_le_bytes(*first) {
            point @ 1..P if *rest == [0; 24] => Ok(Secret::new(product(point, scalar(secret)))),
            _ => Err(CryptoError::WeakPublicKey),
        }
    }
}

/// The same in place of ML-KEM: the ciphertext is another public key, and both are filled up with zeros.
struct ProductKem;

struct ProductKemKey {
    secret: [u8; 32],
    public: [u8; KEM_PUBLIC_LEN],
}

/// The first 32 bytes, and how many of the others are not zero.
fn unfilled(bytes: &[u8]) -> ([u8; 32], usize) {
    let (first, rest) = bytes.split_first_chunk().expect("more than 32 bytes");
    (*first, rest.iter().filter(|byte| **byte != 0).count())
}

impl MlKem768 for ProductKem {
    fn generate(&self, seed: &KemSeed) -> Result<Box<dyn MlKem768Key>, CryptoError> {
        let (secret, _) = unfilled(seed.as_slice());
        let mut public = [0; KEM_PUBLIC_LEN];
        public[..32].copy_from_slice(&Product.public_key(&secret)?);
        Ok(Box::new(ProductKemKey { secret, public }))
    }

    fn encapsulate(
        &self,
        public: &[u8; KEM_PUBLIC_LEN],
        randomness: &[u8; 32],
        ciphertext: &mut [u8; KEM_CIPHERTEXT_LEN],
    ) -> Result<Secret, CryptoError> {
        let (public, 0) = unfilled(public) else { return Err(CryptoError::WeakPublicKey) };
        ciphertext.fill(0);
        ciphertext[..32].copy_from_slice(&Product.public_key(randomness)?);
        Product.agree(randomness, &public)
    }
}

impl MlKem768Key for ProductKemKey {
    fn public_key(&self) -> &[u8; KEM_PUBLIC_LEN] {
        &self.public
    }

    fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT_LEN]) -> Result<Secret, CryptoError> {
        let (public, filled) = unfilled(ciphertext);
        // A changed ciphertext gives another secret, and no error.
        let rejected = || Secret::new([u8::try_from(filled % 255).unwrap_or_default(); 32]);
        if filled == 0 { Product.agree(&self.secret, &public).or_else(|_| Ok(rejected())) } else { Ok(rejected()) }
    }
}

/// RustCrypto with stand-ins for X25519 and ML-KEM that cost next to nothing. They protect nothing: for tests and fuzzing only.
pub static FAST: LazyLock<CryptoProvider> =
    LazyLock::new(|| CryptoProvider::new(RUSTCRYPTO.aeads, &Product, RUSTCRYPTO.hash).with_kem(&ProductKem));

/// Something with the shape of SHA-256 and HKDF. It notices every changed byte that was not made to go unnoticed.
struct Mixing;

/// Words are mixed into four lanes.
#[derive(Clone, Copy)]
struct Lanes([u64; 4]);

impl Lanes {
    const FACTORS: [u64; 4] =
        [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

    fn word(&mut self, word: u64) {
        for (lane, factor) in self.0.iter_mut().zip(Self::FACTORS) {
            *lane = (lane.rotate_left(29) ^ word).wrapping_mul(factor);
            *lane ^= *lane >> 32;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn finish(mut self, len: usize) -> [u8; 32] {
        self.word(len as u64);
        for _ in 0..4 {
            self.word(self.0.iter().fold(0, |sum: u64, lane| sum.rotate_left(17) ^ lane));
        }
        let mut out = [0; 32];
        for (to, lane) in out.chunks_mut(8).zip(self.0) {
            to.copy_from_slice(&lane.to_le_bytes());
        }
        out
    }
}

impl HkdfSha256 for Mixing {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut lanes = Lanes([1, 2, 3, 4]);
        let (mut left, mut len) = ([0; 8], 0);
        // The parts are one input, wherever they end.
        for part in parts {
            let mut rest = *part;
            let filled = len % 8;
            if filled > 0 {
                let (first, after) = rest.split_at(rest.len().min(8 - filled));
                left[filled..filled + first.len()].copy_from_slice(first);
                (rest, len) = (after, len + first.len());
                if len % 8 != 0 {
                    continue;
                }
                lanes.word(u64::from_le_bytes(left));
            }
            let whole = rest.len() / 8 * 8;
            lanes.bytes(&rest[..whole]);
            left = [0; 8];
            left[..rest.len() - whole].copy_from_slice(&rest[whole..]);
            len += rest.len();
        }
        if len % 8 != 0 {
            left[len % 8..].fill(0);
            lanes.word(u64::from_le_bytes(left));
        }
        lanes.finish(len)
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Secret {
        let mut lanes = Lanes([5, 6, 7, 8]);
        lanes.bytes(salt);
        lanes.word(salt.len() as u64);
        lanes.bytes(ikm);
        Secret::new(lanes.finish(ikm.len()))
    }

    fn expand(&self, prk: &Secret, info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        let mut lanes = Lanes([9, 10, 11, 12]);
        lanes.bytes(prk.as_slice());
        lanes.bytes(&self.hash(info));
        for (n, block) in out.chunks_mut(32).enumerate() {
            block.copy_from_slice(&lanes.finish(n)[..block.len()]);
        }
        Ok(())
    }
}

/// [`FAST`] with a stand-in for SHA-256 too: for whole worlds, where nobody forges anything.
pub(crate) static QUICK: LazyLock<CryptoProvider> =
    LazyLock::new(|| CryptoProvider::new(RUSTCRYPTO.aeads, &Product, &Mixing));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_does_not_depend_on_the_parts_and_notices_every_byte() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = Mixing.hash(&[&bytes]);
        for (a, b) in (0..=100).flat_map(|a| (a..=100).map(move |b| (a, b))) {
            assert_eq!(Mixing.hash(&[&bytes[..a], &bytes[a..b], &bytes[b..]]), whole, "{a} {b}");
        }
        for at in 0..100 {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(Mixing.hash(&[&other]), whole);
        }
        assert_ne!(Mixing.hash(&[&bytes[..99]]), Mixing.hash(&[&bytes[..98]]));
    }
}
