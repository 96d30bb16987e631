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
use crate::arch::memory::{clean_for_fetches, direct, invalidate_instructions};
use crate::memory::space::{self, Draft, NeverRan, Tree};
use crate::memory::user_copy;
use crate::object::process::{NAME_SIZE, Process};
use crate::program::elf::{Image, Program};
use core::ops::ControlFlow;
use graft_abi::{ARGUMENTS_MAX, Error, Permissions, STACK_SIZE, STACK_TOP, Text};
use graft_paging::{Entry, Inherit, Kind, Level, Place, Reservation, VirtRange};

/// A program that is ready to run: its memory, its first registers, its name.
pub struct Loaded {
    /// The address space.
    pub tree: Draft,
    /// The registers of its first thread.
    pub context: Context,
    /// The program's name, padded with zero bytes.
    pub name: [u8; NAME_SIZE],
}

/// A program file, or arguments, in some process's memory.
pub struct UserText<'a> {
    /// Whose memory.
    pub process: &'a Process,
    /// Where.
    pub text: Text,
}

impl Image for UserText<'_> {
    fn len(&self) -> u64 {
        self.text.length
    }

    fn read(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::ImageTooShort)?;
        if end > self.text.length {
            return Err(Error::ImageTooShort);
        }
        let address = self.text.address.checked_add(offset).ok_or(Error::BadAddress)?;
        user_copy::read_bytes(self.process, address, bytes)
    }
}

/// Builds an address space from a program file and its arguments.
///
/// # Errors
/// One of the `Image…` errors, [`Error::BadLength`] or [`Error::BadArgument`] for the arguments,
/// [`Error::BadAddress`], [`Error::OutOfMemory`]. Nothing is left over then.
pub fn load(image: &mut impl Image, arguments: &mut impl Image) -> Result<Loaded, Error> {
    let program = Program::parse(image)?;
    let mut draft = Draft::new()?;
    let tree = &mut *draft;
    for segment in program.segments() {
        let range = VirtRange::new(segment.start(), segment.end() - segment.start()).ok_or(Error::ImageBadSegment)?;
        reserve(tree, range)?;
        user_copy::fill(tree, &NeverRan, segment.address, segment.file_size as usize, |done, bytes| {
            image.read(segment.file_offset + done as u64, bytes)
        })?;
        if segment.permissions == Permissions::ReadExecute {
            make_fetchable(tree, range);
        }
        if segment.permissions != Permissions::ReadWrite {
            space::attempt(|| tree.protect(&NeverRan, range, space::permissions(segment.permissions)))?;
        }
    }
    let stack = VirtRange::new((STACK_TOP - STACK_SIZE) as u64, STACK_SIZE as u64).ok_or(Error::BadLength)?;
    reserve(tree, stack)?;
    let (address, name) = place_arguments(tree, arguments)?;
    let context = Context::new_user(program.entry, address, [address, arguments.len()]);
    Ok(Loaded { tree: draft, context, name })
}

fn reserve(tree: &mut Tree, range: VirtRange) -> Result<(), Error> {
    let reservation = Reservation { permissions: graft_paging::Permissions::ReadWrite, inherit: Inherit::Yes };
    space::attempt(|| tree.reserve(&NeverRan, range, reservation))
}

/// Copies the arguments to the top of the stack. Returns where they are, and the first of them as a name.
fn place_arguments(tree: &mut Tree, arguments: &mut impl Image) -> Result<(u64, [u8; NAME_SIZE]), Error> {
    let length = arguments.len();
    if length > ARGUMENTS_MAX as u64 {
        return Err(Error::BadLength);
    }
    let address = STACK_TOP as u64 - length.next_multiple_of(Context::STACK_ALIGNMENT);
    let mut name = [0; NAME_SIZE];
    let mut last = 0;
    user_copy::fill(tree, &NeverRan, address, length as usize, |done, bytes| {
        arguments.read(done as u64, bytes).map_err(|error| match error {
            Error::ImageTooShort => Error::BadAddress,
            other => other,
        })?;
        for (offset, &byte) in bytes.iter().enumerate().take_while(|(offset, _)| done + offset < NAME_SIZE - 1) {
            name[done + offset] = byte;
        }
        last = bytes.last().copied().unwrap_or(0);
        Ok(())
    })?;
    if last != 0 {
        return Err(Error::BadArgument);
    }
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
    name[end..].fill(0);
    Ok((address, name))
}

/// Makes what was written to the pages of a range visible to instruction fetches, on every core. *Before* they become executable:
/// afterwards another thread of the program could fetch what its caches hold of the frame's former content.
///
/// Where nothing has been written yet, nothing is to be done: a program that executes there gets the page of zeroes, which was
/// made fetchable at start, and a page that is executable is not writable, so no other frame takes its place.
pub fn make_fetchable(tree: &Tree, range: VirtRange) {
    let mut any = false;
    let _ = tree.visit::<()>(Place { address: range.start(), level: Level::ROOT }, range.end(), Level::LAST, |visit| {
        if let Entry::Page(page) = visit.entry
            && page.kind != Kind::Zero
            && visit.address.get() >= range.start()
        {
            // SAFETY: a frame that the tree maps, thus RAM in the direct map.
            unsafe { clean_for_fetches(direct(page.frame.address())) };
            any = true;
        }
        ControlFlow::Continue(())
    });
    if any {
        invalidate_instructions();
    }
}
