//! More address spaces alive than there are identifiers for them with eight bits, several threads in each.
//!
//! With the boot argument `graft.asid-bits=8` a core goes through several generations of identifiers. Every process has
//! other content at the same address: a process that uses the translations of another finds the wrong content.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::gate::Gate;
use graft_rt::process::sleep;
use graft_rt::test::{Report, claim_success, wait_until};
use graft_rt::{Error, ExitStatus, Process, Region, Share, claim, system, thread};

/// Processes that make others: a handle table has no room for all.
const LEADERS: u64 = 5;
/// Processes that each of them makes.
const FOLLOWERS: u64 = 60;
/// Threads of each process.
const THREADS: usize = 2;
/// How often each looks at its memory.
const LOOKS: u32 = 12;
const PAGES: usize = 4;

pub(crate) fn identifiers(report: &Report) -> Result<(), Error> {
    let memory = Region::new(PAGES * PAGE_SIZE)?;
    let gate = Gate::new()?;
    let before = system::info()?.processes;
    let mut leaders = Vec::new();
    for leader in 0..LEADERS {
        leaders
            .push(Process::fork_into(Share::ALL[leader as usize % 4], || lead(leader, &memory, &gate).unwrap_or(99))?);
    }
    let all = before + LEADERS * (FOLLOWERS + 1);
    wait_until(|| system::info().is_ok_and(|info| info.processes >= all));
    let alive = system::info()?.processes;
    claim!(report, alive >= all && alive > 256, "{alive} processes are alive");
    gate.open();
    for leader in &leaders {
        claim_success(report, leader, format_args!("a process that made {FOLLOWERS}"));
    }
    Ok(())
}

fn lead(leader: u64, memory: &Region, gate: &Gate) -> Result<i32, Error> {
    let mut followers = Vec::new();
    for follower in 0..FOLLOWERS {
        let share = Share::ALL[follower as usize % 4];
        followers.push(Process::fork_into(share, || {
            gate.pass();
            look(memory, (leader * FOLLOWERS + follower) as usize).unwrap_or(98)
        })?);
    }
    gate.pass();
    let right = followers.iter().all(|follower| follower.wait().is_ok_and(ExitStatus::is_success));
    Ok(i32::from(!right))
}

/// Each thread has pages that it writes, and reads those of all.
fn look(memory: &Region, own: usize) -> Result<i32, Error> {
    let value = |page: usize| [own as u8 ^ page as u8, (own >> 8) as u8];
    for page in 0..PAGES {
        let [low, high] = value(page);
        memory.write(page * PAGE_SIZE, low);
        memory.write(page * PAGE_SIZE + 1, high);
    }
    let wrong = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let wrong = &wrong;
            scope.spawn(move || {
                for look in 0..LOOKS {
                    for page in 0..PAGES {
                        let found = [memory.read(page * PAGE_SIZE), memory.read(page * PAGE_SIZE + 1)];
                        let right = found == value(page) && memory.read(page * PAGE_SIZE + 8 + number) == look as u8;
                        wrong.fetch_add(u32::from(!right), Ordering::Relaxed);
                        memory.write(page * PAGE_SIZE + 8 + number, look as u8 + 1);
                    }
                    // Long enough for all the others to have their turn.
                    sleep(Duration::from_millis(2));
                }
            })?;
        }
        Ok::<(), Error>(())
    })?;
    Ok(i32::from(wrong.into_inner() != 0))
}
