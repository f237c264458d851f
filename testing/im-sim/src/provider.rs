//! A provider without expensive mathematics: what is tested with it is everything around the key agreement.

use std::sync::LazyLock;

use im_crypto::{
    CryptoError, CryptoProvider, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768, MlKem768Key, RUSTCRYPTO,
    Secret, X25519,
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
