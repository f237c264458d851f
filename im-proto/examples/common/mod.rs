//! The part of a server that this crate leaves to the application, as small as can be: a log in memory.

use std::collections::BTreeMap;

use im_proto::{AnswerError, Connection, Conversation, Entry, FeedItem, PacketId, RefusalCode, Server, ServerEvent};

/// Who is at the other end of a server's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) device: String,
}

/// A stored message with its identity.
#[derive(Debug)]
struct Row {
    from: Device,
    packet_id: PacketId,
    item: FeedItem,
}

/// One private conversation per pair of users, and what each device has of it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    messages: BTreeMap<(String, String), Vec<Row>>,
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
                let same = log.iter().find(|entry| entry.from == *me && entry.packet_id == message.packet_id);
                let (seq, duplicate) = match same {
                    // A retry: the same answer again, and nothing is stored twice.
                    Some(entry) if entry.item.entry.content() == message.content => (entry.item.seq, true),
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
                        from: (&me.user).into(),
                        own: false,
                        entry: Entry::Message { content_type: message.content_type, content: message.content },
                    };
                    log.push(Row { from: me.clone(), packet_id: message.packet_id, item });
                }
                connection.stored(message.packet_id, &message.to, 1000 + seq, seq, 0, duplicate)
            }
            ServerEvent::Unread { .. } => connection.unread(&self.unread(me), true),
            ServerEvent::Fetch { conversation, after, max_messages, .. } => {
                let position = self.positions.get(&(me.clone(), conversation.clone())).copied();
                let after = after.or(position).unwrap_or(0);
                let log = self.conversation(me, &conversation);
                let entries = log.iter().skip(after as usize).take(max_messages);
                // The device that sent a message gets only the fact.
                let items = entries.map(|entry| FeedItem { own: entry.from == *me, ..entry.item.clone() }).collect();
                connection.fetched(&conversation, after, items)
            }
            ServerEvent::Delivered { conversation, up_to, .. } => {
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
    fn conversation(&mut self, me: &Device, conversation: &Conversation) -> &mut Vec<Row> {
        let (a, b) = (me.user.clone(), conversation.id.to_string());
        self.messages.entry(if a <= b { (a, b) } else { (b, a) }).or_default()
    }
}
