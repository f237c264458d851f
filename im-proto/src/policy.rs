//! How many devices of a user may be online, as data: who is let in, who has to go, and what it is told.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::close::CloseCode;
use crate::time::Instant;

/// A kind of device, numbered by the service: 0 for the web, 1 for phones, and so on.
///
/// ```
/// # use im_proto::policy::DeviceKind;
/// assert_ne!(DeviceKind(0), DeviceKind(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKind(pub u8);

/// A device of the user that is online.
///
/// ```
/// # use im_proto::{Instant, policy::{DeviceKind, OnlineDevice}};
/// let since = Instant::from_micros(5);
/// let web = OnlineDevice { session: 1, device: "web".into(), kind: DeviceKind(0), since };
/// assert_eq!(web.session, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineDevice {
    /// Names its session to the caller; no two are the same.
    pub session: u64,
    /// The device's id.
    pub device: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// When it logged in.
    pub since: Instant,
}

/// A device that wants to come in.
///
/// ```
/// # use im_proto::policy::{DeviceKind, NewDevice};
/// assert_eq!(NewDevice { device: "phone".into(), kind: DeviceKind(1) }.kind.0, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// The device's id.
    pub device: String,
    /// Its kind.
    pub kind: DeviceKind,
}

/// What happens when a device comes for which there is no room.
///
/// ```
/// # use im_proto::policy::{AtLimit, DevicePolicy};
/// assert_eq!(DevicePolicy::default().at_limit, AtLimit::KickOldest);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtLimit {
    /// The device that is online for longest goes, as many as are in the way. Of equal ones the lowest session.
    KickOldest,
    /// The new one is refused.
    Refuse,
}

/// What happens when a device logs in that is online already.
///
/// ```
/// # use im_proto::policy::{DevicePolicy, SameDevice};
/// assert_eq!(DevicePolicy::default().same_device, SameDevice::TakeOver);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SameDevice {
    /// Its older session goes.
    TakeOver,
    /// The new session is refused.
    Refuse,
}

/// Why somebody is sent away or not let in, and by which rule.
///
/// ```
/// # use im_proto::policy::Rule;
/// assert_eq!(Rule::Total { max: 5 }.to_string(), "at most 5 devices may be online");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// A device has one session.
    #[error("the device logged in elsewhere")]
    SameDevice,
    /// Kinds that are not online together.
    #[error("a device of another kind, which may not be online beside this one, is")]
    Exclusive,
    /// The limit of the kind.
    #[error("at most {max} devices of this kind may be online")]
    OfKind {
        /// The limit.
        max: usize,
    },
    /// The limit of all devices.
    #[error("at most {max} devices may be online")]
    Total {
        /// The limit.
        max: usize,
    },
}

impl Rule {
    /// The code for the session that has to go.
    pub const fn kick_code(self) -> CloseCode {
        match self {
            Self::SameDevice => CloseCode::REPLACED,
            Self::Exclusive | Self::OfKind { .. } | Self::Total { .. } => CloseCode::DEVICE_LIMIT,
        }
    }

    /// The code for the device that is not let in.
    pub const fn refusal_code(self) -> CloseCode {
        CloseCode::LOGIN_REFUSED
    }
}

/// A session to close.
///
/// ```
/// # use im_proto::{CloseCode, policy::{Kick, Rule}};
/// let kick = Kick { session: 1, code: CloseCode::REPLACED, reason: Rule::SameDevice };
/// assert_eq!(kick.code, kick.reason.kick_code());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kick {
    /// The session.
    pub session: u64,
    /// The code to close it with.
    pub code: CloseCode,
    /// The rule; as text it is the reason to close with.
    pub reason: Rule,
}

/// What to do about a new device.
///
/// ```
/// # use im_proto::policy::{Decision, Rule};
/// assert_ne!(Decision::Admit { kicks: vec![] }, Decision::Refuse(Rule::SameDevice));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Let it in, after closing these; never more than are online.
    Admit {
        /// The sessions to close.
        kicks: Vec<Kick>,
    },
    /// Do not let it in, by this rule.
    Refuse(Rule),
}

/// Which devices of a user may be online together.
///
/// ```
/// use im_proto::policy::{AtLimit, Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};
/// use im_proto::{CloseCode, Instant};
///
/// let (phone, tablet) = (DeviceKind(1), DeviceKind(2));
/// let policy = DevicePolicy { of_kind: [(phone, 1)].into(), exclusive: [phone, tablet].into(), ..Default::default() };
/// let old = OnlineDevice { session: 7, device: "old".into(), kind: phone, since: Instant::from_micros(0) };
/// let new = NewDevice { device: "new".into(), kind: phone };
/// let Decision::Admit { kicks } = policy.decide(&[old.clone()], &new) else { panic!() };
/// assert_eq!((kicks[0].session, kicks[0].code), (7, CloseCode::DEVICE_LIMIT));
///
/// let strict = DevicePolicy { at_limit: AtLimit::Refuse, ..policy };
/// assert!(matches!(strict.decide(&[old], &new), Decision::Refuse(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePolicy {
    /// How many devices may be online in all.
    pub total: usize,
    /// How many of a kind, for the kinds with a limit of their own; the others only count for `total`.
    pub of_kind: BTreeMap<DeviceKind, usize>,
    /// Kinds of which only one may be online at a time, with as many devices as its own limit says.
    pub exclusive: Vec<DeviceKind>,
    /// What happens when there is no room.
    pub at_limit: AtLimit,
    /// What happens to the same device's older session.
    pub same_device: SameDevice,
}

