//! Snapshots.

use crate::memory::inherited;
use crate::outcome::{Answer, Expect, Next, Step};
use crate::state::{Entry, Id, Process, Snapshot, Thread};
use alloc::vec;
use graft_abi::{Error, Rights, Share};

impl Step {
    /// `snapshot`: the depth, the flags, the process.
    pub(crate) fn snapshot(&mut self, thread: Id, handle: u64, share: u64, flags: u64) -> Answer {
        let process = self.process_of(thread);
        Share::from_number(share).ok_or(Error::BadArgument)?;
        if flags != 0 {
            return Err(Error::BadArgument);
        }
        self.own(process, handle)?;
        let pages = inherited(&self.state.get::<Process>(process).pages);
        let stack = self.state.get::<Thread>(thread).stack;
        let object = self.state.add(Snapshot { pages, stack });
        let entry = Entry { object, rights: Rights::FORK.or(Rights::DUPLICATE) };
        Ok(Next::Goes(vec![Expect::Handle(0, entry), Expect::X(1, 0)]))
    }

    /// `restore`: the process, the snapshot, the value, other threads. The call that took the snapshot returns once more.
    pub(crate) fn restore(&mut self, thread: Id, handle: u64, snapshot: u64, value: u64) -> Answer {
        let process = self.process_of(thread);
        self.own(process, handle)?;
        let object = self.named::<Snapshot>(process, snapshot, Rights::FORK)?;
        if value == 0 {
            return Err(Error::BadArgument);
        }
        if self.state.threads_of(process).len() > 1 {
            return Err(Error::NotAllowed);
        }
        let Snapshot { pages, stack } = self.state.get::<Snapshot>(object).clone();
        self.state.get_mut::<Process>(process).pages = pages;
        self.state.get_mut::<Thread>(thread).stack = stack;
        Ok(Next::Goes(vec![Expect::X(0, snapshot), Expect::X(1, value)]))
    }
}
