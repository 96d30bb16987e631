//! From a program file to an address space and the registers to begin with.
//!
//! ```text
//!   USER_START   segments of the file ...          guard  stack      arguments
//!   |            |                                 |      |          |        |
//!   +------------+-----------------------------~~--+------+----------+--------+ STACK_TOP   MAP_BASE ...
//!                                            never mapped  demand-zero          ^ x0, and sp just below
//! ```

pub mod elf;

use crate::arch::Context;
use crate::memory::change::{self, Draft, NeverRan};
use crate::memory::kernel_memory::Operation;
use crate::memory::user_copy;
use crate::object::process::{NAME_SIZE, Name};
use crate::program::elf::{Image, Program};
use graft_abi::{ARGUMENTS_MAX, Error, PAGE_SIZE, Permissions, STACK_SIZE, STACK_TOP, Text};
use graft_paging::{Change, Inherit, Progress, Reservation, VirtRange};

/// A program that is ready to run: its memory, its first registers, its name.
pub struct Loaded {
    /// The address space.
    pub tree: Draft,
    /// The registers of its first thread.
    pub context: Context,
    /// The program's name, padded with zero bytes.
    pub name: Name,
}

/// Makes the tables of the arguments, which a snapshot shares, a tree's own: as much as one piece of a call may take.
///
/// # Errors
/// [`Error::OutOfMemory`]; [`Error::BadAddress`] where the snapshot has no stack.
pub fn open_arguments(tree: &mut Draft) -> Result<(), Error> {
    user_copy::fill(tree, &NeverRan, (STACK_TOP - Context::STACK_ALIGNMENT as usize) as u64, 1, |_, _| Ok(()))
}

/// A program file, or arguments, in some process's memory.
pub struct UserText<'a, O> {
    /// Whose memory.
    process: &'a O,
    /// Where.
    text: Text,
    reads: Reads,
}

/// What reads of a text in a program's memory may change there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// All may back pages: they are few.
    Few,
    /// The next one may, which is the first of a piece of an operation; others end the piece at such a page.
    InPieces,
    /// None.
    Later,
}

impl<'a, O> UserText<'a, O> {
    /// This one.
    pub fn new(process: &'a O, text: Text, reads: Reads) -> Self {
        UserText { process, text, reads }
    }
}

impl<O: user_copy::Owner> Image for UserText<'_, O> {
    fn len(&self) -> u64 {
        self.text.length
    }

    fn read(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::ImageTooShort)?;
        if end > self.text.length {
            return Err(Error::ImageTooShort);
        }
        let address = self.text.address.checked_add(offset).ok_or(Error::BadAddress)?;
        match self.reads {
            Reads::Few => {}
            Reads::InPieces => self.reads = Reads::Later,
            Reads::Later => return user_copy::read_bytes_that_are_there(self.process, address, bytes),
        }
        user_copy::read_bytes(self.process, address, bytes)
    }
}

/// Builds an address space from a program file and its arguments, however long that takes.
///
/// # Errors
/// As [`Loading`].
pub fn load(image: &mut impl Image, arguments: &mut impl Image) -> Result<Loaded, Error> {
    let mut loading = Loading::begin(image)?;
    while loading.step(image)? == Progress::More {}
    loading.finish(arguments)
}

/// A program that is being loaded, in pieces.
///
/// # Errors
/// All of it: one of the `Image…` errors, [`Error::BadLength`] or [`Error::BadArgument`] for the arguments,
/// [`Error::BadAddress`], [`Error::OutOfMemory`]. Nothing is left over then.
pub struct Loading {
    program: Program,
    tree: Draft,
    /// The segment that is under way.
    segment: usize,
    stage: Stage,
}

/// What is done to a segment.
enum Stage {
    Reserve(Option<Operation>),
    /// So many bytes are there.
    Fill(usize),
    Protect(Option<Operation>),
    /// There are no more, and the stack is there.
    Arguments(Arguments),
}

/// What a step may take, and what it takes to fill a page: instructions, about.
const STEP: usize = 12_000;
const PAGE_COST: usize = 1_700;

impl Loading {
    /// Checks a program file's headers.
    pub fn begin(image: &mut impl Image) -> Result<Loading, Error> {
        let program = Program::parse(image)?;
        Ok(Loading { program, tree: Draft::new()?, segment: 0, stage: Stage::Reserve(None) })
    }

    /// Whether all of its segments are there.
    pub fn is_loaded(&self) -> bool {
        self.segment == self.program.segments().len()
    }

