//! Scenarios: a client, a server and its store in any order of operations, against a model of what must hold. Alice's phone is
//! the client; bob writes too. What the network or an application may do wrong happens; whatever it is, after a time without
//! faults everything is where it belongs.
//!
//! An input is a list of operations, each one byte with its arguments behind it; see `Operation::read`.

mod judge;
mod log;
mod operation;
mod world;

use operation::{Bytes, Operation};
use world::World;

/// Operations in one input; more add time and no new paths.
const MAX_OPERATIONS: usize = 400;

/// Runs the operations, checks after each, then lets the world come to rest and checks that it converged.
pub fn scenario(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut world = World::new();
    for _ in 0..MAX_OPERATIONS {
        let Some(operation) = Operation::read(&mut bytes) else { break };
        world.run(operation);
        world.check();
    }
    world.settle();
}

/// Whole sessions, each with one kind of trouble in the middle.
pub fn seeds() -> Vec<Vec<u8>> {
    let calm = [operation::SEND, 0, 3, operation::CALM, 9, operation::BOB, 0, operation::CALM, 9];
    let mut seeds = vec![calm.to_vec()];
    for code in 0..operation::CODES {
        for argument in [0, 1, 200] {
            let mut seed = calm.to_vec();
            seed.extend([operation::SEND, 1, 9, operation::CLIENT_TRANSMITS, 255, operation::TO_SERVER, 255]);
            seed.extend([code, argument, argument, operation::CALM, 3, operation::SEND, 0, 1, operation::CALM, 4]);
            seeds.push(seed);
        }
    }
    seeds
}
