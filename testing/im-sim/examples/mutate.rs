//! Breaks one rule after the other and tells how many schedules it takes until one fails: `testing/im-sim/mutate [--count N]
//! [--only WORD]`. It works in a git worktree of its own below the target folder, at the last commit. Ends with 1 when a mutation
//! survives.

#![expect(clippy::disallowed_methods, reason = "it edits files, starts programs and waits for them")]

#[path = "../mutations/mod.rs"]
mod mutations;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use mutations::Mutation;

/// A schedule that does not end is caught too.
const PATIENCE: Duration = Duration::from_secs(600);

fn git(root: &Path, args: &[&str]) {
    let status = Command::new("git").current_dir(root).args(args).status().expect("git runs");
    assert!(status.success(), "git {args:?}");
}

/// What came of it: by what it was caught, and after how many seeds.
fn try_one(tree: &Path, target: &Path, mutation: &Mutation, count: &str) -> Result<(String, String), String> {
    let file = tree.join(&mutation.file);
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", mutation.file))?;
    if text.matches(&mutation.from).count() != 1 {
        return Err("its text is not in the last commit".into());
    }
    std::fs::write(&file, text.replace(&mutation.from, &mutation.to)).expect("the worktree is writable");
    let outcome = build_and_run(tree, target, count);
    std::fs::write(&file, text).expect("the worktree is writable");
    outcome
}

fn build_and_run(tree: &Path, target: &Path, count: &str) -> Result<(String, String), String> {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(tree).env("CARGO_TARGET_DIR", target).env("CARGO_PROFILE_RELEASE_LTO", "off");
    build.args(["build", "--quiet", "--release", "--locked", "-j1", "-p", "im-sim", "--example", "schedules"]);
    let built = build.stderr(Stdio::null()).status().expect("cargo runs");
    if !built.success() {
        return Err("it does not build".into());
    }
    let out = target.join("mutation.txt");
    let file = std::fs::File::create(&out).expect("the target folder is writable");
    let mut run = Command::new(target.join("release/examples/schedules"));
    run.args(["--count", count, "--failures", "1", "--jobs", "1"]).stdout(file).stderr(Stdio::null());
    let mut run = run.spawn().expect("the schedules run");
    let start = Instant::now();
    while run.try_wait().expect("the schedules run").is_none() {
        if start.elapsed() > PATIENCE {
            run.kill().expect("the schedules end");
            run.wait().expect("the schedules end");
            return Ok(("a schedule that does not end".into(), "?".into()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let out = std::fs::read_to_string(&out).expect("the output is there");
    match out.lines().find_map(|line| line.strip_prefix("FAILED seed ")) {
        Some(line) => {
            let (seed, what) = line.split_once(": ").unwrap_or((line, ""));
            let seeds = seed.parse::<u64>().map_or(seed.to_string(), |seed| (seed + 1).to_string());
            Ok((what.chars().take(100).collect(), seeds))
        }
        None => Err("SURVIVED".into()),
    }
}

fn main() -> ExitCode {
    let (mut count, mut only) = ("20000".to_string(), String::new());
    let mut args = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        match name.as_str() {
            "--count" => count = value,
            "--only" => only = value,
            _ => {
                eprintln!("{name}: not an option of this program");
                return ExitCode::from(2);
            }
        }
    }
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let target =
        std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), PathBuf::from).join("mutations");
    let tree = target.join("tree");
    std::fs::create_dir_all(&target).expect("the target folder is writable");
    let tree_name = tree.to_str().expect("a path in UTF-8");
    if tree.exists() {
        git(&root, &["worktree", "remove", "--force", tree_name]);
    }
    git(&root, &["worktree", "add", "--quiet", "--detach", tree_name, "HEAD"]);
    let mut survived = 0;
    println!("| rule | caught by | seeds |\n|---|---|---|");
    for mutation in mutations::all().iter().filter(|mutation| mutation.rule.contains(&only)) {
        let (what, seeds) = try_one(&tree, &target, mutation, &count).unwrap_or_else(|error| {
            survived += 1;
            (error, "-".into())
        });
        println!("| {} | {} | {seeds} |", mutation.rule, what.replace('|', "/"));
    }
    git(&root, &["worktree", "remove", "--force", tree_name]);
    if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
