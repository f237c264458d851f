//! What can go wrong in a store, said so that a person knows what to do next.

/// Why a store could not do what was asked.
///
/// Every variant is cheap to clone, because one failed batch answers many callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// [`Store::close`](super::Store::close) was called. The store is unchanged.
    #[error("the message store is closed; open it again to write")]
    Closed,
    /// An earlier write failed, so what is on disk is uncertain until the store is opened again. Every later write is
    /// refused; reads show what was certainly stored.
    #[error(
        "the message store refuses writes since a write to disk failed ({0}); check the disk for space and faults, then restart the server"
    )]
    Failed(Box<str>),
    /// Another process, or another store of this process, has the directory open.
    #[error("the data directory {0} is in use by another server; stop that server or choose another data directory")]
    InUse(Box<str>),
    /// The data was written by a newer version of this program. Nothing was changed.
    #[error(
        "the message store has format {found} and this program knows formats up to {known}; run the newer program or restore an older backup"
    )]
    NewerFormat {
        /// The format on disk.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// A record on disk does not decode.
    #[error("{0}")]
    Corrupt(Box<CorruptRecord>),
    /// A name or a content is empty or too long. A mistake of the caller; nothing was written.
    #[error("{what} must have 1 to {limit} bytes; shorten or fill it before storing")]
    Length {
        /// What was measured.
        what: &'static str,
        /// The most bytes allowed.
        limit: u32,
    },
    /// What was asked for is older than what is kept. The log begins later.
    #[error("this is older than what is kept: the log begins at seq {first} now")]
    Trimmed {
        /// The first seq that the log still has.
        first: u64,
    },
    /// The message was edited as often as it may be. Nothing was written.
    #[error("a message can be edited at most {} times: recall it and send another", super::MAX_EDITS)]
    TooManyEdits,
    /// The application, whose own rows commit with the message, does not take it. Nothing was written. The text goes to the
    /// sender, and it is not tried again.
    #[error("{0}")]
    Refused(Box<str>),
    /// The settings cannot work. A mistake of the caller; nothing was opened.
    #[error("the store setting {0} must be greater than zero; leave it out to get the default")]
    Setting(&'static str),
    /// A copy was not made. The store itself is as it was.
    #[error("the backup was not made: {0}")]
    Backup(Box<str>),
    /// The operating system refused a file operation on the data directory.
    #[error("cannot use the data directory: {0}; check that it exists, is writable and has free space")]
    Io(Box<str>),
    /// The storage engine reported an error of its own.
    #[error("the storage engine failed: {0}; check the disk, then restart the server or restore a backup")]
    Engine(Box<str>),
}

/// The place of a record that does not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record {key} in {table} is damaged ({problem}); stop the server, keep a copy of the data directory, see all damage with \
     `im-server verify`, and restore a backup"
)]
pub struct CorruptRecord {
    /// The table (keyspace) it is in.
    pub table: &'static str,
    /// Its key, with unprintable bytes escaped.
    pub key: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl StoreError {
    /// Whether the sender is at fault, so that the same again would be refused again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::TooManyEdits | Self::Refused(_))
    }

    /// The error for a record of `table` under `key` that does not decode.
    #[must_use]
    pub fn corrupt(table: &'static str, key: &[u8], problem: &'static str) -> Self {
        Self::Corrupt(Box::new(CorruptRecord { table, key: key.escape_ascii().to_string(), problem }))
    }
}

// A result is passed through every layer: keep it small.
const _: () = assert!(size_of::<StoreError>() <= 32);

#[cfg(test)]
mod tests {
    use super::StoreError;

    #[test]
    fn a_damaged_record_names_its_table_and_key() {
        let text = StoreError::corrupt("log", b"\x00\x03a:b", "too short").to_string();
        assert!(text.contains("log") && text.contains("\\x00\\x03a:b") && text.contains("too short"), "{text}");
    }
}
