//! Two connections to one server, and somebody who owns the wires between them.

use std::collections::VecDeque;

use im_crypto::{
    Accepted, CLOSE_TYPE, Choice, ClientWait, Established, HandshakeId, KeyUpdate, Opener, Padding, Replied, Sealer,
    ServerWait, StaticPublicKey, SuiteId, finish_plaintext,
};

use super::input::{Input, change};
use super::world::{HANDSHAKES, SUITES, USERS, World, blames_the_peer, header, is_xx};

/// At most so many steps of the attacker.
const STEPS: usize = 100;

/// What the packet's type says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Hello,
    Retry,
    Reply,
    Third,
    Record,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Packet {
    kind: Kind,
    header: [u8; 24],
    body: Vec<u8>,
}

impl Packet {
    fn handshake(kind: Kind, body: Vec<u8>) -> Self {
        Self { kind, header: header(SuiteId::NONE, body.len()), body }
    }
}

/// What one end wrote and read during a handshake. What authenticates it is its content, and the header of a HELLO.
#[derive(PartialEq, Eq, Debug)]
struct Transcript {
    header: [u8; 24],
    hello: Vec<u8>,
    reply: Vec<u8>,
    third: Option<Vec<u8>>,
}

/// The first HELLO and the RETRY that answered it.
type Detour = ([u8; 24], Vec<u8>, Vec<u8>);

/// An end that believes that its handshake is complete.
struct Party {
    is_client: bool,
    hash: [u8; 32],
    handshake: HandshakeId,
    choice: Choice,
    peer_key: Option<StaticPublicKey>,
    user: Option<usize>,
    transcript: Transcript,
    detour: Option<Detour>,
    /// What it sealed, in order.
    sent: Vec<Vec<u8>>,
    /// How much it opened.
    opened: usize,
}

/// The record layer of a party, and its number.
struct End {
    sealer: Sealer,
    opener: Opener,
    party: usize,
}

enum Client {
    Waits(ClientWait, [u8; 24], Vec<u8>, Option<Detour>),
    Up(End),
    Over,
}

enum Server {
    Listens,
    Waits(ServerWait, [u8; 24], Vec<u8>, Vec<u8>),
    Up(End),
    Over,
}

/// One connection. `touched`: the attacker did something to it, or let time pass.
struct Connection {
    client: Client,
    server: Server,
    up: VecDeque<Packet>,
    down: VecDeque<Packet>,
    /// Whose ticket is shown, if it is a resumption.
    user: Option<usize>,
    touched: bool,
}

struct Run {
    world: World<'static>,
    connections: [Connection; 2],
    suites: Vec<SuiteId>,
    parties: Vec<Party>,
    /// Everything that was ever written.
    history: Vec<Packet>,
    detours: Vec<Detour>,
}

/// Steps of five bytes: a packet arrives, is dropped, repeated, swapped, changed, spliced with another one, renamed, played again on
/// any wire; an end sends a record; time passes. Then:
///
/// - whoever is established has one counterpart, with the same transcript byte for byte and the same choice, which is the one that
///   nobody could have talked down (a server may believe in a client that is none, until a record opens);
/// - a record opens only if the counterpart sealed it, in order;
/// - a ticket is good once;
/// - a connection that nobody touched works.
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    let mut run = Run::new(&mut input);
    for _ in 0..STEPS {
        let Some(step) = input.step() else { break };
        run.step(step);
    }
    run.settle();
    run.check();
}

impl Run {
    fn new(input: &mut Input<'_>) -> Self {
        let [seed, options, kinds, offer] = input.step().unwrap_or_default();
        let mut world = World::from_input(seed, options);
        let suites = match offer % 4 {
            0 => SUITES.to_vec(),
            1 => vec![SuiteId::CHACHA20_POLY1305, SuiteId::AES_128_GCM],
            2 => vec![SuiteId::AES_256_GCM],
            _ => vec![SuiteId::AES_128_GCM],
        };
        let mut history = Vec::new();
        let connections = [0, 1].map(|number| {
            let id = HANDSHAKES[usize::from(kinds >> (4 * number)) % 8];
            let user = if offer & 128 == 0 { number } else { 0 };
            let (header, hello, wait) = World::write(world.start(id, &suites, user));
            let user = id.is_resumption().then_some(user);
            let packet = Packet { kind: Kind::Hello, header, body: hello.clone() };
            history.push(packet.clone());
            Connection {
                client: Client::Waits(wait, header, hello, None),
                server: Server::Listens,
                up: VecDeque::from([packet]),
                down: VecDeque::new(),
                user,
                touched: false,
            }
        });
        Self { world, connections, suites, parties: Vec::new(), history, detours: Vec::new() }
    }

