//! What happened to a group or between friends: entries of the log that only the service writes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use im_serial::body::ConversationKind;

use crate::config::valid_name;

/// Most users that an event names.
pub const MAX_EVENT_USERS: usize = 64;

/// Longest text of an event, in bytes.
pub const MAX_EVENT_TEXT: usize = 1024;

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $log:ident; )*) => {
        /// What happened. Who did it is the sender of the entry; the list of users says to whom.
        ///
        /// ```
        /// # use im_proto::EventKind;
        /// assert_eq!(EventKind::MemberAdded.name(), "member added");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventKind {
            $( $(#[$doc])* $name = $code, )*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// The name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// The number on the wire.
            pub const fn code(self) -> u32 {
                self as u32
            }

            /// The kind of a number, or `None` for one that this protocol does not have.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $( $code => Some(Self::$name), )* _ => None }
            }

            const fn log(self) -> Log {
                match self { $( Self::$name => Log::$log, )* }
            }
        }
    };
}

/// Where events stand.
enum Log {
    Group,
    Notices,
    Both,
}

kinds! {
    /// The group was made; the users are its first members, the text is its name.
    GroupCreated = 1, "group created", Group;
    /// The group has another name: the text.
    GroupRenamed = 2, "group renamed", Group;
    /// The users came in.
    MemberAdded = 3, "member added", Group;
    /// The users were taken out.
    MemberRemoved = 4, "member removed", Group;
    /// The users left.
    MemberLeft = 5, "member left", Group;
    /// The users have another role: the text.
    RoleChanged = 6, "role changed", Group;
    /// The users may not write any more; without users nobody may.
    Muted = 7, "muted", Group;
    /// The users may write again; without users all may.
    Unmuted = 8, "unmuted", Group;
    /// The group is no more. Nothing follows it.
    GroupDissolved = 9, "group dissolved", Group;
    /// Something of the application's own.
    Custom = 10, "custom", Both;
    /// The sender asks the users to be friends; the text is the greeting.
    FriendRequested = 32, "friend requested", Notices;
    /// The sender is a friend of the users from now on.
    FriendAccepted = 33, "friend accepted", Notices;
    /// The sender does not want to be a friend of the users.
    FriendRejected = 34, "friend rejected", Notices;
    /// The sender is no friend of the users any more.
    FriendRemoved = 35, "friend removed", Notices;
    /// The sender blocked the users: for the sender's own devices. Who is blocked is not told.
    Blocked = 36, "blocked", Notices;
}

impl EventKind {
    /// Whether it stands in the log of such a conversation: what happens to a group in the group's, what happens between
    /// friends in the notices of each of them.
    pub const fn belongs_to(self, conversation: ConversationKind) -> bool {
        match self.log() {
            Log::Group => matches!(conversation, ConversationKind::Group),
            Log::Notices => matches!(conversation, ConversationKind::Notices),
            Log::Both => matches!(conversation, ConversationKind::Group | ConversationKind::Notices),
        }
    }
}

/// An event of a group or between friends. Who did it is the sender of the entry. It counts as content of its log, so all of
/// it must be within the `max_content` of the service.
///
/// ```
/// use im_proto::{Event, EventKind};
/// let event = Event::new(EventKind::MemberAdded, &["bob", "carol"], "").unwrap();
/// assert_eq!(event.users(), ["bob", "carol"]);
/// assert_eq!(Event::new(EventKind::MemberAdded, &["no\nname"], ""), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    kind: EventKind,
    users: Vec<String>,
    text: String,
}

impl Event {
    /// `None` beyond [`MAX_EVENT_USERS`] or [`MAX_EVENT_TEXT`], or where a user has no valid name.
    pub fn new(kind: EventKind, users: &[&str], text: &str) -> Option<Self> {
        let fits = users.len() <= MAX_EVENT_USERS && text.len() <= MAX_EVENT_TEXT;
        (fits && users.iter().all(|user| valid_name(user))).then(|| Self {
            kind,
            users: users.iter().copied().map(String::from).collect(),
            text: text.into(),
        })
    }

    /// What happened.
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// To whom, at most [`MAX_EVENT_USERS`].
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// More about it, at most [`MAX_EVENT_TEXT`] bytes; the kind says what.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Users on lines of their own, an empty line, the text: no name is empty or has a line feed.
    pub(crate) fn to_content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for user in &self.users {
            content.extend_from_slice(user.as_bytes());
            content.push(b'\n');
        }
        content.push(b'\n');
        content.extend_from_slice(self.text.as_bytes());
        content
    }

    pub(crate) fn from_content(code: u32, content: &[u8]) -> Option<Self> {
        let kind = EventKind::from_code(code)?;
        let mut rest = core::str::from_utf8(content).ok()?;
        let mut users = Vec::new();
        loop {
            let (line, behind) = rest.split_once('\n')?;
            rest = behind;
            if line.is_empty() {
                return Self::new(kind, &users, rest);
            }
            if users.len() >= MAX_EVENT_USERS {
                return None;
            }
            users.push(line);
        }
    }
}

/// Never shows the text.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?}, <{} bytes>)", self.kind, self.users, self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    #[test]
    fn every_kind_comes_back_from_its_content() {
        let most = vec!["a"; MAX_EVENT_USERS];
        for kind in EventKind::ALL {
            for (users, text) in [(&[][..], ""), (&["bob", "carol"], "two\n\nlines"), (&most, &"x".repeat(1024))] {
                let event = Event::new(*kind, users, text).unwrap();
                assert_eq!(Event::from_content(kind.code(), &event.to_content()), Some(event));
            }
        }
        assert!(!format!("{:?}", Event::new(EventKind::Custom, &[], "secret")).contains("secret"));
    }

    #[test]
    fn what_is_no_event_is_none() {
        let many = "a\n".repeat(MAX_EVENT_USERS + 1) + "\n";
        let long = format!("\n{}", "x".repeat(MAX_EVENT_TEXT + 1));
        for (code, content) in [
            (0, &b"\n"[..]),
            (99, b"\n"),
            (1, b""),
            (1, b"bob"),
            (1, b"bob\n"),
            (1, b"b\x01b\n\n"),
            (1, b"\n\xff"),
            (1, many.as_bytes()),
            (1, long.as_bytes()),
        ] {
            assert_eq!(Event::from_content(code, content), None, "{code} {content:?}");
        }
        assert_eq!(Event::new(EventKind::Muted, &["a"; MAX_EVENT_USERS + 1], ""), None);
        assert_eq!(Event::new(EventKind::Muted, &[], &"x".repeat(MAX_EVENT_TEXT + 1)), None);
    }

    #[test]
    fn each_kind_has_its_log() {
        use ConversationKind::{Broadcast, Group, Notices, Private, Room};
        for kind in EventKind::ALL {
            for other in [Private, Room, Broadcast] {
                assert!(!kind.belongs_to(other));
            }
            let friends = kind.code() >= 32;
            let want = if *kind == EventKind::Custom { (true, true) } else { (!friends, friends) };
            assert_eq!((kind.belongs_to(Group), kind.belongs_to(Notices)), want);
        }
    }
}
