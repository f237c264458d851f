//! What is said and never stored: signals and rooms.

use std::sync::Arc;

use im_proto::call::{CallId, CallSignal, Device as CallDevice, PrivateSignal};
use im_proto::{Conversation, ConversationKind, Instant, PacketId, RefusalCode, RoomPost, Signal, Submission};

use super::authorize::{allowed_or, may_write};
use super::jobs::Done;
use super::{Member, Refusal, Services, Session};
use crate::calls::GroupMembers;
use crate::conversation;
use crate::hooks::{Draft, Origin};
use crate::hub::{Place, Posted};
use crate::store::EntryKind;
use crate::transport::Transport;

impl<T: Transport> Session<T> {
    pub(super) fn signal(&mut self, now: Instant, packet_id: PacketId, signal: Signal) {
        let Some(Member { device, membership, .. }) = &mut self.member else { return };
        let (services, user) = (self.services.clone(), device.user.clone());
        match signal {
            Signal::Presence(state) => membership.set_presence(state),
            Signal::Watch { user: other, on: true } => self.jobs.push(async move {
                let allowed = services.directory.may_watch(&user, &other).await;
                let allowed = allowed_or(allowed, "you may not be told of this user's presence");
                Done::Watch { packet_id, user: other, allowed }
            }),
            Signal::Watch { user, .. } => membership.unwatch(&user),
            Signal::Typing { conversation, on } => self.jobs.push(async move {
                let allowed = match conversation.known_kind() {
                    Some(ConversationKind::Group) => {
                        let member = services.directory.member(&conversation.id, &user).await;
                        let writes = member.map(|member| member.is_some_and(|member| !member.muted && !member.banned));
                        allowed_or(writes, "you may not write in this group")
                    }
                    Some(_) | None => match conversation::other(&user, &conversation) {
                        Some(other) => may_write(&services, &user, other).await,
                        None => Ok(()),
                    },
                };
                Done::Typing { packet_id, conversation, on, allowed }
            }),
            Signal::Call { call, signal } => self.jobs.push(async move {
                let allowed = match &signal {
                    CallSignal::Private(PrivateSignal::Invite { callee, .. }) => {
                        may_write(&services, &user, callee).await.map(|()| GroupMembers::default())
                    }
                    CallSignal::Private(_) => Ok(GroupMembers::default()),
                    CallSignal::Group(signal) => {
                        let members = services.calls.members(&services, call, signal, &user).await;
                        members.map_err(|error| Refusal::directory(&error))
                    }
                };
                Done::Call { packet_id, call, signal, allowed }
            }),
            _ => {
                let refusal = Refusal::new(RefusalCode::INVALID, "this server does not know the signal");
                self.refuse_signal(now, packet_id, &refusal);
            }
        }
    }

    fn refuse_signal(&mut self, now: Instant, packet_id: PacketId, refusal: &Refusal) {
        let Refusal { code, reason, .. } = refusal;
        match self.connection.signal_refused(packet_id, *code, reason, refusal.retry_after()) {
            // So many came since that this one can be refused no more.
            Err(im_proto::AnswerError::NotAsked) => {}
            result => self.answered(now, result),
        }
    }

    pub(super) fn watched(&mut self, now: Instant, packet_id: PacketId, user: String, allowed: Result<(), Refusal>) {
        let Some(Member { membership, .. }) = &mut self.member else { return };
        match allowed {
            // It may have ended the watch meanwhile.
            Ok(()) if self.connection.watches(&user) => membership.watch(user),
            Ok(()) => {}
            Err(refusal) => {
                membership.unwatch(&user);
                self.refuse_signal(now, packet_id, &refusal);
            }
        }
    }

    pub(super) fn typed(
        &mut self,
        now: Instant,
        packet_id: PacketId,
        conversation: &Conversation,
        on: bool,
        allowed: Result<(), Refusal>,
    ) {
        let Some(Member { device, .. }) = &self.member else { return };
        match allowed {
            Ok(()) => self.services.hub.typing(Place { user: &device.user, conversation }, on),
            Err(refusal) => self.refuse_signal(now, packet_id, &refusal),
        }
    }

    pub(super) fn called(
        &mut self,
        now: Instant,
        packet_id: PacketId,
        call: CallId,
        signal: CallSignal,
        allowed: Result<GroupMembers, Refusal>,
    ) {
        let Some(Member { device, .. }) = &self.member else { return };
        let members = match allowed {
            Ok(members) => members,
            Err(refusal) => return self.refuse(now, packet_id, &refusal),
        };
        let from = CallDevice::new(&device.user, &device.device);
        let result = self.services.calls.handle(&self.services, now, &from, call, signal, &members);
        let result = self.connection.call_answered(packet_id, call, &result);
        self.answered(now, result);
    }