    fn step(&mut self, [kind, a, b, c, d]: [u8; 5]) {
        let number = usize::from(kind / 64 % 2);
        let upwards = kind < 128;
        let place = usize::from(u16::from_be_bytes([b, c]));
        let old = &self.history[place % self.history.len()];
        let connection = &mut self.connections[number];
        match kind % 64 {
            0..24 => return self.deliver(number, upwards),
            24..28 => return self.send(number, upwards, vec![a % 16, b, c]),
            28 => return self.send(number, upwards, KeyUpdate::Notice.content().to_vec()),
            29 => return self.send(number, upwards, vec![CLOSE_TYPE, b]),
            30 => {
                self.world.now += u64::from(a);
                self.connections.iter_mut().for_each(|connection| connection.touched = true);
                return;
            }
            _ => {}
        }
        connection.touched = true;
        let wire = if upwards { &mut connection.up } else { &mut connection.down };
        let (at, other) = (usize::from(a) % wire.len().max(1), usize::from(b) % wire.len().max(1));
        match kind % 64 {
            31..34 => drop(wire.remove(at)),
            34..37 => {
                if let Some(packet) = wire.get(at).cloned() {
                    wire.insert(other, packet);
                }
            }
            37..40 if at < wire.len() => wire.swap(at, other),
            // Replay, reflection, or from one connection to the other.
            40..46 => wire.push_back(old.clone()),
            46..49 => wire.push_front(old.clone()),
            // The head of one, the tail of another.
            49..52 => {
                if let Some(packet) = wire.get_mut(at) {
                    let cut = usize::from(d) * 8;
                    packet.body.truncate(cut);
                    packet.body.extend(old.body.get(cut..).unwrap_or_default());
                }
            }
            52 => wire.iter_mut().skip(at).take(1).for_each(|packet| {
                packet.kind = [Kind::Hello, Kind::Retry, Kind::Reply, Kind::Third, Kind::Record][usize::from(b % 5)];
            }),
            53..55 => wire.iter_mut().skip(at).take(1).for_each(|packet| packet.header[usize::from(b % 24)] ^= d),
            kind => wire.iter_mut().skip(at).take(1).for_each(|packet| change(&mut packet.body, kind, place, d)),
        }
    }

    fn write(&mut self, number: usize, upwards: bool, packet: Packet) {
        self.history.push(packet.clone());
        let Connection { up, down, .. } = &mut self.connections[number];
        if upwards { up } else { down }.push_back(packet);
    }

    fn send(&mut self, number: usize, from_client: bool, content: Vec<u8>) {
        let Connection { client, server, .. } = &mut self.connections[number];
        let end = match (from_client, client, server) {
            (true, Client::Up(end), _) | (false, _, Server::Up(end)) => end,
            _ => return,
        };
        let mut body = content.clone();
        finish_plaintext(&mut body, 0, Padding::None);
        let header = header(end.sealer.suite(), body.len());
        // Closed, or too many updates.
        if end.sealer.seal(&header, &mut body).is_ok() {
            self.parties[end.party].sent.push(content);
            self.write(number, from_client, Packet { kind: Kind::Record, header, body });
        }
    }

    fn deliver(&mut self, number: usize, upwards: bool) {
        let connection = &mut self.connections[number];
        if upwards {
            let Some(packet) = connection.up.pop_front() else { return };
            let server = std::mem::replace(&mut connection.server, Server::Over);
            let server = self.at_server(number, server, packet);
            self.connections[number].server = server;
        } else {
            let Some(packet) = connection.down.pop_front() else { return };
            let client = std::mem::replace(&mut connection.client, Client::Over);
            let client = self.at_client(number, client, packet);
            self.connections[number].client = client;
        }
    }

