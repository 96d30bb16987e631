//! A run of the program: a search by each way, and the proof of what they find.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_lib::forkserver::table::Table;
use graft_rt::abi::PAGE_SIZE;
use graft_rt::size::Size;
use graft_rt::{FaultKind, Share, system, time};

use crate::options::Options;
use crate::report;
use crate::stage::Stage;
use crate::ways::{self, Outcome, Warm, Way};

/// Frames for everything but tables of colours.
const RESERVE: u64 = 2048;
/// How often a crash is repeated from the warm state.
const REPETITIONS: usize = 3;

/// Searches by every way that was asked for.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    check_memory(options)?;
    let begin = time::counter();
    let mut warm = Warm::up(options.bits)?;
    report::begin(options, time::counter() - begin);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (way, runs) in options.ways() {
        report::search(options, way);
        let stage = Stage::new(options.seed).map_err(|error| format!("no memory to share: {error}"))?;
        let outcome = ways::search(&mut warm, options.bits, &stage, way, runs)?;
        match (first_crash(&outcomes), outcome.crash) {
            (None, Some(fault)) => prove(&mut warm, options.bits, &stage, fault)?,
            // The inputs are the same by every way, and so must be what they lead to.
            (Some((first, fault)), crash) if crash != Some(fault) || outcome.progress.input != first.progress.input => {
                return Err(format!("{} ends in something else than {}", way.name(), first.way.name()));
            }
            _ => {}
        }
        outcomes.push(outcome);
    }
    report::end(options, &outcomes);
    match first_crash(&outcomes) {
        Some((first, fault)) => report::crash(options, &first.progress, fault, REPETITIONS),
        None => return Err(format!("no crash in {} executions", options.runs)),
    }
    Ok(())
}

/// The first search that ended in a crash, and the crash.
fn first_crash(outcomes: &[Outcome]) -> Option<(&Outcome, FaultKind)> {
    outcomes.iter().find_map(|outcome| Some((outcome, outcome.crash?)))
}

/// Refuses a run that would end in the middle for lack of memory.
fn check_memory(options: &Options) -> Result<(), String> {
    let free = system::free_frames().map_err(|error| format!("cannot ask for free memory: {error}"))?;
    // This process's table and a fresh one's.
    let needed = (2 * Table::bytes(options.bits)).div_ceil(PAGE_SIZE) as u64 + RESERVE;
    if needed > free {
        let [needed, free] = [needed, free].map(|frames| Size(frames * PAGE_SIZE as u64));
        return Err(format!("--bits {} needs {needed} of memory, {free} are free", options.bits));
    }
    Ok(())
}

/// Runs the input that was left on the stage once more: it must cause the same fault.
fn prove(warm: &mut Warm, bits: u32, stage: &Stage, fault: FaultKind) -> Result<(), String> {
    for way in [Way::Fork(Share::default()); REPETITIONS].into_iter().chain([Way::Spawn]) {
        let status = ways::run_once(warm, bits, stage, way)?;
        if ways::judge(status)? != Some(fault) {
            return Err(format!("the crash does not come again: by {} it {status}", way.name()));
        }
    }
    Ok(())
}
