//! The crypto providers of the targets.

use std::sync::LazyLock;

use im_crypto::{CryptoError, CryptoProvider, RUSTCRYPTO, Secret, X25519};

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

/// RustCrypto with the stand-in.
pub(super) static FAST: LazyLock<CryptoProvider> = LazyLock::new(|| {
    let provider = CryptoProvider::new(RUSTCRYPTO.aeads, &Product, RUSTCRYPTO.hash);
    RUSTCRYPTO.kem.map_or(provider, |kem| provider.with_kem(kem))
});
