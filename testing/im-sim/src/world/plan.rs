//! What a run does.

use std::ops::RangeInclusive;

use crate::link::Profile;

/// What a run does. Whatever is not said to be on is off in every plan but [`everything`](Self::everything).
#[derive(Clone, Debug)]
pub struct Plan {
    /// The links.
    pub profile: Profile,
    /// Who takes part: user and device. Devices of one user have conversations in common.
    pub clients: Vec<(String, String)>,
    /// Devices that join when the others have come to rest, with nothing: user and device.
    pub late: Vec<(String, String)>,
    /// Messages that each client sends, to users at random.
    pub messages: usize,
    /// Their content is filled up to so many bytes.
    pub content: RangeInclusive<usize>,
    /// Of so many percent of its messages a client recalls, edits or reacts to one when it is stored.
    pub commands_percent: u64,
    /// So many percent of the messages go to somebody whom nobody may write to.
    pub forbidden_percent: u64,
    /// They are handed to the client within so many virtual milliseconds.
    pub spread_ms: u64,
    /// Servers over one log; a client connects to any of them each time.
    pub servers: usize,
    /// A server crashes so often, at random moments within the spread; what was not durable is gone.
    pub crashes: usize,
    /// It comes back within so many milliseconds; until then dials fail.
    pub down_ms: u64,
    /// The servers give tickets and continue sessions. Clients come back with them; some are sent back to a full login; and half of the
    /// crashes of a single server lose the ticket keys.
    pub tickets: bool,
    /// Clients also show tickets that they used before, as from a backup of the device.
    pub old_tickets: bool,
    /// Several servers have the same ticket keys, and the same memory of used tickets.
    pub shared_tickets: bool,
    /// A server notices that a client's transport is gone only after up to so many milliseconds, so that a device often
    /// comes back while its older connection stands.
    pub linger_ms: u64,
    /// Deliveries that a client takes unacked.
    pub receive_max: u32,
    /// Bytes of content that a client takes unacked; 0 is no such bound.
    pub receive_bytes: u32,
    /// Requests of each client.
    pub asks: usize,
    /// Streams of each client.
    pub streams: usize,
    /// Messages that a server takes unanswered.
    pub send_max: u32,
    /// Transmissions after which a client gives a message up.
    pub max_tries: u32,
    /// How long the store takes for each question, in milliseconds.
    pub store_ms: RangeInclusive<u64>,
    /// Chance, in percent, that the store does not take a message that may be sent again.
    pub not_stored_percent: u64,
    /// Chance, in percent, that the store does not say whether it took a message; it did in half of the cases.
    pub unanswered_percent: u64,
    /// Chance, in percent, that a hint at new messages is lost, within a server and between servers.
    pub hint_loss_percent: u64,
    /// Each server asks the log about every device again after so many milliseconds; 0 is never.
    pub poll_ms: u64,
    /// So often nothing passes for a time, between one client or one server and all others, in one direction or both.
    pub partitions: usize,
    /// How long that lasts, in milliseconds.
    pub partition_ms: RangeInclusive<u64>,
    /// So often one side of a transport loses it, and the other does not hear of it.
    pub half_open: usize,
    /// So often a client crashes and begins again with what its application has safe.
    pub client_crashes: usize,
    /// So often a clock of a client or a server jumps.
    pub clock_jumps: usize,
    /// By up to so many seconds, forward or back.
    pub clock_jump_secs: u64,
    /// So often a log is replaced by another one: its beginning, as from a backup, under a new epoch. Not together with
    /// `client_crashes`, because an application that restarts is not told that the log is another one, nor with
    /// `commands_percent`, because commands about what is gone make no sense.
    pub replaced_logs: usize,
    /// So many devices go away within the spread, and come back when the others have come to rest.
    pub away: usize,
    /// Before they come back, so many days go by with nobody online.
    pub night_days: u64,
    /// Steps after which a run counts as a livelock.
    pub max_steps: u64,
}

fn named(clients: &[(&str, &str)]) -> Vec<(String, String)> {
    clients.iter().map(|(user, device)| ((*user).into(), (*device).into())).collect()
}

impl Plan {
    /// Two users and three devices over links that lose nothing.
    pub fn lossless() -> Self {
        Self {
            profile: Profile::lossless(),
            clients: named(&[("alice", "phone"), ("alice", "desk"), ("bob", "phone")]),
            late: Vec::new(),
            messages: 12,
            content: 0..=0,
            commands_percent: 0,
            forbidden_percent: 0,
            spread_ms: 5_000,
            servers: 1,
            crashes: 0,
            down_ms: 0,
            tickets: false,
            old_tickets: false,
            shared_tickets: true,
            linger_ms: 0,
            receive_max: 4,
            receive_bytes: 0,
            asks: 0,
            streams: 0,
            send_max: 64,
            // A cut connection is no answer; nobody gives up.
            max_tries: u32::MAX,
            store_ms: 0..=29,
            not_stored_percent: 0,
            unanswered_percent: 0,
            hint_loss_percent: 0,
            poll_ms: 0,
            partitions: 0,
            partition_ms: 1_000..=20_000,
            half_open: 0,
            client_crashes: 0,
            clock_jumps: 0,
            clock_jump_secs: 0,
            replaced_logs: 0,
            away: 0,
            night_days: 0,
            max_steps: 200_000,
        }
    }

    /// The same over links that lose every fifth chunk together with the connection.
    pub fn lossy() -> Self {
        Self { profile: Profile::lossy(), ..Self::lossless() }
    }

