//! The stage: lets the actors take a step, looks at their tables, draws them.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use graft_lib::table_view::paint::Palette;
use graft_lib::table_view::picture::Picture;
use graft_lib::table_view::tree::{Tree, TreeError};
use graft_rt::abi::{PAGE_SIZE, ProcessInfo, ProcessState};
use graft_rt::archive::{Archive, FileError};
use graft_rt::gate;
use graft_rt::process::STANDARD_HANDLES;
use graft_rt::test::Patience;
use graft_rt::{Error, ExitStatus, Process, Share, println, system, tables};

use crate::actors::{self, Gate};
use crate::words::{self, Step};

/// Why the demonstration cannot go on.
#[derive(Debug)]
pub(crate) enum Problem {
    Start(FileError),
    Call(Error),
    Records(TreeError),
    /// An actor ended before its time, or in a wrong way.
    Ended(ExitStatus),
    /// `vmmap` ended with a complaint.
    Dump(ExitStatus),
    /// An actor did not take a step.
    Stuck(Step),
    NoChild,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Start(error) => write!(f, "cannot start a program: {error}"),
            Problem::Call(error) => error.fmt(f),
            Problem::Records(error) => write!(f, "the kernel's records are not those of a tree: {error}"),
            Problem::Ended(ExitStatus::Exited(code)) => write!(f, "the parent gave up: {}", actors::complaint(*code)),
            Problem::Ended(status) => write!(f, "the parent {status}"),
            Problem::Dump(status) => write!(f, "vmmap {status}"),
            Problem::Stuck(step) => write!(f, "the actors got stuck before the picture {step:?}"),
            Problem::NoChild => f.write_str("the parent has no child"),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::Call(error)
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Problem {
        Problem::Start(error)
    }
}

/// One process at one moment.
pub(crate) struct View {
    pub(crate) tree: Tree,
    pub(crate) info: ProcessInfo,
}

impl View {
    fn of(process: &Process) -> Result<View, Problem> {
        let tree = Tree::new(&tables::all_entries(process.handle())?).map_err(Problem::Records)?;
        Ok(View { tree, info: process.info()? })
    }
}

/// Both processes at one moment.
pub(crate) struct Moment {
    pub(crate) parent: View,
    pub(crate) child: Option<View>,
}

/// The actors and the gates that drive them.
pub(crate) struct Stage {
    gates: Vec<gate::Gate>,
    parent: Process,
    child: Option<Process>,
}

impl Stage {
    /// Starts the parent, which prepares its memory.
    pub(crate) fn new(share: Share) -> Result<Stage, Problem> {
        let archive = Archive::open()?;
        let program = graft_rt::arguments().get(0).unwrap_or("forkdemo");
        let image = archive.file(program)?;
        let gates = (0..Gate::COUNT).map(|_| gate::Gate::new()).collect::<Result<Vec<_>, Error>>()?;
        let mut handles = Vec::from(STANDARD_HANDLES);
        handles.extend(gates.iter().map(gate::Gate::handle));
        let parent = Process::spawn_image(image, &[program, actors::ROLE, share.name()], &handles)?;
        Ok(Stage { gates, parent, child: None })
    }

    /// Lets the actors take a step and waits until they have.
    pub(crate) fn play(&mut self, step: Step) -> Result<(), Problem> {
        let (start, done) = match step {
            Step::Prepared => (None, Gate::Prepared),
            Step::Forked => (Some(Gate::Fork), Gate::Forked),
            Step::ChildRead => (Some(Gate::ChildRead), Gate::ChildHasRead),
            Step::ChildWrote => (Some(Gate::ChildWrite), Gate::ChildHasWritten),
            Step::ParentWrote => (Some(Gate::ParentWrite), Gate::ParentHasWritten),
            Step::ChildEnded => (Some(Gate::ChildEnd), Gate::ChildHasEnded),
        };
        if let Some(start) = start {
            self.gates[start as usize].open();
        }
        let mut patience = Patience::new();
        while !self.gates[done as usize].is_open() {
            if self.parent.info()?.state == ProcessState::Ended as u32 {
                return Err(Problem::Ended(self.parent.wait()?));
            }
            if !patience.turn() {
                return Err(Problem::Stuck(step));
            }
        }
        if step == Step::Forked {
            self.child = Some(self.find_child()?);
        }
        Ok(())
    }

    fn find_child(&self) -> Result<Process, Problem> {
        for process in system::processes() {
            let process = process?;
            if process.info()?.parent == self.parent.identifier() {
                return Ok(process);
            }
        }
        Err(Problem::NoChild)
    }

    /// Lets `vmmap` print the descriptors of both.
    pub(crate) fn dump(&self, step: Step) -> Result<(), Problem> {
        let child = self.child.as_ref().filter(|_| step != Step::ChildEnded);
        for process in [Some(&self.parent), child].into_iter().flatten() {
            let status = Process::spawn(&["vmmap", "--dump", &format!("{}", process.identifier())])?.wait()?;
            if !status.is_success() {
                return Err(Problem::Dump(status));
            }
        }
        Ok(())
    }

    /// Reads the tables of both.
    pub(crate) fn look(&self, step: Step) -> Result<Moment, Problem> {
        let child = self.child.as_ref().filter(|_| step != Step::ChildEnded);
        Ok(Moment { parent: View::of(&self.parent)?, child: child.map(View::of).transpose()? })
    }

    /// Lets the parent end, which it does with 0 if both have read what they should.
    pub(crate) fn end(self) -> Result<(), Problem> {
        self.gates[Gate::ParentEnd as usize].open();
        match self.parent.wait()? {
            status if status.is_success() => Ok(()),
            status => Err(Problem::Ended(status)),
        }
    }
}

/// Prints the names of the regions, with first address and number of pages.
pub(crate) fn name_regions() {
    for (name, address, pages) in [("A", actors::A, actors::PAGES.0), ("B", actors::B, actors::PAGES.1)] {
        println!("region {name} {address:012x} {pages}");
    }
}

/// Draws a moment, with what was said about it above and what it cost below.
pub(crate) fn draw(step: Step, share: Share, now: &Moment, before: Option<&Moment>, palette: Palette) {
    words::introduce(step, share, palette);
    let heading = |who: &str, view: &View| format!("{who} process {}", view.info.identifier);
    let parent = heading("PARENT", &now.parent);
    let child = now.child.as_ref().map(|view| (heading("CHILD", view), view));
    let picture = Picture {
        left: (&parent, &now.parent.tree),
        right: child.as_ref().map(|(heading, view)| (heading.as_str(), &view.tree)),
        before: before.map(|before| (&before.parent.tree, before.child.as_ref().map(|view| &view.tree))),
        focus: &(actors::A..actors::B + actors::PAGES.1 * PAGE_SIZE as u64),
        names: &[(actors::A, 3, "A"), (actors::B, 3, "B")],
    };
    for line in picture.draw(palette) {
        println!("{line}");
    }
    if let Some(before) = before {
        costs("parent", &now.parent, &before.parent);
        if let (Some(now), Some(before)) = (&now.child, &before.child) {
            costs("child", now, before);
        }
    }
}

/// Prints the faults that a process has taken since the picture before.
fn costs(who: &str, now: &View, before: &View) {
    let faults = now.info.faults - before.info.faults;
    let tables = now.info.table_splits - before.info.table_splits;
    let pages = now.info.page_copies - before.info.page_copies;
    if faults > 0 {
        let count = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (faults, tables, pages) = (count(faults, "fault"), count(tables, "table"), count(pages, "page"));
        println!("Since the picture before, the {who} took {faults}: {tables} and {pages} were copied.");
    }
}
