//! ML-KEM-768 of the `ml-kem` crate.

use alloc::boxed::Box;

use ml_kem::{
    DecapsulationKey768, EncapsulationKey768, Seed,
    kem::{Decapsulate, KeyExport},
};
use zeroize::Zeroize;

use crate::provider::{CryptoError, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768, MlKem768Key, Secret};

pub(crate) struct MlKem;

struct Key {
    // Boxed: kilobytes that should not be copied when the handshake state moves. Wipes itself.
    secret: Box<DecapsulationKey768>,
    public: [u8; KEM_PUBLIC_LEN],
}

impl MlKem768 for MlKem {
    fn generate(&self, seed: &KemSeed) -> Result<Box<dyn MlKem768Key>, CryptoError> {
        let mut copy = Seed::from(**seed);
        let secret = Box::new(DecapsulationKey768::from_seed(copy));
        copy.zeroize();
        let public = secret.encapsulation_key().to_bytes().into();
        Ok(Box::new(Key { secret, public }))
    }

    fn encapsulate(
        &self,
        public: &[u8; KEM_PUBLIC_LEN],
        randomness: &[u8; 32],
        ciphertext: &mut [u8; KEM_CIPHERTEXT_LEN],
    ) -> Result<Secret, CryptoError> {
        let key = EncapsulationKey768::new(public.into()).map_err(|_| CryptoError::WeakPublicKey)?;
        // The crate's deterministic call, because entropy is an argument here.
        let (sealed, mut shared) = key.encapsulate_deterministic(randomness.into());
        *ciphertext = sealed.into();
        Ok(take(&mut shared))
    }
}

impl MlKem768Key for Key {
    fn public_key(&self) -> &[u8; KEM_PUBLIC_LEN] {
        &self.public
    }

    fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT_LEN]) -> Result<Secret, CryptoError> {
        Ok(take(&mut self.secret.decapsulate(ciphertext.into())))
    }
}

fn take(shared: &mut ml_kem::SharedKey) -> Secret {
    let mut secret = Secret::default();
    secret.copy_from_slice(shared);
    shared.zeroize();
    secret
}
