//! `prost::Message` of the bodies, by prost's own functions for each type. Its derive macro would do the same but for
//! [`Name`](crate::body::Name), which it cannot know.

use prost::bytes::BufMut;
use prost::encoding::wire_type::WireType;
use prost::encoding::{decode_varint, encode_key};

/// Implements it for a struct whose fields are given as `tag [type] field;`. A type is one of the names below; what is at its
/// default is not written, but for a message.
macro_rules! implement {
    ($name:ident { $( $tag:literal [$pb:ident] $field:ident; )* }) => {
        #[allow(unused_variables, reason = "a body may have no field")]
        impl ::prost::Message for $name {
            fn encode_raw(&self, out: &mut impl ::prost::bytes::BufMut) {
                $( if $crate::proto::$pb::is_written(&self.$field) {
                    $crate::proto::$pb::encode($tag, &self.$field, out);
                } )*
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: ::prost::encoding::wire_type::WireType,
                from: &mut impl ::prost::bytes::Buf,
                context: ::prost::encoding::DecodeContext,
            ) -> Result<(), ::prost::DecodeError> {
                match tag {
                    $( $tag => $crate::proto::$pb::merge(wire_type, &mut self.$field, from, context), )*
                    _ => ::prost::encoding::skip_field(wire_type, tag, from, context),
                }
            }

            fn encoded_len(&self) -> usize {
                0 $( + if $crate::proto::$pb::is_written(&self.$field) {
                    $crate::proto::$pb::encoded_len($tag, &self.$field)
                } else {
                    0
                } )*
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

pub(crate) use implement;

/// Writes a field's key. Every tag here is below 16, so that its key is a byte.
fn put_key(tag: u32, wire_type: WireType, out: &mut impl BufMut) {
    match u8::try_from(tag << 3 | wire_type as u32) {
        Ok(key @ ..0x80) => out.put_u8(key),
        Ok(_) | Err(_) => encode_key(tag, wire_type, out),
    }
}

/// Writes a number; a large one at once, for which the vector makes room once.
fn put_varint(mut value: u64, out: &mut impl BufMut) {
    if let Ok(small @ ..0x80) = u8::try_from(value) {
        return out.put_u8(small);
    }
    let mut bytes = [0; 10];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        *byte = if value == 0 { low } else { low | 0x80 };
        if value == 0 {
            break;
        }
    }
    out.put_slice(bytes.get(..len).unwrap_or_default());
}

/// Numbers and booleans.
macro_rules! numbers {
    ($($pb:ident: $ty:ty;)*) => {
        $( pub(crate) mod $pb {
            use prost::bytes::BufMut;
            use prost::encoding::wire_type::WireType;
            pub(crate) use prost::encoding::$pb::{encoded_len, merge};

            pub(crate) fn is_written(value: &$ty) -> bool {
                *value != <$ty>::default()
            }

            pub(crate) fn encode(tag: u32, value: &$ty, out: &mut impl BufMut) {
                super::put_key(tag, WireType::Varint, out);
                super::put_varint(u64::from(*value), out);
            }
        } )*
    };
}

numbers! {
    bool: bool;
    uint32: u32;
    uint64: u64;
}

/// Writes what has its length before it.
fn put_bytes(tag: u32, bytes: &[u8], out: &mut impl BufMut) {
    put_key(tag, WireType::LengthDelimited, out);
    put_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

/// A string.
pub(crate) mod string {
    use prost::bytes::BufMut;
    pub(crate) use prost::encoding::string::{encoded_len, merge};

    pub(crate) fn encode(tag: u32, text: &str, out: &mut impl BufMut) {
        super::put_bytes(tag, text.as_bytes(), out);
    }

    pub(crate) const fn is_written(text: &str) -> bool {
        !text.is_empty()
    }
}

/// A message, written even where all of it is at its default.
pub(crate) mod message {
    use prost::Message;
    use prost::bytes::BufMut;
    pub(crate) use prost::encoding::message::{encoded_len, merge};
    use prost::encoding::wire_type::WireType;

    pub(crate) fn encode(tag: u32, message: &impl Message, out: &mut impl BufMut) {
        super::put_key(tag, WireType::LengthDelimited, out);
        super::put_varint(message.encoded_len() as u64, out);
        message.encode_raw(out);
    }

    pub(crate) const fn is_written<T>(_: &T) -> bool {
        true
    }
}

/// A list of messages.
pub(crate) mod messages {
    pub(crate) use prost::encoding::message::{
        encode_repeated as encode, encoded_len_repeated as encoded_len, merge_repeated as merge,
    };

    pub(crate) const fn is_written<T>(_: &T) -> bool {
        true
    }
}

/// A byte string. Prost would copy it twice, for the sake of inputs in pieces.
pub(crate) mod bytes {
    use alloc::vec::Vec;

    use prost::DecodeError;
    use prost::bytes::{Buf, BufMut};
    use prost::encoding::DecodeContext;
    pub(crate) use prost::encoding::bytes::encoded_len;
    use prost::encoding::wire_type::WireType;

    pub(crate) fn is_written(bytes: &[u8]) -> bool {
        !bytes.is_empty()
    }

    pub(crate) fn encode(tag: u32, bytes: &[u8], out: &mut impl BufMut) {
        super::put_bytes(tag, bytes, out);
    }

    pub(crate) fn merge(
        wire_type: WireType,
        bytes: &mut Vec<u8>,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Some((next, len)) = super::in_one_piece(wire_type, from.chunk()) {
            *bytes = next.to_vec();
            from.advance(len);
            return Ok(());
        }
        prost::encoding::bytes::merge(wire_type, bytes, from, context)
    }
}

/// A string that is read without an allocation of its own where it is short.
pub(crate) mod name {
    use alloc::string::String;

    use prost::DecodeError;
    use prost::bytes::{Buf, BufMut};
    use prost::encoding::wire_type::WireType;
    use prost::encoding::{DecodeContext, encoded_len_varint, key_len};

    use crate::body::Name;

    pub(crate) fn is_written(name: &Name) -> bool {
        !name.is_empty()
    }

    pub(crate) fn encode(tag: u32, name: &Name, out: &mut impl BufMut) {
        super::put_bytes(tag, name.as_bytes(), out);
    }

    pub(crate) fn encoded_len(tag: u32, name: &Name) -> usize {
        key_len(tag) + encoded_len_varint(name.len() as u64) + name.len()
    }

    pub(crate) fn merge(
        wire_type: WireType,
        name: &mut Name,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Some((next, len)) = super::in_one_piece(wire_type, from.chunk())
            && let Ok(text) = core::str::from_utf8(next)
        {
            *name = text.into();
            from.advance(len);
            return Ok(());
        }
        let mut text = String::new();
        prost::encoding::string::merge(wire_type, &mut text, from, context)?;
        *name = text.into();
        Ok(())
    }
}

/// What stands behind its length at the start of `bytes`, and how many bytes both take; `None` where it is in pieces or wrong:
/// prost's own functions read the one and have the error for the other.
fn in_one_piece(wire_type: WireType, bytes: &[u8]) -> Option<(&[u8], usize)> {
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    let mut rest = bytes;
    let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    Some((rest.get(..len)?, bytes.len() - rest.len() + len))
}
