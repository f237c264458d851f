//! Reads decisions from the input of a fuzzer.

/// The input that is left. What is behind its end reads as zero, so that each input is a whole run.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.step().unwrap_or_default();
        byte
    }

    /// The next step of a list of steps, `None` at its end.
    pub(super) fn step<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (step, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*step)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// What an attacker makes of a message: at most 16 steps of 4 bytes, each a kind, a place and a value.
    pub(super) fn edit(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..16 {
            let Some([kind, high, low, value]) = self.step() else { return };
            change(bytes, kind, u16::from_be_bytes([high, low]).into(), value);
        }
    }
}

/// One change of a message. A place behind its end is counted from its beginning again.
pub(super) fn change(bytes: &mut Vec<u8>, kind: u8, place: usize, value: u8) {
    let at = place % bytes.len().max(1);
    match kind % 6 {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, value),
        4 => drop(bytes.drain(at..(at + usize::from(value)).min(bytes.len()))),
        _ => {
            let end = (at + usize::from(value)).min(bytes.len());
            bytes.extend_from_within(at..end);
        }
    }
}
