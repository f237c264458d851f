//! Calls of two users and of groups: [`CallServer`] keeps them, and what it says is carried out here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use im_proto::call::{CallId, CallLimits, CallRefusal, CallServer, CallSignal, Device, Effect, Effects, GroupSignal};
use im_proto::{Instant, PeerSignal};
use tokio::sync::Notify;

use crate::directory::DirectoryError;
use crate::session::Services;

/// The calls of this server.
pub(crate) struct Calls {
    calls: Mutex<State>,
    limits: CallLimits,
    /// The times of calls changed.
    changed: Arc<Notify>,
    watching: AtomicBool,
}

struct State {
    server: CallServer,
    /// Which group a call belongs to, so that its members can be looked up before a signal is taken. Of calls that are over some
    /// stay until there are too many.
    groups: BTreeMap<CallId, String>,
}

/// Those of the users of a signal that are in the call's group.
#[derive(Debug, Default)]
pub(crate) struct GroupMembers {
    group: String,
    users: BTreeSet<String>,
}

impl Calls {
    pub(crate) fn new(limits: CallLimits) -> Self {
        let calls = Mutex::new(State { server: CallServer::new(limits), groups: BTreeMap::new() });
        Self { calls, limits, changed: Arc::default(), watching: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the directory about `user` and those whom the signal invites.
    pub(crate) async fn members(
        &self,
        services: &Services,
        call: CallId,
        signal: &GroupSignal,
        user: &str,
    ) -> Result<GroupMembers, DirectoryError> {
        let (group, invited) = if let GroupSignal::Setup { group, invite, .. } = signal {
            (Some(group.clone()), invite.as_slice())
        } else {
            let invited = if let GroupSignal::Invite(invite) = signal { invite.as_slice() } else { &[] };
            (self.lock().groups.get(&call).cloned(), invited)
        };
        // Without one the call is not known.
        let Some(group) = group else { return Ok(GroupMembers::default()) };
        let mut users = BTreeSet::new();
        // A signal with more people is refused whoever they are.
        let invited = invited.iter().take(self.limits.max_participants).map(String::as_str);
        for user in std::iter::once(user).chain(invited) {
            if services.directory.member(&group, user).await?.is_some_and(|standing| !standing.banned) {
                users.insert(user.to_owned());
            }
        }
        Ok(GroupMembers { group, users })
    }

    /// Takes a signal of a device and tells the others.
    pub(crate) fn handle(
        &self,
        services: &Arc<Services>,
        now: Instant,
        from: &Device,
        call: CallId,
        signal: CallSignal,
        members: &GroupMembers,
    ) -> Result<Effects, CallRefusal> {
        let mut calls = self.lock();
        let result = match signal {
            CallSignal::Private(signal) => calls.server.handle_private(now, from, call, signal),
            CallSignal::Group(signal) => {
                let begins = matches!(signal, GroupSignal::Setup { .. });
                let is_member = |group: &str, user: &str| group == members.group && members.users.contains(user);
                let result = calls.server.handle_group(now, from, call, signal, &is_member);
                if begins && result.is_ok() {
                    calls.note(&self.limits, call, &members.group);
                }
                result
            }
        };
        if let Ok(effects) = &result {
            // Under the lock: devices hear of signals in the order in which they were taken.
            self.carry_out(services, &effects.list);
        }
        drop(calls);
        self.changed.notify_one();
        if !self.watching.swap(true, Ordering::Relaxed) {
            tokio::spawn(watch(Arc::downgrade(services), self.changed.clone()));
        }
        result
    }

    fn carry_out(&self, services: &Services, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Relay { to, call, notice } => {
                    // Payloads are bounded by the same limit.
                    let bytes = if notice.has_payload() { self.limits.max_payload } else { 0 };
                    let signal = PeerSignal::Call { call: *call, notice: notice.clone() };
                    services.hub.signal(to, &signal, bytes);
                }
                // No place in a log is defined for it: the devices of the call know how it ended.
                Effect::Record(record) => {
                    tracing::debug!(call = %record.call, outcome = ?record.outcome, "a call ended");
                }
            }
        }
    }
}

impl State {
    fn note(&mut self, limits: &CallLimits, call: CallId, group: &str) {
        self.groups.insert(call, group.to_owned());
        if self.groups.len() > limits.max_calls.saturating_add(limits.max_ended) {
            let Self { server, groups } = self;
            groups.retain(|call, _| server.phase(*call).is_some());
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // The task that watches the times ends with the server.
        self.changed.notify_one();
    }
}

/// Ends calls whose time is over, as long as the server lives.
async fn watch(services: Weak<Services>, changed: Arc<Notify>) {
    loop {
        let due = {
            let Some(services) = services.upgrade() else { return };
            let now = services.clock.now();
            let mut calls = services.calls.lock();
            let effects = calls.server.handle_timeout(now);
            services.calls.carry_out(&services, &effects);
            calls.server.poll_timeout().map(|due| due.saturating_since(now))
        };
        match due {
            Some(due) => {
                let _ = tokio::time::timeout(due, changed.notified()).await;
            }
            None => changed.notified().await,
        }
    }
}
