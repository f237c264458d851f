//! What the formats of this crate are made of, one for all bodies.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::body::{Body, Kind};
use crate::budget::Limits;
use crate::class::{Declared, Record};
use crate::format::{DecodeError, EncodeError, Format, FormatId, Problem};
use crate::wire::{Make, Visit, Wire};

/// What is wrong, and where if that is known.
pub(crate) type Fault = (Problem, Option<usize>);

/// A serialization of every body: of version 2 by code that its crate derives, of all others by the class table. Not
/// nameable outside of this crate.
pub trait Codec: Send + Sync {
    const ID: FormatId;
    const NAME: &'static str;
    fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()>;
    /// Exactly one value; bytes after it are a problem.
    fn read<T: Wire>(bytes: &[u8], limits: &Limits) -> Result<T, Problem>;
    fn write_record(record: &dyn Record, out: &mut Vec<u8>) -> Result<(), ()>;
    /// As `read`.
    fn read_record(record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), Fault>;
}

struct Writing<'a, C>(&'a mut Vec<u8>, PhantomData<C>);
impl<C: Codec> Visit for Writing<'_, C> {
    type Out = Result<(), ()>;
    #[inline]
    fn visit<T: Wire>(self, body: &T) -> Self::Out {
        C::write(body, self.0)
    }
}

struct Reading<'a, C>(&'a [u8], &'a Limits, PhantomData<C>);
impl<C: Codec> Make for Reading<'_, C> {
    // Not the problem alone: a body is some hundred bytes, and each change of the error's type would move it once more.
    type Error = DecodeError;
    #[inline]
    fn make<T: Wire + Declared>(self) -> Result<T, DecodeError> {
        match C::read(self.0, self.1) {
            Ok(body) => Ok(body),
            Err(problem) => Err(DecodeError::new(C::NAME, T::CLASS, problem, None)),
        }
    }
}

impl<C: Codec> Format for C {
    fn id(&self) -> FormatId {
        C::ID
    }

    fn name(&self) -> &'static str {
        C::NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        C::write_record(record, out).map_err(|()| {
            out.truncate(start);
            EncodeError { format: C::NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        let error = |(problem, at)| DecodeError::new(C::NAME, class, problem, at);
        if bytes.len() > limits.max_body {
            return Err(error((Problem::TooLarge, None)));
        }
        C::read_record(record, bytes, limits).map_err(error)
    }

    fn encode(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        body.visit(Writing::<C>(out, PhantomData)).map_err(|()| {
            out.truncate(start);
            EncodeError { format: C::NAME, class: body.kind().class() }
        })
    }

    fn decode(&self, kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Body, DecodeError> {
        if bytes.len() > limits.max_body {
            return Err(DecodeError::new(C::NAME, kind.class(), Problem::TooLarge, None));
        }
        Body::make(kind, Reading::<C>(bytes, limits, PhantomData))
    }
}

#[cfg(feature = "serde")]
pub(crate) use by_serde::SerdeCodec;

#[cfg(feature = "serde")]
mod by_serde {
    use serde::de::DeserializeSeed;
    use serde::ser::Serialize;

    use super::*;
    use crate::table::{Fill, Out, State, Style};

    /// A serialization that a crate does by serde.
    pub trait SerdeCodec: Send + Sync {
        const ID: FormatId;
        const NAME: &'static str;
        const STYLE: Style;
        fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ()>;
        fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8], limits: &Limits) -> Result<S::Value, Problem>;
    }

    impl<C: SerdeCodec> Codec for C {
        const ID: FormatId = C::ID;
        const NAME: &'static str = C::NAME;

        #[inline]
        fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()> {
            C::write(body, out)
        }

        #[inline]
        fn read<T: Wire>(bytes: &[u8], limits: &Limits) -> Result<T, Problem> {
            C::read(PhantomData, bytes, limits)
        }

        fn write_record(record: &dyn Record, out: &mut Vec<u8>) -> Result<(), ()> {
            C::write(&Out(record, C::STYLE), out)
        }

        fn read_record(record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
            let mut state = State::new(C::STYLE, limits);
            let read = C::read(Fill { record, state: &mut state }, bytes, limits);
            read.map_err(|problem| (state.problem.unwrap_or(problem), None))
        }
    }
}
