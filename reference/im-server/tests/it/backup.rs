//! A copy of a store that goes on, through the library and through the program.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files and processes")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::process::{command, output, start, terminate};
use crate::common::{Peer, within};
use im_server::store::{
    Append, Ban, Bans, ConversationKey, EntryKind, FileBans, FjallConfig, FjallStore, NewEntry, Outbox, OutboxConfig,
    Store, StoreError,
};

fn chat(n: u64) -> ConversationKey {
    ConversationKey::new(format!("p:3:ann:bob{}", n % 20)).unwrap()
}

fn message(n: u64) -> NewEntry {
    NewEntry {
        conversation: chat(n),
        members: vec!["ann".into(), format!("bob{}", n % 20).into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id: n,
        digest: [7; 32],
        message_id: n + 1,
        time_ms: 1,
        kind: EntryKind::Message,
        content_type: 1,
        content: vec![b'x'; 500],
    }
}

async fn append(store: &FjallStore, n: u64) -> u64 {
    match store.append(message(n)).await {
        Append::Stored(receipt) => receipt.seq,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_has_what_was_stored_before_it_began_and_is_sound_while_appends_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = FjallConfig { outbox: Some(OutboxConfig::default()), ..FjallConfig::default() };
    let store = Arc::new(FjallStore::open(&dir.path().join("data"), &config).unwrap());
    let filling: Vec<_> = (0..5_000).map(|n| append(&store, n)).collect();
    futures_util::future::join_all(filling).await;
    let epoch = store.head(&chat(1)).await.unwrap().epoch;
    store.mark_read("bob1", &chat(1), epoch, 100).await.unwrap();

    // Appends go on before, while and after the copy is made.
    let (next, written) = (AtomicU64::new(5_000), Arc::new(AtomicU64::new(0)));
    let to = dir.path().join("copy");
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let (going_on, written_by) = (store.clone(), written.clone());
    let appends = tokio::spawn(async move {
        while !*stopped.borrow_and_update() {
            append(&going_on, next.fetch_add(1, Ordering::SeqCst)).await;
            written_by.fetch_add(1, Ordering::SeqCst);
        }
    });
    let before = written.load(Ordering::SeqCst);
    let backup = store.backup_to(&to, vec![("server.key".into(), b"secret".to_vec())]).await.unwrap();
    let meanwhile = written.load(Ordering::SeqCst) - before;
    stop.send_replace(true);
    appends.await.unwrap();
    assert!(backup.rows > 15_000 && meanwhile > 0, "{backup:?}, {meanwhile} meanwhile");

    let again = store.backup_to(&to, Vec::new()).await.unwrap_err();
    assert!(matches!(&again, StoreError::Backup(why) if why.contains("exists already")), "{again}");
    std::fs::create_dir(dir.path().join("other.new")).unwrap();
    let half = store.backup_to(&dir.path().join("other"), Vec::new()).await.unwrap_err();
    assert!(matches!(&half, StoreError::Backup(why) if why.contains("interrupted")), "{half}");
    assert!(dir.path().join("other.new").exists(), "what is another's is left alone");
    store.close().await.unwrap();
    let late = store.backup_to(&dir.path().join("late"), Vec::new()).await.unwrap_err();
    assert_eq!(late, StoreError::Closed);
    assert!(!dir.path().join("late.new").exists() && !dir.path().join("late").exists());

    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&to), mode(&to.join("server.key"))), (0o700, 0o600));
    let copy = FjallStore::open(&to, &config).unwrap();
    let found = copy.verify().await.unwrap();
    assert_eq!((found.damaged, found.conversations), (0, 20), "{found:?}");
    for n in 0..20 {
        // 250 of each were stored before.
        let head = copy.head(&chat(n)).await.unwrap();
        assert!(head.seq >= 250 && head.epoch != store.head(&chat(n)).await.unwrap().epoch);
    }
    assert_eq!(copy.positions("bob1", &chat(1)).await.unwrap().read, 100);
    assert!(copy.status().borrow().waiting >= 5_000);
    assert!(matches!(copy.append(message(3)).await, Append::AlreadyStored(receipt) if receipt.seq == 1));
    append(&copy, 1_000_000).await;
    copy.close().await.unwrap();
}

#[tokio::test]
async fn the_running_server_makes_the_copy_and_it_serves_as_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let ban = Ban { reason: "spam".into(), until_ms: None, since_ms: 1, by: "desk".into() };
    std::fs::create_dir(&data).unwrap();
    FileBans::open(&data.join("bans.json")).unwrap().set("mallory", Some(ban.clone())).await.unwrap();
    let mut running = start(command(&data)).await;
    let mut alice = Peer::offline(running.key, "alice", "phone", "");
    alice.connect_tcp(running.address).await;
    alice.logged_in().await;
    alice.send("bob", "before the backup");
    alice.stored().await;

    let ask = async |args: &[&str]| {
        let mut command = command(&data);
        command.args(args);
        let (printed, stderr) = output(command).await;
        (printed.status.code(), String::from_utf8_lossy(&printed.stdout).into_owned() + &stderr)
    };
    let (code, told) = ask(&["verify"]).await;
    assert!(code == Some(0) && told.contains("the message store is good"), "{told}");
    let (code, told) = ask(&["backup", "--to", copy.to_str().unwrap(), "--with-key"]).await;
    assert!(code == Some(0) && told.contains("with the server's key"), "{told}");
    let (code, told) = ask(&["backup", "--to", copy.to_str().unwrap()]).await;
    assert!(code == Some(1) && told.contains("exists already"), "{told}");
    alice.send("bob", "after the backup");
    alice.stored().await;
    terminate(&mut running.child).await;
    drop(alice);
    within(running.child.wait()).await.unwrap();
    assert!(!data.join("control.sock").exists());

    // Without a server the command works alone; without the flag there is no key.
    let alone = dir.path().join("alone");
    let (code, told) = ask(&["backup", "--to", alone.to_str().unwrap()]).await;
    assert!(code == Some(0) && !alone.join("server.key").exists() && alone.join("store.clean").exists(), "{told}");

    for copied in [&copy, &alone] {
        let bans = FileBans::open(&copied.join("bans.json")).unwrap();
        assert_eq!(bans.get("mallory").await.unwrap(), Some(ban.clone()));
    }
    let restored = start(command(&copy)).await;
    assert_eq!(restored.key, running.key);
    let mut bob = Peer::offline(restored.key, "bob", "phone", "");
    bob.connect_tcp(restored.address).await;
    bob.logged_in().await;
    assert_eq!(bob.text().await, "before the backup");
    drop(restored);

    let nowhere = dir.path().join("nowhere");
    let (code, told) = ask(&["verify", "--data", nowhere.to_str().unwrap()]).await;
    assert!(code == Some(2) && !nowhere.exists() && told.contains("no message store"), "{told}");
}
