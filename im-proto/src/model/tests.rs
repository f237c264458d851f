//! The properties, the scopes, and the runs.

extern crate std;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use std::collections::HashSet;
use std::hash::DefaultHasher;
use std::println;
use std::sync::Mutex;

use stateright::{Checker, Model, Property};

use super::world::{Action, DeviceScope, Faults, Scope, Slow, World};

/// More steps than any world without faults needs to come to rest.
const CALM_STEPS: usize = 1000;

struct Checked {
    scope: Scope,
    /// Hashes of the states that are known to converge: many paths meet.
    calm: Mutex<HashSet<u64>>,
}

impl Model for Checked {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scope)]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        // What follows from a broken state says nothing.
        if state.broken.0.is_none() {
            state.actions(&self.scope, actions);
        }
    }

    fn next_state(&self, last_state: &World, action: Action) -> Option<World> {
        let mut next = last_state.clone();
        next.take(&self.scope, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("every step keeps its promises", |_: &Self, world: &World| world.broken.0.is_none()),
            Property::always("without faults everything converges", |model: &Self, world: &World| {
                model.converges(world).is_ok()
            }),
        ]
    }
}

fn key(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Faults that are left do not happen in a calm world.
    (&world.lines, &world.store).hash(&mut hasher);
    hasher.finish()
}

impl Checked {
    fn converges(&self, world: &World) -> Result<(), &'static str> {
        if let Some(broken) = world.broken.0 {
            return Err(broken);
        }
        let mut passed = Vec::new();
        let mut world = world.clone();
        for _ in 0..CALM_STEPS {
            let key = key(&world);
            if self.calm.lock().unwrap().contains(&key) {
                self.calm.lock().unwrap().extend(passed);
                return Ok(());
            }
            passed.push(key);
            let Some(action) = world.calm(&self.scope) else {
                world.converged(&self.scope)?;
                self.calm.lock().unwrap().extend(passed);
                return Ok(());
            };
            world.take(&self.scope, action);
            if let Some(broken) = world.broken.0 {
                return Err(broken);
            }
        }
        Err("a world without faults does not come to rest")
    }
}

/// Explores the scope, breadth first, so that what is found has no shorter path. Gives the number of states.
fn explore(name: &str, scope: Scope) -> usize {
    let model = Checked { scope, calm: Mutex::default() };
    let checker = model.checker().spawn_bfs().join();
    let unique = checker.unique_state_count();
    println!("{name}: {unique} states, {} steps, depth {}", checker.state_count(), checker.max_depth());
    for (property, path) in checker.discoveries() {
        println!("{property}: not after these steps: {:?}", checker.model().converges(path.last_state()));
        for (at, action) in path.into_actions().iter().enumerate() {
            println!("  {}. {action:?}", at + 1);
        }
    }
    assert!(checker.discoveries().is_empty(), "{name}: a property does not hold");
    unique
}

/// Devices, each with the messages that it sends and its window of deliveries.
fn scope(devices: &[(usize, u32)], faults: Faults, slow: Slow) -> Scope {
    let devices = devices.iter().enumerate();
    let devices =
        devices.map(|(index, (sends, receive_max))| DeviceScope { index, sends: *sends, receive_max: *receive_max });
    let devices = devices.collect();
    Scope { devices, faults, on_the_way: 2, send_max: 2, max_tries: 2, outbox_bytes: 700, slow }
}

const NONE: Faults = Faults {
    cuts: 0,
    client_crashes: 0,
    server_crashes: 0,
    duplicates: 0,
    reorders: 0,
    store: 0,
    epochs: 0,
    timeouts: 0,
};
const CUT: Faults = Faults { cuts: 1, ..NONE };

/// One fault of each kind.
const EACH: [(&str, Faults); 8] = [
    ("a cut", CUT),
    ("a client crash", Faults { client_crashes: 1, ..NONE }),
    ("a server crash", Faults { server_crashes: 1, ..NONE }),
    ("a duplicate", Faults { duplicates: 1, ..NONE }),
    ("a reorder", Faults { reorders: 1, ..NONE }),
    ("a fault of the store", Faults { store: 1, ..NONE }),
    ("another epoch", Faults { epochs: 1, ..NONE }),
    ("a late answer", Faults { timeouts: 1, ..NONE }),
];

const FAST: Slow = Slow { log: false, store: false, down: false, acks: false };
const ALL_SLOW: Slow = Slow { log: true, store: true, down: true, acks: true };
const SLOW_WAY: Slow = Slow { down: true, ..FAST };
/// Faults of a way down on which packets spend time.
const NO_WAY_DOWN: [&str; 2] = ["a duplicate", "a reorder"];

fn explore_each(name: &str, devices: &[(usize, u32)], slow: Slow, skip: &[&str], at_least: usize) {
    let mut states = 0;
    for (fault, faults) in EACH {
        if !skip.contains(&fault) {
            states += explore(&format!("{name}, {fault}"), scope(devices, faults, slow));
        }
    }
    println!("{name}: {states} states in all");
    assert!(states >= at_least, "{name}: only {states} states: the scope collapsed");
}

#[test]
fn one_device_whose_own_messages_take_their_places_in_its_stream() {
    explore_each("one device", &[(2, 2)], ALL_SLOW, &[], 60_000);
}

#[test]
fn two_users_write_to_each_other() {
    explore_each("two users", &[(1, 2), (1, 2)], FAST, &NO_WAY_DOWN, 400_000);
}

#[test]
fn three_messages_to_another_device() {
    explore_each("three messages", &[(3, 0), (0, 3)], SLOW_WAY, &[], 400_000);
}

#[test]
#[ignore = "minutes"]
fn a_sender_the_other_device_of_its_user_and_a_receiver() {
    explore_each("three devices", &[(2, 0), (0, 2), (0, 2)], FAST, &NO_WAY_DOWN, 1_000_000);
}

#[test]
#[ignore = "minutes"]
fn a_cut_and_another_fault() {
    let mut states = 0;
    for (fault, faults) in EACH {
        let faults = Faults { cuts: faults.cuts + 1, ..faults };
        states += explore(&format!("one device, a cut and {fault}"), scope(&[(2, 2)], faults, ALL_SLOW));
    }
    println!("a cut and another fault: {states} states in all");
    assert!(states >= 1_000_000, "only {states} states: the scope collapsed");
}
