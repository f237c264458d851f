//! The files of the command: its key, and the secrets that an operator names. The one place that reads them.
#![expect(clippy::disallowed_methods, reason = "the command owns its files, and this is where it reads them")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use im_proto::{Entropy, RUSTCRYPTO, ServerKey};

use crate::Failure;

const KEY: &str = "server.key";

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::run(format!("cannot {what} {}: {error}", path.display()))
}

/// A file that an operator named.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::settings(format!("cannot read {}: {error}", path.display())))
}

/// The server's static key from the data directory; both are made if they do not exist.
pub(crate) fn server_key(data: &Path) -> Result<ServerKey, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| cannot("make the data directory", data, &error))?;
    let path = data.join(KEY);
    if !path.try_exists().map_err(|error| cannot("look for the server's key", &path, &error))? {
        create(data, &path)?;
    }
    load(&path)
}

/// Whether the server's key can be used, if there is one; nothing is made.
pub(crate) fn check_server_key(data: &Path) -> Result<(), Failure> {
    let path = data.join(KEY);
    if path.try_exists().map_err(|error| cannot("look for the server's key", &path, &error))? {
        load(&path)?;
    }
    Ok(())
}

fn load(path: &Path) -> Result<ServerKey, Failure> {
    let metadata = fs::metadata(path).map_err(|error| cannot("read the server's key", path, &error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::settings(format!(
            "the server's key {0} may be read by others (mode {mode:03o}): run `chmod 600 {0}`, and if somebody may have \
             read it, delete it and give clients the new public key",
            path.display()
        )));
    }
    let damaged = || {
        let path = path.display();
        Failure::settings(format!(
            "the server's key {path} is not 64 hexadecimal digits: restore it from a backup, or delete it and give \
             clients the new public key"
        ))
    };
    let text = fs::read_to_string(path).map_err(|error| cannot("read the server's key", path, &error))?;
    let secret = decode_hex(text.trim_ascii()).ok_or_else(damaged)?;
    ServerKey::from_bytes(secret, &RUSTCRYPTO).map_err(|_| damaged())
}

/// Written aside and linked into place, so that the key is whole or not there, and never replaces another.
fn create(data: &Path, path: &Path) -> Result<(), Failure> {
    let entropy = Entropy::from_rng(&mut getrandom::SysRng);
    let key = entropy
        .and_then(|entropy| ServerKey::generate(&RUSTCRYPTO, entropy))
        .map_err(|error| Failure::run(format!("cannot make a key: {error}")))?;
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
    written.map_err(|error| cannot("write the server's key", path, &error))
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let key = server_key(&data).ok().unwrap().public();
        assert_eq!(server_key(&data).ok().unwrap().public(), key);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        let path = data.join(KEY);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let failure = server_key(&data).err().unwrap();
        assert!(failure.code == 2 && failure.message.contains("chmod 600"), "{}", failure.message);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "zz").unwrap();
        assert!(server_key(&data).err().unwrap().message.contains("64 hexadecimal digits"));
    }
}
