//! What outlives a server: its state, and handles, which its supervisor keeps for the one that is started in its place.
//!
//! ```text
//!   server                                     memory object                       supervisor
//!   changes its state ── commit ──▶ | number | … | state 0 | state 1 | ◀──── has a handle, and looks at nothing
//!                                       └── the last bit says which of the two is whole
//!   keep(place, handle) ──────────────────────────────────────────────▶ | 0 | 1 | … | handles
//!   Store::granted ◀── all of it, to the next server ─────────────────────────┘
//! ```
//!
//! A server that is killed at any moment leaves the state that it has committed last. If it lets nothing be seen of a
//! change before it has committed it, and does again what the committed state says is to be done, the next one goes on
//! as if nothing had been. Calls under way stay open in replies that are kept, too.

use alloc::format;
use alloc::vec::Vec;

use graft_abi::{Error, Handle, PAGE_SIZE, Permissions, Rights};

use crate::grants::{self, Grants};
use crate::memory::{Region, Shared};
use crate::message::{Connection, Message};
use crate::process::{close, duplicate};
use crate::sync::Mutex;

/// Handles that are kept at most.
pub const PLACES: usize = 48;
/// The first word of the message that has a handle kept, or given up: no fault has this number.
const KEEP: u64 = u64::MAX - 1;
/// Where in the first page: the number of the state that is whole, 0 for none; whether the server is at work; how often
/// it has died so since it has committed anything.
const NUMBER: usize = 0;
const AT_WORK: usize = 8;
const DEATHS: usize = 16;
/// Deaths after which it is the state that is to blame.
const DEATHS_MAX: u64 = 8;
/// In front of each state: its length.
const LENGTH: usize = 8;

/// A server's side.
#[derive(Debug)]
pub struct Store {
    /// None without a supervisor that keeps anything.
    region: Option<Region>,
    number: u64,
    /// A state on its way, so that nothing is allocated later.
    state: Vec<u8>,
}

fn word(region: &Region, at: usize) -> u64 {
    let mut bytes = [0; 8];
    region.copy_to(at, &mut bytes);
    u64::from_ne_bytes(bytes)
}

/// One store: a word is there as a whole, or not.
fn set_word(region: &Region, at: usize, value: u64) {
    region.copy_from(at, &value.to_ne_bytes());
}

/// Most bytes of a state.
fn room(region: &Region) -> usize {
    (region.bytes() - PAGE_SIZE) / 2 - LENGTH
}

fn place(region: &Region, number: u64) -> usize {
    PAGE_SIZE + (number % 2) as usize * (room(region) + LENGTH)
}

impl Store {
    /// The one that this program was granted, or one that keeps nothing.
    ///
    /// # Errors
    /// As [`Shared::map`].
    pub fn granted() -> Result<Store, Error> {
        let Some(handle) = grants::handle("store") else {
            return Ok(Store { region: None, number: 0, state: Vec::new() });
        };
        Ok(Store::of(Shared::from_handle(handle).map(Permissions::ReadWrite)?))
    }

    fn of(region: Region) -> Store {
        let deaths = if word(&region, AT_WORK) != 0 { word(&region, DEATHS) + 1 } else { 0 };
        set_word(&region, DEATHS, deaths);
        if deaths >= DEATHS_MAX {
            // Whatever the server makes of this state ends it.
            set_word(&region, NUMBER, 0);
            set_word(&region, DEATHS, 0);
        }
        let (number, room) = (word(&region, NUMBER), room(&region));
        let mut state = alloc::vec![0; room];
        // Touched once, so that it takes no frame later: zeroes alone might not do that.
        state.fill(1);
        Store { region: Some(region), number, state }
    }

    /// The state that was committed last, by this server or the one before.
    pub fn last(&self) -> Option<Vec<u8>> {
        let region = self.region.as_ref().filter(|_| self.number != 0)?;
        let place = place(region, self.number);
        let mut state = alloc::vec![0; (word(region, place) as usize).min(room(region))];
        region.copy_to(place + LENGTH, &mut state);
        Some(state)
    }

    /// Keeps the state that `save` appends to an empty one. It takes the place of the one before in one step, when it is
    /// whole.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn commit(&mut self, save: impl FnOnce(&mut Vec<u8>)) {
        let Some(region) = &self.region else { return };
        self.state.clear();
        save(&mut self.state);
        let number = self.number + 1;
        let place = place(region, number);
        assert!(self.state.len() <= room(region), "a state of {} bytes", self.state.len());
        set_word(region, place, self.state.len() as u64);
        region.copy_from(place + LENGTH, &self.state);
        set_word(region, NUMBER, number);
        self.number = number;
        if word(region, DEATHS) != 0 {
            set_word(region, DEATHS, 0);
        }
    }

    /// Says that the server begins to work, or comes to rest: one that dies at work again and again, and commits
    /// nothing, is freed of its state in the end.
    pub fn set_at_work(&self, at_work: bool) {
        if let Some(region) = &self.region {
            set_word(region, AT_WORK, at_work.into());
        }
    }

    /// The handle that is kept at a place since before this server was started. It is asked for once.
    pub fn kept(&self, place: usize) -> Option<Handle> {
        grants::handle(&format!("kept{place}"))
    }

    /// Has a second handle kept at a place, where the one that was there is closed.
    ///
    /// # Errors
    /// As [`duplicate`]; [`Error::Gone`] without the supervisor.
    pub fn keep(&self, place: usize, handle: Handle) -> Result<(), Error> {
        if self.region.is_none() {
            return Ok(());
        }
        let second = duplicate(handle, Rights::ALL)?;
        say(place, second).inspect_err(|_| _ = close(second))
    }

    /// Has what is kept at a place closed.
    pub fn give_up(&self, place: usize) {
        if self.region.is_some() {
            let _ = say(place, Handle::NONE);
        }
    }
}

