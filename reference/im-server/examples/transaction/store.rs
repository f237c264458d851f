//! The store: one SQLite connection on a thread of its own, and a transaction for each write.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use im_proto::receipts;
use im_server::store::{
    Append, ConversationKey, Cutoff, EntryKind, Head, MAX_EDITS, Member, MemberChange, Members, NewEntry, Page,
    Positions, Receipt, Store, StoreError, StoredEntry, Trimmed, Unread,
};
use rusqlite::{Connection, Error, OptionalExtension, Params, Row, Transaction, params};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::rows::{kind_columns, kind_of, member_of, role_column};
use crate::trim::trim;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Jobs that wait for the thread. A content is at most a packet, so this bounds the bytes too.
const QUEUE: usize = 64;

pub(crate) struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    /// Held while an append joins the queue, so that appends join in the order of their first polls.
    order: Mutex<()>,
    closed: AtomicBool,
}

/// A row of the application's own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: i64,
    pub(crate) customer: String,
    pub(crate) seq: u64,
    pub(crate) subject: String,
}

impl SqliteStore {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path).map_err(engine)?;
        // What is answered as stored survives a power cut.
        connection.pragma_update(None, "journal_mode", "wal").map_err(engine)?;
        connection.pragma_update(None, "synchronous", "full").map_err(engine)?;
        connection.execute_batch(include_str!("schema.sql")).map_err(engine)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new().name("sqlite".into());
        let running = thread.spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut connection);
            }
        });
        running.map_err(|error| StoreError::Io(error.to_string().into()))?;
        Ok(Self { jobs, order: Mutex::new(()), closed: AtomicBool::new(false) })
    }

    /// All tickets.
    pub(crate) async fn tickets(&self) -> Result<Vec<Ticket>, StoreError> {
        self.run(|connection| {
            let ticket = |row: &Row<'_>| {
                Ok(Ticket { id: row.get(0)?, customer: row.get(1)?, seq: row.get(2)?, subject: row.get(3)? })
            };
            rows(connection, "select id, customer, seq, subject from tickets order by id", [], ticket)
        })
        .await?
    }

    /// Runs a job on the connection's thread. The error says that nobody knows whether it was done.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.order.lock().await;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| drop(answer.send(job(connection))));
        self.jobs.send(job).await.map_err(|_| gone())?;
        drop(turn);
        answered.await.map_err(|_| gone())
    }

    /// A write that is all or nothing.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.open_for_writes()?;
        let done = self.run(|connection| {
            let transaction = connection.transaction().map_err(engine)?;
            let changed = change(&transaction)?;
            transaction.commit().map_err(engine)?;
            Ok(changed)
        });
        done.await?
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(|connection| query(connection)).await?
    }

    fn open_for_writes(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn engine(error: Error) -> StoreError {
    StoreError::Engine(error.to_string().into())
}

fn gone() -> StoreError {
    StoreError::Failed("the thread of the database ended".into())
}

/// The first row, if there is one.
fn row<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(engine)?;
    statement.query_row(params, map).optional().map_err(engine)
}

pub(crate) fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(engine)?;
    statement.query_map(params, map).map_err(engine)?.collect::<rusqlite::Result<_>>().map_err(engine)
}

pub(crate) fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(engine)?;
    statement.execute(params).map(drop).map_err(engine)
}

// What each operation reads and writes.

fn head(c: &Connection, conversation: &str) -> Result<Option<Head>, StoreError> {
    let head = |row: &Row<'_>| Ok(Head { seq: row.get(0)?, epoch: row.get::<_, i64>(1)? as u64, first: row.get(2)? });
    row(c, "select seq, epoch, first from heads where conversation = ?", [conversation], head)
}

fn new_head(c: &Connection, conversation: &str) -> Result<Head, StoreError> {
    let epoch = getrandom::u64().map_err(|error| StoreError::Io(error.to_string().into()))?.max(1);
    execute(c, "insert into heads values (?, ?, 0, 1)", params![conversation, epoch as i64])?;
    Ok(Head { seq: 0, first: 1, epoch })
}

