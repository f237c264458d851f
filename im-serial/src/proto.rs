//! `prost::Message` of the bodies, by prost's own functions for each type. Its derive macro would do the same but for
//! [`Name`](crate::body::Name), which it cannot know.

use prost::encoding::decode_varint;
use prost::encoding::wire_type::WireType;

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

macro_rules! plain {
    ($($pb:ident: $ty:ty;)*) => {
        $( pub(crate) mod $pb {
            pub(crate) use prost::encoding::$pb::{encode, encoded_len, merge};

            pub(crate) fn is_written(value: &$ty) -> bool {
                *value != <$ty>::default()
            }
        } )*
    };
}

plain! {
    bool: bool;
    uint32: u32;
    uint64: u64;
    string: alloc::string::String;
}

/// A message, written even where all of it is at its default.
pub(crate) mod message {
    pub(crate) use prost::encoding::message::{encode, encoded_len, merge};

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
    use prost::bytes::Buf;
    use prost::encoding::DecodeContext;
    pub(crate) use prost::encoding::bytes::{encode, encoded_len};
    use prost::encoding::wire_type::WireType;

    pub(crate) fn is_written(bytes: &[u8]) -> bool {
        !bytes.is_empty()
    }

    pub(crate) fn merge(
        wire_type: WireType,
        bytes: &mut Vec<u8>,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Some((next, len)) = super::in_one_piece(wire_type, from.chunk()) {
            bytes.clear();
            bytes.extend_from_slice(next);
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
    use prost::encoding::{DecodeContext, encode_key, encode_varint, encoded_len_varint, key_len};

    use crate::body::Name;

    pub(crate) fn is_written(name: &Name) -> bool {
        !name.is_empty()
    }

    pub(crate) fn encode(tag: u32, name: &Name, out: &mut impl BufMut) {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(name.len() as u64, out);
        out.put_slice(name.as_bytes());
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
