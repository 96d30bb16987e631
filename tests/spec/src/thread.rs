//! Threads.

use crate::handle::is_self;
use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::state::{Entry, Id, Thread};
use alloc::vec;
use graft_abi::{Error, ExitStatus, PRIORITIES, Rights, USER_END, USER_START};

/// What the maker of a thread may do with it.
const RIGHTS: Rights = Rights::WAIT.or(Rights::INSPECT).or(Rights::DUPLICATE).or(Rights::SCHEDULE);

impl Step {
    /// `thread_create`: it has its maker's own priority, limit and cores. Its argument is the driver's number for it.
    pub(crate) fn thread_create(&mut self, thread: Id, entry: u64, stack: u64, slot: u64) -> Answer {
        if !entry.is_multiple_of(4) || !stack.is_multiple_of(16) {
            return Err(Error::Unaligned);
        }
        let user = USER_START as u64..USER_END as u64;
        if !user.contains(&entry) || !user.contains(&stack.wrapping_sub(16)) {
            return Err(Error::BadAddress);
        }
        let maker = self.state.get::<Thread>(thread);
        let new = Thread::new(maker.process, slot, stack, (maker.own, maker.limit, maker.cores));
        let object = self.state.add(new);
        Ok(Next::Goes(vec![Expect::Handle(0, Entry { object, rights: RIGHTS })]))
    }

    /// `thread_exit`: with its last thread the process ends, as if by `exit(0)`.
    pub(crate) fn thread_exit(&mut self, thread: Id, value: u64) -> Answer {
        let process = self.process_of(thread);
        self.end_thread(thread, [0, value]);
        if self.state.threads_of(process).is_empty() {
            self.end_process(process, ExitStatus::Exited(0));
        }
        Ok(Next::Stays)
    }

    /// `thread_join`: a thread cannot wait for itself.
    pub(crate) fn thread_join(&mut self, thread: Id, handle: u64) -> Answer {
        let target = self.named::<Thread>(self.process_of(thread), handle, Rights::WAIT)?;
        if target == thread {
            return Err(Error::NotAllowed);
        }
        match self.state.get::<Thread>(target).ended {
            Some([x0, x1]) => Ok(Next::Goes(vec![Expect::X(0, x0), Expect::X(1, x1)])),
            None => self.wait_for_end(thread, target),
        }
    }

    fn named_thread(&self, thread: Id, handle: u64, needed: Rights) -> Result<Id, Error> {
        if is_self(handle) { Ok(thread) } else { self.named::<Thread>(self.process_of(thread), handle, needed) }
    }

    /// `thread_info`: priorities and cores.
    pub(crate) fn thread_info(&mut self, thread: Id, handle: u64, buffer: u64) -> Answer {
        let target = self.named_thread(thread, handle, Rights::INSPECT)?;
        self.check_buffer(buffer)?;
        let target = self.state.get::<Thread>(target);
        let cores = target.cores & self.state.machine.cores;
        let mut expects = vec![Expect::X(0, 0), Expect::Data(4, u64::from(target.limit) | u64::from(cores) << 32)];
        // One that another ends may have worked as urgently as that one: docs/scheduling.md.
        if target.is_alive() {
            expects.push(Expect::Data(3, u64::from(target.counts) | u64::from(target.own) << 32));
        }
        Ok(Next::Goes(expects))
    }

    /// `schedule`: numbers first, then the caller's limit, then whether the machine has such cores, then the handle. What
    /// a caller lends the thread ends.
    pub(crate) fn schedule(&mut self, thread: Id, handle: u64, priority: u64, cores: u64) -> Answer {
        if priority >= PRIORITIES as u64 {
            return Err(Error::BadArgument);
        }
        if priority > self.state.get::<Thread>(thread).limit.into() {
            return Err(Error::NotAllowed);
        }
        if cores > u32::MAX.into() || cores != 0 && cores & u64::from(self.state.machine.cores) == 0 {
            return Err(Error::BadArgument);
        }
        let target = self.named_thread(thread, handle, Rights::SCHEDULE)?;
        let target = self.state.get_mut::<Thread>(target);
        target.own = priority as u8;
        target.counts = target.own;
        target.cores = if cores == 0 { 0xff } else { cores as u32 & 0xff };
        x0(0)
    }

    /// Has a thread work for itself again.
    pub(crate) fn return_priority(&mut self, thread: Id) {
        let thread = self.state.get_mut::<Thread>(thread);
        thread.counts = thread.own;
    }
}
