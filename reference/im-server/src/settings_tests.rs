//! Tests of the settings, and of what the README says about them.

use std::fmt::Write;

use clap::CommandFactory;

use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.toml");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    (dir, path)
}

/// Every key is in the struct, in the flags, in the variables and in the README, with the same words.
#[test]
fn the_readme_lists_every_key_as_it_is() {
    let command = crate::cli::Cli::command();
    let mut table = String::from("| key | default | allowed | meaning |\n|---|---|---|---|\n");
    for (key, values) in KEYS {
        let arg = command.get_arguments().find(|arg| arg.get_id() == key);
        let arg = arg.unwrap_or_else(|| panic!("{key} has no flag"));
        assert_eq!(arg.get_long(), Some(key.replace('_', "-").as_str()));
        assert_eq!(arg.get_env(), Some(format!("IM_{}", key.to_uppercase()).as_ref()));
        let help = arg.get_help().unwrap().to_string();
        let (default, allowed) = match values {
            Values::Text("", allowed) => (String::new(), (*allowed).to_owned()),
            Values::Text(default, allowed) => (format!("`{default}`"), (*allowed).to_owned()),
            Values::Number(default, min, max) => (default.to_string(), format!("{min} to {max}")),
        };
        writeln!(table, "| `{key}` | {default} | {allowed} | {help} |").unwrap();
    }
    let undocumented: Vec<_> = command
        .get_arguments()
        .map(|arg| arg.get_id().as_str())
        .filter(|id| !["config", "help", "version"].contains(id) && !KEYS.iter().any(|(key, _)| key == id))
        .collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    assert!(include_str!("../README.md").contains(&table), "the README should have this table:\n{table}");
}

#[test]
fn every_key_can_stand_in_the_file() {
    let text: String = KEYS
        .iter()
        .map(|(key, values)| match (*key, values) {
            ("allow_origins", _) => "allow_origins = [\"https://a\"]\n".into(),
            ("channels", _) => "channels = [\"x-channels\"]\n".into(),
            ("proxies", _) => "proxies = [\"10.0.0.0/8\", \"::1\"]\n".into(),
            ("jwt_eddsa_public_key_file", _) => String::new(),
            ("webhook_events", _) => "webhook_events = [\"message.stored\"]\n".into(),
            ("webhook_content", _) => "webhook_content = false\n".into(),
            ("store_check", _) => "store_check = \"never\"\n".into(),
            ("log_format", _) => "log_format = \"json\"\n".into(),
            (_, Values::Number(_, _, max)) => format!("{key} = {max}\n"),
            (_, Values::Text(..)) => format!("{key} = \"x-{key}\"\n"),
        })
        .collect();
    let (_dir, path) = file(&text);
    let settings = resolve(&Options::default(), Some(&path)).unwrap();
    let shown = format!("{settings:?}");
    for (key, values) in KEYS {
        let (jwt, list) = (
            *key == "jwt_eddsa_public_key_file",
            ["allow_origins", "proxies", "log_format", "store_check", "webhook_events", "webhook_content"]
                .contains(key),
        );
        if matches!(values, Values::Text(..)) && !jwt && !list {
            assert!(shown.contains(&format!("\"x-{key}\"")), "{key} is not used: {shown}");
        }
    }
    let numbers = [
        settings.tls_check.as_secs(),
        settings.max_connections.into(),
        settings.max_connections_per_address.into(),
        settings.max_connection_mib.into(),
        settings.max_refused_logins.into(),
        settings.login_timeout.as_secs(),
        settings.stall.as_secs(),
        settings.http_idle.as_secs(),
        settings.drain.as_secs(),
        settings.return_after.as_secs(),
        settings.files.as_ref().unwrap().max_bytes >> 20,
        settings.files.as_ref().unwrap().max_user_bytes >> 20,
        settings.files.as_ref().unwrap().max_total_bytes >> 20,
        settings.keep_files.unwrap().as_secs() / 86_400,
    ];
    assert_eq!(
        numbers,
        [
            86_400, 1_000_000, 1_000_000, 1_048_576, 100_000, 120, 600, 3_600, 300, 1_800, 65_536, 16_777_216,
            16_777_216, 36_500
        ]
    );
    assert_eq!((settings.proxies.len(), settings.allow_origins.len(), settings.log_json), (2, 1, true));
    assert_eq!(settings.store_check, CheckAtOpen::Never);
    assert_eq!(settings.retention, Retention::days(36_500));
    assert_eq!(resolve(&Options::default(), None).unwrap().retention, None, "for ever, unless it is asked for");
    let webhooks = settings.webhooks.unwrap();
    assert_eq!((webhooks.kinds, webhooks.content), ([EventKind::MessageStored].into(), false));
    let numbers = (webhooks.timeout.as_secs(), webhooks.max_age.as_secs(), webhooks.max_waiting);
    assert_eq!(numbers, (60, 720 * 3600, 100_000_000));
}

#[test]
fn a_flag_or_variable_counts_more_than_the_file_and_the_file_more_than_a_default() {
    let (_dir, path) = file("listen = \"a:1\"\nmax_connections = 7\njwt_hs256_secret_file = \"s\"\n");
    let options =
        Options { listen: Some("b:2".into()), jwt_eddsa_public_key_file: Some("p".into()), ..Options::default() };
    let settings = resolve(&options, Some(&path)).unwrap();
    assert_eq!((settings.listen.as_str(), settings.max_connections), ("b:2", 7));
    assert_eq!(settings.login_timeout.as_secs(), 10);
    assert!(settings.jwt_hs256_secret_file.is_none() && settings.jwt_eddsa_public_key_file.is_some());
}

#[test]
fn every_problem_is_told_at_once_and_by_name() {
    let problems = |text: &str| {
        let (_dir, path) = file(text);
        resolve(&Options::default(), Some(&path)).unwrap_err()
    };
    let unknown = problems("max_conections = 5\nwhatever = 1\n").join("\n");
    for part in ["\"max_connections\" is near", "no key \"whatever\"", "im.toml"] {
        assert!(unknown.contains(part), "{unknown}");
    }
    let ranges = problems(
        "max_connections = 0\nretention_days = 36501\nlogin_timeout_secs = 999\nlog_format = \"xml\"\nstore_check = \"x\"\nwebhook_url = \"u\"\nwebhook_events = [\"x\"]\ntls_key_file = \"k\"\nproxies = [\"x\"]\n",
    );
    assert_eq!(ranges.len(), 9, "{ranges:?}");
    for wrong in ["max_connections = \"many\"", "max_connections = -1", "listen = ", "[listen]\nx = 1"] {
        assert!(problems(wrong)[0].contains("im.toml"), "{wrong}");
    }
    assert!(resolve(&Options::default(), Some(Path::new("/nowhere/im.toml"))).unwrap_err()[0].contains("/nowhere"));
}