    fn at_server(&mut self, number: usize, server: Server, Packet { kind, header, mut body }: Packet) -> Server {
        match (server, kind) {
            (Server::Listens, Kind::Hello) => {
                let (accepted, answer) = self.world.accept(&header, &body);
                match accepted {
                    Ok(Accepted::Retry) => {
                        self.detours.push((header, body, answer.clone()));
                        self.write(number, false, Packet::handshake(Kind::Retry, answer));
                        Server::Listens
                    }
                    Ok(Accepted::Established(established)) => {
                        self.write(number, false, Packet::handshake(Kind::Reply, answer.clone()));
                        let transcript = Transcript { header, hello: body, reply: answer, third: None };
                        Server::Up(self.up(false, *established, transcript, None))
                    }
                    Ok(Accepted::Wait(wait)) => {
                        self.write(number, false, Packet::handshake(Kind::Reply, answer.clone()));
                        Server::Waits(wait, header, body, answer)
                    }
                    Err(_) => Server::Over,
                }
            }
            (Server::Waits(wait, header, hello, reply), Kind::Third) => {
                let third = Some(body.clone());
                match wait.finish(&mut body) {
                    Ok(established) => {
                        let transcript = Transcript { header, hello, reply, third };
                        Server::Up(self.up(false, established, transcript, None))
                    }
                    Err(error) => {
                        blames_the_peer(error);
                        Server::Over
                    }
                }
            }
            (Server::Up(end), Kind::Record) => self.open(end, &header, &mut body).map_or(Server::Over, Server::Up),
            // Out of turn.
            _ => Server::Over,
        }
    }

    fn at_client(&mut self, number: usize, client: Client, Packet { kind, header, mut body }: Packet) -> Client {
        match (client, kind) {
            (Client::Waits(wait, header, hello, _), Kind::Retry) => {
                let entropy = self.world.entropy();
                match wait.retry(&body, entropy) {
                    Ok(start) => {
                        let detour = Some((header, hello, body));
                        let (header, hello, wait) = World::write(start);
                        self.write(number, true, Packet { kind: Kind::Hello, header, body: hello.clone() });
                        Client::Waits(wait, header, hello, detour)
                    }
                    Err(error) => {
                        blames_the_peer(error);
                        Client::Over
                    }
                }
            }
            (Client::Waits(wait, header, hello, detour), Kind::Reply) => {
                let reply = body.clone();
                match wait.finish(&mut body) {
                    Ok(Replied::Established(established)) => {
                        let transcript = Transcript { header, hello, reply, third: None };
                        Client::Up(self.up(true, *established, transcript, detour))
                    }
                    Ok(Replied::Finish(client)) => {
                        let mut third = Vec::new();
                        let established = client.write(&mut third).expect("its own message");
                        self.write(number, true, Packet::handshake(Kind::Third, third.clone()));
                        let transcript = Transcript { header, hello, reply, third: Some(third) };
                        Client::Up(self.up(true, established, transcript, detour))
                    }
                    Err(error) => {
                        blames_the_peer(error);
                        Client::Over
                    }
                }
            }
            (Client::Up(end), Kind::Record) => self.open(end, &header, &mut body).map_or(Client::Over, Client::Up),
            _ => Client::Over,
        }
    }

    /// An end believes that it is established.
    fn up(&mut self, is_client: bool, established: Established, transcript: Transcript, detour: Option<Detour>) -> End {
        let Established { sealer, opener, handshake, choice, handshake_hash, peer_key, ticket, .. } = established;
        let user = ticket.map(|claims| {
            let user = USERS.iter().position(|user| *user == claims.identity.user);
            user.expect("nobody else has a ticket")
        });
        self.parties.push(Party {
            is_client,
            hash: handshake_hash,
            handshake,
            choice,
            peer_key,
            user,
            transcript,
            detour,
            sent: Vec::new(),
            opened: 0,
        });
        End { sealer, opener, party: self.parties.len() - 1 }
    }

    /// A record: `None` ends the connection.
    fn open(&mut self, mut end: End, header: &[u8; 24], body: &mut [u8]) -> Option<End> {
        let opened = end.opener.open(header, body).ok()?;
        let Party { is_client, hash, opened: due, .. } = self.parties[end.party];
        let sender = self.parties.iter().find(|party| party.hash == hash && party.is_client != is_client);
        let content = sender.expect("somebody sealed it").sent.get(due).expect("it was sealed");
        assert!(content.split_first() == Some((&opened.inner_type, &*opened.payload)), "not what was sent");
        self.parties[end.party].opened += 1;
        Some(end)
    }

