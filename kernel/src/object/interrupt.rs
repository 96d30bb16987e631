//! Interrupts of devices, as objects: told by a notification, acknowledged by a call.
//!
//! ```text
//!                bind               the device's line fires             interrupt_acknowledge
//!   unbound ───────────▶ open ──────────────────────────▶ fired ──────────────────────────────▶ open
//!   masked               unmasked    mask, set the bits   masked       unmask
//! ```
//!
//! The core that takes an interrupt masks the line before it ends the interrupt, so that a device that goes on
//! asserting it does not come again before its driver has run. What comes on a masked line stays pending in the
//! controller, which is where it waits for the acknowledgement: there is nothing here that could lose it.

use crate::arch::Trigger;
use crate::arch::interrupts::{self, LINES_MAX};
use crate::lock::Mutex;
use crate::object::notification::Binding;
use crate::object::{Kind, Object, Ref};
use core::ptr::{self, NonNull};
use graft_abi::Error;

/// The interrupt of one line.
pub struct Interrupt {
    line: u32,
    state: Mutex<State>,
}

struct State {
    /// What is told. There is one but in the phase [`Unbound`](Phase::Unbound).
    binding: Option<Binding>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The line is masked.
    Unbound,
    /// The line is not masked.
    Open,
    /// The line is masked, and its driver has been told.
    Fired,
}

/// The objects, by their lines.
struct Lines([Option<NonNull<Interrupt>>; LINES_MAX]);

// SAFETY: an object is `Sync`, and stands here until `forget` has taken it out.
unsafe impl Send for Lines {}

static LINES: Mutex<Lines> = Mutex::new(Lines([None; LINES_MAX]));

impl Interrupt {
    /// The object of a line.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the machine has no such line; [`Error::NotAllowed`] if it has an object;
    /// [`Error::OutOfMemory`].
    pub fn new(line: u32, trigger: Trigger) -> Result<Ref<Interrupt>, Error> {
        if line >= interrupts::lines() {
            return Err(Error::NotFound);
        }
        let interrupt =
            Ref::new(|_| Interrupt { line, state: Mutex::new(State { binding: None, phase: Phase::Unbound }) })?;
        let mut lines = LINES.lock();
        let place = &mut lines.0[line as usize];
        if place.is_some() {
            // Unlocked first: the object that is not needed looks there, too.
            drop(lines);
            return Err(Error::NotAllowed);
        }
        *place = Some(NonNull::from(&*interrupt));
        // Masked, because it has had no object.
        interrupts::set_trigger(line, trigger);
        drop(lines);
        Ok(interrupt)
    }

    /// Has these bits set when the interrupt comes, in place of others.
    pub fn bind(&self, binding: Binding) {
        let mut state = self.state.lock();
        let older = state.binding.replace(binding);
        if state.phase == Phase::Unbound {
            state.phase = Phase::Open;
            interrupts::unmask(self.line);
        }
        drop(state);
        drop(older);
    }

    /// Lets the next one come.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none has come since the last time.
    pub fn acknowledge(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.phase != Phase::Fired {
            return Err(Error::NotFound);
        }
        state.phase = Phase::Open;
        interrupts::unmask(self.line);
        Ok(())
    }
}

/// Tells the driver of a line that its interrupt has come. Called by the core that has taken it and not finished it
/// yet.
pub fn fire(line: u32) {
    // Until the driver has been told: the object stays for as long as it stands there.
    let lines = LINES.lock();
    interrupts::mask(line);
    let Some(Some(interrupt)) = lines.0.get(line as usize) else { return };
    // SAFETY: as above.
    let mut state = unsafe { interrupt.as_ref() }.state.lock();
    state.phase = Phase::Fired;
    if let Some(binding) = &state.binding {
        binding.fire();
    }
}

static INTERRUPT: Kind<Interrupt> = Kind::new("interrupt");

impl Object for Interrupt {
    fn kind() -> &'static Kind<Self> {
        &INTERRUPT
    }

    fn forget(&self) {
        let mut lines = LINES.lock();
        let place = &mut lines.0[self.line as usize];
        // Not so for an object that has come second.
        if place.is_some_and(|there| ptr::eq(there.as_ptr(), self)) {
            interrupts::mask(self.line);
            *place = None;
        }
    }
}
