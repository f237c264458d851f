//! Tickets: a session comes back in one round trip, each ticket once, and whatever is wrong with one, the client gets in by a full
//! handshake without its application noticing.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]

use std::sync::Arc;

use im_proto::*;
use im_sim::{configs, credentials, entropy};

const WALL: u64 = 1_800_000_000;

/// A client and a server process with its ticket keys and its memory of used tickets.
struct Service {
    now: Instant,
    wall: u64,
    config: Arc<ServerConfig>,
    keys: Arc<TicketKeys>,
    used: UsedTickets,
    client: Connection<Client>,
    server: Connection<Server>,
    client_events: Vec<ClientEvent>,
    server_events: Vec<ServerEvent>,
    seed: u64,
    /// Whether the application lets those in that come with a ticket.
    lets_in: bool,
    tickets_per_login: usize,
}

fn ticket_keys(seed: u64) -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new(&RUSTCRYPTO, entropy(seed)).unwrap())
}

impl Service {
    fn new(client: ClientConfig, server: ServerConfig) -> Self {
        let now = Instant::from_micros(1_000_000);
        let config = Arc::new(server);
        let server = Connection::server(config.clone(), entropy(1), now).unwrap();
        Self {
            now,
            wall: WALL,
            config,
            keys: ticket_keys(77),
            used: UsedTickets::new(100),
            client: Connection::client(client, 1).unwrap(),
            server,
            client_events: Vec::new(),
            server_events: Vec::new(),
            seed: 100,
            lets_in: true,
            tickets_per_login: 1,
        }
    }

    fn usual() -> Self {
        let (client, server) = configs();
        Self::new(client, server)
    }

    fn entropy(&mut self) -> Entropy {
        self.seed += 1;
        entropy(self.seed)
    }

    fn arrival(&self) -> Arrival {
        Arrival { tickets: Some(self.keys.clone()), ..Arrival::at(self.wall) }
    }

    /// A new transport, and everything that follows until nobody has anything to say.
    fn connect(&mut self) {
        self.client.handle_eof(self.now);
        self.drain();
        let (a, b) = (self.entropy(), self.entropy());
        self.server = Connection::server_for(self.config.clone(), self.arrival(), a, self.now).unwrap();
        self.client_events.clear();
        self.server_events.clear();
        self.client.connect(b, self.now).unwrap();
        self.settle();
    }

    fn drain(&mut self) {
        self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
    }

    fn settle(&mut self) {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let before = (self.client.stats(), self.server.stats(), self.server_events.len());
            while self.client.poll_transmit(self.now, &mut up, usize::MAX).is_some() {}
            while self.server.poll_transmit(self.now, &mut down, usize::MAX).is_some() {}
            let n = self.server.handle_input(self.now, &mut up);
            up.drain(..n);
            while let Some(event) = self.server.poll_event() {
                self.event(event);
            }
            let n = self.client.handle_input(self.now, &mut down);
            down.drain(..n);
            self.drain();
            if before == (self.client.stats(), self.server.stats(), self.server_events.len()) {
                return;
            }
        }
        panic!("the two ends never stop talking");
    }

    fn event(&mut self, event: ServerEvent) {
        match &event {
            ServerEvent::Ticket(ticket) => {
                let fresh = self.used.spend(&ticket.id, ticket.expires, ticket.now);
                self.server.ticket(self.now, fresh).unwrap();
            }
            ServerEvent::Login(login) => {
                let user = login.user.clone();
                self.server.accept_login(self.now, &user, self.wall * 1000).unwrap();
                self.give();
            }
            ServerEvent::Resumed(login) if self.lets_in => {
                let user = login.user.clone();
                self.server.resume_login(self.now, &user, self.wall * 1000, &[]).unwrap();
                self.give();
            }
            ServerEvent::Resumed(_) => self.server.refuse_login(self.now, "the account is locked").unwrap(),
            ServerEvent::Unread { .. } => self.server.unread(&[], true).unwrap(),
            _ => {}
        }
        self.server_events.push(event);
    }

    fn give(&mut self) {
        for _ in 0..self.tickets_per_login {
            let entropy = self.entropy();
            self.server.issue_ticket(&self.keys, self.wall, 3600, entropy).unwrap();
        }
    }

    fn handshake(&self) -> HandshakeId {
        let handshake = self.client_events.iter().find_map(|event| match event {
            ClientEvent::Negotiated(negotiated) => Some(negotiated.handshake),
            _ => None,
        });
        handshake.unwrap_or_else(|| panic!("{:?}", self.client_events))
    }

    fn resumed(&self) -> bool {
        assert_eq!(self.client.state(), State::Online, "{:?} {:?}", self.client_events, self.server_events);
        let told = self.server_events.iter().any(|event| matches!(event, ServerEvent::Resumed(_)));
        assert_eq!(self.handshake().is_resumption(), told);
        told
    }

    fn saved(&self) -> SavedTicket {
        let saved = self.client_events.iter().find_map(|event| match event {
            ClientEvent::Ticket { saved, .. } => Some(saved.clone()),
            _ => None,
        });
        saved.expect("a ticket came")
    }
}