impl Default for DevicePolicy {
    /// Five devices of any kind; the oldest goes, and a device's new session takes over.
    fn default() -> Self {
        Self {
            total: 5,
            of_kind: BTreeMap::new(),
            exclusive: Vec::new(),
            at_limit: AtLimit::KickOldest,
            same_device: SameDevice::TakeOver,
        }
    }
}

impl DevicePolicy {
    /// What to do about `new` while `online` are. Pure: the same arguments give the same decision, in whatever order
    /// `online` is. If the limits held before, they hold after, and no smaller number of kicks would do.
    pub fn decide(&self, online: &[OnlineDevice], new: &NewDevice) -> Decision {
        let mut left: Vec<&OnlineDevice> = online.iter().collect();
        left.sort_unstable_by_key(|device| (device.since, device.session));
        let mut kicks = Vec::new();

        let taken_over = take(&mut left, usize::MAX, |device| device.device == new.device);
        if !taken_over.is_empty() && self.same_device == SameDevice::Refuse {
            return Decision::Refuse(Rule::SameDevice);
        }
        kick(&mut kicks, taken_over, Rule::SameDevice);

        // Each rule in turn takes no more than it must, and what one takes counts for the next.
        let excludes = |kind| kind != new.kind && self.exclusive.contains(&kind);
        if self.exclusive.contains(&new.kind) {
            let excluded = take(&mut left, usize::MAX, |device| excludes(device.kind));
            if !excluded.is_empty() && self.at_limit == AtLimit::Refuse {
                return Decision::Refuse(Rule::Exclusive);
            }
            kick(&mut kicks, excluded, Rule::Exclusive);
        }
        let of_kind = self.of_kind.get(&new.kind).map(|max| (Some(new.kind), *max, Rule::OfKind { max: *max }));
        let total = Some((None, self.total, Rule::Total { max: self.total }));
        for (kind, max, rule) in of_kind.into_iter().chain(total) {
            let counts = |device: &OnlineDevice| kind.is_none_or(|kind| kind == device.kind);
            let there = left.iter().filter(|device| counts(device)).count();
            let over = there.saturating_add(1).saturating_sub(max);
            if over > 0 && (max == 0 || self.at_limit == AtLimit::Refuse) {
                return Decision::Refuse(rule);
            }
            kick(&mut kicks, take(&mut left, over, counts), rule);
        }
        Decision::Admit { kicks }
    }
}

/// Takes out the first `most` that fit.
fn take<'a>(
    from: &mut Vec<&'a OnlineDevice>,
    most: usize,
    fits: impl Fn(&OnlineDevice) -> bool,
) -> Vec<&'a OnlineDevice> {
    let mut taken = Vec::new();
    from.retain(|device| {
        let goes = taken.len() < most && fits(device);
        if goes {
            taken.push(*device);
        }
        !goes
    });
    taken
}

