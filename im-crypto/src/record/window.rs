//! Which numbers of an epoch were opened already.

/// How far a packet may come late, in packets.
pub(super) const WINDOW: u64 = 1024;
/// One word more than the window needs: the newest word is filled only in part.
const WORDS: usize = WINDOW as usize / 64 + 1;

/// A sliding bitmap of 1,024 numbers (RFC 4303 section 3.4.3, with room as in RFC 6479).
#[derive(Clone)]
pub(super) struct Window {
    /// One above the highest number marked; 0 before the first.
    end: u64,
    bits: [u64; WORDS],
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { end: 0, bits: [0; WORDS] }
    }

    /// Index of a number's word in the ring, and the number's bit.
    fn place(number: u64) -> (usize, u64) {
        ((number / 64) as usize % WORDS, 1 << (number % 64))
    }

    /// Whether the number is new: above all others, or inside the window and not marked.
    pub(super) fn is_new(&self, number: u64) -> bool {
        if number >= self.end {
            return true;
        }
        let (word, bit) = Self::place(number);
        self.end - number <= WINDOW && self.bits.get(word).is_some_and(|bits| bits & bit == 0)
    }

    /// Marks a number. Only after its packet was authenticated (RFC 9147 section 4.5.1).
    pub(super) fn mark(&mut self, number: u64) {
        if number >= self.end {
            // The words between the old end and the new number are of numbers long gone.
            let first = self.end.div_ceil(64);
            for word in first..=(number / 64).min(first.saturating_add(WORDS as u64)) {
                if let Some(bits) = self.bits.get_mut(word as usize % WORDS) {
                    *bits = 0;
                }
            }
            self.end = number.saturating_add(1);
        }
        let (word, bit) = Self::place(number);
        if let Some(bits) = self.bits.get_mut(word) {
            *bits |= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Against a set that forgets nothing, with jumps of every size.
    #[test]
    fn window_agrees_with_a_set() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        for start in [0, 63, 64, 1023, 1 << 40] {
            let (mut window, mut seen) = (Window::new(), BTreeSet::new());
            let mut top = start;
            for _ in 0..50_000 {
                let number = match next(10) {
                    0 => top + next(5000),
                    1..4 => top + next(3),
                    4..7 => top.saturating_sub(next(1200)),
                    _ => top.saturating_sub(next(64)),
                };
                let highest = seen.last().copied();
                let inside = highest.is_none_or(|highest| number > highest || highest - number < WINDOW);
                assert_eq!(window.is_new(number), inside && !seen.contains(&number), "{number} after {highest:?}");
                if window.is_new(number) {
                    window.mark(number);
                    seen.insert(number);
                    top = top.max(number);
                }
            }
        }
    }
}