fn before(c: &Connection, entry: &NewEntry) -> Result<Option<Append>, StoreError> {
    let sql = "select conversation, seq, message_id, time_ms, digest from log
            where sender = ?1 and device = ?2 and packet_id = ?3
        union all select conversation, seq, message_id, time_ms, digest from packet_ids
            where sender = ?1 and device = ?2 and packet_id = ?3";
    row(c, sql, params![&*entry.from, &*entry.device, entry.packet_id as i64], |row| {
        let receipt = Receipt { seq: row.get(1)?, message_id: row.get::<_, i64>(2)? as u64, time_ms: row.get(3)? };
        let same =
            row.get::<_, String>(0)? == entry.conversation.as_str() && row.get::<_, [u8; 32]>(4)? == entry.digest;
        Ok(if same { Append::AlreadyStored(receipt) } else { Append::Conflict(receipt) })
    })
}

fn append(c: &Connection, entry: &NewEntry) -> Result<Append, StoreError> {
    if let Some(before) = before(c, entry)? {
        return Ok(before);
    }
    let conversation = entry.conversation.as_str();
    let head = match head(c, conversation)? {
        Some(head) => head,
        None => {
            for user in &entry.members {
                put_member(c, conversation, user, &Member { standing: Default::default(), since: 0 })?;
            }
            new_head(c, conversation)?
        }
    };
    let seq = head.seq + 1;
    let mut recalled = false;
    if let EntryKind::Recall { about } = entry.kind {
        let erase = "update log set recalled = 1, content_type = 0, content = x'' where conversation = ?1 and
            (seq = ?2 or (kind = 3 and about = ?2)) and
            exists (select 1 from log where conversation = ?1 and seq = ?2 and kind in (1, 5))";
        execute(c, erase, params![conversation, about as i64])?;
    }
    if let EntryKind::Edit { about } = entry.kind {
        let target = "select recalled from log where conversation = ? and seq = ?";
        recalled = row(c, target, params![conversation, about as i64], |row| row.get(0))?.unwrap_or(false);
        let edits = "select count(*) from log where conversation = ? and about = ? and kind = 3";
        let edits: Option<usize> = row(c, edits, params![conversation, about as i64], |row| row.get(0))?;
        if !recalled && edits.is_some_and(|edits| edits >= MAX_EDITS) {
            return Err(StoreError::TooManyEdits);
        }
    }
    let (kind, about) = kind_columns(entry.kind)?;
    let (content_type, content) = if recalled { (0, &[][..]) } else { (entry.content_type, &entry.content[..]) };
    execute(
        c,
        "insert into log values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            conversation,
            seq,
            entry.message_id as i64,
            entry.time_ms,
            &*entry.from,
            &*entry.device,
            entry.packet_id as i64,
            entry.digest,
            kind,
            about,
            recalled,
            content_type,
            content
        ],
    )?;
    execute(c, "update heads set seq = ? where conversation = ?", params![seq, conversation])?;
    ticket(c, entry, seq)?;
    Ok(Append::Stored(Receipt { message_id: entry.message_id, seq, time_ms: entry.time_ms }))
}

/// The application's own row: a message to the desk opens a ticket.
fn ticket(c: &Connection, entry: &NewEntry, seq: u64) -> Result<(), StoreError> {
    let to_desk = entry.members.iter().any(|member| &**member == "desk") && &*entry.from != "desk";
    if !to_desk || entry.kind != EntryKind::Message {
        return Ok(());
    }
    let subject = String::from_utf8_lossy(&entry.content);
    let inserted = c.execute(
        "insert into tickets (customer, conversation, seq, subject) values (?, ?, ?, ?)",
        params![&*entry.from, entry.conversation.as_str(), seq, subject],
    );
    match inserted.map_err(|error| (error.sqlite_error_code(), error)) {
        Ok(_) => Ok(()),
        Err((Some(rusqlite::ErrorCode::ConstraintViolation), _)) => {
            Err(StoreError::Refused("a subject has 1 to 80 characters: say it shorter".into()))
        }
        Err((_, error)) => Err(engine(error)),
    }
}

