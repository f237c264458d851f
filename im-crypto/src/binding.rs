//! Binding a handshake to the TLS connection underneath.

use core::fmt;

/// The exporter of the TLS connection that carries the session: 32 bytes that both of its ends know and nobody else can have, label
/// `EXPORTER-Channel-Binding` with an empty context (RFC 9266). In the prologue on both sides, it makes the handshake fail if TLS
/// ends somewhere between the two: at a proxy, or at somebody with a false certificate.
///
/// ```
/// use im_crypto::TlsExporter;
/// let exporter = TlsExporter::new([7; 32]); // from the TLS library
/// assert_eq!(format!("{exporter:?}"), "TlsExporter(..)");
/// ```
#[derive(Clone, Copy)]
pub struct TlsExporter([u8; 32]);

impl TlsExporter {
    /// Wraps what the TLS library gave.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TlsExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsExporter(..)")
    }
}
