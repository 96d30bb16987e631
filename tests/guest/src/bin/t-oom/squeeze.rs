//! Calls made with n frames left, for every small n.

use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::gate::Gate;
use graft_rt::memory::Shared;
use graft_rt::process::sleep;
use graft_rt::test::{Report, claim_success, touch_stack_and_heap};
use graft_rt::{Error, ExitStatus, Permissions, Process, Region, Share, claim, claim_eq, system, thread};

use crate::{REFUSED, STARVED, fork_and_write, spawn, too_much};

/// Frames that are left when all but the last is taken, to prepare the next case with.
const CUSHION: u64 = 1024;
/// Pages that one level-3 table maps.
const TABLE: usize = 512;

/// What a child of [`squeezed`] tries.
#[derive(Clone, Copy, Debug)]
enum Attempt {
    Fork(Share),
    Spawn,
    MakeObject,
    MakeThread,
}

/// Forks, spawn and the making of objects and threads work or say that they cannot; a process does its work or is ended
/// for lack of memory; nothing in between.
///
/// This process holds the memory and must not need any itself; children do what is tested.
pub(crate) fn squeezed(report: &Report, image: &[u8]) -> Result<(), Error> {
    let most = Region::new(too_much()?)?;
    let target = Region::new(4 << 20)?;
    target.fill(|page| page as u8);
    let mut page = 0;
    while system::free_frames()? > CUSHION {
        most.write(page * PAGE_SIZE, 1);
        page += 1;
    }
    let (mut refused, mut starved) = ([0; 7], 0);
    for left in (0..40).rev() {
        let others = [Attempt::Spawn, Attempt::MakeObject, Attempt::MakeThread];
        let attempts = Share::ALL.map(Attempt::Fork).into_iter().chain(others);
        for (attempt, refused) in attempts.zip(&mut refused) {
            let gate = Gate::new()?;
            let child = Process::fork_into(Share::default(), || {
                gate.pass();
                let Ok(_rest) = take_all_but(left) else { return 1 };
                match attempt {
                    Attempt::Fork(share) => fork_and_write(share, &target),
                    Attempt::Spawn => spawn(image),
                    Attempt::MakeObject => make_object(),
                    Attempt::MakeThread => make_thread(),
                }
            })?;
            // After this, nothing that this process does needs a frame.
            touch_stack_and_heap();
            gate.open();
            let status = child.wait()?;
            // If it was ended, a child of its own may hold all of it for a moment longer.
            while system::free_frames()? < CUSHION / 2 {
                sleep(Duration::from_micros(100));
            }
            *refused += u32::from(status == ExitStatus::Exited(REFUSED));
            starved += u32::from(status == STARVED);
            let right = status.is_success() || status == ExitStatus::Exited(REFUSED) || status == STARVED;
            claim!(report, right, "{left} frames, {attempt:?}: it {status}");
        }
    }
    let each = refused.iter().all(|&times| times > 0);
    claim!(report, each, "with next to no frames, all that needs some is refused: {refused:?} times");
    drop(most);
    let changed = target.first_difference(|page| page as u8);
    claim_eq!(report, changed, None, "the first page of the parent's memory that has changed");
    let child = Process::fork_into(Share::default(), || 0)?;
    claim_success(report, &child, format_args!("a fork when memory is back"));
    report.done(format_args!("with 40 to 0 frames left: {refused:?} refused, {starved} ended, none half done"));
    Ok(())
}

/// Takes what is left of the cushion, but for so many frames. The caller needs none of them to go on.
fn take_all_but(frames: u64) -> Result<Region, Error> {
    touch_stack_and_heap();
    let rest = Region::new((CUSHION as usize) * PAGE_SIZE)?;
    let last = rest.pages() - 1;
    let tables = (0..last).step_by(TABLE).chain([last]);
    tables.for_each(|page| rest.write(page * PAGE_SIZE, 1));
    let mut page = 0;
    while system::free_frames()? > frames {
        rest.write(page * PAGE_SIZE, 1);
        page += 1;
    }
    Ok(rest)
}

/// 0 if an object of some pages can be made, mapped and used.
fn make_object() -> i32 {
    const PAGES: usize = 8;
    let made = Shared::new(PAGES * PAGE_SIZE).and_then(|object| object.map(Permissions::ReadWrite));
    match made {
        Ok(memory) => {
            let zero = memory.first_difference(|_| 0).is_none();
            memory.fill(|page| page as u8);
            i32::from(!zero || memory.first_difference(|page| page as u8).is_some())
        }
        Err(Error::OutOfMemory) => REFUSED,
        Err(_) => 1,
    }
}

/// 0 if a thread runs, [`REFUSED`] if there is no memory for it.
fn make_thread() -> i32 {
    match thread::spawn(|| 7).and_then(thread::JoinHandle::join) {
        Ok(7) => 0,
        Err(Error::OutOfMemory) => REFUSED,
        _ => 1,
    }
}
