//! The tree against a software MMU with a TLB that may keep anything, and an oracle with deep copies.

mod bugs;
mod history;
mod machine;
mod mmu;
mod oracle;
mod world;

use graft_paging::{AArch64, X86_64};
use history::explore;

/// Histories of each format; `GRAFT_HISTORIES` overrides.
fn histories() -> u64 {
    std::env::var("GRAFT_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[test]
fn random_histories_on_aarch64_match_the_oracle() {
    explore::<AArch64>(1, histories(), 400);
}

#[test]
fn random_histories_on_x86_64_match_the_oracle() {
    explore::<X86_64>(1, histories(), 400);
}
