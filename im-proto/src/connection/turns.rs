//! Whose turn it is to be transmitted.

/// The next lane after `last`, in the order of `all`, that has something.
pub(super) fn next<L: Copy + PartialEq>(all: &[L], last: L, has: impl Fn(L) -> bool) -> Option<L> {
    let at = all.iter().position(|lane| *lane == last).map_or(0, |at| at + 1);
    let (before, after) = all.split_at_checked(at)?;
    after.iter().chain(before).copied().find(|lane| has(*lane))
}
