//! Benchmarks in rounds. A shared machine has fast and slow seconds; what is measured once gets one or the other, and a
//! ratio of two such figures says nothing. So a run goes over everything twenty times, and a table takes each
//! benchmark's best round. [`Fastest`] goes further where a call takes less than a microsecond: what interrupts a block of
//! calls makes that block slow, and the fastest block had no interruption.
//!
//! ```no_run
//! use im_bench_rounds::{Results, run};
//! fn sums(c: &mut criterion::Criterion) {
//!     c.benchmark_group("sums").bench_function("ours", |b| b.iter(|| 1 + 1));
//! }
//! run(&[sums]);
//! let ns = Results::default().best("sums/ours");
//! # let _ = ns;
//! ```

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};

const ROUNDS: usize = 20;

/// Runs all groups, twenty times one after the other. Takes criterion's arguments from the command line.
pub fn run(groups: &[fn(&mut Criterion)]) {
    for round in 0..ROUNDS {
        let criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(30))
            .measurement_time(Duration::from_millis(90))
            .sample_size(10)
            .nresamples(2000)
            .without_plots()
            .configure_from_args();
        let mut criterion = criterion.save_baseline(format!("round-{round}"));
        for group in groups {
            group(&mut criterion);
        }
    }
    Criterion::default().configure_from_args().final_summary();
}

/// Measures at the pace of the fastest block of calls.
pub trait Fastest {
    /// Like criterion's `iter`, in blocks of 100 calls.
    fn iter_fastest<O>(&mut self, routine: impl FnMut() -> O);

    /// Like criterion's `iter_custom`: `time` makes as many calls as it is told, `block`, and says how long they took.
    fn iter_fastest_custom(&mut self, block: u64, time: impl FnMut(u64) -> Duration);
}

impl Fastest for Bencher<'_> {
    fn iter_fastest<O>(&mut self, mut routine: impl FnMut() -> O) {
        self.iter_fastest_custom(100, |block| {
            #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
            let begun = Instant::now();
            for _ in 0..block {
                // Looked at where it is: by value an output would be moved once more, which is not the routine's.
                let output = routine();
                black_box(&output);
            }
            begun.elapsed()
        });
    }

    fn iter_fastest_custom(&mut self, block: u64, mut time: impl FnMut(u64) -> Duration) {
        self.iter_custom(|times| {
            let blocks = times.div_ceil(block);
            let fastest = (0..blocks).map(|_| time(block)).min().unwrap_or_default();
            fastest.mul_f64(times as f64 / block as f64)
        });
    }
}

/// What runs have left in the target folder.
#[derive(Clone, Debug)]
pub struct Results {
    folder: PathBuf,
}

impl Default for Results {
    fn default() -> Self {
        // A benchmark runs in its package's folder: the target folder is found as criterion finds it.
        let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let built_in = || {
            let exe = std::env::current_exe().ok()?;
            exe.ancestors().find(|folder| folder.ends_with("release"))?.parent().map(PathBuf::from)
        };
        Self { folder: named.or_else(built_in).unwrap_or_else(|| "target".into()).join("criterion") }
    }
}

impl Results {
    /// The best round's median of the benchmark `group/function` or `group/function/parameter`, in nanoseconds; none if
    /// it did not run.
    pub fn best(&self, benchmark: &str) -> Option<f64> {
        let medians = (0..ROUNDS).filter_map(|round| {
            let path = self.folder.join(benchmark).join(format!("round-{round}/estimates.json"));
            let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
            json["median"]["point_estimate"].as_f64()
        });
        medians.min_by(f64::total_cmp)
    }

    /// The best round of `benchmark`, or the end of the program with what to do about it.
    pub fn need(&self, benchmark: &str, command: &str) -> f64 {
        self.best(benchmark).unwrap_or_else(|| {
            eprintln!("no results of {benchmark} in {}: run `{command}` first", self.folder.display());
            std::process::exit(1);
        })
    }
}

/// Nanoseconds as a table shows them.
pub fn number(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}