    pub(super) fn join_room(&mut self, packet_id: PacketId, room: Conversation) {
        let Some(Member { device, .. }) = &self.member else { return };
        let (services, user) = (self.services.clone(), device.user.clone());
        self.jobs.push(async move {
            let allowed = services.directory.may_join(&user, &room.id).await;
            let allowed = allowed_or(allowed, "you may not come into this room");
            Done::Join { packet_id, room, allowed }
        });
    }

    pub(super) fn joined(
        &mut self,
        now: Instant,
        packet_id: PacketId,
        room: Conversation,
        allowed: Result<(), Refusal>,
    ) {
        let Some(Member { membership, .. }) = &mut self.member else { return };
        let result = match allowed {
            Ok(()) => self.connection.accept_join(packet_id).inspect(|()| membership.enter_room(room.id.into())),
            Err(refusal) => {
                let Refusal { code, reason, .. } = &refusal;
                self.connection.refuse_join(packet_id, *code, reason, refusal.retry_after())
            }
        };
        self.answered(now, result);
    }

    pub(super) fn left_room(&mut self, room: &Conversation) {
        if let Some(Member { membership, .. }) = &mut self.member {
            membership.leave_room(&room.id);
        }
    }

    /// A message to a room: for those who are in it now, and nobody else.
    pub(super) fn post(&mut self, now: Instant, message: Submission) {
        let Some(Member { device, .. }) = &self.member else { return };
        let packet_id = message.packet_id;
        let digest = conversation::digest(&message);
        if !self.connection.is_in_room(&message.to) {
            let refusal = Refusal::new(RefusalCode::FORBIDDEN, "you are not in this room: join it first");
            return self.refuse(now, packet_id, &refusal);
        }
        let known = self.services.hub.rooms.known(&device.user, &device.device, packet_id.0);
        if self.services.hooks.before.is_none() || known.is_some() {
            return self.posted(now, message, digest, Ok(()));
        }
        let (services, device) = (self.services.clone(), device.clone());
        self.jobs.push(async move {
            let mut message = message;
            let draft = Draft {
                from: &device.user,
                origin: Origin::Device(&device.device),
                conversation: &message.to,
                kind: EntryKind::Message,
                content_type: message.content_type,
                content: &message.content,
            };
            let allowed = match services.hooks.review(&draft).await {
                Ok(None) => Ok(()),
                Ok(Some((content_type, content))) => {
                    (message.content_type, message.content) = (content_type.into(), content);
                    Ok(())
                }
                Err(refusal) => Err(refusal),
            };
            Done::Post { message, digest, allowed }
        });
    }

    pub(super) fn posted(&mut self, now: Instant, message: Submission, digest: [u8; 32], allowed: Result<(), Refusal>) {
        let Some(Member { device, .. }) = &self.member else { return };
        let Submission { packet_id, to, content_type, content } = message;
        let posted = allowed.and_then(|()| {
            let from = (&device.user, &device.device);
            self.services.post(from, packet_id.0, &to, content_type, content, digest)
        });
        match posted {
            Ok((Posted { message_id, time_ms, .. }, duplicate)) => {
                let result = self.connection.stored(packet_id, &to, message_id, 0, time_ms, duplicate);
                self.answered(now, result);
            }
            Err(refusal) => self.refuse(now, packet_id, &refusal),
        }
    }
}

impl Services {
    /// Says something in a room, unless it was said before with this id; then the second of what is given is true.
    pub(crate) fn post(
        &self,
        (user, device): (&Arc<str>, &Arc<str>),
        packet_id: u64,
        room: &Conversation,
        content_type: u32,
        content: Vec<u8>,
        digest: [u8; 32],
    ) -> Result<(Posted, bool), Refusal> {
        let (message_id, time_ms) = self.next_id()?;
        let bytes = content.len();
        let post = RoomPost::new(room, user, message_id, time_ms, content_type, content);
        let post = post.map_err(|error| Refusal::new(RefusalCode::INVALID, error.to_string()))?;
        let posted = Posted { digest, message_id, time_ms };
        let before = self.hub.rooms.note(user, device, packet_id, posted);
        if before.is_none() {
            self.hub.rooms.post(&post, bytes);
        }
        match before {
            Some(before) if before.digest != digest => {
                let reason = "this packet id was used for another message before: send it with a new id";
                Err(Refusal::new(RefusalCode::CONFLICT, reason))
            }
            before => Ok((before.unwrap_or(posted), before.is_some())),
        }
    }
}
