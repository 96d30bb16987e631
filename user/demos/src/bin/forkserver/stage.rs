//! What processes have in common: the fuzzer, its input, and the coverage, in memory that fork shares and restore
//! leaves alone.

use graft_lib::forkserver::coverage::Coverage;
use graft_lib::forkserver::fuzzer::Fuzzer;
use graft_lib::forkserver::input::Input;
use graft_rt::abi::PAGE_SIZE;
use graft_rt::memory::Shared;
use graft_rt::{Error, Handle, Permissions, Region, time};

/// The shared memory, mapped.
pub(crate) struct Stage {
    memory: Shared,
    region: Region,
}

/// What it holds. No pointers, and any bytes are a value.
#[repr(C)]
struct Content {
    fuzzer: Fuzzer,
    coverage: Coverage,
    /// The counter when the first input was asked for, and when the last one was done.
    begin: u64,
    end: u64,
}

/// The result of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) executions: u64,
    pub(crate) kept: usize,
    pub(crate) edges: usize,
    /// Counts from the first input to the end of the last one.
    pub(crate) time: u64,
    pub(crate) input: Input,
}

impl Stage {
    /// A stage with a search that has not begun.
    pub(crate) fn new(seed: u64) -> Result<Stage, Error> {
        let stage = Stage::map(Shared::new(size_of::<Content>().next_multiple_of(PAGE_SIZE))?)?;
        let content = Content { fuzzer: Fuzzer::new(seed), coverage: Coverage::default(), begin: 0, end: 0 };
        stage.with(|place| *place = content);
        Ok(stage)
    }

    /// The stage whose handle another process has passed on.
    pub(crate) fn join(handle: Handle) -> Result<Stage, Error> {
        Stage::map(Shared::from_handle(handle))
    }

    fn map(memory: Shared) -> Result<Stage, Error> {
        let region = memory.map(Permissions::ReadWrite)?;
        if region.bytes() < size_of::<Content>() { Err(Error::BadLength) } else { Ok(Stage { memory, region }) }
    }

    /// The handle, for passing on.
    pub(crate) const fn handle(&self) -> Handle {
        self.memory.handle()
    }

    fn with<R>(&self, work: impl FnOnce(&mut Content) -> R) -> R {
        // SAFETY: the region begins on a page, is readable and writable, large enough, and holds a Content: zeroes at
        // first, which are one. Processes take turns: a process that has started another waits for its end outside
        // of this function. No `work` comes back here.
        work(unsafe { &mut *(self.region.address() as *mut Content) })
    }

    /// Makes the next input.
    pub(crate) fn advance(&self) {
        self.with(|content| {
            if content.fuzzer.executions() == 0 {
                content.begin = time::counter();
            }
            content.fuzzer.advance();
            content.coverage.clear();
        });
    }

    /// Gives the input and a place for the coverage to a target.
    pub(crate) fn run<R>(&self, target: impl FnOnce(&[u8], &mut Coverage) -> R) -> R {
        self.with(|content| target(content.fuzzer.input().bytes(), &mut content.coverage))
    }

    /// Notes what the input has led to.
    pub(crate) fn learn(&self) {
        self.with(|content| {
            content.fuzzer.learn(&content.coverage);
            content.end = time::counter();
        });
    }

    /// The result of the search so far.
    pub(crate) fn progress(&self) -> Progress {
        self.with(|content| Progress {
            executions: content.fuzzer.executions(),
            kept: content.fuzzer.kept(),
            edges: content.fuzzer.edges(),
            time: content.end - content.begin,
            input: *content.fuzzer.input(),
        })
    }
}
