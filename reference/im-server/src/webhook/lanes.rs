//! Events in memory: one lane for each conversation, whose first event is under way, waits for its time, or is ready. No clock
//! and no I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use crate::store::{ConversationKey, OutboxEvent};

#[derive(Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<ConversationKey, Lane>,
    ready: VecDeque<ConversationKey>,
    waiting: BTreeSet<(Instant, ConversationKey)>,
    held: usize,
}

#[derive(Default)]
struct Lane {
    events: VecDeque<OutboxEvent>,
    /// Failures of the first event.
    failures: u32,
}

impl Lanes {
    /// How many events are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn push(&mut self, event: OutboxEvent) {
        self.held += 1;
        let lane = self.lanes.entry(event.conversation.clone()).or_default();
        if lane.events.is_empty() {
            self.ready.push_back(event.conversation.clone());
        }
        lane.events.push_back(event);
    }

    /// The next event that may be tried now; its lane is taken until [`done`](Self::done) or [`again`](Self::again).
    pub(super) fn next(&mut self, now: Instant) -> Option<OutboxEvent> {
        while self.waiting.first().is_some_and(|(at, _)| *at <= now) {
            self.ready.extend(self.waiting.pop_first().map(|(_, conversation)| conversation));
        }
        let conversation = self.ready.pop_front()?;
        self.lanes.get(&conversation)?.events.front().cloned()
    }

    /// When the next one that waits may be tried.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The first event of this lane is settled or given up.
    pub(super) fn done(&mut self, conversation: &ConversationKey) {
        let Some(lane) = self.lanes.get_mut(conversation) else { return };
        self.held -= usize::from(lane.events.pop_front().is_some());
        lane.failures = 0;
        if lane.events.is_empty() {
            self.lanes.remove(conversation);
        } else {
            self.ready.push_back(conversation.clone());
        }
    }

    /// Counts a failure of the first event of this lane: how many there were before.
    pub(super) fn failed(&mut self, conversation: &ConversationKey) -> u32 {
        let Some(lane) = self.lanes.get_mut(conversation) else { return 0 };
        lane.failures = lane.failures.saturating_add(1);
        lane.failures - 1
    }

    /// The first event of this lane is tried again at this time.
    pub(super) fn again(&mut self, conversation: ConversationKey, at: Instant) {
        self.waiting.insert((at, conversation));
    }
}
