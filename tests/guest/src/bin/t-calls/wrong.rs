//! Calls with one thing wrong, and the error that each must return.

use graft_rt::abi::{
    Call, EntryRecord, PAGE_SIZE, ProcessInfo, STACK_TOP, Segment, SpawnRequest, TablesRequest, Text, USER_END,
    USER_START,
};
use graft_rt::call::raw;
use graft_rt::test::Report;
use graft_rt::{Error, Handle, Permissions, Region, claim, claim_eq};

const PAGE: u64 = PAGE_SIZE as u64;
const SELF: u64 = Handle::SELF.0 as u64;
const CONSOLE: u64 = Handle::CONSOLE.0 as u64;
const ARCHIVE: u64 = Handle::ARCHIVE.0 as u64;
const SYSTEM: u64 = Handle::SYSTEM.0 as u64;
/// A handle that names nothing.
const NOTHING: u64 = 999;
const READ_WRITE: u64 = Permissions::ReadWrite as u64;
/// Where nothing is mapped.
const NOWHERE: u64 = 0x7000_0000_0000;
/// Where a new process has a page.
const ELSEWHERE: u64 = 0x7_0000_0000;
/// An address of the kernel.
const KERNEL: u64 = 0xffff_ffff_8000_0000;

fn answer(call: Call, arguments: &[u64]) -> Result<u64, Error> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: every call made here is to be refused, or works on memory that this test has reserved.
    unsafe { raw(call as u64, all) }.result().map(|answer| answer.x0)
}

/// Numbers that no call has.
pub(crate) fn numbers(report: &Report) {
    let wild = [u64::MAX, i64::MAX as u64, 1 << 32, 1 << 63, 0x1_0000_0009];
    for number in (0..2000).chain(wild).filter(|&number| Call::from_number(number).is_none()) {
        // SAFETY: there is no such call.
        let answer = unsafe { raw(number, [u64::MAX; 6]) }.result();
        claim!(report, answer == Err(Error::BadCall), "call number {number}: {answer:?}");
    }
    report.done(format_args!("numbers that are no call's are refused"));
}