fn member(c: &Connection, conversation: &str, user: &str) -> Result<Option<Member>, StoreError> {
    let sql = "select role, muted, banned, since from members where user = ? and conversation = ?";
    row(c, sql, [user, conversation], |row| member_of(row, 0))
}

fn put_member(c: &Connection, conversation: &str, user: &str, member: &Member) -> Result<(), StoreError> {
    let Member { standing, since } = member;
    let sql = "insert or replace into members values (?, ?, ?, ?, ?, ?)";
    let role = role_column(standing.role);
    execute(c, sql, params![user, conversation, role, standing.muted, standing.banned, since])
}

fn cursor(c: &Connection, conversation: &str, (user, device): (&str, &str)) -> Result<Option<u64>, StoreError> {
    let Some(member) = member(c, conversation, user)? else { return Ok(None) };
    let sql = "select seq from cursors where user = ? and device = ? and conversation = ?";
    let seq: Option<u64> = row(c, sql, [user, device, conversation], |row| row.get(0))?;
    let trimmed = head(c, conversation)?.unwrap_or_default().trimmed();
    Ok(Some(seq.unwrap_or(0).max(member.since).max(trimmed)))
}

fn positions(c: &Connection, conversation: &str, user: &str) -> Result<Positions, StoreError> {
    let epoch = head(c, conversation)?.unwrap_or_default().epoch;
    let sql = "select delivered, read from positions where user = ? and conversation = ? and epoch = ?";
    let known = row(c, sql, params![user, conversation, epoch as i64], |row| {
        Ok(Positions { epoch, delivered: row.get(0)?, read: row.get(1)? })
    });
    Ok(known?.unwrap_or(Positions { epoch, ..Positions::default() }))
}

fn put_positions(c: &Connection, conversation: &str, user: &str, positions: Positions) -> Result<(), StoreError> {
    let Positions { epoch, delivered, read } = positions;
    let sql = "insert or replace into positions values (?, ?, ?, ?, ?)";
    execute(c, sql, params![user, conversation, epoch as i64, delivered, read])
}

fn advance(c: &Connection, conversation: &str, owner: (&str, &str), epoch: u64, up_to: u64) -> Result<u64, StoreError> {
    let Some(at) = cursor(c, conversation, owner)? else { return Ok(0) };
    let head = head(c, conversation)?.unwrap_or_default();
    let Some(to) = receipts::advance(at, up_to, head.seq).filter(|_| epoch == head.epoch) else { return Ok(at) };
    execute(c, "insert or replace into cursors values (?, ?, ?, ?)", params![owner.0, owner.1, conversation, to])?;
    let known = positions(c, conversation, owner.0)?;
    if to > known.delivered {
        put_positions(c, conversation, owner.0, Positions { delivered: to, ..known })?;
    }
    Ok(to)
}

fn mark_read(c: &Connection, conversation: &str, user: &str, epoch: u64, up_to: u64) -> Result<Positions, StoreError> {
    let known = positions(c, conversation, user)?;
    let head = head(c, conversation)?.unwrap_or_default();
    if member(c, conversation, user)?.is_none() {
        return Ok(Positions { epoch: head.epoch, ..Positions::default() });
    }
    let moved = receipts::advance(known.read, up_to, head.seq).filter(|_| epoch == head.epoch);
    let Some(read) = moved else { return Ok(known) };
    let positions = Positions { read, ..known };
    put_positions(c, conversation, user, positions)?;
    Ok(positions)
}

fn set_members(c: &Connection, conversation: &str, changes: &[MemberChange]) -> Result<(), StoreError> {
    let head = head(c, conversation)?.map_or_else(|| new_head(c, conversation), Ok)?;
    for MemberChange { user, standing } in changes {
        match standing {
            Some(standing) => {
                let since = member(c, conversation, user)?.map_or(head.seq, |member| member.since);
                put_member(c, conversation, user, &Member { standing: *standing, since })?;
            }
            None => execute(c, "delete from members where user = ? and conversation = ?", [&**user, conversation])?,
        }
    }
    Ok(())
}

