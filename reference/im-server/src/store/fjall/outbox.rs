//! The outbox in the tables: a row for each event in the batch of its entry, and what was given up.

use std::ops::Bound;

use ::fjall::Readable;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{
    FjallStore, WRITE_OVERHEAD,
    directory::{self, Tables},
    keys::{self, Table},
    record,
    stage::Stage,
    writer::{Command, Disk},
};
use crate::store::{
    DeadLetter, MAX_DEAD_LETTERS, NewEntry, Outbox, OutboxConfig, OutboxEvent, OutboxStatus, Receipt, StoreError,
};

/// A change of the outbox that is not an append.
pub(super) enum Change {
    Settle(Vec<u64>),
    GiveUp { number: u64, answer: u16 },
    Retry { numbers: Vec<u64>, now_ms: u64 },
}

/// What the writer knows of the outbox, with the batch that it puts together.
pub(super) struct OutboxState {
    config: Option<OutboxConfig>,
    status: OutboxStatus,
    /// None that waits has a lower number, and no dead letter.
    first: u64,
    first_dead: u64,
    tell: watch::Sender<OutboxStatus>,
}

impl OutboxState {
    /// Counts what is there.
    pub(super) fn open(tables: &Tables, config: Option<OutboxConfig>) -> Result<Self, StoreError> {
        let count = |table: Table| -> Result<(u64, u64), StoreError> {
            let (mut rows, mut last) = (0_u64, 0);
            for row in tables.keyspace(table).iter() {
                last = keys::event_number(table, &row.key().map_err(directory::engine)?)?;
                rows = rows.saturating_add(1);
            }
            Ok((rows, last))
        };
        let ((waiting, last), (dead, last_dead)) = (count(Table::Outbox)?, count(Table::DeadLetters)?);
        let status = OutboxStatus { last: last.max(last_dead), waiting, dead, ..OutboxStatus::default() };
        Ok(Self { config, status, first: 0, first_dead: 0, tell: watch::Sender::new(status) })
    }

    pub(super) fn watch(&self) -> watch::Receiver<OutboxStatus> {
        self.tell.subscribe()
    }

    /// The batch is on disk: whoever waits for events is told.
    pub(super) fn committed(&self) {
        let now = self.status;
        self.tell.send_if_modified(|told| std::mem::replace(told, now) != now);
    }
}