/// Arguments that are wrong, pointers apart.
pub(crate) fn arguments(report: &Report) -> Result<(), Error> {
    use Error::*;
    let mine = Region::new(2 * PAGE_SIZE)?;
    let (taken, user_end) = (mine.address() as u64, USER_END as u64);
    let (text, top) = (numbers as fn(&Report) as usize as u64, STACK_TOP as u64);
    let info = ProcessInfo::default();
    let info = (&raw const info).addr() as u64;
    let wrong: &[(&str, Call, &[u64], Error)] = &[
        ("fork of nothing", Call::Fork, &[NOTHING, 3, 0], BadHandle),
        ("fork of handle 0", Call::Fork, &[0, 3, 0], BadHandle),
        ("fork of a console", Call::Fork, &[CONSOLE, 3, 0], WrongObject),
        ("fork with an unknown depth", Call::Fork, &[SELF, 4, 0], BadArgument),
        ("fork with a wild depth", Call::Fork, &[SELF, u64::MAX, 0], BadArgument),
        ("fork with an unknown flag", Call::Fork, &[SELF, 3, 2], BadArgument),
        ("fork of a handle of 33 bits", Call::Fork, &[SELF | 1 << 32, 3, 0], BadHandle),
        ("wait for nothing", Call::Wait, &[NOTHING], BadHandle),
        ("wait for the system", Call::Wait, &[SYSTEM], WrongObject),
        ("kill nothing", Call::Kill, &[NOTHING, 0], BadHandle),
        ("kill the archive", Call::Kill, &[ARCHIVE, 0], WrongObject),
        ("a thread that begins between instructions", Call::ThreadCreate, &[text + 2, top, 0, 0], Unaligned),
        ("a thread with a crooked stack", Call::ThreadCreate, &[text, top - 8, 0, 0], Unaligned),
        ("a thread at a wild address", Call::ThreadCreate, &[u64::MAX, u64::MAX, 0, 0], Unaligned),
        ("a thread that begins in the null page", Call::ThreadCreate, &[0, top, 0, 0], BadAddress),
        ("a thread that begins just below", Call::ThreadCreate, &[USER_START as u64 - 4, top, 0, 0], BadAddress),
        ("a thread that begins just past", Call::ThreadCreate, &[user_end, top, 0, 0], BadAddress),
        ("a thread that begins in the kernel", Call::ThreadCreate, &[KERNEL, top, 0, 0], BadAddress),
        ("a thread with a null stack", Call::ThreadCreate, &[text, 0, 0, 0], BadAddress),
        ("a thread whose stack is below", Call::ThreadCreate, &[text, USER_START as u64, 0, 0], BadAddress),
        ("a thread whose stack is past", Call::ThreadCreate, &[text, user_end + 16, 0, 0], BadAddress),
        ("a thread whose stack is the kernel's", Call::ThreadCreate, &[text, KERNEL, 0, 0], BadAddress),
        ("join nothing", Call::ThreadJoin, &[NOTHING], BadHandle),
        ("join handle 0", Call::ThreadJoin, &[0], BadHandle),
        ("join oneself", Call::ThreadJoin, &[SELF], BadHandle),
        ("join a handle of 33 bits", Call::ThreadJoin, &[CONSOLE | 1 << 32], BadHandle),
        ("join the system", Call::ThreadJoin, &[SYSTEM], WrongObject),
        ("map no bytes", Call::Map, &[0, 0, READ_WRITE], BadLength),
        ("map half a page", Call::Map, &[0, PAGE / 2, READ_WRITE], Unaligned),
        ("map between pages", Call::Map, &[NOWHERE + 1, PAGE, READ_WRITE], Unaligned),
        ("map with unknown permissions", Call::Map, &[0, PAGE, 4], BadArgument),
        ("map with wild permissions", Call::Map, &[0, PAGE, u64::MAX], BadArgument),
        ("map the null page", Call::Map, &[PAGE, PAGE, READ_WRITE], BadAddress),
        ("map just below user memory", Call::Map, &[USER_START as u64 - PAGE, PAGE, READ_WRITE], BadAddress),
        ("map just past user memory", Call::Map, &[user_end, PAGE, READ_WRITE], BadAddress),
        ("map across the end", Call::Map, &[user_end - PAGE, 2 * PAGE, READ_WRITE], BadAddress),
        ("map the kernel", Call::Map, &[KERNEL, PAGE, READ_WRITE], BadAddress),
        ("map around everything", Call::Map, &[NOWHERE, u64::MAX - PAGE + 1, READ_WRITE], BadLength),
        ("map more than there are addresses", Call::Map, &[0, user_end, READ_WRITE], AddressesExhausted),
        ("map where something is", Call::Map, &[taken, PAGE, READ_WRITE], Occupied),
        ("map where something is in the middle", Call::Map, &[taken - PAGE, 4 * PAGE, READ_WRITE], Occupied),
        ("unmap no bytes", Call::Unmap, &[taken, 0], BadLength),
        ("unmap between pages", Call::Unmap, &[taken + 8, PAGE], Unaligned),
        ("unmap the kernel", Call::Unmap, &[KERNEL, PAGE], BadAddress),
        ("unmap across the end", Call::Unmap, &[user_end - PAGE, 2 * PAGE], BadAddress),
        ("unmap the null page", Call::Unmap, &[0, PAGE], BadAddress),
        ("protect a hole", Call::Protect, &[NOWHERE, PAGE, 1], NotMapped),
        ("protect into a hole", Call::Protect, &[taken, 1 << 30, 1], NotMapped),
        ("protect with unknown permissions", Call::Protect, &[taken, PAGE, 9], BadArgument),
        ("protect the kernel", Call::Protect, &[KERNEL, PAGE, 1], BadAddress),
        ("map with an unknown flag", Call::Map, &[0, PAGE, READ_WRITE, 2], BadArgument),
        ("map with wild flags", Call::Map, &[0, PAGE, READ_WRITE, u64::MAX], BadArgument),
        ("discard no bytes", Call::Discard, &[taken, 0], BadLength),
        ("discard half a page", Call::Discard, &[taken, PAGE / 2], Unaligned),
        ("discard between pages", Call::Discard, &[taken + 8, PAGE], Unaligned),
        ("discard the null page", Call::Discard, &[0, PAGE], BadAddress),
        ("discard the kernel", Call::Discard, &[KERNEL, PAGE], BadAddress),
        ("discard across the end", Call::Discard, &[user_end - PAGE, 2 * PAGE], BadAddress),
        ("move no bytes", Call::Move, &[taken, 0, NOWHERE], BadLength),
        ("move between pages", Call::Move, &[taken + 8, PAGE, NOWHERE], Unaligned),
        ("move to between pages", Call::Move, &[taken, PAGE, NOWHERE + 8], Unaligned),
        ("move the null page", Call::Move, &[0, PAGE, NOWHERE], BadAddress),
        ("move to the null page", Call::Move, &[taken, PAGE, PAGE], BadAddress),
        ("move the kernel", Call::Move, &[KERNEL, PAGE, NOWHERE], BadAddress),
        ("move to the kernel", Call::Move, &[taken, PAGE, KERNEL], BadAddress),
        ("move across the end", Call::Move, &[user_end - PAGE, 2 * PAGE, NOWHERE], BadAddress),
        ("move to across the end", Call::Move, &[taken, 2 * PAGE, user_end - PAGE], BadAddress),
        ("move onto itself", Call::Move, &[taken, PAGE, taken], Occupied),
        ("move onto its own second half", Call::Move, &[taken, 2 * PAGE, taken + PAGE], Occupied),
        ("move a hole over itself", Call::Move, &[NOWHERE, 2 * PAGE, NOWHERE + PAGE], Occupied),
        ("move more than there is room for", Call::Move, &[PAGE * 16, user_end - PAGE * 16, 0], AddressesExhausted),
        ("make memory of no bytes", Call::MemoryCreate, &[0], BadLength),
        ("make memory of half a page", Call::MemoryCreate, &[PAGE / 2], Unaligned),
        ("make memory of all addresses", Call::MemoryCreate, &[user_end], OutOfMemory),
        ("make memory of more than all addresses", Call::MemoryCreate, &[user_end + PAGE], BadLength),
        ("make memory of everything", Call::MemoryCreate, &[u64::MAX - PAGE + 1], BadLength),
        ("map the console", Call::MapObject, &[CONSOLE, 0, 1], WrongObject),
        ("map nothing", Call::MapObject, &[NOTHING, 0, 1], BadHandle),
        ("map the archive between pages", Call::MapObject, &[ARCHIVE, NOWHERE + 8, 1], Unaligned),
        ("map the archive over the kernel", Call::MapObject, &[ARCHIVE, KERNEL, 1], BadAddress),
        ("map the archive over something", Call::MapObject, &[ARCHIVE, taken, 1], Occupied),
        ("map the archive writable", Call::MapObject, &[ARCHIVE, 0, READ_WRITE], NoRight),
        ("map the archive executable", Call::MapObject, &[ARCHIVE, 0, 3], NotAllowed),
        ("map the archive for nothing", Call::MapObject, &[ARCHIVE, 0, 0], NotAllowed),
        ("map the archive with unknown permissions", Call::MapObject, &[ARCHIVE, 0, 4], BadArgument),
        ("write to nothing", Call::ConsoleWrite, &[NOTHING, info, 1], BadHandle),
        ("write to the archive", Call::ConsoleWrite, &[ARCHIVE, info, 1], WrongObject),
        ("write to the server of the console", Call::ConsoleWrite, &[CONSOLE, info, 1], WrongObject),
        ("close nothing", Call::Close, &[NOTHING], BadHandle),
        ("close handle 0", Call::Close, &[0], BadHandle),
        ("close oneself", Call::Close, &[SELF], BadHandle),
        ("duplicate nothing", Call::Duplicate, &[NOTHING, 0], BadHandle),
        ("look at nothing", Call::ProcessInfo, &[NOTHING, info], BadHandle),
        ("look at the console", Call::ProcessInfo, &[CONSOLE, info], WrongObject),
        ("the events of nothing", Call::Trace, &[NOTHING, info], BadHandle),
        ("the events of the console", Call::Trace, &[CONSOLE, info], WrongObject),
        ("record with the console", Call::TraceSwitch, &[CONSOLE, 1], WrongObject),
        ("record half", Call::TraceSwitch, &[SYSTEM, 2], BadArgument),
        ("look at no thread", Call::ThreadInfo, &[NOTHING, info], BadHandle),
        ("look at a thread that is the console", Call::ThreadInfo, &[CONSOLE, info], WrongObject),
        ("look at a system that is the console", Call::SystemInfo, &[CONSOLE, info], WrongObject),
        ("look at a system that is oneself", Call::SystemInfo, &[SELF, info], BadHandle),
        ("the process after the last", Call::NextProcess, &[SYSTEM, u64::MAX], NotFound),
        ("the next process of nothing", Call::NextProcess, &[NOTHING, 0], BadHandle),
    ];
    for &(what, call, arguments, error) in wrong {
        claim_eq!(report, answer(call, arguments), Err(error), "{what}");
    }
    tables(report);
    claim_eq!(report, mine.first_difference(|_| 0), None, "pages changed by calls that were refused");
    report.done(format_args!("{} wrong arguments are refused, each with its own error", wrong.len()));
    Ok(())
}

