//! Which steps are possible in a state.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use im_serial::Body;

use super::Packet;
use super::device::Phase;
use super::world::{Action, DeviceScope, Line, Scope, Seen, StoreSays, Way, World};

const fn is_stream(body: &Body) -> bool {
    matches!(body, Body::Deliver(_)) || matches!(body, Body::Stored(stored) if stored.in_stream)
}

/// Packets that begin something: the protocol rests on their place in the stream.
const fn is_start(body: &Body) -> bool {
    matches!(body, Body::Login(_) | Body::LoginOk(_) | Body::Epoch(_))
}

impl Line {
    fn can_swap(&self, me: &DeviceScope, way: Way) -> bool {
        let queue = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        let [Some(first), Some(second)] = [queue.front(), queue.get(1)] else { return false };
        if is_start(&first.body) || is_start(&second.body) {
            return false;
        }
        // Where nothing says what comes first, a swap of two places of the stream cannot be seen.
        let both = is_stream(&first.body) && is_stream(&second.body);
        !both || self.device.inbox.is_strict(&me.conversation())
    }
}

impl World {
    /// Every step that is possible now.
    pub(super) fn actions(&self, scope: &Scope, actions: &mut Vec<Action>) {
        for (me, line) in scope.devices.iter().zip(&self.lines) {
            self.steps(scope, me, line, actions);
            if self.left.timeouts == 0 {
                actions.retain(|action| !matches!(action, Action::Timeout(_)));
            }
            self.faults(me, line, actions);
        }
        if self.left.server_crashes > 0 && self.lines.iter().any(|line| line.server.is_some()) {
            actions.push(Action::ServerCrash);
        }
        if self.left.epochs > 0 && self.store.log.len() > 1 {
            actions.push(Action::NewEpoch);
        }
    }

    /// What happens without faults, in the order in which a calm world takes it.
    fn steps(&self, scope: &Scope, me: &DeviceScope, line: &Line, actions: &mut Vec<Action>) {
        let d = me.index;
        let Line { device, up, down, server, cut, .. } = line;
        let online = device.phase != Phase::Offline;
        if *cut && online {
            actions.push(Action::ClientNotices(d));
        }
        if *cut && server.is_some() {
            actions.push(Action::ServerNotices(d));
        }
        if line.old.is_some() {
            actions.extend([Action::OldNotices(d), Action::OldReceives(d)]);
        }
        if !online {
            actions.push(Action::Connect(d));
        }
        if let Some(server) = server {
            if !up.is_empty() && server.accepts_input(scope.send_max) {
                actions.push(Action::ServerReceives(d, StoreSays::Stored));
                if self.may_be_late(up) {
                    actions.push(Action::ServerReceivesLate(d));
                }
            }
            if server.has_committed() {
                actions.push(Action::Commit(d));
            }
            if let Some(seen) = server.asked() {
                actions.push(Action::LogAnswers(d, Seen::Now));
                if seen != self.store.snapshot(d) {
                    actions.push(Action::LogAnswers(d, Seen::Then));
                }
            }
            let room = if scope.slow.down { down.len() < scope.on_the_way } else { online && device.accepts_input(me) };
            if !*cut && room && server.has_output() {
                actions.push(Action::ServerTransmits(d));
            }
        }
        if online && !down.is_empty() && device.accepts_input(me) {
            actions.push(Action::ClientReceives(d));
        }
        if online && !*cut && up.len() < scope.on_the_way && device.has_output(scope.send_max) {
            actions.push(Action::ClientTransmits(d));
        }
        let acks = if scope.slow.acks { device.app.taken.len() } else { device.app.taken.len().min(1) };
        actions.extend((0..acks).map(|which| Action::Ack(d, which)));
        if device.may_time_out() {
            actions.push(Action::Timeout(d));
        }
        if device.app.sent.len() < me.sends {
            actions.push(Action::Send(d));
        }
    }

    /// Whether the first packet is a login that names a position, with a log to be late about.
    fn may_be_late(&self, up: &VecDeque<Packet>) -> bool {
        let Some(Packet { body: Body::Login(login), .. }) = up.front() else { return false };
        login.positions.iter().any(|position| position.seq < self.store.head())
    }

    fn faults(&self, me: &DeviceScope, line: &Line, actions: &mut Vec<Action>) {
        let (d, left) = (me.index, &self.left);
        let online = line.device.phase != Phase::Offline;
        if left.cuts > 0 && online && !line.cut {
            actions.push(Action::Cut(d));
        }
        if left.client_crashes > 0 && (!line.device.app.sent.is_empty() || online) {
            actions.push(Action::ClientCrash(d));
        }
        if left.store > 0
            && line.server.is_some()
            && matches!(line.up.front(), Some(Packet { body: Body::Send(_), .. }))
        {
            let says = [StoreSays::StoredWithoutAnswer, StoreSays::NotNow, StoreSays::Nothing];
            actions.extend(says.map(|says| Action::ServerReceives(d, says)));
        }
        if left.duplicates > 0 {
            if line.up.front().is_some_and(|packet| !is_start(&packet.body)) {
                actions.push(Action::Duplicate(d, Way::Up));
            }
            if line.down.front().is_some_and(|packet| !is_start(&packet.body)) {
                actions.push(Action::Duplicate(d, Way::Down));
            }
        }
        if left.reorders > 0 {
            let ways = [Way::Up, Way::Down].into_iter().filter(|way| line.can_swap(me, *way));
            actions.extend(ways.map(|way| Action::Reorder(d, way)));
        }
    }

    /// The step that a world without faults takes next, or `None` when it is at rest.
    pub(super) fn calm(&self, scope: &Scope) -> Option<Action> {
        let mut actions = Vec::new();
        let mut timeout = None;
        for (me, line) in scope.devices.iter().zip(&self.lines) {
            actions.clear();
            self.steps(scope, me, line, &mut actions);
            for action in &actions {
                if matches!(action, Action::Timeout(_)) {
                    timeout = timeout.or(Some(*action));
                } else if !matches!(action, Action::Send(_)) {
                    return Some(*action);
                }
            }
        }
        timeout
    }
}
