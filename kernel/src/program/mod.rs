//! Programs on their way into memory: segments and the registers to begin with. Which files those come from, the kernel
//! does not know.
//!
//! ```text
//!   a segment:  reserve its pages ──▶ copy its bytes, page by page ──▶ protect, and the next one
//! ```

#![forbid(unsafe_code)]

use crate::arch::Context;
use crate::memory::change::{self, Draft, NeverRan};
use crate::memory::kernel_memory::Operation;
use crate::memory::user_copy;
use graft_abi::{Error, FirstProgram, PAGE_SIZE, Permissions, STACK_TOP, Segment, USER_END, USER_START};
use graft_paging::{Change, Inherit, Progress, Reservation};

/// A tree that gets a program's segments, in pieces.
///
/// # Errors
/// All of it: [`Error::BadAddress`], [`Error::BadArgument`], [`Error::BadLength`], [`Error::Occupied`],
/// [`Error::OutOfMemory`], [`Error::Unaligned`].
pub struct Loading {
    tree: Draft,
    /// Where the next segment is told of that has not been read, and how many have not.
    next: u64,
    left: u64,
    /// Those that have been read last, how many they are, and how many of them are done.
    segments: [Segment; AT_ONCE],
    read: u32,
    done: u32,
    stage: Stage,
}

/// What is done to a segment.
enum Stage {
    /// Nothing: the next one is to be read.
    Next,
    Reserve(Option<Operation>),
    /// So many bytes are there.
    Fill(u64),
    Protect(Option<Operation>),
}

/// What a step may take, and what it takes to read a segment and to fill a page: instructions, about.
const STEP: usize = 12_000;
/// What may have been done in a step that goes on with a change of a range, which is a piece of its own.
const BEFORE_CHANGE: usize = 8_000;
const SEGMENT_COST: usize = 600;
/// Segments that are read at once: as many as a program has that is linked for this system.
const AT_ONCE: usize = 4;
const PAGE_COST: usize = 1_700;

impl Loading {
    /// Begins to put so many segments into a tree. They are told of from this address on.
    pub fn new(tree: Draft, first: u64, count: u64) -> Loading {
        let segments = Default::default();
        Loading { tree, next: first, left: count, segments, read: 0, done: 0, stage: Stage::Next }
    }

    /// Puts a piece of them there. `read` copies bytes from where the segments are told of and their bytes are. Can be
    /// tried again after an error.
    pub fn step(&mut self, mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Error>) -> Result<Progress, Error> {
        let mut cost = 0;
        while cost < STEP {
            let Segment { start, size, permissions, address, bytes } =
                self.segments.get(self.done as usize).copied().unwrap_or_default();
            match &mut self.stage {
                Stage::Next if self.done < self.read => {
                    self.stage = if size != 0 { Stage::Reserve(None) } else { Stage::Fill(0) };
                }
                Stage::Next if self.left == 0 => return Ok(Progress::Done),
                Stage::Next => {
                    cost += SEGMENT_COST;
                    let some = self.left.min(AT_ONCE as u64) as usize;
                    let length = some * size_of::<Segment>();
                    self.segments = user_copy::value(|bytes| read(self.next, &mut bytes[..length]))?;
                    (self.read, self.done) = (some as u32, 0);
                    self.next = self.next.saturating_add(length as u64);
                    self.left -= some as u64;
                }
                Stage::Reserve(_) | Stage::Protect(_) if cost > BEFORE_CHANGE => return Ok(Progress::More),
                Stage::Reserve(operation) => {
                    cost += PAGE_COST;
                    let reservation =
                        Reservation { permissions: graft_paging::Permissions::ReadWrite, inherit: Inherit::Yes };
                    let range = change::range(start, size)?;
                    if self.tree.change(operation, range, Change::Reserve(reservation))? == Progress::Done {
                        self.stage = Stage::Fill(0);
                    }
                }
                Stage::Fill(filled) => {
                    let some = ((STEP - cost).div_ceil(PAGE_COST) * PAGE_SIZE).min((bytes.length - *filled) as usize);
                    let before = *filled;
                    let place = address.checked_add(before).ok_or(Error::BadAddress)?;
                    user_copy::fill(&mut self.tree, &NeverRan, place, some, |done, page| {
                        let offset = before.checked_add(done as u64).ok_or(Error::BadAddress)?;
                        read(bytes.address.checked_add(offset).ok_or(Error::BadAddress)?, page)?;
                        // Page by page: what is there stays, whatever comes in the way of the rest.
                        *filled += page.len() as u64;
                        Ok(())
                    })?;
                    cost += some.div_ceil(PAGE_SIZE) * PAGE_COST;
                    if *filled == bytes.length {
                        self.stage = Stage::Protect(None);
                    }
                }
                Stage::Protect(operation) => {
                    if size != 0 {
                        cost += STEP / 2;
                        let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
                        let protect = Change::Protect(change::permissions(permissions));
                        if permissions != Permissions::ReadWrite
                            && self.tree.change(operation, change::range(start, size)?, protect)? == Progress::More
                        {
                            continue;
                        }
                    }
                    self.done += 1;
                    self.stage = Stage::Next;
                }
            }
        }
        Ok(Progress::More)
    }

    /// The tree, when all of them are there.
    pub fn finish(&mut self) -> Draft {
        self.tree.transfer()
    }
}

/// The registers of a thread that begins somewhere.
///
/// # Errors
/// [`Error::Unaligned`], [`Error::BadAddress`].
pub fn registers(entry: u64, stack: u64, arguments: [u64; 2]) -> Result<Context, Error> {
    if !entry.is_multiple_of(Context::ENTRY_ALIGNMENT) || !stack.is_multiple_of(Context::STACK_ALIGNMENT) {
        return Err(Error::Unaligned);
    }
    let user_memory = USER_START as u64..USER_END as u64;
    // A stack grows down from its top, which is no part of it.
    if !user_memory.contains(&entry) || !user_memory.contains(&stack.wrapping_sub(Context::STACK_ALIGNMENT)) {
        return Err(Error::BadAddress);
    }
    Ok(Context::new_user(entry, stack, arguments))
}

/// Whether a file is one that [`first`] loads.
pub fn is_first(file: &[u8]) -> bool {
    file.starts_with(&FirstProgram::MAGIC.to_le_bytes())
}

/// The memory and the registers of a program whose segments are told of at the beginning of their own file, with these
/// arguments: the one that no other program can start.
///
/// # Errors
/// As [`Loading`] and [`registers`].
pub fn first(file: &[u8], arguments: impl Iterator<Item = u8> + Clone) -> Result<(Draft, Context), Error> {
    let read = |address: u64, bytes: &mut [u8]| {
        let there = usize::try_from(address).ok().and_then(|start| file.get(start..)?.get(..bytes.len()));
        bytes.copy_from_slice(there.ok_or(Error::BadAddress)?);
        Ok(())
    };
    let header: FirstProgram = user_copy::value(|bytes| read(0, bytes))?;
    let mut loading = Loading::new(Draft::new()?, size_of::<FirstProgram>() as u64, header.segment_count);
    while loading.step(read)? == Progress::More {}
    let mut tree = loading.finish();
    let length = arguments.clone().count();
    let address = (STACK_TOP - length.next_multiple_of(Context::STACK_ALIGNMENT as usize)) as u64;
    user_copy::fill(&mut tree, &NeverRan, address, length, |done, page| {
        page.iter_mut().zip(arguments.clone().skip(done)).for_each(|(to, from)| *to = from);
        Ok(())
    })?;
    Ok((tree, registers(header.entry, address, [address, length as u64])?))
}
