//! Templates: programs that stand before their first line, kept to start others from instead of loading them.
//!
//! ```text
//!   Template::load ── spawn, with a connection named "template" ──▶ the program: snapshot of itself, sent; exit
//!   Grants::spawn_warm ── the snapshot's memory, new arguments and handles ──▶ the program, from its entry point
//! ```

use core::time::Duration;

use graft_abi::{Error, Handle, Share};

use crate::grants::Grants;
use crate::message::{Endpoint, Message};
use crate::notification::Notification;
use crate::snapshot::Snapshot;
use crate::time;

/// The grant with which a program becomes a template; its kind is the depth of sharing.
const GRANT: &str = "template";
/// How long a program may take to become one. Those of other run-time libraries never do.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that has been loaded, to start others from.
#[derive(Debug)]
pub struct Template {
    snapshot: Snapshot,
    entry: u64,
}

impl Template {
    /// Loads a program from an ELF image and keeps it as it is before its first line. Each process that is started from
    /// it shares its tables at this depth: with [`Share::Copy`] its first writes cost least.
    ///
    /// # Errors
    /// As [`Process::spawn_image`]; [`Error::Gone`] if the program ends or does something else instead.
    pub fn load(image: &[u8], name: &str, share: Share) -> Result<Template, Error> {
        const CALLED: u64 = 1;
        const ENDED: u64 = 2;
        let endpoint = Endpoint::new()?;
        let receiver = endpoint.receiver()?;
        let happened = Notification::new()?;
        happened.bind_endpoint(CALLED, &endpoint)?;
        let connection = endpoint.connect(0)?;
        let mut grants = Grants::of(&[]);
        grants.add(GRANT, share.name(), &[connection.handle()]);
        let program = grants.spawn(image, &[name])?;
        happened.bind_end(ENDED, program.handle())?;
        let bits = happened.wait_until(time::clock() + PATIENCE);
        let template = match bits {
            Ok(bits) if bits & CALLED != 0 => {
                let Message { words: [entry, ..], handle } = receiver.receive()?.message;
                (handle != Handle::NONE).then(|| Template { snapshot: Snapshot::from_handle(handle), entry })
            }
            _ => None,
        };
        let _ = program.kill(0);
        template.ok_or(Error::Gone)
    }

    /// The handle of its snapshot, and where programs begin.
    pub(crate) fn parts(&self) -> (Handle, u64) {
        (self.snapshot.handle(), self.entry)
    }
}

/// What a program does before its `main` that was granted to be a template: it does not come back from there.
///
/// Every program has this, and each page of a program is filled when it is started: so nothing is used here that a small
/// program would not have anyway.
#[cfg(target_os = "none")]
pub(crate) fn offer(entry: u64) {
    use crate::message::Connection;
    use graft_abi::Call;

    let begins = |grant: &[u8]| grant.first() == Some(&crate::start::GRANT) && grant[1..].starts_with(GRANT.as_bytes());
    let Some(grant) = crate::start::raw_grants().split(|&byte| byte == 0).find(|grant| begins(grant)) else { return };
    let kind = grant.split(|&byte| byte == b'=' || byte == b':').nth(1).unwrap_or_default();
    let share = Share::ALL.into_iter().find(|share| share.name().as_bytes() == kind).unwrap_or_default();
    // Not `snapshot::take`: what is started of this begins elsewhere, and finds no lock held.
    // SAFETY: the call keeps memory. A process that is made of it without a new entry point ends below.
    let taken = unsafe { crate::call::call(Call::Snapshot, [Handle::SELF.0.into(), share as u64, 0]) };
    if let Ok(answer) = taken
        && answer.handle() != Handle::NONE
    {
        // The only handle that a template is given.
        let maker = Connection::from_handle(Handle(1));
        let _ = maker.call(Message { words: [entry, 0, 0, 0, 0, 0], handle: answer.handle() });
        core::mem::forget(maker);
    }
    crate::process::exit(1)
}
