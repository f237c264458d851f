//! The files that an operator names, and the clock. The one place of the command that reads them.
#![expect(
    clippy::disallowed_methods,
    reason = "the command reads what an operator named and the clock, and this is where"
)]

use std::fs;
use std::path::Path;

use im_server::KeyFileError;

use crate::Failure;

/// A file that an operator named.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::settings(format!("cannot read {}: {error}", path.display())))
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who is banned, in the data directory.
pub(crate) const BANS: &str = "bans.json";

/// What a copy has beside the store, each with its name: the list of the banned, if there is one, and the server's key, if that
/// is asked for.
pub(crate) fn beside_the_store(data: &Path, with_key: bool) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut files = Vec::new();
    let bans = data.join(BANS);
    // It is replaced as a whole, so what is read is one list.
    if bans.try_exists().is_ok_and(|there| there) {
        files.push((BANS.into(), read(&bans)?));
    }
    if with_key {
        im_server::existing_server_key(data)?;
        let name = "server.key";
        files.push((name.into(), read(&data.join(name))?));
    }
    Ok(files)
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let operators = matches!(error, KeyFileError::Exposed { .. } | KeyFileError::Damaged(_));
        if operators { Self::settings(error.to_string()) } else { Self::run(error.to_string()) }
    }
}
