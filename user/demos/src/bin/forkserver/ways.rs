//! The ways to get a warm target for each input, and the search by one of them.

use alloc::format;
use alloc::string::{String, ToString};

use graft_lib::forkserver::table::Table;
use graft_lib::forkserver::target::{self, CANVAS_BYTES, Canvas, REACH};
use graft_rt::archive::Archive;
use graft_rt::process::STANDARD_HANDLES;
use graft_rt::snapshot::{self, Taken};
use graft_rt::{Error, ExitStatus, FaultKind, Handle, Permissions, Process, Region, Share, eprintln};

use crate::stage::{Progress, Stage};

/// The program's name in the archive.
const NAME: &str = "forkserver";
/// First argument of a process that is to run one input: the second is the number of bits.
pub(crate) const ROLE: &str = "--target";
/// Where a spawned process finds the stage: behind the standard handles.
const STAGE: Handle = Handle(STANDARD_HANDLES.len() as u32 + 1);
/// Where the picture is: near the program, so that no table of an upper level is there for it alone.
const CANVAS: usize = 0x1000_0000;

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a fresh process, which builds the table.
    Spawn,
    /// In a child of a process that has built it.
    Fork(Share),
    /// In a process that goes back to a snapshot after each run.
    Restore(Share),
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Way::Spawn => "spawn",
            Way::Fork(_) => "fork",
            Way::Restore(_) => "restore",
        }
    }

    pub(crate) const fn share(self) -> Option<Share> {
        match self {
            Way::Spawn => None,
            Way::Fork(share) | Way::Restore(share) => Some(share),
        }
    }
}

/// The target's memory, warm.
pub(crate) struct Warm {
    table: Table,
    canvas: Guarded,
}

/// The picture's memory, and behind it pages that permit no access.
struct Guarded {
    region: Region,
}

impl Canvas for Guarded {
    fn store(&mut self, offset: usize, byte: u8) {
        self.region.write(offset, byte);
    }
}

impl Warm {
    /// Takes as long as a target's start does.
    pub(crate) fn up(bits: u32) -> Result<Warm, String> {
        let table = Table::new(bits).map_err(|error| error.to_string())?;
        let guarded = || {
            let region = Region::at(CANVAS, REACH)?;
            region.protect(CANVAS_BYTES..REACH, Permissions::None)?;
            Ok(Guarded { region })
        };
        let canvas = guarded().map_err(|error: Error| format!("no memory for the picture: {error}"))?;
        Ok(Warm { table, canvas })
    }

    /// Runs the stage's input.
    fn run(&mut self, stage: &Stage) {
        // A file that is refused is a run like any other.
        let _ = stage.run(|file, coverage| target::run(file, &self.table, &mut self.canvas, coverage));
    }
}

/// What a spawned process does: one run. Returns its exit code.
pub(crate) fn play(bits: Option<&str>) -> i32 {
    let one_run = || {
        let bits = bits.and_then(|bits| bits.parse().ok()).ok_or("no number of bits")?;
        Warm::up(bits)?.run(&Stage::join(STAGE).map_err(|error| error.to_string())?);
        Ok(())
    };
    match one_run() {
        Ok(()) => 0,
        Err(problem) => {
            let problem: String = problem;
            eprintln!("{NAME} {ROLE}: {problem}");
            1
        }
    }
}

/// Runs the stage's input once in a fresh process.
fn run_spawned(stage: &Stage, bits: u32) -> Result<ExitStatus, String> {
    let archive = Archive::open().map_err(|error| error.to_string())?;
    let image = archive.file(NAME).map_err(|error| error.to_string())?;
    let [one, two, three] = STANDARD_HANDLES;
    let handles = [one, two, three, stage.handle()];
    let process = Process::spawn_image(image, &[NAME, ROLE, &bits.to_string()], &handles);
    process.and_then(|process| process.wait()).map_err(|error| format!("cannot spawn: {error}"))
}

/// Runs the stage's input once in a child.
fn run_forked(stage: &Stage, warm: &mut Warm, share: Share) -> Result<ExitStatus, String> {
    let child = Process::fork_into(share, || {
        warm.run(stage);
        0
    });
    child.and_then(|child| child.wait()).map_err(|error| format!("cannot fork: {error}"))
}

/// Runs one input after the other in one process, and goes back to a snapshot between them. Returns only when all are
/// done.
fn run_restored(stage: &Stage, warm: &mut Warm, share: Share, runs: u64) -> Result<(), Error> {
    let snapshot = match snapshot::take(share)? {
        Taken::Now(snapshot) => snapshot,
        Taken::Again(snapshot, _) => {
            stage.learn();
            snapshot
        }
        Taken::Child => return Ok(()),
    };
    if stage.progress().executions == runs {
        return Ok(());
    }
    stage.advance();
    warm.run(stage);
    Err(snapshot.restore(1))
}

/// The result of a search by one way.
pub(crate) struct Outcome {
    pub(crate) way: Way,
    pub(crate) progress: Progress,
    /// The fault that the last input has led to.
    pub(crate) crash: Option<FaultKind>,
}

/// Runs inputs until one ends in a fault, and leaves that one on the stage.
pub(crate) fn search(warm: &mut Warm, bits: u32, stage: &Stage, way: Way, runs: u64) -> Result<Outcome, String> {
    let crash = loop {
        let status = match way {
            Way::Restore(share) => {
                let worker = Process::fork_into(share, || match run_restored(stage, warm, share, runs) {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("{NAME}: cannot restore: {error}");
                        1
                    }
                });
                worker.and_then(|worker| worker.wait()).map_err(|error| format!("cannot fork: {error}"))?
            }
            Way::Spawn | Way::Fork(_) => {
                stage.advance();
                run_once(warm, bits, stage, way)?
            }
        };
        if let Some(fault) = judge(status)? {
            break Some(fault);
        }
        if let Way::Spawn | Way::Fork(_) = way {
            stage.learn();
        }
        if stage.progress().executions == runs {
            break None;
        }
    };
    Ok(Outcome { way, progress: stage.progress(), crash })
}

/// Runs the stage's input once more, from the warm state that fork gives or in a fresh process.
pub(crate) fn run_once(warm: &mut Warm, bits: u32, stage: &Stage, way: Way) -> Result<ExitStatus, String> {
    match way {
        Way::Spawn => run_spawned(stage, bits),
        Way::Fork(share) | Way::Restore(share) => run_forked(stage, warm, share),
    }
}

/// The fault of a target that met one. Any other end than that or success says that the harness is wrong, not the
/// target.
pub(crate) fn judge(status: ExitStatus) -> Result<Option<FaultKind>, String> {
    match status {
        ExitStatus::Exited(0) => Ok(None),
        ExitStatus::Faulted(fault) if fault != FaultKind::OutOfMemory => Ok(Some(fault)),
        status => Err(format!("the target {status}")),
    }
}
