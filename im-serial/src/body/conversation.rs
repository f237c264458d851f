//! What a conversation is called.

use core::fmt;

use super::Name;

/// What kind of conversation a [`Conversation`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversationKind {
    /// With one other user.
    Private = 1,
    /// Of the members of a group; each member's devices have positions in its log.
    Group = 2,
    /// Of whoever is there: no state for each member, and what comes too fast is dropped.
    Room = 3,
    /// A channel that only the service writes.
    Broadcast = 4,
    /// What the service tells this user alone; only the service writes it.
    Notices = 5,
}

impl ConversationKind {
    /// The kind of a code, or `None` for one that this protocol does not have.
    ///
    /// ```
    /// # use im_serial::body::ConversationKind;
    /// assert_eq!(ConversationKind::from_code(2), Some(ConversationKind::Group));
    /// assert_eq!(ConversationKind::from_code(0), None);
    /// ```
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Private),
            2 => Some(Self::Group),
            3 => Some(Self::Room),
            4 => Some(Self::Broadcast),
            5 => Some(Self::Notices),
            _ => None,
        }
    }

    /// The name, as the specification writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Group => "group",
            Self::Room => "room",
            Self::Broadcast => "broadcast",
            Self::Notices => "notices",
        }
    }
}

wire_struct! {
    /// A conversation as one of its members names it: a private one by the other user, all others by their id. Notices are
    /// always those of the user who names them.
    #[derive(Eq, PartialOrd, Ord, Hash)]
    Conversation {
        /// See [`ConversationKind`].
        1 [uint32] kind: u32;
        /// The other user's id, for a private conversation; otherwise the id of the group, room or channel, or which of the
        /// user's own notices.
        2 [name] id: Name as "crate::text::string";
    }
}

impl Conversation {
    /// The private conversation with `user`.
    ///
    /// ```
    /// # use im_serial::body::Conversation;
    /// assert_eq!(Conversation::private("bob").to_string(), "private:bob");
    /// ```
    pub fn private(user: impl Into<Name>) -> Self {
        Self::new(ConversationKind::Private, user)
    }

    /// A group.
    ///
    /// ```
    /// # use im_serial::body::Conversation;
    /// assert_eq!(Conversation::group("team").to_string(), "group:team");
    /// ```
    pub fn group(id: impl Into<Name>) -> Self {
        Self::new(ConversationKind::Group, id)
    }

    /// A room.
    ///
    /// ```
    /// # use im_serial::body::Conversation;
    /// assert_eq!(Conversation::room("show-7").to_string(), "room:show-7");
    /// ```
    pub fn room(id: impl Into<Name>) -> Self {
        Self::new(ConversationKind::Room, id)
    }

    /// A channel that only the service writes.
    ///
    /// ```
    /// # use im_serial::body::Conversation;
    /// assert_eq!(Conversation::broadcast("news").to_string(), "broadcast:news");
    /// ```
    pub fn broadcast(id: impl Into<Name>) -> Self {
        Self::new(ConversationKind::Broadcast, id)
    }

    /// What the service tells the user who names it: a log of that user alone.
    ///
    /// ```
    /// # use im_serial::body::Conversation;
    /// assert_eq!(Conversation::notices("friends").to_string(), "notices:friends");
    /// ```
    pub fn notices(id: impl Into<Name>) -> Self {
        Self::new(ConversationKind::Notices, id)
    }

    fn new(kind: ConversationKind, id: impl Into<Name>) -> Self {
        Self { kind: kind as u32, id: id.into() }
    }

    /// The kind, or `None` for a code that this protocol does not have.
    ///
    /// ```
    /// # use im_serial::body::{Conversation, ConversationKind};
    /// assert_eq!(Conversation::group("team").known_kind(), Some(ConversationKind::Group));
    /// assert_eq!(Conversation { kind: 9, id: "x".into() }.known_kind(), None);
    /// ```
    pub const fn known_kind(&self) -> Option<ConversationKind> {
        ConversationKind::from_code(self.kind)
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known_kind() {
            Some(kind) => write!(f, "{}:{}", kind.name(), self.id),
            None => write!(f, "kind {}:{}", self.kind, self.id),
        }
    }
}