/// Tells the supervisor.
fn say(place: usize, handle: Handle) -> Result<(), Error> {
    let supervisor = Connection::from_handle(grants::handle("heal").ok_or(Error::NotFound)?);
    let answer = supervisor.call(Message { words: [KEEP, place as u64, 0, 0, 0, 0], handle });
    // It stays the program's.
    let _ = supervisor.into_handle();
    answer.map(|answer| _ = answer.into_words())
}

/// The supervisor's side.
#[derive(Debug)]
pub struct Kept {
    memory: Shared,
    handles: Mutex<[Handle; PLACES]>,
}

impl Kept {
    /// With so many pages, of which the first has no state in it; 3 at least.
    ///
    /// # Errors
    /// As [`Shared::new`]; [`Error::BadLength`] for too few.
    pub fn new(pages: usize) -> Result<Kept, Error> {
        if pages < 3 {
            return Err(Error::BadLength);
        }
        Ok(Kept { memory: Shared::new(pages * PAGE_SIZE)?, handles: Mutex::new([Handle::NONE; PLACES]) })
    }

    /// Adds all of it to what a server is started with.
    pub(crate) fn grant(&self, grants: &mut Grants) {
        grants.add("store", "", &[self.memory.handle()]);
        for (place, &handle) in self.handles.lock().iter().enumerate() {
            if handle != Handle::NONE {
                grants.add(&format!("kept{place}"), "", &[handle]);
            }
        }
    }

    /// Does what a message of the server's says, if it is for this. The handle in it is this value's then.
    pub(crate) fn take(&self, message: &Message) -> bool {
        let [KEEP, place, ..] = message.words else { return false };
        let mut handles = self.handles.lock();
        let Some(kept) = usize::try_from(place).ok().and_then(|place| handles.get_mut(place)) else { return false };
        let older = core::mem::replace(kept, message.handle);
        if older != Handle::NONE {
            let _ = close(older);
        }
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for &handle in self.handles.lock().iter().filter(|&&handle| handle != Handle::NONE) {
            let _ = close(handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::ManuallyDrop;

    /// A store on the host's memory, whose region is never unmapped, and the next one in its place.
    struct Desk(usize);

    impl Desk {
        fn new() -> Desk {
            let words: &'static mut [u64] = Vec::leak(std::vec![0_u64; 4 * PAGE_SIZE / 8]);
            Desk((words.as_mut_ptr() as usize).next_multiple_of(PAGE_SIZE))
        }

        fn start(&self) -> ManuallyDrop<Store> {
            // SAFETY: the memory is leaked, and nothing else uses it.
            ManuallyDrop::new(Store::of(unsafe { Region::from_raw(self.0, 3 * PAGE_SIZE) }))
        }
    }

    #[test]
    fn the_next_server_finds_what_was_committed_last() {
        let desk = Desk::new();
        assert_eq!(desk.start().last(), None);
        for length in [0, 5, PAGE_SIZE - LENGTH, 1, 17] {
            desk.start().commit(|state| state.resize(length, length as u8));
            assert_eq!(desk.start().last(), Some(std::vec![length as u8; length]));
        }
    }

    #[test]
    fn a_server_that_dies_in_the_middle_of_a_commit_leaves_the_state_before() {
        let desk = Desk::new();
        desk.start().commit(|state| state.extend(b"before"));
        let mut dying = desk.start();
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            dying.commit(|state| {
                state.extend(b"half of it");
                panic!("killed");
            });
        }));
        assert!(died.is_err() && desk.start().last().unwrap() == b"before");
        // All but the word that counts.
        let mut dying = desk.start();
        dying.commit(|state| state.extend(b"after"));
        set_word(dying.region.as_ref().unwrap(), NUMBER, dying.number - 1);
        assert_eq!(desk.start().last().unwrap(), b"before");
    }

    #[test]
    fn a_state_that_ends_every_server_at_work_is_given_up() {
        let desk = Desk::new();
        desk.start().commit(|state| state.extend(b"poison"));
        for _ in 0..20 {
            let store = desk.start();
            store.set_at_work(true);
            store.set_at_work(false);
            assert!(store.last().is_some(), "one that is killed while it waits says nothing of its state");
        }
        let deaths = (0..20).take_while(|_| {
            let store = desk.start();
            store.set_at_work(true);
            store.last().is_some()
        });
        assert_eq!(deaths.count() as u64, DEATHS_MAX);
        desk.start().commit(|state| state.extend(b"fresh"));
        desk.start().set_at_work(true);
        assert_eq!(desk.start().last().unwrap(), b"fresh");
    }
}