fn entries(
    c: &Connection,
    conversation: &str,
    after: u64,
    most: (usize, usize),
) -> Result<Vec<StoredEntry>, StoreError> {
    let (max_messages, max_bytes) = most;
    let head = head(c, conversation)?.unwrap_or_default();
    if after < head.trimmed() {
        return Err(StoreError::Trimmed { first: head.first });
    }
    let sql = "select seq, message_id, time_ms, sender, device, packet_id, kind, about, recalled, content_type, content
        from log where conversation = ? and seq > ? order by seq limit ?";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(max_messages.max(1)).unwrap_or(i64::MAX);
    let mut statement = c.prepare_cached(sql).map_err(engine)?;
    let mut rows = statement.query(params![conversation, after, limit]).map_err(engine)?;
    let (mut found, mut bytes) = (Vec::new(), 0usize);
    while let Some(row) = rows.next().map_err(engine)? {
        let entry = entry(row).map_err(engine)?;
        bytes = bytes.saturating_add(entry.content.len());
        if !found.is_empty() && bytes > max_bytes {
            break;
        }
        found.push(entry);
    }
    Ok(found)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry {
        seq: row.get(0)?,
        message_id: row.get::<_, i64>(1)? as u64,
        time_ms: row.get(2)?,
        from: row.get(3)?,
        device: row.get(4)?,
        packet_id: row.get::<_, i64>(5)? as u64,
        kind: kind_of(row.get(6)?, row.get::<_, i64>(7)? as u64)?,
        recalled: row.get(8)?,
        content_type: row.get(9)?,
        content: row.get(10)?,
    })
}

fn page(
    c: &Connection,
    conversation: &str,
    owner: (&str, &str),
    after: Option<u64>,
    most: (usize, usize),
) -> Result<Page, StoreError> {
    let Some(member) = member(c, conversation, owner.0)?.filter(|member| !member.standing.banned) else {
        return Ok(Page::NotMember);
    };
    let head = head(c, conversation)?.unwrap_or_default();
    let after = match after {
        Some(after) if after < member.since => return Ok(Page::BeforeJoin),
        Some(after) if after < head.trimmed() => return Ok(Page::TooOld { first: head.first }),
        Some(after) => after,
        None => cursor(c, conversation, owner)?.unwrap_or(0),
    };
    Ok(Page::Entries { epoch: head.epoch, after, entries: entries(c, conversation, after, most)? })
}

fn conversations(c: &Connection, user: &str, after: &str, limit: usize) -> Result<Vec<ConversationKey>, StoreError> {
    let sql = "select conversation from members where user = ? and conversation > ? and not banned order by conversation limit ?";
    let names: Vec<String> = rows(c, sql, params![user, after, limit as i64], |row| row.get(0))?;
    names.into_iter().map(ConversationKey::new).collect()
}

fn unread(c: &Connection, owner: (&str, &str), after: &str, limit: usize) -> Result<Vec<Unread>, StoreError> {
    let sql = "select m.conversation, h.epoch, h.seq, max(coalesce(p.seq, 0), m.since, h.first - 1) as at
        from members m join heads h on h.conversation = m.conversation
        left join cursors p on p.user = m.user and p.device = ?2 and p.conversation = m.conversation
        where m.user = ?1 and m.conversation > ?3 and not m.banned and h.seq > at order by m.conversation limit ?4";
    let found = rows(c, sql, params![owner.0, owner.1, after, limit as i64], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?, row.get(3)?))
    })?;
    let unread =
        |(name, epoch, head, cursor)| Ok(Unread { conversation: ConversationKey::new(name)?, epoch, head, cursor });
    found.into_iter().map(unread).collect()
}

fn members(c: &Connection, conversation: &str, after: &str, limit: usize) -> Result<Members, StoreError> {
    let sql = "select user, role, muted, banned, since from members where conversation = ? and user > ? order by user limit ?";
    rows(c, sql, params![conversation, after, limit as i64], |row| Ok((row.get(0)?, member_of(row, 1)?)))
}

