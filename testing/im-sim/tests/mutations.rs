//! The texts that `mutations/rules.txt` replaces are still there, once.

#[path = "../mutations/mod.rs"]
mod mutations;

#[test]
fn every_mutation_still_has_its_place() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let all = mutations::all();
    assert!(all.len() >= 20, "{}", all.len());
    for mutation in all {
        let text = std::fs::read_to_string(format!("{root}/{}", mutation.file)).expect("a file of this repository");
        assert_eq!(text.matches(&mutation.from).count(), 1, "{}: {}", mutation.file, mutation.rule);
        assert_ne!(mutation.from, mutation.to, "{}", mutation.rule);
    }
}
