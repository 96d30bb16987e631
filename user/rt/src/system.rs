//! The whole system: memory, and every process there is.

use graft_abi::{Call, Error, Handle, SystemInfo};

use crate::call::call;
use crate::process::Process;

/// Statistics of the machine.
pub fn info() -> Result<SystemInfo, Error> {
    let mut info = SystemInfo::default();
    // SAFETY: the kernel stores a SystemInfo into a variable that is borrowed mutably.
    unsafe { call(Call::SystemInfo, [Handle::SYSTEM.0.into(), (&raw mut info).addr() as u64]) }?;
    Ok(info)
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
