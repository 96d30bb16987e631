//! Instructions: never writable where they can be executed.

use graft_lib::table_view::check::check;
use graft_lib::table_view::tree::Tree;
use graft_rt::abi::{EntryKind, PAGE_SIZE, Permissions};
use graft_rt::test::depths::{EDGE, Test};
use graft_rt::test::{Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, FaultKind, Handle, Process, Region, claim, claim_eq, system, tables};

/// Every descriptor of every process, as the raw bits have it.
pub(crate) fn nowhere(test: Test<'_>) -> Result<(), Error> {
    let code = Code::new(7)?;
    let steps = Steps::new()?;
    let child = Process::fork_into(test.share, || i32::from(!steps.wait(1)))?;
    let mut executable = 0;
    for process in system::processes() {
        let process = process?;
        // One may have ended since it was listed.
        let Ok(records) = tables::all_entries(process.handle()) else { continue };
        let is_text = |record: &&graft_rt::abi::EntryRecord| {
            record.kind != EntryKind::Table as u8 && record.permissions == Permissions::ReadExecute as u8
        };
        executable += records.iter().filter(is_text).count();
        claim!(
            test.report,
            records.iter().filter(is_text).all(|record| record.writable_now == 0),
            "process {} has executable pages that are writable",
            process.identifier()
        );
        match Tree::new(&records) {
            Ok(tree) => {
                let verdict = check(&tree);
                claim!(test.report, verdict.is_ok(), "process {}: {verdict:?}", process.identifier());
            }
            // A process that goes on running changes its tables between two looks; this one and its child do not.
            Err(error) => {
                let own =
                    process.identifier() == graft_rt::process::identify() || process.identifier() == child.identifier();
                claim!(test.report, !own, "process {}: {error}", process.identifier());
            }
        }
    }
    claim!(test.report, executable > 2, "there are {executable} executable pages to look at");
    steps.reach(1);
    claim_success(test.report, &child, format_args!("a child that waits"));
    drop(code);
    Ok(())
}

/// A page with a function that returns a number.
struct Code(Region);

impl Code {
    fn new(number: u16) -> Result<Code, Error> {
        let code = Code(Region::at(EDGE, PAGE_SIZE)?);
        code.write(number);
        code.permit(Permissions::ReadExecute)?;
        Ok(code)
    }

    /// `mov w0, #number; ret`.
    fn write(&self, number: u16) {
        let instructions = [0x5280_0000 | u32::from(number) << 5, 0xd65f_03c0];
        for (offset, byte) in instructions.into_iter().flat_map(u32::to_le_bytes).enumerate() {
            self.0.write(offset, byte);
        }
    }

    fn permit(&self, permissions: Permissions) -> Result<(), Error> {
        self.0.protect(0..PAGE_SIZE, permissions)
    }

    fn call(&self) -> u32 {
        // SAFETY: where the page may be executed it holds a function of this type; elsewhere the processor ends the
        // program.
        let function = unsafe { core::mem::transmute::<usize, extern "C" fn() -> u32>(self.0.address()) };
        function()
    }

    /// Replaces the function by another; in between the page holds data.
    fn change(&self, number: u16) -> bool {
        let open = self.permit(Permissions::ReadWrite).is_ok();
        self.write(number);
        open && self.permit(Permissions::ReadExecute).is_ok() && self.call() == number.into()
    }
}

pub(crate) fn exclusive(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    let code = Code::new(7)?;
    claim_eq!(report, code.call(), 7, "a function that was written");
    for (what, act, expected) in [
        ("writes to what is executable", (|code: &Code| code.write(8)) as fn(&Code), FaultKind::WriteDenied),
        (
            "calls what is writable",
            |code: &Code| {
                let _ = code.permit(Permissions::ReadWrite);
                code.call();
            },
            FaultKind::ExecuteDenied,
        ),
        (
            "calls what it has written",
            |code: &Code| {
                let _ = code.permit(Permissions::ReadWrite);
                code.write(8);
                code.call();
            },
            FaultKind::ExecuteDenied,
        ),
        ("makes its own text writable and goes on", |_| _ = own_text(Permissions::ReadWrite), FaultKind::ExecuteDenied),
        ("makes its own text no text and goes on", |_| _ = own_text(Permissions::Read), FaultKind::ExecuteDenied),
    ] {
        let child = Process::fork_into(test.share, || {
            act(&code);
            0
        })?;
        claim_end(report, &child, ExitStatus::Faulted(expected), format_args!("a child that {what}"));
        claim_eq!(report, code.call(), 7, "the parent's function after a child that {what}");
    }

    // Each side changes its own.
    let steps = Steps::new()?;
    let child = Process::fork_into(test.share, || {
        let changed = code.call() == 7 && code.change(8);
        steps.reach(1);
        i32::from(!(changed && steps.wait(2) && code.call() == 8))
    })?;
    claim!(report, steps.wait(1), "the child has changed its function");
    claim_eq!(report, code.call(), 7, "the parent's function after the child's change");
    claim!(report, code.change(9), "the parent changes its function");
    steps.reach(2);
    claim_success(report, &child, format_args!("the child with a function of its own"));
    claim_eq!(report, code.call(), 9, "the parent's function");
    Ok(())
}

/// Gives every page of the program's own text other permissions. If that works, nothing is left to return to.
fn own_text(permissions: Permissions) -> Result<(), Error> {
    let text = tables::all_entries(Handle::SELF)?;
    let is_text = |record: &&graft_rt::abi::EntryRecord| {
        record.kind != EntryKind::Table as u8
            && record.permissions == Permissions::ReadExecute as u8
            && record.address != EDGE as u64
    };
    for record in text.iter().filter(is_text) {
        graft_rt::memory::protect(record.address as usize, PAGE_SIZE, permissions)?;
    }
    Ok(())
}
