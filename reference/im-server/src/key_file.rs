//! The server's static key in a file: made once, private, and kept.
#![expect(clippy::disallowed_methods, reason = "this is the place that reads and writes the key file")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use im_proto::{Entropy, RUSTCRYPTO, ServerKey};

use crate::hex;

/// The name of the key's file in the data directory.
const KEY: &str = "server.key";

/// Why there is no key to use. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Others may read it.
    #[error(
        "the server's key {0} may be read by others (mode {1:03o}): run `chmod 600 {0}`, and if somebody may have read it, \
         delete it and give clients the new public key",
        .path.display(), .mode
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no key.
    #[error(
        "the server's key {} is not 64 hexadecimal digits: restore it from a backup, or delete it and give clients the new \
         public key",
        .0.display()
    )]
    Damaged(PathBuf),
    /// A file or directory cannot be used.
    #[error("cannot {what} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// The system gave no random bytes.
    #[error("cannot make a key: {0}")]
    Random(String),
}

fn cannot(what: &'static str, path: &Path, error: io::Error) -> KeyFileError {
    KeyFileError::Io { what, path: path.into(), error }
}

/// The static key from `server.key` in a data directory, for [`Server::builder`](crate::Server::builder). Both are made on
/// the first run, for the owner only (modes 0700 and 0600). Clients pin its public half: keep a backup, since with another
/// key every client has to be told.
///
/// # Errors
///
/// [`KeyFileError`]
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let key = im_server::server_key(dir.path())?;
/// println!("clients pin {}", key.public());
/// assert_eq!(im_server::server_key(dir.path())?.public(), key.public());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_key(data: &Path) -> Result<ServerKey, KeyFileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| cannot("make the data directory", data, error))?;
    let path = data.join(KEY);
    if !exists(&path)? {
        create(data, &path)?;
    }
    load(&path)
}

/// As [`server_key`], but nothing is made: `None` where there is no key yet.
///
/// # Errors
///
/// [`KeyFileError`]
pub fn existing_server_key(data: &Path) -> Result<Option<ServerKey>, KeyFileError> {
    let path = data.join(KEY);
    exists(&path)?.then(|| load(&path)).transpose()
}

fn exists(path: &Path) -> Result<bool, KeyFileError> {
    path.try_exists().map_err(|error| cannot("look for the server's key", path, error))
}

fn load(path: &Path) -> Result<ServerKey, KeyFileError> {
    let metadata = fs::metadata(path).map_err(|error| cannot("read the server's key", path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.into(), mode });
    }
    let damaged = || KeyFileError::Damaged(path.into());
    let text = fs::read_to_string(path).map_err(|error| {
        let not_text = error.kind() == ErrorKind::InvalidData;
        if not_text { damaged() } else { cannot("read the server's key", path, error) }
    })?;
    let secret = hex::decode(text.trim_ascii()).ok_or_else(damaged)?;
    ServerKey::from_bytes(secret, &RUSTCRYPTO).map_err(|_| damaged())
}

/// Written aside and linked into place, so that the key is whole or not there, and never replaces another.
fn create(data: &Path, path: &Path) -> Result<(), KeyFileError> {
    let entropy = Entropy::from_rng(&mut getrandom::SysRng).map_err(|error| KeyFileError::Random(error.to_string()))?;
    let key = ServerKey::generate(&RUSTCRYPTO, entropy).map_err(|error| KeyFileError::Random(error.to_string()))?;
    let aside = data.join(format!("{KEY}.{}.new", std::process::id()));
    let written = (|| {
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        for byte in key.to_bytes().iter() {
            write!(file, "{byte:02x}")?;
        }
        writeln!(file)?;
        file.sync_all()?;
        // If another process made a key meanwhile, that one counts.
        match fs::hard_link(&aside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::remove_file(&aside)?;
        File::open(data)?.sync_all()
    })();
    written.map_err(|error| cannot("write the server's key", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let key = server_key(&data).unwrap().public();
        assert_eq!(server_key(&data).unwrap().public(), key);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        let path = data.join(KEY);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let exposed = server_key(&data).err().unwrap();
        assert!(matches!(exposed, KeyFileError::Exposed { mode: 0o640, .. }), "{exposed}");
        assert!(exposed.to_string().contains("chmod 600"), "{exposed}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for damaged in [&b"zz"[..], &[0xff; 64]] {
            fs::write(&path, damaged).unwrap();
            let error = existing_server_key(&data).err().unwrap();
            assert!(matches!(error, KeyFileError::Damaged(_)), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(existing_server_key(&data).unwrap().is_none());
    }
}
