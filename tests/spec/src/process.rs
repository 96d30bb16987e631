//! Processes.

use crate::handle::is_self;
use crate::memory::inherited;
use crate::outcome::{Answer, Expect, Next, Step, x0};
use crate::state::{Entry, Id, Process, Snapshot, Thread, Wait};
use alloc::vec;
use graft_abi::{Error, ExitStatus, ProcessState, Rights, Share};

/// What the maker of a process may do with it.
const RIGHTS: Rights =
    Rights::WAIT.or(Rights::KILL).or(Rights::INSPECT).or(Rights::FORK).or(Rights::DUPLICATE).or(Rights::SUPERVISE);

/// Words of [`ProcessInfo`](graft_abi::ProcessInfo).
const EXIT_STATUS: usize = 14;

impl Step {
    /// `exit`.
    pub(crate) fn exit(&mut self, process: Id, code: u64) -> Answer {
        self.end_process(process, ExitStatus::Exited(code as i32));
        Ok(Next::Stays)
    }

    /// `kill`: that it has ended already is no error.
    pub(crate) fn kill(&mut self, process: Id, handle: u64, code: u64) -> Answer {
        let target = self.named_process(process, handle, Rights::KILL)?;
        self.end_process(target, ExitStatus::Killed(code as i32));
        if target == process { Ok(Next::Stays) } else { x0(0) }
    }

    /// `wait`: a process cannot wait for itself.
    pub(crate) fn wait(&mut self, thread: Id, handle: u64) -> Answer {
        let process = self.process_of(thread);
        if is_self(handle) {
            return Err(Error::NotAllowed);
        }
        let target = self.named::<Process>(process, handle, Rights::WAIT)?;
        if target == process {
            return Err(Error::NotAllowed);
        }
        match self.state.get::<Process>(target).status {
            Some(status) => Ok(Next::Goes(vec![Expect::X(0, 0), Expect::X(1, status)])),
            None => self.wait_for_end(thread, target),
        }
    }

    pub(crate) fn wait_for_end(&mut self, thread: Id, target: Id) -> Answer {
        self.state.get_mut::<Thread>(thread).wait = Some(Wait::End(target));
        Ok(Next::Stays)
    }

    /// The caller's own process: no other can be forked, and none is snapshot.
    pub(crate) fn own(&self, process: Id, handle: u64) -> Result<(), Error> {
        match self.named_process(process, handle, Rights::FORK)? {
            target if target == process => Ok(()),
            _ => Err(Error::NotAllowed),
        }
    }

    /// `fork`: of the caller's process, or of a snapshot. The child has the caller's handles, but for what is marked; of
    /// threads the caller alone, with its own priority; no supervisor.
    pub(crate) fn fork(&mut self, thread: Id, handle: u64, share: u64, flags: u64, newcomer: u64) -> Answer {
        let process = self.process_of(thread);
        Share::from_number(share).ok_or(Error::BadArgument)?;
        if flags != 0 {
            return Err(Error::BadArgument);
        }
        let caller = self.state.get::<Thread>(thread).clone();
        let (pages, stack) = match self.named::<Snapshot>(process, handle, Rights::FORK) {
            _ if is_self(handle) => (inherited(&self.state.get::<Process>(process).pages), caller.stack),
            Ok(snapshot) => {
                let snapshot = self.state.get::<Snapshot>(snapshot);
                (snapshot.pages.clone(), snapshot.stack)
            }
            Err(Error::WrongObject) => {
                self.own(process, handle)?;
                (inherited(&self.state.get::<Process>(process).pages), caller.stack)
            }
            Err(error) => return Err(error),
        };
        let parent = self.state.get::<Process>(process);
        let follows = |entry: &Entry| !entry.rights.contains(Rights::NO_INHERIT);
        let handles =
            parent.handles.iter().filter(|(_, entry)| follows(entry)).map(|(&n, &entry)| (n, entry)).collect();
        let jobs = self.jobs_of_births(process);
        let child = Process { handles, pages, jobs, ..Process::new(parent.identifier) };
        let child = self.state.add(child);
        let scheduling = (caller.own, caller.limit, caller.cores);
        let first = self.state.add(Thread::new(child, newcomer, stack, scheduling));
        self.goes_on(first, vec![Expect::X(0, 0), Expect::Identifier(1, child)]);
        let entry = Entry { object: child, rights: RIGHTS };
        Ok(Next::Goes(vec![Expect::Handle(0, entry), Expect::Identifier(1, child)]))
    }

    /// `process_info`: of what does not depend on time, what is certain.
    pub(crate) fn process_info(&mut self, process: Id, handle: u64, buffer: u64) -> Answer {
        let target = self.named_process(process, handle, Rights::INSPECT)?;
        self.check_buffer(buffer)?;
        let threads = self.state.threads_of(target);
        let priority = threads.iter().map(|&thread| self.state.get::<Thread>(thread).counts).max().unwrap_or(0);
        let &Process { identifier, parent, status, .. } = self.state.get::<Process>(target);
        let state = match status {
            Some(_) => ProcessState::Ended,
            None if target == process => ProcessState::Ready,
            None => ProcessState::Blocked,
        };
        let data = [
            (0, identifier),
            (1, parent),
            (2, state as u64 | (threads.len() as u64) << 32),
            (3, priority.into()),
            (EXIT_STATUS, status.unwrap_or(0)),
        ];
        let data = data.into_iter().map(|(word, value)| Expect::Data(word, value));
        Ok(Next::Goes([Expect::X(0, 0)].into_iter().chain(data).collect()))
    }

    /// A call may store into the driver's buffer, and into nothing else that a history names.
    pub(crate) fn check_buffer(&self, buffer: u64) -> Result<(), Error> {
        if buffer == self.state.machine.buffer { Ok(()) } else { Err(Error::BadAddress) }
    }
}
