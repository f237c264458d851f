//! The files that an operator names. The one place of the command that reads them.
#![expect(clippy::disallowed_methods, reason = "the command reads what an operator named, and this is where")]

use std::fs;
use std::path::Path;

use im_server::KeyFileError;

use crate::Failure;

/// A file that an operator named.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::settings(format!("cannot read {}: {error}", path.display())))
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let operators = matches!(error, KeyFileError::Exposed { .. } | KeyFileError::Damaged(_));
        if operators { Self::settings(error.to_string()) } else { Self::run(error.to_string()) }
    }
}