/// Requests for tables with something wrong.
fn tables(report: &Report) {
    let mut record = EntryRecord::default();
    let records = (&raw mut record).addr() as u64;
    let good = TablesRequest { cursor: 0, end: USER_END as u64, deepest: 3, padding: 0, records, capacity: 1 };
    let wrong = [
        ("a level beyond the last", TablesRequest { deepest: 4, ..good }, Error::BadArgument),
        ("padding", TablesRequest { padding: 1, ..good }, Error::BadArgument),
        ("room for nothing", TablesRequest { capacity: 0, ..good }, Error::BadLength),
        ("records nowhere", TablesRequest { records: NOWHERE, ..good }, Error::BadAddress),
        ("records in the kernel", TablesRequest { records: KERNEL, ..good }, Error::BadAddress),
    ];
    for (what, request, error) in wrong {
        let pointer = (&raw const request).addr() as u64;
        claim_eq!(report, answer(Call::Tables, &[SELF, pointer]), Err(error), "tables with {what}");
    }
}

/// Pointers that lead where the call may not read or write.
pub(crate) fn pointers(report: &Report) -> Result<(), Error> {
    let region = Region::new(3 * PAGE_SIZE)?;
    region.write(PAGE_SIZE, 0);
    region.protect(0..PAGE_SIZE, Permissions::None)?;
    region.protect(2 * PAGE_SIZE..3 * PAGE_SIZE, Permissions::Read)?;
    let start = region.address() as u64;
    let unreadable = start;
    let unwritable = start + 2 * PAGE;
    // The last bytes of a page that may be written, before one that may not.
    let half = unwritable - 8;
    let text = numbers as fn(&Report) as usize as u64;
    for pointer in
        [0, 8, USER_START as u64, NOWHERE, USER_END as u64 - 4, USER_END as u64, KERNEL, u64::MAX, unreadable]
    {
        for (what, call, handle) in reads() {
            let answer = answer(call, &[handle, pointer, 100]);
            claim_eq!(report, answer, Err(Error::BadAddress), "{what} at {pointer:#x}");
        }
        for call in [Call::Spawn, Call::Exec] {
            claim_eq!(
                report,
                answer(call, &[pointer]),
                Err(Error::BadAddress),
                "{call:?} with a request at {pointer:#x}"
            );
        }
    }
    for pointer in [0, NOWHERE, USER_END as u64, KERNEL, u64::MAX, unreadable, unwritable, half, text] {
        for (what, call, handle) in writes() {
            let answer = answer(call, &[handle, pointer]);
            claim_eq!(report, answer, Err(Error::BadAddress), "{what} at {pointer:#x}");
        }
    }
    requests(report);
    report.done(format_args!("pointers that lead astray are refused"));
    Ok(())
}

