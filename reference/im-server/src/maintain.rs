//! `im-server verify`, `backup` and `dead-letters`: by the server that runs on the data directory, or alone if none does.

use std::path::{Path, PathBuf};

use im_server::store::{CheckAtOpen, DeadLetter, FjallConfig, FjallStore, Outbox, Store, StoreError, Verification};

use crate::cli::{BackupArgs, DeadLettersArgs, StoreArgs};
use crate::control::{self, Request};
use crate::settings::{Options, resolve};
use crate::{Failure, files};

/// What there is to tell, and the exit code: 0, 1 when it could not be done, 3 when something is damaged.
pub(crate) struct Outcome {
    pub(crate) lines: Vec<String>,
    pub(crate) code: u8,
}

impl Outcome {
    fn failed(error: &StoreError) -> Self {
        let code = if matches!(error, StoreError::Corrupt(_)) { 3 } else { 1 };
        Self { lines: vec![error.to_string()], code }
    }
}

pub(crate) fn verify(args: &StoreArgs) -> Result<(), Failure> {
    run(args, Request::Verify)
}

pub(crate) fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let to = std::path::absolute(&args.to)
        .map_err(|error| Failure::settings(format!("{} is no place for a copy: {error}", args.to.display())))?;
    run(&args.store, Request::Backup { to, with_key: args.with_key })
}

pub(crate) fn dead_letters(args: &DeadLettersArgs) -> Result<(), Failure> {
    run(&args.store, Request::DeadLetters { retry: args.retry })
}

fn run(args: &StoreArgs, request: Request) -> Result<(), Failure> {
    let options = Options { data: args.data.clone(), ..Options::default() };
    let settings =
        resolve(&options, args.config.as_deref()).map_err(|problems| Failure::settings(problems.join("\n")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    let Outcome { mut lines, code } = runtime.block_on(ask_or_work(settings.data, request))?;
    // What went wrong goes where errors go.
    let last = lines.pop().unwrap_or_default();
    lines.iter().for_each(|line| println!("{line}"));
    match code {
        0 => println!("{last}"),
        3 => return Err(Failure::damaged(last)),
        _ => return Err(Failure::run(last)),
    }
    Ok(())
}

async fn ask_or_work(data: PathBuf, request: Request) -> Result<Outcome, Failure> {
    if !FjallStore::is_in(&data) {
        return Err(Failure::settings(format!("there is no message store in {}; name it with --data", data.display())));
    }
    if let Some(outcome) = control::ask(&data, &request).await? {
        return Ok(outcome);
    }
    // A damaged store can be looked at, and copied as far as it can be read.
    let config = FjallConfig { check: CheckAtOpen::Never, ..FjallConfig::default() };
    let store = match FjallStore::open(&data, &config) {
        Ok(store) => store,
        Err(error @ StoreError::InUse(_)) => return Err(Failure::run(in_use(&data, &error))),
        Err(error) => return Ok(Outcome::failed(&error)),
    };
    let outcome = work(&store, &data, &request).await;
    store.close().await.map_err(|error| Failure::run(error.to_string()))?;
    Ok(outcome)
}

fn in_use(data: &Path, error: &StoreError) -> String {
    let why = if control::name_fits(data) {
        "a server that has it open just starts or stops, or is of a version without a control socket"
    } else {
        "its path is too long for a control socket"
    };
    format!("{error}\n(the server there could not be asked: {why})")
}

/// Does it with an open store.
pub(crate) async fn work(store: &FjallStore, data: &Path, request: &Request) -> Outcome {
    match request {
        Request::Verify => match store.verify().await {
            Ok(found) => told(&found),
            Err(error) => Outcome::failed(&error),
        },
        Request::DeadLetters { retry } => match dead_letters_of(store, *retry).await {
            Ok(lines) => Outcome { lines, code: 0 },
            Err(error) => Outcome::failed(&error),
        },
        Request::Backup { to, with_key } => {
            let files = match files::beside_the_store(data, *with_key) {
                Ok(files) => files,
                Err(Failure { message, .. }) => return Outcome { lines: vec![message], code: 1 },
            };
            match store.backup_to(to, files).await {
                Ok(copy) => {
                    let key = if *with_key { "with" } else { "without" };
                    let line = format!("{} has a copy of {} rows, {key} the server's key", to.display(), copy.rows);
                    Outcome { lines: vec![line], code: 0 }
                }
                Err(error) => Outcome::failed(&error),
            }
        }
    }
}

/// So many at a time are read, and sent again.
const LETTERS: usize = 500;

/// A line for each, at most [`MAX_DEAD_LETTERS`](im_server::store::MAX_DEAD_LETTERS).
async fn dead_letters_of(store: &FjallStore, retry: bool) -> Result<Vec<String>, StoreError> {
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let letters = store.dead_letters(after, LETTERS).await?;
        let Some(last) = letters.last() else { break };
        after = last.event.number;
        lines.extend(letters.iter().map(|DeadLetter { event, answer }| {
            let answer = if *answer == 0 { "no answer".into() } else { format!("HTTP {answer}") };
            format!("msg_{} {} {}: {answer}", event.message_id, event.conversation, event.seq)
        }));
        if retry {
            store.retry(letters.into_iter().map(|letter| letter.event.number).collect(), files::unix_ms()).await?;
        }
    }
    let count = lines.len();
    lines.push(format!("{count} dead letters{}", if retry { ", which wait to be sent again" } else { "" }));
    Ok(lines)
}

fn told(found: &Verification) -> Outcome {
    let Verification { conversations, rows, damaged, first } = found;
    if *damaged == 0 {
        let line = format!("the message store is good: {rows} rows, {conversations} conversations");
        return Outcome { lines: vec![line], code: 0 };
    }
    let mut lines: Vec<String> =
        first.iter().map(|record| format!("{} {}: {}", record.table, record.key, record.problem)).collect();
    lines.push(format!(
        "{damaged} of {rows} rows are damaged{}; stop the server, keep a copy of the data directory and restore a backup",
        if first.len() as u64 == *damaged { "" } else { ", of which the first are listed" },
    ));
    Outcome { lines, code: 3 }
}
