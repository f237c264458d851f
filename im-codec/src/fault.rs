/// Who has to change something when an error occurs.
///
/// ```
/// use im_codec::{Fault, Limits, frame_len};
/// assert_eq!(frame_len(b"GET /", &Limits::default()).unwrap_err().fault(), Fault::PeerViolated);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the protocol.
    PeerViolated,
    /// The peer speaks something that this side does not.
    PeerIncompatible,
    /// The code that called this crate.
    CallerMisused,
    /// A limit of this side was reached.
    LocalLimit,
}
