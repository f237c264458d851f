//! Sessions over HTTP by their ids.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::pipe::Pipe;

/// Ids are looked up by their hash, so that the time it takes says nothing about them.
type Key = [u8; 32];

/// All sessions over HTTP. Each holds a connection's place, which bounds them.
#[derive(Default)]
pub(crate) struct Table(Mutex<BTreeMap<Key, Arc<Pipe>>>);

/// A session's place in the table, until it is dropped.
pub(super) struct Entry(Option<(Arc<Table>, Key)>);

fn key(id: &str) -> Key {
    Sha256::digest(id).into()
}

impl Table {
    /// A new session with an id that cannot be guessed.
    pub(super) fn open(self: &Arc<Self>) -> Result<(String, Arc<Pipe>, Entry), getrandom::Error> {
        let mut random = [0; 24];
        getrandom::fill(&mut random)?;
        let id = URL_SAFE_NO_PAD.encode(random);
        let (key, pipe) = (key(&id), Arc::new(Pipe::new()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipe.clone());
        Ok((id, pipe, Entry(Some((self.clone(), key)))))
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Pipe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(id)).cloned()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Entry {
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some((table, key)) = &self.0 {
            table.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        }
    }
}
