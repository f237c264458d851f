//! How a conversation is named in the store, and how each of its members names it; and what makes a message the same.

use std::sync::Arc;

use im_proto::{Conversation, ConversationKind, Submission};
use sha2::{Digest, Sha256};

use crate::store::ConversationKey;

/// The store's key of `user`'s conversation: the same for all members. `None` for a kind that this server does not know.
///
/// For a private one it is `p:{bytes of the first name}:{first}:{second}`, the names sorted; the length keeps apart names
/// that contain a colon.
pub(crate) fn key(user: &str, conversation: &Conversation) -> Option<ConversationKey> {
    if conversation.kind != ConversationKind::Private as u32 {
        return None;
    }
    let other = conversation.id.as_str();
    let (first, second) = if user <= other { (user, other) } else { (other, user) };
    // Two names of at most 128 bytes are far below the limit of a key.
    ConversationKey::new(format!("p:{}:{first}:{second}", first.len())).ok()
}

/// How `user` names the conversation with this key; `None` if the key is not of this form or not of this user.
pub(crate) fn name(user: &str, key: &ConversationKey) -> Option<Conversation> {
    let (len, names) = key.as_str().strip_prefix("p:")?.split_once(':')?;
    let (first, second) = names.split_at_checked(len.parse().ok()?)?;
    let second = second.strip_prefix(':')?;
    match user {
        _ if user == first => Some(Conversation::private(second)),
        _ if user == second => Some(Conversation::private(first)),
        _ => None,
    }
}

/// The users of `user`'s private conversation; one, if it is with oneself.
pub(crate) fn members(user: &Arc<str>, conversation: &Conversation) -> Vec<Arc<str>> {
    if **user == *conversation.id {
        vec![user.clone()]
    } else {
        vec![user.clone(), Arc::from(conversation.id.as_str())]
    }
}

/// Tells a retry from a reused packet id: SHA-256 over all that a sender chooses, each part with its length before it.
pub(crate) fn digest(message: &Submission) -> [u8; 32] {
    let mut hash = Sha256::new();
    let (kind, content_type) = (message.to.kind.to_be_bytes(), message.content_type.to_be_bytes());
    for part in [kind.as_slice(), message.to.id.as_bytes(), &content_type, &message.content] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use im_proto::PacketId;

    #[test]
    fn both_members_build_the_same_key_and_read_each_others_name_from_it() {
        for (a, b) in [("alice", "bob"), ("a", "a"), ("a:b", "c"), ("é", "3:x"), ("1", "1:1")] {
            let from_a = key(a, &Conversation::private(b)).unwrap();
            assert_eq!(from_a, key(b, &Conversation::private(a)).unwrap());
            assert_eq!(name(a, &from_a), Some(Conversation::private(b)));
            assert_eq!(name(b, &from_a), Some(Conversation::private(a)));
            assert_eq!(name("eve", &from_a), None);
        }
    }

    #[test]
    fn names_do_not_run_together() {
        assert_ne!(key("a:b", &Conversation::private("c")), key("a", &Conversation::private("b:c")));
        for key in ["p:9:a:b", "p:x:a:b", "p:1:ab", "g:1:a:b", "p:1", "p:1:éb"] {
            assert_eq!(name("a", &ConversationKey::new(key).unwrap()), None, "{key}");
        }
        assert_eq!(key("a", &Conversation { kind: 2, id: "b".into() }), None);
    }

    #[test]
    fn the_digest_covers_every_part() {
        let message = |id: &str, content_type, content: &str| Submission {
            packet_id: PacketId(1),
            to: Conversation::private(id),
            content_type,
            content: content.into(),
        };
        let base = digest(&message("bob", 1, "hi"));
        assert_eq!(digest(&Submission { packet_id: PacketId(2), ..message("bob", 1, "hi") }), base);
        for other in [message("bobh", 1, "i"), message("bob", 2, "hi"), message("bob", 1, "hi!")] {
            assert_ne!(digest(&other), base);
        }
    }
}
