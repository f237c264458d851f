//! Calls by id, with their deadlines in order.

use alloc::collections::{BTreeMap, BTreeSet};

use super::CallId;
use crate::time::Instant;

/// What a table asks of a call.
pub(super) trait Timed {
    /// When the time of the call runs out, as it is now.
    fn deadline(&self) -> Instant;
    /// Whether it only answers retries.
    fn is_ended(&self) -> bool;
}

/// Calls under way and ended ones. The deadlines are kept sorted, so that no signal looks at all calls.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Table<C> {
    calls: BTreeMap<CallId, C>,
    live: BTreeSet<(Instant, CallId)>,
    ended: BTreeSet<(Instant, CallId)>,
}

impl<C: Timed> Table<C> {
    pub(super) const fn new() -> Self {
        Self { calls: BTreeMap::new(), live: BTreeSet::new(), ended: BTreeSet::new() }
    }

    pub(super) fn get(&self, id: CallId) -> Option<&C> {
        self.calls.get(&id)
    }

    /// Calls under way, and ended ones.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.live.len(), self.ended.len())
    }

    pub(super) fn take(&mut self, id: CallId) -> Option<C> {
        let call = self.calls.remove(&id)?;
        let deadlines = if call.is_ended() { &mut self.ended } else { &mut self.live };
        deadlines.remove(&(call.deadline(), id));
        Some(call)
    }

    /// Puts a call in; the oldest ended one goes where there are more than `max_ended`.
    pub(super) fn put(&mut self, id: CallId, call: C, max_ended: usize) {
        self.take(id);
        let deadlines = if call.is_ended() { &mut self.ended } else { &mut self.live };
        deadlines.insert((call.deadline(), id));
        self.calls.insert(id, call);
        while self.ended.len() > max_ended {
            let Some((_, oldest)) = self.ended.pop_first() else { break };
            self.calls.remove(&oldest);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.live.first(), self.ended.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Takes out a call whose time ran out; those under way first.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(CallId, C)> {
        let due =
            |deadlines: &BTreeSet<(Instant, CallId)>| deadlines.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id);
        let id = due(&self.live).or_else(|| due(&self.ended))?;
        self.take(id).map(|call| (id, call))
    }
}
