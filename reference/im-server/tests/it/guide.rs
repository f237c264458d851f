//! The code of the guide is the code of the example, which CI runs.

const PAGE: &str = include_str!("../../../../docs/guide/half-hour.md");
const EXAMPLE: [&str; 2] = [include_str!("../../examples/axum/main.rs"), include_str!("../../examples/axum/visit.rs")];

#[test]
fn each_block_of_the_guide_is_a_piece_of_the_example() {
    let blocks: Vec<&str> = PAGE.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 7, "{} blocks", blocks.len());
    for block in blocks {
        assert!(
            EXAMPLE.iter().any(|file| file.contains(block)),
            "not in the example as it stands in the guide:\n{block}"
        );
    }
}