    /// Nobody disturbs any more. Connections that nobody ever disturbed have to work.
    fn settle(&mut self) {
        for number in 0..2 {
            // HELLO, RETRY, HELLO, reply, third message, and whatever records there are.
            while self.connections.get(number).is_some_and(|wires| !wires.up.is_empty() || !wires.down.is_empty()) {
                self.deliver(number, true);
                self.deliver(number, false);
            }
            let [one, two] = &self.connections;
            let (this, other) = if number == 0 { (one, two) } else { (two, one) };
            // A ticket can be used up by the other connection, and is for one suite; what the server answers then depends on
            // its options.
            let refused = this.user.is_some() && (other.touched || this.user == other.user || self.suites != SUITES);
            if this.touched || refused {
                continue;
            }
            let (Client::Up(client), Server::Up(server)) = (&this.client, &this.server) else {
                panic!("connection {number} was not disturbed, and is not up")
            };
            let [client, server] = [client, server].map(|end| &self.parties[end.party]);
            assert_eq!((client.opened, server.opened), (server.sent.len(), client.sent.len()), "records arrive");
        }
    }

    fn check(&self) {
        let best = match self.suites[0] {
            SuiteId::CHACHA20_POLY1305 => SuiteId::CHACHA20_POLY1305,
            _ if self.suites.contains(&SuiteId::AES_128_GCM) => SuiteId::AES_128_GCM,
            _ => SuiteId::AES_256_GCM,
        };
        for party in &self.parties {
            let same = |is_client| {
                let others = self.parties.iter().filter(move |other| other.is_client == is_client);
                others.filter(|other| other.hash == party.hash).collect::<Vec<_>>()
            };
            assert_eq!(same(party.is_client).len(), 1, "a hash names one connection");
            let counterparts = same(!party.is_client);
            let Some(counterpart) = counterparts.first() else {
                // A client of XX does not hear whether its third message arrived. Otherwise only a replayed HELLO leads here.
                assert_eq!(party.is_client, is_xx(party.handshake), "established with nobody");
                continue;
            };
            assert_eq!(counterparts.len(), 1);
            assert_eq!(party.choice, counterpart.choice);
            assert_eq!(party.handshake, counterpart.handshake);
            assert_eq!(party.choice.suite, best, "talked down");
            assert!(party.transcript == counterpart.transcript, "changed on the way");
            let shows = !party.handshake.is_resumption();
            if party.is_client {
                assert_eq!(party.peer_key, shows.then(|| self.world.fixed.keys[0].public()));
                if let Some(detour) = &party.detour {
                    assert!(self.detours.contains(detour), "a RETRY that the server did not send for this HELLO");
                }
            } else {
                assert_eq!(party.user.is_some(), !shows);
            }
        }
        for user in 0..USERS.len() {
            let resumed = self.parties.iter().filter(|party| party.user == Some(user)).count();
            assert!(resumed <= 1, "a ticket was used {resumed} times");
        }
    }
}

/// Every handshake in peace, with and without RETRY, with records; and under each kind of attack.
pub fn seeds() -> Vec<Vec<u8>> {
    let deliver = |steps: &[u8]| steps.iter().flat_map(|wire| [*wire, 0, 0, 0, 0]).collect::<Vec<u8>>();
    // HELLO, reply, third message of both.
    let both = deliver(&[0, 128, 0, 64, 192, 64]);
    let talk = [[24, 1, 2, 3, 0], [152, 4, 5, 6, 0], [28, 0, 0, 0, 0], [24, 7, 8, 9, 0], [0; 5], [128, 0, 0, 0, 0]];
    let mut seeds = Vec::new();
    for kind in 0..8_u8 {
        let other = (kind + 3) % 8;
        for options in [0, 2, 5] {
            seeds.push([&[kind, options, kind | other << 4, kind], both.as_slice(), talk.as_flattened()].concat());
        }
    }
    for attack in 30..64_u8 {
        let kinds = [0x40, 0x02, 0x64, 0x55, 0x22][usize::from(attack % 5)];
        let attacks = [[attack, 0, 0, 30, 1], [attack | 128, 0, 0, 9, 1], [attack | 64, 0, 0, 0, 7]];
        let mut steps = deliver(&[64, 192]);
        steps.extend(attacks[0]);
        steps.extend(deliver(&[0]));
        steps.extend(attacks[1]);
        steps.extend(deliver(&[128]));
        steps.extend(attacks[2]);
        steps.extend(deliver(&[64, 64, 0, 0]));
        seeds.push([&[attack, attack % 4, kinds, attack & 0x83], steps.as_slice(), talk.as_flattened()].concat());
    }
    seeds
}
