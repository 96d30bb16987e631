//! Arbitrary histories on the model: four bytes of input are one operation, so that cutting and splicing inputs cuts
//! and splices histories.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the model's own tests use the rest of it")]

#[path = "../../tests/model"]
mod model {
    pub mod history;
    pub mod machine;
    pub mod mmu;
    pub mod oracle;
    pub mod world;
}
// The model's files know each other by these names.
use model::{history, machine, mmu, oracle, world};

use graft_paging::{AArch64, X86_64};
use history::{Operation, history, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // A process to begin with, then the first random operation of each seed.
    let mut steps = vec![(Operation::Create(0), 0)];
    for seed in input.as_chunks().0.iter().take(200) {
        steps.push(history(u32::from_le_bytes(*seed).into(), 2)[1]);
    }
    for outcome in [run::<AArch64>(&steps), run::<X86_64>(&steps)] {
        if let Err(what) = outcome {
            panic!("{what}\n{steps:#?}");
        }
    }
});