/// Calls that read from a pointer in their second argument.
fn reads() -> [(&'static str, Call, u64); 1] {
    [("a request for tables", Call::Tables, SELF)]
}

/// Calls that write to a pointer in their second argument.
fn writes() -> [(&'static str, Call, u64); 3] {
    [
        ("statistics of a process", Call::ProcessInfo, SELF),
        ("statistics of a thread", Call::ThreadInfo, SELF),
        ("statistics of the system", Call::SystemInfo, SYSTEM),
    ]
}

/// What makes a request a wrong one.
type Change = fn(&mut SpawnRequest);

/// Requests to spawn that are readable and point astray, and segments that do.
fn requests(report: &Report) {
    let bytes = [0_u8; 64];
    let here = Text { address: bytes.as_ptr().addr() as u64, length: 64 };
    let good = Segment { start: ELSEWHERE, size: PAGE, permissions: READ_WRITE, address: ELSEWHERE + 8, bytes: here };
    let with = |address| Segment { bytes: Text { address, ..here }, ..good };
    let wrong = [
        ("bytes nowhere", with(NOWHERE), Error::BadAddress),
        ("bytes in the kernel", with(KERNEL), Error::BadAddress),
        ("bytes around the end", with(u64::MAX - 10), Error::BadAddress),
        ("bytes without end", Segment { bytes: Text { length: u64::MAX, ..here }, ..good }, Error::BadAddress),
        ("bytes for another page", Segment { address: ELSEWHERE + PAGE - 8, ..good }, Error::BadAddress),
        ("bytes for the kernel", Segment { address: KERNEL, ..good }, Error::BadAddress),
        ("bytes for the end of all addresses", Segment { address: u64::MAX - 8, ..good }, Error::BadAddress),
        ("bytes, and no page", Segment { size: 0, ..good }, Error::BadAddress),
        ("half a page", Segment { size: PAGE / 2, ..good }, Error::Unaligned),
        ("pages that begin in one", Segment { start: ELSEWHERE + 8, ..good }, Error::Unaligned),
        ("pages in the kernel", Segment { start: KERNEL, ..good }, Error::BadAddress),
        (
            "pages around the end",
            Segment { start: 0_u64.wrapping_sub(PAGE), size: 2 * PAGE, ..good },
            Error::BadAddress,
        ),
        ("too many pages", Segment { size: 0_u64.wrapping_sub(PAGE), ..good }, Error::BadLength),
        ("permissions that there are not", Segment { permissions: 4, ..good }, Error::BadArgument),
    ];
    for call in [Call::Spawn, Call::Exec] {
        for (what, segment, error) in wrong {
            let refused = ask(call, &[segment], |_| {});
            claim_eq!(report, refused, Err(error), "{call:?} with {what}");
            let (start, address) = (ELSEWHERE + 8 * PAGE, good.address + 8 * PAGE);
            let refused = ask(call, &[Segment { start, address, ..good }, segment], |_| {});
            claim_eq!(report, refused, Err(error), "{call:?} with {what}, behind another segment");
        }
        claim_eq!(report, ask(call, &[good, good], |_| {}), Err(Error::Occupied), "{call:?} with a segment twice");
        let fields: [(&str, Change, Error); 6] = [
            ("segments nowhere", |request| request.segments = NOWHERE, Error::BadAddress),
            ("segments at the end of all addresses", |request| request.segments = u64::MAX - 7, Error::BadAddress),
            ("an entry in the kernel", |request| request.entry = KERNEL, Error::BadAddress),
            ("an entry between instructions", |request| request.entry += 2, Error::Unaligned),
            ("a stack in the kernel", |request| request.stack = KERNEL, Error::BadAddress),
            ("a stack between words", |request| request.stack += 8, Error::Unaligned),
        ];
        for (what, change, error) in fields {
            claim_eq!(report, ask(call, &[good], change), Err(error), "{call:?} with {what}");
        }
    }
}

/// Asks for a process with these segments, and something else about the request.
fn ask(call: Call, segments: &[Segment], change: impl FnOnce(&mut SpawnRequest)) -> Result<u64, Error> {
    let mut request = SpawnRequest {
        segments: segments.as_ptr().addr() as u64,
        segment_count: segments.len() as u64,
        entry: ELSEWHERE,
        stack: ELSEWHERE + PAGE,
        ..SpawnRequest::default()
    };
    change(&mut request);
    answer(call, &[(&raw const request).addr() as u64])
}
