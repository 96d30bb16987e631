//! The whole system: memory, and every process there is.

use graft_abi::{Call, Error, Handle, SystemInfo, TraceEvent, TraceRequest};

use crate::call::call;
use crate::process::Process;

/// Statistics of the machine.
pub fn info() -> Result<SystemInfo, Error> {
    let mut info = SystemInfo::default();
    // SAFETY: the kernel stores a SystemInfo into a variable that is borrowed mutably.
    unsafe { call(Call::SystemInfo, [Handle::SYSTEM.0.into(), (&raw mut info).addr() as u64]) }?;
    Ok(info)
}

/// Has every core record what it does, or not any more. Returns whether it did.
///
/// # Errors
/// [`Error::NoRight`], [`Error::BadHandle`].
pub fn switch_trace(on: bool) -> Result<bool, Error> {
    // SAFETY: the call touches no memory.
    unsafe { call(Call::TraceSwitch, [Handle::SYSTEM.0.into(), on.into()]) }.map(|answer| answer.x0 != 0)
}

/// What has been read of a core's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// How many.
    pub count: usize,
    /// The number with which to go on.
    pub next: u64,
    /// How many from the number on had been overwritten.
    pub lost: u64,
}

/// Reads what a core has done, on which the calling thread runs, from the event with this number on. Reads some, unless
/// there are none.
///
/// # Errors
/// [`Error::NotReady`] on another core; [`Error::BadArgument`] for one that there is not; [`Error::BadLength`] without
/// room.
pub fn trace(core: u64, from: u64, events: &mut [TraceEvent]) -> Result<Traced, Error> {
    let (address, capacity) = (events.as_mut_ptr().addr() as u64, events.len() as u64);
    let mut request = TraceRequest { core, next: from, events: address, capacity, lost: 0 };
    // SAFETY: the kernel stores events where they are borrowed mutably, no more than there is room for, and the request.
    let answer = unsafe { call(Call::Trace, [Handle::SYSTEM.0.into(), (&raw mut request).addr() as u64]) }?;
    Ok(Traced { count: answer.x0 as usize, next: request.next, lost: request.lost })
}

/// Starts the machine anew, by its firmware. Returns why it does not.
///
/// # Errors
/// [`Error::NotFound`] if there is no firmware that can; [`Error::NoRight`].
pub fn reset() -> Result<(), Error> {
    // SAFETY: the call touches no memory, and does not return unless it is refused.
    unsafe { call(Call::Reset, [Handle::SYSTEM.0.into()]) }.map(drop)
}

/// Frames that are free now.
pub fn free_frames() -> Result<u64, Error> {
    info().map(|info| info.free_frames)
}

/// The process with the smallest identifier above this one. The handle may inspect only.
pub fn next_process(identifier: u64) -> Result<Option<Process>, Error> {
    // SAFETY: the call touches no memory.
    match unsafe { call(Call::NextProcess, [Handle::SYSTEM.0.into(), identifier]) } {
        Ok(answer) => Ok(Some(Process::from_parts(answer.handle(), answer.x1))),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every process in the order of identifiers, or the error that ended the list.
pub fn processes() -> impl Iterator<Item = Result<Process, Error>> {
    let mut after = Some(0);
    core::iter::from_fn(move || {
        let found = next_process(after?).transpose();
        after = match &found {
            Some(Ok(process)) => Some(process.identifier()),
            _ => None,
        };
        found
    })
}

/// The process with this identifier, if there is one. The handle may inspect only.
pub fn process(identifier: u64) -> Result<Option<Process>, Error> {
    let Some(below) = identifier.checked_sub(1) else { return Ok(None) };
    Ok(next_process(below)?.filter(|process| process.identifier() == identifier))
}

/// A name that the kernel has padded with zero bytes.
pub fn name(padded: &[u8]) -> &str {
    let end = padded.iter().position(|&byte| byte == 0).unwrap_or(padded.len());
    match core::str::from_utf8(&padded[..end]) {
        Ok(name) => name,
        // A name cut in the middle of a character: what is whole of it.
        Err(error) => core::str::from_utf8(&padded[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_end_at_the_padding_and_at_half_a_character() {
        assert_eq!(name(b"sh\0\0"), "sh");
        assert_eq!(name(b"four"), "four");
        assert_eq!(name(b""), "");
        assert_eq!(name(b"caf\xc3"), "caf");
    }
}
