use crate::code::Version;
use crate::header::HEADER_LEN;

/// Largest body accepted unless [`Limits`] says otherwise, in bytes: 64 KiB.
pub const DEFAULT_MAX_BODY: u32 = 64 * 1024;
/// No limit may be set above this, in bytes: 1 MiB. Larger content travels as files or chunks.
pub const HARD_MAX_BODY: u32 = 1024 * 1024;

/// The versions that a side reads and writes.
///
/// Version 1 protects nothing: an operator switches it on by name, and only behind TLS or on loopback.
///
/// ```
/// use im_codec::{Version, Versions};
/// assert_eq!(Versions::default(), Versions::V2);
/// assert!(Versions::V1AndV2.accepts(Version::V1) && !Versions::V2.accepts(Version::V1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// Version 2 only.
    #[default]
    V2,
    /// Version 1, OUYU-IM 1.0, beside version 2.
    V1AndV2,
    /// Version 1 only: a connection that began with it.
    V1,
}

impl Versions {
    /// Whether packets of `version` are read and written.
    pub const fn accepts(self, version: Version) -> bool {
        match version {
            Version::V1 => matches!(self, Self::V1 | Self::V1AndV2),
            Version::V2 => matches!(self, Self::V2 | Self::V1AndV2),
            _ => false,
        }
    }
}

/// What a decoder or encoder accepts.
///
/// ```
/// use im_codec::{Limits, Versions, DEFAULT_MAX_BODY, HARD_MAX_BODY};
/// assert_eq!(Limits::default().max_body(), DEFAULT_MAX_BODY);
/// assert_eq!(Limits::new(u32::MAX).max_body(), HARD_MAX_BODY);
/// // Version 1 is off until it is named.
/// assert_eq!(Limits::default().versions(), Versions::V2);
/// assert_eq!(Limits::default().with_versions(Versions::V1AndV2).versions(), Versions::V1AndV2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    max_body: u32,
    versions: Versions,
}

impl Limits {
    /// Limits with a largest body of `max_body` bytes, capped at [`HARD_MAX_BODY`], and version 2 only.
    pub const fn new(max_body: u32) -> Self {
        let max_body = if max_body > HARD_MAX_BODY { HARD_MAX_BODY } else { max_body };
        Self { max_body, versions: Versions::V2 }
    }

    /// The same limits for other versions.
    #[must_use]
    pub const fn with_versions(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// The versions read and written.
    pub const fn versions(&self) -> Versions {
        self.versions
    }

    /// The largest body, in bytes.
    pub const fn max_body(&self) -> u32 {
        self.max_body
    }

    /// The largest whole packet, header and body, in bytes.
    pub const fn max_packet(&self) -> usize {
        HEADER_LEN + self.max_body as usize
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BODY)
    }
}
