//! The phases of a run: before, fork, during, after; once for every depth of sharing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use graft_lib::kvd::histogram::Histogram;
use graft_lib::kvd::model::Model;
use graft_lib::kvd::queue::Queue;
use graft_lib::kvd::store::Store;
use graft_rt::abi::{PAGE_SIZE, ProcessInfo};
use graft_rt::size::Size;
use graft_rt::{ExitStatus, Share, process, system, time};

use crate::options::Options;
use crate::report;
use crate::server::Server;
use crate::snapshot::{Image, has_ended};

/// How long the server keeps the processor while the child waits for it: less than the kernel's time slice of 10 ms, so
/// that the turn ends between two requests.
const TURN_MILLISECONDS: u64 = 9;

/// Frames for translation tables, for the model and for other programs, beside a part of the store's.
const RESERVE: u64 = 2048;

/// The results of a run at one depth.
pub(crate) struct Outcome {
    pub(crate) share: Share,
    /// Latencies before, during and after the snapshot, in counts.
    pub(crate) latencies: [Histogram; 3],
    /// Counts that the fork has taken.
    pub(crate) fork: u64,
    /// Processor time of the child.
    pub(crate) save: Duration,
    /// Bytes of the image.
    pub(crate) image: usize,
    /// Faults of the parent from the fork to the end.
    pub(crate) page_copies: u64,
    pub(crate) table_splits: u64,
    pub(crate) reuses: u64,
}

/// Runs every depth that was asked for, and prints what it shows.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    check_memory(options)?;
    let mut server = Server::new(options)?;
    // The first requests tell how fast the server is.
    let warm_up = options.requests / 10;
    let mut time = 0;
    for _ in 0..warm_up {
        time += server.serve()?;
    }
    let period = (2 * time).div_ceil(warm_up);
    report::begin(options, period);
    let mut outcomes = Vec::new();
    for share in options.shares() {
        server.reset(options)?;
        let outcome = snapshot(options, &mut server, share, period)?;
        report::outcome(options, &outcome);
        outcomes.push(outcome);
    }
    report::end(options, &outcomes);
    Ok(())
}

/// Refuses a run that would end in the middle for lack of memory.
fn check_memory(options: &Options) -> Result<(), String> {
    let free = system::free_frames().map_err(|error| format!("cannot ask for free memory: {error}"))?;
    // While a child lives, the parent may have to copy the whole store.
    let bytes = 2 * Store::bytes(options.keys) + Image::bytes(options.keys);
    let needed = bytes.div_ceil(PAGE_SIZE) as u64 * 65 / 64 + RESERVE;
    if needed > free {
        let [needed, free] = [needed, free].map(|frames| Size(frames * PAGE_SIZE as u64));
        let records = Size(options.bytes());
        return Err(format!("{records} of records, copies of them and an image take up to {needed}; {free} are free"));
    }
    Ok(())
}

fn snapshot(options: &Options, server: &mut Server, share: Share, period: u64) -> Result<Outcome, String> {
    let failed = |error: graft_rt::Error| format!("--share {}: {error}", share.name());
    let no_memory = |error: alloc::collections::TryReserveError| error.to_string();
    let histogram = || Histogram::new().map_err(no_memory);
    let mut latencies = [histogram()?, histogram()?, histogram()?];
    let [before, during, after] = &mut latencies;
    let image = Image::new(options.keys).map_err(failed)?;
    let mut queue = Queue::new(period);

    server.serve_all(options.requests, &mut queue, before)?;

    let requests = server.requests();
    let faults = process::own_info();
    // A thread that wakes from its sleep starts a whole time slice.
    process::sleep(Duration::from_nanos(1));
    let turn = time::frequency() * TURN_MILLISECONDS / 1000;
    let mut turn_begin = time::counter();
    let child = image.save(server.store(), share).map_err(failed)?;
    let fork = time::counter() - turn_begin;
    queue.stall(fork);
    loop {
        while time::counter() - turn_begin < turn {
            server.serve_all(1, &mut queue, during)?;
        }
        process::yield_now();
        turn_begin = time::counter();
        if has_ended(&child).map_err(failed)? {
            break;
        }
    }
    let status = child.wait().map_err(failed)?;
    if status != ExitStatus::Exited(0) {
        return Err(format!("--share {}: the child that saves {status}", share.name()));
    }

    server.serve_all(options.requests, &mut queue, after)?;

    let ProcessInfo { page_copies, table_splits, reuses, .. } = process::own_info();
    let model = Model::replay(Server::client(options), requests).map_err(no_memory)?;
    let bytes = image.check(&model).map_err(|error| format!("--share {}: {error}", share.name()))?;
    Ok(Outcome {
        share,
        latencies,
        fork,
        save: Duration::from_nanos(child.info().map_err(failed)?.processor_time),
        image: bytes,
        page_copies: page_copies - faults.page_copies,
        table_splits: table_splits - faults.table_splits,
        reuses: reuses - faults.reuses,
    })
}
