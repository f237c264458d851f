//! What the command prints. Scripts read stdout line by line; notices for people go to stderr.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use im_client::{Change, CloseCode, Closed, ClosedBy, Delivery, Entry, Event, ReloadReason, ServerUrl, content_type};

/// Writes a line to stdout at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Text from elsewhere on one line and harmless to a terminal: control characters and those that turn the direction of
/// text are shown as escapes.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The content of a delivery for a terminal.
pub(crate) fn content(delivery: &Delivery) -> String {
    match &delivery.entry {
        Entry::Message { content_type, content } => message(*content_type, content),
        Entry::Command { about, change } => match change {
            Change::Recall => format!("[recalls #{about}]"),
            Change::Edit { content_type, content } => format!("[edits #{about}] {}", message(*content_type, content)),
            Change::React { text } => format!("[reacts to #{about}] {}", clean(text)),
            Change::Unreact { text } => format!("[no longer reacts to #{about}] {}", clean(text)),
            other => format!("[{} #{about}]", other.name()),
        },
        Entry::Recalled => "[recalled]".into(),
        Entry::Event(event) => {
            format!("[{}: {}] {}", event.kind().name(), clean(&event.users().join(", ")), clean(event.text()))
        }
        Entry::Sealed { part, .. } => format!("[a sealed message of {} bytes]", part.len()),
        Entry::NotForDevice { .. } => "[a sealed message for other devices]".into(),
        Entry::Unknown { kind } => format!("[an entry of kind {kind}]"),
        _ => "[an entry that this program does not know]".into(),
    }
}

fn message(kind: u32, content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) if kind == content_type::TEXT => clean(text),
        Ok(_) | Err(_) => format!("<content type {kind}, {} bytes>", content.len()),
    }
}

/// Tells of the connection. `to_stdout` gets what goes well; what goes wrong is a notice on stderr.
#[derive(Debug)]
pub(crate) struct Status {
    url: Option<ServerUrl>,
    to_stdout: bool,
    /// The channel was sealed at least once, so the server's key is right.
    sealed: bool,
}

impl Status {
    pub(crate) fn new(to_stdout: bool) -> Self {
        Self { url: None, to_stdout, sealed: false }
    }

    /// Tells of the event. Whether the client ended with it.
    pub(crate) fn tell(&mut self, event: Event) -> io::Result<bool> {
        match event {
            Event::Connecting { url, .. } => self.url = Some(url),
            Event::Negotiated(negotiated) => {
                self.sealed = true;
                if self.to_stdout
                    && let Some(url) = &self.url
                {
                    let (name, id) = (negotiated.format_name, negotiated.format.0);
                    line(&format!("connected to {url}: suite {}, serialization {name} ({id})", negotiated.suite))?;
                }
            }
            Event::LoggedIn { user, .. } if self.to_stdout => line(&format!("logged in as {}", clean(&user)))?,
            Event::Gap { conversation, had, next } => eprintln!(
                "{}: messages {} to {} were taken by another run of this device, or are kept no longer",
                clean(&conversation.id),
                had.saturating_add(1),
                next.saturating_sub(1)
            ),
            Event::Reload { conversation, reason: ReloadReason::TooOld, .. } => {
                eprintln!("{}: the server does not keep any more what came next", clean(&conversation.id));
            }
            Event::Disconnected { closed, retry_in } => {
                // The end that was asked for is no news.
                if !(closed.by == ClosedBy::Local && closed.code == CloseCode::NORMAL) {
                    eprintln!("connection lost: {}{}", self.reason(&closed), again(retry_in));
                }
                return Ok(retry_in.is_none());
            }
            Event::DialFailed { error, retry_in } => {
                let url = self.url.as_ref().map(ToString::to_string).unwrap_or_default();
                eprintln!("cannot connect to {url}: {}{}", clean(&error), again(retry_in));
                return Ok(retry_in.is_none());
            }
            Event::LoggedIn { .. } | Event::Message(_) | _ => {}
        }
        Ok(false)
    }

    fn reason(&self, closed: &Closed) -> String {
        let mut text = clean(&closed.to_string());
        if !self.sealed && matches!(closed.code, CloseCode::HANDSHAKE_FAILED | CloseCode::UNSUPPORTED) {
            text.push_str(" (is --server-key the key that this server prints when it starts?)");
        }
        text
    }
}

fn again(retry_in: Option<Duration>) -> String {
    let mut text = String::new();
    if let Some(delay) = retry_in {
        // Writing to a String cannot fail.
        let _ = write!(text, "; trying again in {:.1} s", delay.as_secs_f32());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("grüß\u{1b}[2J\r\n\u{202e}x\u{9b}"), "grüß\\u{1b}[2J\\r\\n\\u{202e}x\\u{9b}");
    }
}