fn kick(kicks: &mut Vec<Kick>, devices: Vec<&OnlineDevice>, reason: Rule) {
    kicks.extend(devices.into_iter().map(|device| Kick { session: device.session, code: reason.kick_code(), reason }));
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::{format, vec};

    use super::*;

    fn holds(policy: &DevicePolicy, online: &[(DeviceKind, String)]) -> bool {
        let count = |kind| online.iter().filter(|(other, _)| *other == kind).count();
        let exclusive = policy.exclusive.iter().filter(|kind| count(**kind) > 0).count();
        let names = online.iter().all(|(_, name)| online.iter().filter(|(_, other)| other == name).count() == 1);
        online.len() <= policy.total
            && policy.of_kind.iter().all(|(kind, max)| count(*kind) <= *max)
            && exclusive <= 1
            && names
    }

    fn policies() -> Vec<DevicePolicy> {
        let mut policies = Vec::new();
        for total in 0..=4 {
            for (a, b) in (0..=3).flat_map(|a| [1, 2].map(|b| (a, b))) {
                for exclusive in [vec![], vec![DeviceKind(0), DeviceKind(1)], vec![DeviceKind(2), DeviceKind(1)]] {
                    for at_limit in [AtLimit::KickOldest, AtLimit::Refuse] {
                        for same_device in [SameDevice::TakeOver, SameDevice::Refuse] {
                            policies.push(DevicePolicy {
                                total,
                                of_kind: [(DeviceKind(0), a), (DeviceKind(1), b)].into(),
                                exclusive: exclusive.clone(),
                                at_limit,
                                same_device,
                            });
                        }
                    }
                }
            }
        }
        policies
    }

    /// Up to four devices online, of three kinds, the first of them the new one's device or not.
    fn situations() -> Vec<(Vec<OnlineDevice>, NewDevice)> {
        let mut all = Vec::new();
        for count in 0..=4usize {
            for code in 0..3u64.pow(u32::try_from(count).unwrap()) {
                let online: Vec<_> = (0..count)
                    .map(|index| OnlineDevice {
                        session: index as u64,
                        device: format!("d{index}"),
                        kind: DeviceKind((code / 3u64.pow(u32::try_from(index).unwrap()) % 3) as u8),
                        // Two of the same age, and not in order.
                        since: Instant::from_micros([5, 3, 3, 9][index]),
                    })
                    .collect();
                for kind in (0..3).map(DeviceKind) {
                    for device in ["d0", "new"] {
                        all.push((online.clone(), NewDevice { device: device.into(), kind }));
                    }
                }
            }
        }
        all
    }

    fn after(online: &[OnlineDevice], gone: &[u64], new: &NewDevice) -> Vec<(DeviceKind, String)> {
        online
            .iter()
            .filter(|device| !gone.contains(&device.session))
            .map(|device| (device.kind, device.device.clone()))
            .chain([(new.kind, new.device.clone())])
            .collect()
    }

    #[test]
    fn the_limits_hold_after_every_decision_and_nobody_is_kicked_without_need() {
        let (situations, mut tried) = (situations(), 0);
        for policy in policies() {
            for (online, new) in &situations {
                let before: Vec<_> = online.iter().map(|device| (device.kind, device.device.clone())).collect();
                let decision = policy.decide(online, new);
                let mut turned = online.clone();
                turned.reverse();
                assert_eq!(policy.decide(&turned, new), decision);
                if !holds(&policy, &before) {
                    continue;
                }
                tried += 1;
                // The fewest kicks that make room, by trying all.
                let best = (0..1u32 << online.len())
                    .filter(|set| {
                        let gone: Vec<_> = (0..4u64).filter(|bit| set >> bit & 1 == 1).collect();
                        holds(&policy, &after(online, &gone, new))
                    })
                    .map(u32::count_ones)
                    .min();
                let same = online.iter().any(|device| device.device == new.device);
                match &decision {
                    Decision::Admit { kicks } => {
                        let gone: Vec<_> = kicks.iter().map(|kick| kick.session).collect();
                        assert!(holds(&policy, &after(online, &gone, new)), "{policy:?} {online:?} {new:?}");
                        assert_eq!(Some(u32::try_from(gone.len()).unwrap()), best, "{policy:?} {online:?} {new:?}");
                        for kick in kicks {
                            assert!(kick.code == kick.reason.kick_code());
                            let replaced = online[usize::try_from(kick.session).unwrap()].device == new.device;
                            assert_eq!(replaced, kick.code == CloseCode::REPLACED);
                            assert!(replaced || policy.at_limit == AtLimit::KickOldest);
                        }
                        assert!(!same || policy.same_device == SameDevice::TakeOver);
                    }
                    Decision::Refuse(Rule::SameDevice) => {
                        assert!(same && policy.same_device == SameDevice::Refuse);
                    }
                    Decision::Refuse(_) => {
                        // Either there is no way, or the policy kicks nobody but a device's own older session.
                        let needed = best.is_some_and(|best| best > u32::from(same));
                        assert!(best.is_none() || policy.at_limit == AtLimit::Refuse && needed);
                    }
                }
            }
        }
        assert!(tried > 10_000, "{tried}");
    }

    #[test]
    fn the_oldest_goes_and_is_told_why() {
        let policy = DevicePolicy { total: 2, ..DevicePolicy::default() };
        let online = |session, since| OnlineDevice {
            session,
            device: session.to_string(),
            kind: DeviceKind(0),
            since: Instant::from_micros(since),
        };
        let new = NewDevice { device: "new".into(), kind: DeviceKind(1) };
        let kick = |session| Kick { session, code: CloseCode::DEVICE_LIMIT, reason: Rule::Total { max: 2 } };
        let decision = policy.decide(&[online(1, 9), online(2, 4)], &new);
        assert_eq!(decision, Decision::Admit { kicks: vec![kick(2)] });
        // A limit that was lowered meanwhile.
        let decision = policy.decide(&[online(1, 9), online(2, 4), online(3, 4)], &new);
        assert_eq!(decision, Decision::Admit { kicks: vec![kick(2), kick(3)] });
        assert!(!CloseCode::DEVICE_LIMIT.may_reconnect());
    }
}