    /// The same, and the server crashes three times.
    pub fn crashing() -> Self {
        Self { crashes: 3, ..Self::lossy() }
    }

    /// The same with tickets, sessions that go on, and connections that outlive their transport.
    pub fn resuming() -> Self {
        Self { tickets: true, old_tickets: true, linger_ms: 3_000, ..Self::crashing() }
    }

    /// The same, and clients recall, edit and react.
    pub fn commanding() -> Self {
        Self { commands_percent: 60, ..Self::crashing() }
    }

    /// Kinds of faults, sizes, clients and servers drawn from the seed: small plans with a few kinds at a time.
    pub fn everything(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x65_7665_7279_7468);
        let mut plan = Self::lossless();
        let rng = &mut rng;
        let devices = [("alice", "phone"), ("bob", "phone"), ("alice", "desk"), ("carol", "phone")];
        plan.clients = named(&devices[..rng.usize(2..=4)]);
        plan.messages = rng.usize(4..=10).div_ceil(plan.clients.len());
        plan.spread_ms = 1 << rng.u32(9..=15);
        plan.servers = if one_in(rng, 3) { rng.usize(2..=3) } else { 1 };
        (plan.receive_max, plan.send_max) = (rng.u32(1..=8), rng.u32(1..=8));
        plan.draw_links(rng);
        plan.draw_sessions(rng);
        plan.draw_store(rng);
        plan.draw_absences(rng);
        (plan.asks, plan.streams) = if one_in(rng, 2) { (rng.usize(0..4), rng.usize(0..3)) } else { (0, 0) };
        plan.receive_bytes = if one_in(rng, 2) { 1 << rng.u32(0..=10) } else { 0 };
        plan
    }

    fn draw_links(&mut self, rng: &mut fastrand::Rng) {
        let profile = &mut self.profile;
        profile.latency_ms = 1..=1 << rng.u32(1..=9);
        profile.chunk = if one_in(rng, 3) { 1..=300 } else { 200..=4_000 };
        profile.cut_percent = [0, 0, 1, 3, 6][rng.usize(0..5)];
        for permille in [&mut profile.duplicate_permille, &mut profile.swap_permille, &mut profile.corrupt_permille] {
            *permille = if one_in(rng, 6) { rng.u64(5..=30) } else { 0 };
        }
        if one_in(rng, 6) {
            profile.bytes_per_sec = Some(1 << rng.u32(9..=14));
            self.content = 0..=1_000;
        }
        self.partitions = if one_in(rng, 4) { rng.usize(1..=2) } else { 0 };
        self.partition_ms = 1_000..=1_000 << rng.u32(1..=7);
        self.half_open = if one_in(rng, 4) { rng.usize(1..=2) } else { 0 };
        self.linger_ms = if one_in(rng, 3) { rng.u64(1..=20_000) } else { 0 };
    }

    fn draw_sessions(&mut self, rng: &mut fastrand::Rng) {
        self.crashes = if one_in(rng, 3) { rng.usize(1..=2) } else { 0 };
        self.down_ms = if one_in(rng, 2) { rng.u64(0..=5_000) } else { 0 };
        self.client_crashes = if one_in(rng, 4) { rng.usize(1..=2) } else { 0 };
        self.tickets = one_in(rng, 2);
        self.old_tickets = self.tickets && one_in(rng, 3);
        self.shared_tickets = one_in(rng, 2);
        if one_in(rng, 4) {
            self.clock_jumps = rng.usize(1..=3);
            self.clock_jump_secs = 1 << rng.u32(1..=14);
        }
    }

    fn draw_store(&mut self, rng: &mut fastrand::Rng) {
        self.commands_percent = if one_in(rng, 3) { 40 } else { 0 };
        self.forbidden_percent = if one_in(rng, 5) { 20 } else { 0 };
        self.store_ms = if one_in(rng, 4) { 0..=1 << rng.u32(8..=13) } else { 0..=29 };
        self.not_stored_percent = if one_in(rng, 5) { 30 } else { 0 };
        self.unanswered_percent = if one_in(rng, 5) { 30 } else { 0 };
        self.max_tries = if one_in(rng, 4) { rng.u32(1..=3) } else { u32::MAX };
        self.hint_loss_percent = if one_in(rng, 3) { rng.u64(5..=50) } else { 0 };
        if self.servers > 1 || self.hint_loss_percent > 0 || self.unanswered_percent > 0 {
            self.poll_ms = rng.u64(5_000..=30_000);
        }
    }

    fn draw_absences(&mut self, rng: &mut fastrand::Rng) {
        if one_in(rng, 4) {
            self.away = 1;
            self.night_days = if one_in(rng, 2) { rng.u64(1..=60) } else { 0 };
        }
        if one_in(rng, 6) && self.client_crashes == 0 && self.commands_percent == 0 {
            self.replaced_logs = rng.usize(1..=2);
        } else if one_in(rng, 4) {
            self.late = named(&[("alice", "tablet")]);
        }
    }

    /// The plan of this name.
    pub fn by_name(name: &str, seed: u64) -> Option<Self> {
        Some(match name {
            "lossless" => Self::lossless(),
            "lossy" => Self::lossy(),
            "crashing" => Self::crashing(),
            "resuming" => Self::resuming(),
            "commanding" => Self::commanding(),
            "everything" => Self::everything(seed),
            _ => return None,
        })
    }

    /// Messages sent in a run.
    pub fn messages_in_all(&self) -> usize {
        self.clients.len() * self.messages
    }
}

fn one_in(rng: &mut fastrand::Rng, n: u32) -> bool {
    rng.u32(0..n) == 0
}
