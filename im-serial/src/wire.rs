//! What every body can do, for the formats to build on. In a private module: nobody else adds bodies.

#[cfg(feature = "protobuf")]
use prost::Message as Protobuf;
#[cfg(feature = "serde")]
use serde::{Serialize, de::DeserializeOwned};

use crate::class::Declared;

/// What a format may ask of a body; which parts there are is a matter of features.
#[cfg(all(feature = "serde", feature = "protobuf"))]
pub trait Wire: Serialize + DeserializeOwned + Protobuf + Default {}
#[cfg(all(feature = "serde", feature = "protobuf"))]
impl<T: Serialize + DeserializeOwned + Protobuf + Default> Wire for T {}

/// What a format may ask of a body; which parts there are is a matter of features.
#[cfg(all(feature = "serde", not(feature = "protobuf")))]
pub trait Wire: Serialize + DeserializeOwned + Default {}
#[cfg(all(feature = "serde", not(feature = "protobuf")))]
impl<T: Serialize + DeserializeOwned + Default> Wire for T {}

/// What a format may ask of a body; which parts there are is a matter of features.
#[cfg(all(not(feature = "serde"), feature = "protobuf"))]
pub trait Wire: Protobuf + Default {}
#[cfg(all(not(feature = "serde"), feature = "protobuf"))]
impl<T: Protobuf + Default> Wire for T {}

pub(crate) trait Visit {
    type Out;
    fn visit<T: Wire>(self, body: &T) -> Self::Out;
}

pub(crate) trait Make {
    type Error;
    fn make<T: Wire + Declared>(self) -> Result<T, Self::Error>;
}