    /// Loads a piece of its segments.
    pub fn step(&mut self, image: &mut impl Image) -> Result<Progress, Error> {
        let mut cost = 0;
        while cost < STEP {
            let Some(segment) = self.program.segments().get(self.segment) else { return Ok(Progress::Done) };
            let range =
                VirtRange::new(segment.start(), segment.end() - segment.start()).ok_or(Error::ImageBadSegment)?;
            match &mut self.stage {
                Stage::Reserve(operation) => {
                    cost += PAGE_COST;
                    let reservation =
                        Reservation { permissions: graft_paging::Permissions::ReadWrite, inherit: Inherit::Yes };
                    if self.tree.change(operation, range, Change::Reserve(reservation))? == Progress::Done {
                        self.stage = Stage::Fill(0);
                    }
                }
                Stage::Fill(filled) => {
                    let length = segment.file_size as usize;
                    let some = (length - *filled).min((STEP - cost).div_ceil(PAGE_COST) * PAGE_SIZE);
                    let (address, offset) = (segment.address + *filled as u64, segment.file_offset + *filled as u64);
                    user_copy::fill(&mut self.tree, &NeverRan, address, some, |done, bytes| {
                        image.read(offset + done as u64, bytes)?;
                        // Page by page: what is there stays, whatever comes in the way of the rest.
                        *filled += bytes.len();
                        Ok(())
                    })?;
                    cost += some.div_ceil(PAGE_SIZE) * PAGE_COST;
                    if *filled == length {
                        self.stage = Stage::Protect(None);
                    }
                }
                Stage::Protect(operation) => {
                    cost += STEP / 2;
                    let permissions = change::permissions(segment.permissions);
                    if segment.permissions == Permissions::ReadWrite
                        || self.tree.change(operation, range, Change::Protect(permissions))? == Progress::Done
                    {
                        self.segment += 1;
                        self.stage = Stage::Reserve(None);
                    }
                }
                Stage::Arguments(_) => return Ok(Progress::Done),
            }
        }
        Ok(Progress::More)
    }

    /// Adds a stack with the arguments, when the segments are there. Can be tried again.
    pub fn finish(&mut self, arguments: &mut impl Image) -> Result<Loaded, Error> {
        if !matches!(self.stage, Stage::Arguments(_)) {
            let stack = VirtRange::new((STACK_TOP - STACK_SIZE) as u64, STACK_SIZE as u64).ok_or(Error::BadLength)?;
            let reservation = Reservation { permissions: graft_paging::Permissions::ReadWrite, inherit: Inherit::Yes };
            change::attempt(|| self.tree.reserve(&NeverRan, stack, reservation))?;
            self.stage = Stage::Arguments(Arguments::new(arguments.len())?);
        }
        let Stage::Arguments(placing) = &mut self.stage else { unreachable!("set above") };
        placing.place(&mut self.tree, self.program.entry, arguments)
    }
}

/// Arguments on their way to the top of a stack.
pub struct Arguments {
    length: u64,
    /// Bytes that are there.
    placed: usize,
    /// The last of them.
    last: u8,
    name: [u8; NAME_SIZE],
}

impl Arguments {
    /// None of them is there yet.
    ///
    /// # Errors
    /// [`Error::BadLength`].
    pub fn new(length: u64) -> Result<Arguments, Error> {
        match length <= ARGUMENTS_MAX as u64 {
            true => Ok(Arguments { length, placed: 0, last: 0, name: [0; NAME_SIZE] }),
            false => Err(Error::BadLength),
        }
    }

    /// Copies what is not there yet to a tree, which is ready then: a program that begins at `entry`. Can be tried
    /// again.
    ///
    /// # Errors
    /// [`Error::BadArgument`], [`Error::BadAddress`], [`Error::OutOfMemory`].
    pub fn place(&mut self, tree: &mut Draft, entry: u64, text: &mut impl Image) -> Result<Loaded, Error> {
        let address = STACK_TOP as u64 - self.length.next_multiple_of(Context::STACK_ALIGNMENT);
        let before = self.placed;
        let (start, rest) = (address + before as u64, self.length as usize - before);
        user_copy::fill(tree, &NeverRan, start, rest, |done, bytes| {
            text.read((before + done) as u64, bytes).map_err(|error| match error {
                Error::ImageTooShort => Error::BadAddress,
                other => other,
            })?;
            let room = self.name.iter_mut().take(NAME_SIZE - 1).skip(self.placed);
            room.zip(&*bytes).for_each(|(place, &byte)| *place = byte);
            self.last = bytes.last().copied().unwrap_or(0);
            self.placed += bytes.len();
            Ok(())
        })?;
        if self.last != 0 {
            return Err(Error::BadArgument);
        }
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        self.name[end..].fill(0);
        let context = Context::new_user(entry, address, [address, self.length]);
        Ok(Loaded { tree: tree.transfer(), context, name: Name(self.name) })
    }
}
