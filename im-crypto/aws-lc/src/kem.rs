//! ML-KEM-768 of the library, which takes no randomness from outside.

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768, SharedSecret};
use im_crypto::{CryptoError, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768, MlKem768Key, Secret};

pub(crate) struct MlKem;

struct Key {
    secret: DecapsulationKey,
    public: [u8; KEM_PUBLIC_LEN],
}

impl MlKem768 for MlKem {
    fn generate(&self, _seed: &KemSeed) -> Result<Box<dyn MlKem768Key>, CryptoError> {
        let secret = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| CryptoError::Failed)?;
        let public = secret.encapsulation_key().and_then(|key| key.key_bytes()).map_err(|_| CryptoError::Failed)?;
        let public = public.as_ref().try_into().map_err(|_| CryptoError::Failed)?;
        Ok(Box::new(Key { secret, public }))
    }

    fn encapsulate(
        &self,
        public: &[u8; KEM_PUBLIC_LEN],
        _randomness: &[u8; 32],
        ciphertext: &mut [u8; KEM_CIPHERTEXT_LEN],
    ) -> Result<Secret, CryptoError> {
        // `new` looks at the length alone; the modulus check is part of `encapsulate`, which fails for no other reason.
        let key = EncapsulationKey::new(&ML_KEM_768, public).map_err(|_| CryptoError::WeakPublicKey)?;
        let (sealed, shared) = key.encapsulate().map_err(|_| CryptoError::WeakPublicKey)?;
        *ciphertext = sealed.as_ref().try_into().map_err(|_| CryptoError::Failed)?;
        take(&shared)
    }
}

impl MlKem768Key for Key {
    fn public_key(&self) -> &[u8; KEM_PUBLIC_LEN] {
        &self.public
    }

    fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT_LEN]) -> Result<Secret, CryptoError> {
        let shared = self.secret.decapsulate(Ciphertext::from(ciphertext.as_slice()));
        take(&shared.map_err(|_| CryptoError::Failed)?)
    }
}

/// The library wipes its own copy.
fn take(shared: &SharedSecret) -> Result<Secret, CryptoError> {
    let mut secret = Secret::default();
    let shared: &[u8; 32] = shared.as_ref().try_into().map_err(|_| CryptoError::Failed)?;
    secret.copy_from_slice(shared);
    Ok(secret)
}
