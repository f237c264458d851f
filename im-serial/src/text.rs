//! How text formats write what only binary formats have: byte strings and 64-bit ids.

/// Byte strings: bytes in binary formats, standard padded base64 in text formats (as Jackson writes `byte[]`).
pub(crate) mod bytes {
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::fmt;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.serialize_str(&STANDARD.encode(bytes)) } else { to.serialize_bytes(bytes) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        // Borrowed: bincode allocates for what is declared when it is asked for an owned value.
        if from.is_human_readable() { from.deserialize_str(Base64) } else { from.deserialize_bytes(Raw) }
    }

    struct Base64;
    impl Visitor<'_> for Base64 {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes as standard padded base64")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
            STANDARD.decode(text).map_err(|_| E::custom("not standard padded base64"))
        }
        fn visit_string<E: Error>(self, text: String) -> Result<Vec<u8>, E> {
            self.visit_str(&text)
        }
    }

    struct Raw;
    impl Visitor<'_> for Raw {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}

/// Strings and names, read as borrowed ones: bincode allocates for what is declared when it is asked for an owned value.
pub(crate) mod string {
    use alloc::string::String;
    use core::fmt;
    use core::marker::PhantomData;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: From<String> + for<'a> From<&'a str>,
        D: Deserializer<'de>,
    {
        from.deserialize_str(Text(PhantomData))
    }

    struct Text<T>(PhantomData<T>);
    impl<T: From<String> + for<'a> From<&'a str>> Visitor<'_> for Text<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            Ok(T::from(text))
        }
        fn visit_string<E: Error>(self, text: String) -> Result<T, E> {
            Ok(T::from(text))
        }
    }
}

/// 64-bit ids: integers in binary formats, decimal strings in text formats; a text format also reads integers.
pub(crate) mod id {
    use core::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(crate) fn serialize<S: Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(id) } else { to.serialize_u64(*id) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        if from.is_human_readable() { from.deserialize_any(Decimal) } else { u64::deserialize(from) }
    }

    struct Decimal;
    impl Visitor<'_> for Decimal {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a 64-bit id as a decimal string or an integer")
        }
        fn visit_u64<E: Error>(self, id: u64) -> Result<u64, E> {
            Ok(id)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            // from_str alone would take a leading plus.
            if text.starts_with('+') {
                return Err(E::custom("not a decimal id"));
            }
            text.parse().map_err(|_| E::custom("not a decimal id"))
        }
    }
}