#[test]
fn a_ticket_resumes_in_one_round_trip_as_user_device_and_session() {
    let mut service = Service::usual();
    service.connect();
    assert!(!service.resumed());
    assert_eq!(service.client.tickets(), 1);
    let before = service.client.stats();
    service.connect();
    assert!(service.resumed());
    let Some(ServerEvent::Resumed(login)) = service.server_events.iter().find(|e| matches!(e, ServerEvent::Resumed(_)))
    else {
        panic!()
    };
    assert_eq!((login.user.as_str(), login.device.as_str(), login.issued), ("alice", "phone", WALL));
    assert_eq!(login.resume.as_ref().map(|resume| resume.session), Some(login.session));
    assert!(login.session > 0);
    // Hello and login, nothing else.
    assert_eq!(service.client.stats().packets_out - before.packets_out, 2);
    let answer = service.client_events.iter().find_map(|event| match event {
        ClientEvent::LoggedIn { session, user, .. } => Some((*session, user.clone())),
        _ => None,
    });
    assert_eq!(answer, Some((SessionAnswer::Recovered, "alice".into())));
    // And again, with the ticket of the resumed session.
    service.connect();
    assert!(service.resumed());
}

/// The login of a resumption carries no token.
#[test]
fn a_resumption_needs_no_token() {
    let (mut client, server) = configs();
    client.credentials.token = "once".into();
    let mut service = Service::new(client, server);
    service.connect();
    let token = |service: &Service| {
        service.server_events.iter().find_map(|event| match event {
            ServerEvent::Login(login) => Some(login.token.clone()),
            _ => None,
        })
    };
    assert_eq!(token(&service), Some("once".into()));
    service.connect();
    assert!(service.resumed());
    assert_eq!(token(&service), None);
}

#[test]
fn a_used_ticket_is_refused_and_the_client_gets_in_by_a_full_handshake() {
    let mut service = Service::usual();
    service.connect();
    let saved = service.saved();
    service.connect();
    assert!(service.resumed());
    // A copy of the ticket that was used just now, as from a backup of the device.
    let (config, _) = configs();
    service.client = Connection::client(config, 2).unwrap();
    service.client.add_ticket(&saved).unwrap();
    service.connect();
    assert!(service.server_events.iter().any(|event| matches!(event, ServerEvent::Ticket(_))));
    assert!(!service.resumed(), "a used ticket resumed");
    // Nobody was told of a failure, and the next one is good.
    assert!(!service.client_events.iter().any(|event| matches!(event, ClientEvent::Closed(_))));
    service.connect();
    assert!(service.resumed());
}

#[test]
fn each_ticket_is_shown_once_and_the_newest_first() {
    let mut service = Service::usual();
    service.tickets_per_login = 4;
    service.connect();
    assert_eq!(service.client.tickets(), 4);
    service.tickets_per_login = 0;
    for left in (0..4).rev() {
        service.connect();
        assert!(service.resumed());
        assert_eq!(service.client.tickets(), left);
    }
    let mut ids: Vec<_> = Vec::new();
    service.connect();
    assert!(!service.resumed(), "none is left");
    service.tickets_per_login = 1;
    for _ in 0..4 {
        service.connect();
        ids.extend(service.server_events.iter().filter_map(|event| match event {
            ServerEvent::Ticket(ticket) => Some(ticket.id),
            _ => None,
        }));
    }
    let shown = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), shown), (3, 3));
}

