//! The part of a server that this crate leaves to the application, as small as can be: a log in memory.

use std::collections::BTreeMap;

use im_proto::{AnswerError, Connection, Conversation, FeedItem, RefusalCode, Server, ServerEvent};

/// Who is at the other end of a server's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) device: String,
}

/// One private conversation per pair of users, and what each device has of it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    messages: BTreeMap<(String, String), Vec<(Device, FeedItem)>>,
    positions: BTreeMap<(Device, Conversation), u64>,
}

impl Log {
    /// Does what an event of a connection asks for. A real server awaits its store here, and says `stored` only after
    /// the message is durable.
    pub(crate) fn answer(
        &mut self,
        connection: &mut Connection<Server>,
        me: &Device,
        event: ServerEvent,
    ) -> Result<(), AnswerError> {
        match event {
            ServerEvent::Message(message) => {
                let log = self.conversation(me, &message.to);
                let same = log.iter().find(|(from, item)| from == me && item.own == Some(message.packet_id));
                let (seq, duplicate) = match same {
                    // A retry: the same answer again, and nothing is stored twice.
                    Some((_, item)) if item.content == message.content => (item.seq, true),
                    Some(_) => {
                        let reason = "this packet id was used for another message";
                        return connection.refused(message.packet_id, RefusalCode::CONFLICT, reason, false);
                    }
                    None => (log.len() as u64 + 1, false),
                };
                if !duplicate {
                    let item = FeedItem {
                        seq,
                        message_id: 1000 + seq,
                        time_ms: 0,
                        from: me.user.clone(),
                        own: Some(message.packet_id),
                        content_type: message.content_type,
                        content: message.content,
                    };
                    log.push((me.clone(), item));
                }
                connection.stored(message.packet_id, &message.to, 1000 + seq, seq, 0, duplicate)
            }
            ServerEvent::Unread { .. } => connection.unread(&self.unread(me), true),
            ServerEvent::Fetch { conversation, after, max_messages, .. } => {
                let position = self.positions.get(&(me.clone(), conversation.clone())).copied();
                let after = after.or(position).unwrap_or(0);
                let log = self.conversation(me, &conversation);
                let mut items: Vec<_> = log.iter().skip(after as usize).take(max_messages).cloned().collect();
                for (from, item) in &mut items {
                    // Only the device that sent it knows its packet id.
                    item.own = item.own.filter(|_| from == me);
                }
                connection.fetched(&conversation, after, items.into_iter().map(|(_, item)| item).collect())
            }
            ServerEvent::Delivered { conversation, up_to } => {
                let head = self.conversation(me, &conversation).len() as u64;
                let position = self.positions.entry((me.clone(), conversation)).or_default();
                *position = up_to.min(head).max(*position);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The conversations of which the device lacks messages, with their last seq.
    pub(crate) fn unread(&self, me: &Device) -> Vec<(Conversation, u64)> {
        let heads = self.messages.iter().filter_map(|((a, b), log)| {
            let peer = if *a == me.user { b } else { a };
            let mine = *a == me.user || *b == me.user;
            mine.then(|| (Conversation::private(peer), log.len() as u64))
        });
        let had = |conversation: &Conversation| self.positions.get(&(me.clone(), conversation.clone())).copied();
        heads.filter(|(conversation, head)| had(conversation).unwrap_or(0) < *head).collect()
    }

    /// Alice names the conversation "bob", and bob names it "alice".
    fn conversation(&mut self, me: &Device, conversation: &Conversation) -> &mut Vec<(Device, FeedItem)> {
        let (a, b) = (me.user.clone(), conversation.id.clone());
        self.messages.entry(if a <= b { (a, b) } else { (b, a) }).or_default()
    }
}
