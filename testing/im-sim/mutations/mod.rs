//! Rules, and how to break each: read from `rules.txt`.

/// One rule and the text that breaks it.
pub(crate) struct Mutation {
    /// What must hold.
    pub(crate) rule: String,
    /// Path from the root of the repository.
    pub(crate) file: String,
    /// Stands once in the file.
    pub(crate) from: String,
    /// What takes its place.
    pub(crate) to: String,
}

/// Every mutation, in the order of the file.
pub(crate) fn all() -> Vec<Mutation> {
    let text = include_str!("rules.txt");
    text.split("\n== ").skip(1).map(one).collect()
}

fn one(block: &str) -> Mutation {
    let (rule, rest) = block.split_once("\n-- ").expect("a rule, then its file");
    let (file, rest) = rest.split_once("\n-- from\n").expect("a file, then `from`");
    let (from, to) = rest.split_once("\n-- to\n").expect("`from`, then `to`");
    let [rule, file, from] = [rule, file, from].map(ToString::to_string);
    Mutation { rule, file, from, to: to.trim_end().to_string() }
}
