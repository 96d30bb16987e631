//! The tree against a software MMU with a TLB that may keep anything, and an oracle with deep copies.

mod bugs;
mod history;
mod kernel_map;
#[path = "../litmus/mod.rs"]
mod litmus;
mod machine;
mod mmu;
mod oracle;
mod points;
mod world;

use graft_paging::{AArch64, X86_64};
use history::explore;

/// A number from the environment.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Histories of each format; `GRAFT_HISTORIES` overrides.
fn histories() -> u64 {
    number("GRAFT_HISTORIES", 300)
}

/// The seed of the first history; `make soak` continues from the last one with `GRAFT_FIRST_SEED`.
fn first_seed() -> u64 {
    number("GRAFT_FIRST_SEED", 1)
}

#[test]
fn random_histories_on_aarch64_match_the_oracle() {
    explore::<AArch64>(first_seed(), histories(), 400);
}

#[test]
fn random_histories_on_x86_64_match_the_oracle() {
    explore::<X86_64>(first_seed(), histories(), 400);
}
