//! Runs many schedules: `cargo run --release -p im-sim --example schedules -- [--count N] [--from SEED] [--plan NAME]
//! [--jobs N] [--failures N] [--trace]`. Prints progress, the totals and the first failing seeds. Ends with 1 when one failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use im_sim::{Failure, Fault, Plan, Report, World};

struct Options {
    count: u64,
    from: u64,
    plan: String,
    jobs: usize,
    failures: usize,
    trace: bool,
}

fn value<T: FromStr>(name: &str, args: &mut impl Iterator<Item = String>) -> Result<T, String> {
    let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
    value.parse().map_err(|_| format!("{name} {value}: not a valid value"))
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { count: 1_000_000, from: 0, plan: "everything".into(), jobs: 2, failures: 10, trace: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--count" => options.count = value(&arg, &mut args)?,
            "--from" => options.from = value(&arg, &mut args)?,
            "--plan" => options.plan = value(&arg, &mut args)?,
            "--jobs" => options.jobs = value::<usize>(&arg, &mut args)?.max(1),
            "--failures" => options.failures = value::<usize>(&arg, &mut args)?.max(1),
            "--trace" => options.trace = true,
            _ => return Err(format!("{arg}: not an option of this program")),
        }
    }
    if Plan::by_name(&options.plan, 0).is_none() {
        return Err(format!("{}: there is no such plan", options.plan));
    }
    Ok(options)
}

#[expect(clippy::disallowed_methods, reason = "the time of the whole run is measured")]
fn now() -> Instant {
    Instant::now()
}

fn run(options: &Options, seed: u64) -> Result<Report, Failure> {
    let plan = Plan::by_name(&options.plan, seed).unwrap_or_else(Plan::lossless);
    let run = || {
        if options.trace {
            println!("{plan:?}");
            return World::trace(seed, &plan, |micros, what| println!("{:>12.3} ms {what:?}", micros as f64 / 1e3));
        }
        World::run(seed, &plan)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        Err(Failure { seed, what: format!("panic: {text}") })
    })
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let end = options.from.saturating_add(options.count);
    let (next, done) = (AtomicU64::new(options.from), AtomicU64::new(0));
    let (total, failures) = (Mutex::new(Report::default()), Mutex::new(Vec::<Failure>::new()));
    let failed = AtomicUsize::new(0);
    let start = now();
    let worker = |reports: bool| {
        let (mut sum, mut told) = (Report::default(), start);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || failed.load(Ordering::Relaxed) >= options.failures {
                break;
            }
            match run(&options, seed) {
                Ok(report) => sum.add(&report),
                Err(failure) => {
                    println!("FAILED {failure}");
                    failed.fetch_add(1, Ordering::Relaxed);
                    failures.lock().expect("no worker panics").push(failure);
                }
            }
            let n = done.fetch_add(1, Ordering::Relaxed) + 1;
            if reports && n.is_multiple_of(64) && told.elapsed() > Duration::from_secs(10) {
                told = now();
                println!("{n} of {}: {:.0} s", options.count, start.elapsed().as_secs_f64());
            }
        }
        total.lock().expect("no worker panics").add(&sum);
    };
    std::thread::scope(|scope| {
        for job in 1..options.jobs {
            let worker = &worker;
            let _ = job;
            scope.spawn(move || worker(false));
        }
        worker(true);
    });
    let (done, seconds) = (done.into_inner(), start.elapsed().as_secs_f64());
    let total = total.into_inner().expect("no worker panics");
    let mut failures = failures.into_inner().expect("no worker panics");
    failures.sort_by_key(|failure| failure.seed);
    if !options.trace {
        report(&options, &total, done, seconds);
    }
    for failure in &failures {
        println!("FAILED {failure}");
        println!(
            "  again: cargo run --release -p im-sim --example schedules -- --plan {} --from {} --count 1 --trace",
            options.plan, failure.seed
        );
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(options: &Options, total: &Report, done: u64, seconds: f64) {
    let each = seconds * 1e3 * options.jobs as f64 / done.max(1) as f64;
    println!(
        "{done} schedules of {} in {seconds:.1} s: {each:.2} ms of one of {} jobs each",
        options.plan, options.jobs
    );
    for (n, what) in [
        (total.stored as u64, "messages stored"),
        (total.commands as u64, "commands stored"),
        (total.refused as u64, "refused"),
        (total.unknown as u64, "with an unknown outcome"),
        (total.delivered as u64, "deliveries"),
        (total.answered as u64, "requests answered"),
        (total.unanswered as u64, "requests without an answer"),
        (total.streamed as u64, "streams that came back whole"),
        (total.recalled as u64, "deliveries without recalled content"),
        (total.duplicates, "deliveries dropped as had before"),
        (total.retries, "messages transmitted again"),
        (total.connections, "connections"),
        (total.resumed, "logins with a ticket"),
        (total.recovered, "sessions recovered"),
        (total.replaced, "connections replaced"),
        (total.steps, "events"),
    ] {
        println!("{n:>12}  {what}");
    }
    println!("faults:");
    for fault in Fault::ALL {
        println!("{:>12}  {}", total.faults.of(*fault), fault.name());
    }
}