#[test]
fn the_client_keeps_no_more_tickets_than_it_may_and_none_if_so_configured() {
    for (max, kept) in [(2, 2), (0, 0)] {
        let (mut client, server) = configs();
        client.max_tickets = max;
        let mut service = Service::new(client, server);
        service.tickets_per_login = 4;
        service.connect();
        assert_eq!(service.client.tickets(), kept);
        service.connect();
        assert_eq!(service.resumed(), max > 0);
    }
}

#[test]
fn a_server_queues_no_more_tickets_than_it_may() {
    let mut service = Service::usual();
    service.tickets_per_login = 0;
    assert_eq!(
        service.server.issue_ticket(&ticket_keys(1), WALL, 60, entropy(1)),
        Err(IssueError::State(State::Handshaking))
    );
    service.connect();
    for n in 0..5 {
        let want = if n < 4 { Ok(()) } else { Err(IssueError::Blocked) };
        assert_eq!(service.server.issue_ticket(&ticket_keys(1), WALL, 60, entropy(n)), want);
    }
    let long = service.server.issue_ticket(&ticket_keys(1), WALL, 8 * 24 * 3600, entropy(9));
    assert_eq!(long, Err(IssueError::Blocked));
    service.settle();
    let long = service.server.issue_ticket(&ticket_keys(1), WALL, 8 * 24 * 3600, entropy(9));
    assert_eq!(long, Err(IssueError::Ticket(TicketError::Lifetime(691_200))));
    assert_eq!(service.client.tickets(), 4);
}

/// A server that lost its ticket keys, one whose clock is past the ticket's end, one that takes no tickets at all, and one that
/// chooses another suite now: all end in a full handshake on the same connection.
#[test]
fn whatever_is_wrong_with_a_ticket_the_client_gets_in() {
    for wrong in 0..4 {
        let mut service = Service::usual();
        service.tickets_per_login = 3;
        service.connect();
        match wrong {
            0 => service.keys = ticket_keys(78),
            1 => service.wall += 3601,
            2 => {
                let mut config = configs().1;
                config.handshakes = vec![HandshakeId::NK];
                service.config = Arc::new(config);
            }
            _ => {
                let mut config = configs().1;
                config.suites = vec![SuiteId::AES_256_GCM];
                service.config = Arc::new(config);
            }
        }
        service.tickets_per_login = 0;
        service.connect();
        assert!(!service.resumed(), "{wrong}");
        assert!(!service.client_events.iter().any(|event| matches!(event, ClientEvent::Closed(_))));
        assert_eq!(service.client.tickets(), 0, "the others are worth no more");
    }
}

/// A client that knows how long a ticket is good does not show it later.
#[test]
fn a_ticket_that_is_over_is_not_shown() {
    let mut service = Service::usual();
    service.connect();
    let hour = std::time::Duration::from_secs(3600);
    service.now = service.now + hour;
    service.wall += 3600;
    service.connect();
    assert!(!service.resumed());
    assert!(!service.server_events.iter().any(|event| matches!(event, ServerEvent::Ticket(_))));
}

/// Under load the hello with the ticket goes around for a cookie, and resumes all the same.
#[test]
fn a_cookie_and_a_ticket_go_together() {
    let mut service = Service::usual();
    service.connect();
    service.client.handle_eof(service.now);
    service.drain();
    let arrival = Arrival { demand_cookie: true, ..service.arrival() };
    service.server = Connection::server_for(service.config.clone(), arrival, entropy(5), service.now).unwrap();
    service.client_events.clear();
    service.server_events.clear();
    service.client.connect(entropy(6), service.now).unwrap();
    service.settle();
    assert!(service.resumed());
}