impl Store for SqliteStore {
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        Box::pin(async move {
            if let Err(error) = entry.check().and_then(|()| self.open_for_writes()) {
                return Append::NotStored(error);
            }
            let done = self.run(move |connection| {
                let transaction = match connection.transaction() {
                    Ok(transaction) => transaction,
                    Err(error) => return Append::NotStored(engine(error)),
                };
                // An error before the commit rolls everything back; of one in the commit nobody can be sure.
                match append(&transaction, &entry) {
                    Ok(outcome) => match transaction.commit() {
                        Ok(()) => outcome,
                        Err(error) => Append::Unknown(engine(error)),
                    },
                    Err(error) => Append::NotStored(error),
                }
            });
            done.await.unwrap_or_else(Append::Unknown)
        })
    }

    fn stored_before<'a>(&'a self, entry: &'a NewEntry) -> BoxFuture<'a, Result<Option<Append>, StoreError>> {
        let entry = entry.clone();
        Box::pin(self.read(move |c| before(c, &entry)))
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>> {
        let conversation = conversation.clone();
        Box::pin(self.read(move |c| entries(c, conversation.as_str(), after, (max_messages, max_bytes))))
    }

    fn page(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        after: Option<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let (user, device, conversation) = (user.to_owned(), device.to_owned(), conversation.clone());
        let most = (max_messages, max_bytes);
        Box::pin(self.read(move |c| page(c, conversation.as_str(), (&user, &device), after, most)))
    }

    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        let (user, device) = (user.to_owned(), device.to_owned());
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        Box::pin(self.read(move |c| unread(c, (&user, &device), &after, limit)))
    }

    fn conversations(
        &self,
        user: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ConversationKey>, StoreError>> {
        let user = user.to_owned();
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        Box::pin(self.read(move |c| conversations(c, &user, &after, limit)))
    }

    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>> {
        let conversation = conversation.clone();
        Box::pin(self.read(move |c| Ok(head(c, conversation.as_str())?.unwrap_or_default())))
    }

    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (user, device, conversation) = (user.to_owned(), device.to_owned(), conversation.clone());
        Box::pin(self.read(move |c| Ok(cursor(c, conversation.as_str(), (&user, &device))?.unwrap_or(0))))
    }

    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (user, device, conversation) = (user.to_owned(), device.to_owned(), conversation.clone());
        Box::pin(self.write(move |c| advance(c, conversation.as_str(), (&user, &device), epoch, up_to)))
    }

    fn mark_read(
        &self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<Positions, StoreError>> {
        let (user, conversation) = (user.to_owned(), conversation.clone());
        Box::pin(self.write(move |c| mark_read(c, conversation.as_str(), &user, epoch, up_to)))
    }

    fn positions(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Positions, StoreError>> {
        let (user, conversation) = (user.to_owned(), conversation.clone());
        Box::pin(self.read(move |c| positions(c, conversation.as_str(), &user)))
    }

    fn set_members(
        &self,
        conversation: &ConversationKey,
        changes: Vec<MemberChange>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let conversation = conversation.clone();
        Box::pin(self.write(move |c| set_members(c, conversation.as_str(), &changes)))
    }

    fn member(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Option<Member>, StoreError>> {
        let (user, conversation) = (user.to_owned(), conversation.clone());
        Box::pin(self.read(move |c| member(c, conversation.as_str(), &user)))
    }

    fn members(
        &self,
        conversation: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        let (conversation, after) = (conversation.clone(), after.unwrap_or_default().to_owned());
        Box::pin(self.read(move |c| members(c, conversation.as_str(), &after, limit)))
    }

    fn trim(
        &self,
        cutoff: Cutoff,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Trimmed, StoreError>> {
        let after = after.map(|after| after.as_str().to_owned());
        Box::pin(self.write(move |c| trim(c, cutoff, after, limit)))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.closed.store(true, Ordering::Release);
        // What was queued before is done when this is.
        Box::pin(self.run(|_| ()))
    }
}
