//! A snapshot: the child that writes the image, and the comparison afterwards.

use alloc::string::{String, ToString};

use graft_lib::kvd::image;
use graft_lib::kvd::model::Model;
use graft_lib::kvd::store::Store;
use graft_rt::abi::{PAGE_SIZE, ProcessState};
use graft_rt::memory::Shared;
use graft_rt::{Error, Permissions, Process, Region, Share, eprintln};

/// The memory that takes a store's image. Only the child has it mapped while it writes, so that
/// the size of the image is no part of what a fork costs.
pub(crate) struct Image {
    memory: Shared,
}

impl Image {
    /// Memory for the image of a store with this many keys.
    pub(crate) fn new(keys: usize) -> Result<Image, Error> {
        Ok(Image { memory: Shared::new(Image::bytes(keys))? })
    }

    /// How many bytes that is.
    pub(crate) const fn bytes(keys: usize) -> usize {
        image::bytes(keys).next_multiple_of(PAGE_SIZE)
    }

    /// Forks a child that writes the store's image as it is now and then ends.
    pub(crate) fn save(&self, store: &Store, share: Share) -> Result<Process, Error> {
        Process::fork_into(share, || match self.write(store) {
            Ok(()) => 0,
            Err(problem) => {
                eprintln!("kvd: the child cannot save: {problem}");
                1
            }
        })
    }

    fn write(&self, store: &Store) -> Result<(), String> {
        let region = self.memory.map(Permissions::ReadWrite).map_err(|error| error.to_string())?;
        // SAFETY: the region owns its addresses, is readable and writable, and outlives the slice. It is
        // the only mapping of the object: the parent makes one after this process's end.
        let bytes = unsafe { core::slice::from_raw_parts_mut(region.address() as *mut u8, region.bytes()) };
        image::write(store, bytes).map(drop).map_err(|error| error.to_string())
    }

    /// Compares the image with the state that the model describes. Returns its length in bytes. The child must have
    /// ended.
    pub(crate) fn check(&self, model: &Model) -> Result<usize, String> {
        let region: Region = self.memory.map(Permissions::Read).map_err(|error| error.to_string())?;
        // SAFETY: the region owns its addresses, is readable and outlives the slice; no other process is left
        // that has the object mapped.
        let bytes = unsafe { core::slice::from_raw_parts(region.address() as *const u8, region.bytes()) };
        image::check(bytes, model).map_err(|error| error.to_string())
    }
}

/// Whether a process has ended.
pub(crate) fn has_ended(process: &Process) -> Result<bool, Error> {
    Ok(process.info()?.state == ProcessState::Ended as u32)
}
