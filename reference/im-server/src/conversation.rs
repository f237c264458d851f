//! How a conversation is named in the store, and how each of its members names it; and what makes a message the same.

use std::sync::Arc;

use im_proto::{Conversation, ConversationKind, SealedSubmission, Submission, valid_name};
use sha2::{Digest, Sha256};

use crate::store::ConversationKey;

/// The store's key of `user`'s conversation: the same for all members. `None` for a kind that has no log here.
///
/// For a private one it is `p:{bytes of the first name}:{first}:{second}`, the names sorted; the length keeps apart names
/// that contain a colon. For a group it is `g:{group}`, for a broadcast `b:{channel}`.
pub(crate) fn key(user: &str, conversation: &Conversation) -> Option<ConversationKey> {
    match conversation.known_kind()? {
        ConversationKind::Private => {
            let other = conversation.id.as_str();
            let (first, second) = if user <= other { (user, other) } else { (other, user) };
            // Two names of at most 128 bytes are far below the limit of a key.
            ConversationKey::new(format!("p:{}:{first}:{second}", first.len())).ok()
        }
        ConversationKind::Group => group_key(&conversation.id),
        ConversationKind::Broadcast => named("b:", &conversation.id),
        ConversationKind::Room | ConversationKind::Notices | _ => None,
    }
}

/// The store's key of a group; `None` for a name that is none.
pub(crate) fn group_key(group: &str) -> Option<ConversationKey> {
    named("g:", group)
}

fn named(prefix: &str, name: &str) -> Option<ConversationKey> {
    valid_name(name).then(|| ConversationKey::new(format!("{prefix}{name}")).ok()).flatten()
}

/// Whether it is a conversation whose members the store lists: a group or a broadcast.
pub(crate) fn is_listed(key: &ConversationKey) -> bool {
    ["g:", "b:"].iter().any(|prefix| key.as_str().starts_with(prefix))
}

/// How `user` names the conversation with this key; `None` if the key is not of this form or not of this user.
pub(crate) fn name(user: &str, key: &ConversationKey) -> Option<Conversation> {
    if let Some(group) = key.as_str().strip_prefix("g:") {
        return Some(Conversation::group(group));
    }
    if let Some(channel) = key.as_str().strip_prefix("b:") {
        return Some(Conversation::broadcast(channel));
    }
    let (len, names) = key.as_str().strip_prefix("p:")?.split_once(':')?;
    let (first, second) = names.split_at_checked(len.parse().ok()?)?;
    let second = second.strip_prefix(':')?;
    match user {
        _ if user == first => Some(Conversation::private(second)),
        _ if user == second => Some(Conversation::private(first)),
        _ => None,
    }
}

/// The other user of a private conversation; `None` for another kind, and for one with oneself.
pub(crate) fn other<'a>(user: &str, conversation: &'a Conversation) -> Option<&'a str> {
    let private = conversation.known_kind() == Some(ConversationKind::Private);
    (private && *user != *conversation.id).then_some(&*conversation.id)
}

/// The users whom the store is told with a first message: those of a private conversation; one, if it is with oneself.
pub(crate) fn members(user: &Arc<str>, conversation: &Conversation) -> Vec<Arc<str>> {
    match conversation.known_kind() {
        Some(ConversationKind::Private) if **user == *conversation.id => vec![user.clone()],
        Some(ConversationKind::Private) => vec![user.clone(), Arc::from(conversation.id.as_str())],
        Some(_) | None => Vec::new(),
    }
}

/// Tells a retry from a reused packet id: SHA-256 over all that a sender chooses, each part with its length before it.
pub(crate) fn digest(message: &Submission) -> [u8; 32] {
    let (kind, content_type) = (message.to.kind.to_be_bytes(), message.content_type.to_be_bytes());
    hash(&[&kind, message.to.id.as_bytes(), &content_type, &message.content])
}

/// The same for a sealed message: all its parts count.
pub(crate) fn digest_sealed(message: &SealedSubmission) -> [u8; 32] {
    let (kind, content_type) = (message.to.kind.to_be_bytes(), message.content_type.to_be_bytes());
    hash(&[b"sealed", &kind, message.to.id.as_bytes(), &content_type, message.parts.as_bytes()])
}

/// The same for a command.
pub(crate) fn digest_command(to: &Conversation, about: u64, name: &str, content_type: u32, content: &[u8]) -> [u8; 32] {
    let (kind, about, content_type) = (to.kind.to_be_bytes(), about.to_be_bytes(), content_type.to_be_bytes());
    hash(&[b"command", name.as_bytes(), &kind, to.id.as_bytes(), &about, &content_type, content])
}

/// The same for a request of the service: all of it counts, for each of its targets.
pub(crate) fn digest_push(from: &str, to: &[u8], content_type: u32, content: &[u8]) -> [u8; 32] {
    hash(&[b"push", from.as_bytes(), to, &content_type.to_be_bytes(), content])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
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
        for key in ["p:9:a:b", "p:x:a:b", "p:1:ab", "x:1:a:b", "p:1", "p:1:éb"] {
            assert_eq!(name("a", &ConversationKey::new(key).unwrap()), None, "{key}");
        }
        assert_eq!(key("a", &Conversation::room("b")), None);
        assert_eq!(key("a", &Conversation::group("b")), Some(ConversationKey::new("g:b").unwrap()));
        let news = Conversation::broadcast("news");
        assert_eq!(name("a", &key("a", &news).unwrap()), Some(news));
        assert_eq!(name("a", &ConversationKey::new("g:1:b").unwrap()), Some(Conversation::group("1:b")));
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
        let to = Conversation::private("bob");
        let command = |about, name, content: &[u8]| digest_command(&to, about, name, 1, content);
        let digests =
            [command(1, "edit", b"a"), command(2, "edit", b"a"), command(1, "react", b"a"), command(1, "edit", b"b")];
        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }
}