/// Whether the user may log in is asked again; a ticket does not answer that. Refused, the client comes with its token.
#[test]
fn box_im_09_rights_are_asked_again_and_a_refusal_leads_to_a_full_login() {
    let mut service = Service::usual();
    service.tickets_per_login = 3;
    service.connect();
    service.lets_in = false;
    service.connect();
    let Some(ClientEvent::Closed(closed)) = service.client_events.last() else { panic!() };
    assert_eq!(closed.code, CloseCode::LOGIN_REQUIRED);
    assert!(closed.may_reconnect() && closed.reason.contains("locked"));
    assert_eq!(service.client.tickets(), 0);
    service.connect();
    assert!(!service.resumed());
}

#[test]
fn a_saved_ticket_survives_a_restart_and_fits_nobody_else() {
    let mut service = Service::usual();
    service.connect();
    let saved = SavedTicket::from_bytes(service.saved().as_bytes().to_vec());
    assert_eq!(format!("{saved:?}"), "SavedTicket(..)");
    for (user, device) in [("mallory", "phone"), ("alice", "desk")] {
        let mut config = configs().0;
        config.credentials = credentials(user, device);
        let mut other = Connection::client(config, 3).unwrap();
        assert_eq!(other.add_ticket(&saved), Err(AddTicketError::NotOurs));
    }
    service.client = Connection::client(configs().0, 3).unwrap();
    for cut in 0..saved.as_bytes().len() {
        let bytes = SavedTicket::from_bytes(saved.as_bytes()[..cut].to_vec());
        // Cut inside the ticket it still looks like one, and is refused by the server.
        assert!(service.client.add_ticket(&bytes) == Err(AddTicketError::Damaged) || cut > 32 + 8 + 18);
    }
    service.client = Connection::client(configs().0, 3).unwrap();
    service.client.add_ticket(&saved).unwrap();
    service.connect();
    assert!(service.resumed());
}

/// The ticket and the key of alice, the login of bob: the server finds two accounts mixed up.
#[test]
fn a_login_that_names_another_user_than_the_ticket_is_a_violation() {
    let mut service = Service::usual();
    service.connect();
    let mut bytes = service.saved().as_bytes().to_vec();
    // The account in the saved form is the third name; a client that is modified could do the same.
    let at = bytes.windows(6).rposition(|part| part == b"\x05alice").unwrap();
    bytes[at + 1..at + 6].copy_from_slice(b"carol");
    service.client = Connection::client(configs().0, 3).unwrap();
    service.client.add_ticket(&SavedTicket::from_bytes(bytes)).unwrap();
    service.connect();
    assert!(!service.server_events.iter().any(|event| matches!(event, ServerEvent::Resumed(_))));
    let error = service.server_events.iter().find_map(|event| match event {
        ServerEvent::Closed(closed) => closed.error,
        _ => None,
    });
    assert_eq!(error, Some(Error::Identity { field: "user" }));
}

/// While the caller looks the ticket up nothing is read and nothing is sent, and the login deadline holds.
#[test]
fn an_unanswered_ticket_waits_and_ends_at_the_deadline() {
    let mut service = Service::usual();
    service.connect();
    service.client.handle_eof(service.now);
    service.server =
        Connection::server_for(service.config.clone(), service.arrival(), entropy(5), service.now).unwrap();
    service.client.connect(entropy(6), service.now).ok();
    while service.client.poll_event().is_some() {}
    let mut up = Vec::new();
    while service.client.poll_transmit(service.now, &mut up, usize::MAX).is_some() {}
    assert_eq!(service.server.handle_input(service.now, &mut up), up.len());
    assert!(matches!(service.server.poll_event(), Some(ServerEvent::Ticket(_))));
    assert!(!service.server.wants_read());
    assert_eq!(service.server.poll_transmit(service.now, &mut Vec::new(), usize::MAX), None);
    let (at, timer) = service.server.poll_timeout().unwrap();
    assert_eq!(timer, Timer::Login);
    service.server.handle_timeout(at);
    assert_eq!(service.server.ticket(at, true), Err(AnswerError::State(State::Closing)));
}
