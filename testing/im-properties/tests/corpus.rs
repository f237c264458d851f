//! Replays what the fuzzers found worth keeping.
#![expect(clippy::disallowed_methods, reason = "the corpora are files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use im_properties::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_file_of_every_corpus_holds() {
    for target in TARGETS {
        let folder = fuzz().join("corpus").join(target.name);
        let files = names(&folder);
        assert!(!files.is_empty(), "{} has no corpus: run the fuzzer, then commit it", target.name);
        for file in &files {
            println!("{}/{file}", target.name); // shown when the check panics
            (target.check)(&fs::read(folder.join(file)).unwrap());
        }
    }
}

#[test]
fn every_seed_holds_and_so_does_every_damaged_seed() {
    let mut random = fastrand::Rng::with_seed(3);
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for seed in seeds {
            (target.check)(&seed);
            for _ in 0..20 {
                let mut bad = seed.clone();
                let at = random.usize(..bad.len());
                match random.u8(..3) {
                    0 => bad[at] ^= 1 << random.u8(..8),
                    1 => bad.truncate(at),
                    _ => bad.insert(at, random.u8(..)),
                }
                println!("{}: {bad:?}", target.name);
                (target.check)(&bad);
            }
        }
    }
}

#[test]
fn random_inputs_hold() {
    let mut random = fastrand::Rng::with_seed(4);
    for target in TARGETS {
        for _ in 0..200 {
            let mut input = vec![0; random.usize(1..700)];
            random.fill(&mut input);
            println!("{}: {input:?}", target.name);
            (target.check)(&input);
        }
    }
}

#[test]
fn the_list_the_wrappers_the_manifest_and_the_corpora_name_the_same_targets() {
    let list: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), list);
    let wrappers = names(&fuzz().join("fuzz_targets"));
    assert_eq!(wrappers, list.iter().map(|name| format!("{name}.rs")).collect());
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &list {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")), "{name}");
    }
}
