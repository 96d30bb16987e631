//! Children that make thousands of calls with wild arguments: they may end in any way that a
//! program can end in, and the machine goes on.

use graft_rt::abi::{Call, MAP_BASE, PAGE_SIZE, ProcessState, USER_END, USER_START};
use graft_rt::call::raw;
use graft_rt::process;
use graft_rt::test::{Bare, Numbers, Report, claim_success, wait_until};
use graft_rt::{Error, Handle, Process, Region, Share, claim};

const CHILDREN: u64 = 60;
const CALLS: u32 = 3000;

/// A call that a child of the storm does not make: it would end or stop it, or clutter the screen.
const fn is_left_out(number: u64) -> bool {
    match Call::from_number(number) {
        Some(
            Call::Exit
            | Call::ThreadExit
            | Call::Sleep
            | Call::WaitOn
            | Call::NotificationWait
            | Call::Supervise
            | Call::Wait
            | Call::ConsoleWrite
            | Call::ConsoleRead,
        ) => true,
        // `t-ipc` has a storm of these, as `t-notify` of the waits.
        Some(Call::Call | Call::Receive | Call::ReplyReceive) => true,
        _ => false,
    }
}

/// Starts the children, some at a time.
pub(crate) fn run(report: &Report) -> Result<(), Error> {
    let mut survivors = 0;
    for seed in 0..CHILDREN {
        let share = Share::ALL[seed as usize % Share::ALL.len()];
        let child = Process::fork_into(share, || storm(seed))?;
        // It may have forked itself to a halt or killed itself; it must not have hurt the parent.
        wait_until(|| child.info().is_ok_and(|info| info.state == ProcessState::Ended as u32));
        let _ = child.kill(1);
        survivors += u64::from(child.wait()?.is_success());
    }
    claim!(report, survivors > 0, "of {CHILDREN} children that make wild calls {survivors} got through");
    let child = Process::fork_into(Share::default(), || 0)?;
    claim_success(report, &child, format_args!("a child after the storm"));
    report.done(format_args!("{CHILDREN} children made {CALLS} wild calls each, {survivors} got through"));
    Ok(())
}

fn storm(seed: u64) -> i32 {
    let mut numbers = Numbers::new(seed);
    let own = process::identify();
    let Ok(region) = Region::new(16 * PAGE_SIZE) else { return 1 };
    let near = region.address() as u64;
    for _ in 0..CALLS {
        let number = match numbers.below(20) {
            0 => numbers.next(),
            _ => numbers.choose(Call::ALL) as u64,
        };
        if is_left_out(number) {
            continue;
        }
        let mut arguments = core::array::from_fn(|_| wild(&mut numbers, near));
        // A fork of this child would go on with the storm as well, and a kill would end the child itself.
        let forks_or_kills = matches!(Call::from_number(number), Some(Call::Fork | Call::Kill));
        if forks_or_kills && arguments[0] == u64::from(Handle::SELF.0) {
            continue;
        }
        // A program that has unmapped its text makes no further call; a few children may try that.
        let removes =
            matches!(Call::from_number(number), Some(Call::Unmap | Call::Protect | Call::Discard | Call::Move));
        if removes && arguments[0] < MAP_BASE as u64 && numbers.below(500) != 0 {
            continue;
        }
        // One child must not take all of the machine's memory; sizes that no machine has are refused anyway.
        let takes_memory = number == Call::MemoryCreate as u64;
        if takes_memory && (64 * PAGE_SIZE as u64..1 << 42).contains(&arguments[0]) {
            continue;
        }
        // A thread with a wild entry point ends the process: most of them get an entry point that ends the thread
        // instead.
        let begins = Call::from_number(number) == Some(Call::ThreadCreate) && arguments[0].is_multiple_of(4);
        if begins && (USER_START as u64..USER_END as u64).contains(&arguments[0]) && numbers.below(500) != 0 {
            arguments[0] = Bare::End.entry();
        }
        // SAFETY: none for the child, which may unmap or overwrite itself; that ends the child only.
        unsafe { raw(number, arguments) };
    }
    // A fork by a handle that happens to name this process would return here twice.
    i32::from(process::identify() != own)
}

/// An argument that has a good chance of being nearly right.
fn wild(numbers: &mut Numbers, near: u64) -> u64 {
    let page = PAGE_SIZE as u64;
    match numbers.below(8) {
        0 => numbers.next(),
        1 => 1 << numbers.below(64),
        2 => (1_u64 << numbers.below(64)).wrapping_sub(1),
        3 => numbers.below(8) as u64,
        4 => numbers.choose(&[u64::from(Handle::SELF.0), USER_START as u64, USER_END as u64, u64::MAX, 0, page]),
        5 => near + numbers.below(16) as u64 * page,
        6 => near + numbers.below(16 * PAGE_SIZE) as u64,
        _ => numbers.below(64) as u64 * page,
    }
}