impl<D: Disk> Stage<'_, D> {
    /// The event of an entry that is staged; the oldest goes where too many wait.
    pub(super) fn event(&mut self, entry: &NewEntry, receipt: Receipt) -> Result<(), StoreError> {
        let Some(config) = &self.outbox.config else { return Ok(()) };
        if !config.kinds.contains(&entry.kind.into()) {
            return Ok(());
        }
        let event = OutboxEvent {
            number: 0,
            conversation: entry.conversation.clone(),
            seq: receipt.seq,
            message_id: receipt.message_id,
            since_ms: receipt.time_ms,
        };
        self.enqueue(event)
    }

    fn enqueue(&mut self, event: OutboxEvent) -> Result<(), StoreError> {
        let max = self.outbox.config.as_ref().map_or(u64::MAX, |config| config.max_waiting);
        // All that can fail comes before the first row.
        let oldest =
            if self.outbox.status.waiting >= max { self.lowest(Table::Outbox, self.outbox.first)? } else { None };
        if let Some(oldest) = oldest {
            self.rows.insert((Table::Outbox, keys::event(oldest)), None);
            let outbox = &mut *self.outbox;
            outbox.first = oldest.saturating_add(1);
            outbox.status.dropped = outbox.status.dropped.saturating_add(1);
            outbox.status.waiting = outbox.status.waiting.saturating_sub(1);
        }
        let status = &mut self.outbox.status;
        status.last = status.last.saturating_add(1);
        status.waiting = status.waiting.saturating_add(1);
        let event = OutboxEvent { number: status.last, ..event };
        self.rows.insert((Table::Outbox, keys::event(event.number)), Some(record::encode_event(&event)));
        Ok(())
    }

    pub(super) fn change_outbox(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Settle(numbers) => numbers.iter().try_for_each(|number| self.take(*number).map(drop)),
            Change::GiveUp { number, answer } => {
                let too_many = self.outbox.status.dead >= MAX_DEAD_LETTERS;
                let oldest = if too_many { self.lowest(Table::DeadLetters, self.outbox.first_dead)? } else { None };
                let Some(event) = self.take(*number)? else { return Ok(()) };
                if let Some(oldest) = oldest {
                    self.rows.insert((Table::DeadLetters, keys::event(oldest)), None);
                    let outbox = &mut *self.outbox;
                    outbox.first_dead = oldest.saturating_add(1);
                    outbox.status.dead_dropped = outbox.status.dead_dropped.saturating_add(1);
                    outbox.status.dead = outbox.status.dead.saturating_sub(1);
                }
                // Not in the order of the numbers: an early one may have waited longest.
                self.outbox.first_dead = self.outbox.first_dead.min(*number);
                self.outbox.status.dead = self.outbox.status.dead.saturating_add(1);
                let letter = record::encode_dead_letter(&DeadLetter { event, answer: *answer });
                self.rows.insert((Table::DeadLetters, keys::event(*number)), Some(letter));
                Ok(())
            }
            Change::Retry { numbers, now_ms } => {
                for number in numbers {
                    let key = keys::event(*number);
                    let Some(value) = self.get(Table::DeadLetters, &key)? else { continue };
                    let DeadLetter { event, .. } = record::decode_dead_letter(&key, &value)?;
                    self.enqueue(OutboxEvent { since_ms: *now_ms, ..event })?;
                    self.rows.insert((Table::DeadLetters, key), None);
                    self.outbox.status.dead = self.outbox.status.dead.saturating_sub(1);
                }
                Ok(())
            }
        }
    }

    /// Takes an event out, if it waits.
    fn take(&mut self, number: u64) -> Result<Option<OutboxEvent>, StoreError> {
        let key = keys::event(number);
        let Some(value) = self.get(Table::Outbox, &key)? else { return Ok(None) };
        let event = record::decode_event(&key, &value)?;
        self.rows.insert((Table::Outbox, key), None);
        let outbox = &mut *self.outbox;
        outbox.status.waiting = outbox.status.waiting.saturating_sub(1);
        if outbox.first == number {
            outbox.first = number.saturating_add(1);
        }
        Ok(Some(event))
    }

    /// The lowest number from this one on, as it is after the batch.
    fn lowest(&self, table: Table, from: u64) -> Result<Option<u64>, StoreError> {
        let mut key = keys::event(from);
        let on_disk = loop {
            match self.disk.first(table, &key)? {
                // One that the batch takes away.
                Some(found) if self.rows.get(&(table, found.clone())) == Some(&None) => {
                    key = found;
                    key.push(0);
                }
                found => break found,
            }
        };
        let range = (Bound::Included((table, keys::event(from))), Bound::Included((table, keys::event(u64::MAX))));
        let staged = self.rows.range(range).find(|(_, value)| value.is_some()).map(|((_, key), _)| key.clone());
        let lowest = on_disk.into_iter().chain(staged).min();
        lowest.map(|key| keys::event_number(table, &key)).transpose()
    }
}

fn rows<T>(
    tables: &Tables,
    table: Table,
    after: u64,
    limit: usize,
    decode: fn(&[u8], &[u8]) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
    let rows = tables.db.snapshot().range(tables.keyspace(table), keys::event(from)..).map(|row| {
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        decode(&key, &value)
    });
    // A damaged row is about itself alone: it holds up none of those behind it, and stays for `im-server verify` to find.
    let read = rows.filter(|row| match row {
        Err(error @ StoreError::Corrupt(_)) => {
            tracing::error!(%error, "a row of the outbox is damaged and passed over: see im-server verify");
            false
        }
        Ok(_) | Err(_) => true,
    });
    read.take(limit).collect()
}

impl FjallStore {
    fn change(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(WRITE_OVERHEAD, |reply| Command::Outbox { change, reply }))
    }
}

impl Outbox for FjallStore {
    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxEvent>, StoreError>> {
        Box::pin(self.blocking(move |tables| rows(tables, Table::Outbox, after, limit, record::decode_event)))
    }

    fn settle(&self, numbers: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Settle(numbers))
    }

    fn give_up(&self, number: u64, answer: u16) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::GiveUp { number, answer })
    }

    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(
            self.blocking(move |tables| rows(tables, Table::DeadLetters, after, limit, record::decode_dead_letter)),
        )
    }

    fn retry(&self, numbers: Vec<u64>, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Retry { numbers, now_ms })
    }

    fn status(&self) -> watch::Receiver<OutboxStatus> {
        self.outbox.clone()
    }
}
