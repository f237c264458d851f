//! Calls of two users: [`CallServer`] keeps them, and what it says is carried out here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use im_proto::call::{CallId, CallLimits, CallRefusal, CallServer, Device, Effect, Effects, PrivateSignal};
use im_proto::{Instant, PeerSignal};
use tokio::sync::Notify;

use crate::session::Services;

/// The calls of this server.
pub(crate) struct Calls {
    calls: Mutex<CallServer>,
    limits: CallLimits,
    /// The times of calls changed.
    changed: Arc<Notify>,
    watching: AtomicBool,
}

impl Calls {
    pub(crate) fn new(limits: CallLimits) -> Self {
        let calls = Mutex::new(CallServer::new(limits));
        Self { calls, limits, changed: Arc::default(), watching: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, CallServer> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a signal of a device and tells the others.
    pub(crate) fn handle(
        &self,
        services: &Arc<Services>,
        now: Instant,
        from: &Device,
        call: CallId,
        signal: PrivateSignal,
    ) -> Result<Effects, CallRefusal> {
        let mut calls = self.lock();
        let result = calls.handle_private(now, from, call, signal);
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
            let effects = calls.handle_timeout(now);
            services.calls.carry_out(&services, &effects);
            calls.poll_timeout().map(|due| due.saturating_since(now))
        };
        match due {
            Some(due) => {
                let _ = tokio::time::timeout(due, changed.notified()).await;
            }
            None => changed.notified().await,
        }
    }
}
