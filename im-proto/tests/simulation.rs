//! Whole sessions over lossy links in virtual time. A failing seed is printed; replay it with
//! `IM_SIM_SEED=<seed> cargo test -p im-proto --test simulation -- --nocapture`.

use std::ops::Range;

use im_sim::{Fault, Plan, Report, World};

/// The seeds of a run, or the one that the environment names.
#[expect(clippy::disallowed_methods, reason = "a replay is asked for from outside")]
fn seeds(range: Range<u64>) -> Range<u64> {
    match std::env::var("IM_SIM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("IM_SIM_SEED is a seed, a number");
            seed..seed + 1
        }
        Err(_) => range,
    }
}

fn run(name: &str, plan: &Plan, range: Range<u64>) -> Report {
    let mut total = Report::default();
    for seed in seeds(range.clone()) {
        match World::run(seed, plan) {
            Ok(report) => {
                assert_eq!(report.stored, plan.messages_in_all());
                total.add(&report);
            }
            Err(failure) => panic!(
                "{name}, {failure}\nreplay: IM_SIM_SEED={} cargo test -p im-proto --test simulation {name}",
                failure.seed
            ),
        }
    }
    println!("{name}: seeds {range:?}, {total:?}");
    total
}

#[test]
fn lossless() {
    let total = run("lossless", &Plan::lossless(), 0..100);
    assert_eq!((total.duplicates, total.retries), (0, 0), "nothing is lost, so nothing comes twice");
}

/// Every fifth chunk ends its connection, in both directions, from the first byte of the hello on. A thousand seeds, in
/// two halves for two cores.
#[test]
fn lossy_links_first_half() {
    lossy("lossy_links_first_half", 0..500);
}

#[test]
fn lossy_links_second_half() {
    lossy("lossy_links_second_half", 500..1000);
}

fn lossy(name: &str, range: Range<u64>) {
    let n = seeds(range.clone()).count() as u64;
    let total = run(name, &Plan::lossy(), range);
    assert!(total.connections > 10 * n, "connections were lost all the time");
    assert!(n < 10 || total.duplicates > 0, "some deliveries came again and were dropped");
}

#[test]
fn a_server_that_crashes() {
    run("a_server_that_crashes", &Plan::crashing(), 0..200);
}

/// Clients come back with tickets, fresh and used ones, to a server that loses its ticket keys, sends some back to a full login, and
/// still has their older connections: everything is there once, and no ticket lets anybody in twice.
#[test]
fn tickets_and_sessions_that_go_on() {
    let range = 0..300;
    let n = seeds(range.clone()).count() as u64;
    let total = run("tickets_and_sessions_that_go_on", &Plan::resuming(), range);
    if n > 10 {
        let seen = [total.resumed, total.reused, total.recovered, total.replaced];
        assert!(seen.iter().all(|seen| *seen > n / 2), "every way was gone: {total:?}");
    }
}

/// Recalls, edits and reactions come to every device, in their place and once; what was recalled comes without its content.
#[test]
fn commands_over_lossy_links_and_crashes() {
    let total = run("commands_over_lossy_links_and_crashes", &Plan::commanding(), 0..200);
    let (stored, commands) = (total.stored as u64, total.commands as u64);
    assert!(commands > stored / 3 && total.recalled > 200, "{total:?}");
}

/// Faults of every kind, drawn from the seed: repeated, swapped and changed chunks, partitions, half-open connections, slow links,
/// crashes of clients and servers, clocks that jump, several servers, a slow store that refuses, logs that are replaced, devices that
/// are away or join late. `schedules`, an example of im-sim, runs a million.
#[test]
fn everything() {
    let range = 0..400;
    let n = seeds(range.clone()).count() as u64;
    let mut total = Report::default();
    for seed in seeds(range) {
        match World::run(seed, &Plan::everything(seed)) {
            Ok(report) => total.add(&report),
            Err(failure) => panic!(
                "everything, {failure}\nreplay: IM_SIM_SEED={} cargo test -p im-proto --test simulation everything",
                failure.seed
            ),
        }
    }
    println!("everything: {n} seeds, {total:?}");
    if n > 10 {
        let missing: Vec<_> = Fault::ALL.iter().filter(|fault| total.faults.of(**fault) == 0).collect();
        // A login that comes too late is rarer than the others.
        assert!(missing.iter().all(|fault| **fault == Fault::LateLogin), "these kinds never happened: {missing:?}");
        assert!(total.unknown > 0 && total.refused > 0 && total.recovered > 0, "{total:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for plan in [Plan::crashing(), Plan::resuming(), Plan::everything(11), Plan::everything(12)] {
        assert_eq!(World::run(11, &plan), World::run(11, &plan));
    }
}
