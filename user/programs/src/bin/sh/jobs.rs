//! Waiting for processes, and those that run in the background.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use graft_lib::shell::syntax::AndOr;
use graft_rt::abi::ProcessState;
use graft_rt::{Error, ExitStatus, Process, eprintln};

use crate::shell::{CANNOT_RUN, INTERRUPTED, Shell};
use crate::start::Started;

/// Commands in the background.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: Vec<Job>,
    /// The process of the last one: `$!`.
    last_process: Option<u64>,
}

/// A command in the background: the processes of a pipeline.
#[derive(Debug)]
struct Job {
    number: usize,
    text: String,
    started: Vec<Started>,
}

/// Why a text names no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobError {
    /// There is none.
    None,
    /// There is none with this number.
    Unknown(String),
    /// No job of this shell has a process with this identifier.
    NotOurs(u64),
    /// Neither `%NUMBER` nor an identifier.
    Meaningless(String),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::None => f.write_str("there is no job"),
            JobError::Unknown(text) => write!(f, "there is no job {text}; `jobs` lists them"),
            JobError::NotOurs(process) => {
                write!(f, "process {process} is of no job of this shell, which has no right to others")
            }
            JobError::Meaningless(text) => write!(f, "{text}: neither %NUMBER nor the number of a process"),
        }
    }
}

impl Job {
    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.started.iter().filter_map(|started| started.process.as_ref().ok())
    }

    fn has_ended(&self) -> bool {
        let ended = |process: &Process| process.info().is_ok_and(|info| info.state == ProcessState::Ended as u32);
        self.processes().all(ended)
    }
}

impl Jobs {
    /// Notes what was started.
    pub(crate) fn add(&mut self, commands: &AndOr, started: Vec<Started>) {
        let number = self.jobs.last().map_or(1, |job| job.number + 1);
        let job = Job { number, text: commands.to_string(), started };
        let last = job.processes().last().map(Process::identifier);
        if last.is_some() {
            self.last_process = last;
            self.jobs.push(job);
        }
    }

    /// The identifier of the last process in the background.
    pub(crate) const fn last_process(&self) -> Option<u64> {
        self.last_process
    }

    /// Leaves the jobs to the shell that this one is a copy of.
    pub(crate) fn forget(&mut self) {
        self.jobs.clear();
    }

    /// A line for each job.
    pub(crate) fn list(&self) -> String {
        let mut list = String::new();
        for job in &self.jobs {
            let state = if job.has_ended() { "ended" } else { "running" };
            let processes: Vec<String> = job.processes().map(|process| process.identifier().to_string()).collect();
            list.push_str(&format!("[{}] {state:8} {:8} {}\n", job.number, processes.join(" "), job.text));
        }
        list
    }

    /// Forgets those that have ended.
    pub(crate) fn forget_ended(&mut self) {
        self.take_ended();
    }

    /// Takes those that have ended out of the list.
    fn take_ended(&mut self) -> Vec<Job> {
        self.jobs.extract_if(.., |job| job.has_ended()).collect()
    }

    /// The place of the job that a text names: `%NUMBER`, the identifier of a process, or the last one without a text.
    fn find(&self, text: Option<&str>) -> Result<usize, JobError> {
        let Some(text) = text else { return self.jobs.len().checked_sub(1).ok_or(JobError::None) };
        let place = |is_it: &dyn Fn(&Job) -> bool| self.jobs.iter().position(is_it);
        if let Some(number) = text.strip_prefix('%') {
            let number = number.parse().map_err(|_| JobError::Meaningless(text.into()))?;
            return place(&|job| job.number == number).ok_or(JobError::Unknown(text.into()));
        }
        let identifier: u64 = text.parse().map_err(|_| JobError::Meaningless(text.into()))?;
        place(&|job| job.processes().any(|process| process.identifier() == identifier))
            .ok_or(JobError::NotOurs(identifier))
    }

    /// Ends a job's processes, or the one with this identifier.
    pub(crate) fn kill(&self, text: &str, code: i32) -> Result<(), JobError> {
        let job = &self.jobs[self.find(Some(text))?];
        let identifier = text.parse::<u64>().ok();
        for process in job.processes() {
            if identifier.is_none_or(|identifier| identifier == process.identifier()) {
                // One that has ended cannot be ended, which is what was wanted.
                let _ = process.kill(code);
            }
        }
        Ok(())
    }
}

impl Shell {
    /// Waits for a process's end and answers its status. Every process that the user has to wait for is waited for here.
    pub(crate) fn wait_for(&mut self, name: &str, process: &Process) -> i32 {
        let status = match &self.foreground {
            Some(foreground) => foreground.wait(process),
            None => process.wait(),
        };
        if let Ok(info) = process.info() {
            self.processor_time += Duration::from_nanos(info.processor_time);
        }
        if status == Ok(ExitStatus::Killed(INTERRUPTED)) {
            self.is_interrupted = true;
            return INTERRUPTED;
        }
        finished(name, status)
    }

    /// Waits for all processes of a pipeline. The status is the last one's.
    pub(crate) fn wait_for_all(&mut self, started: &[Started]) -> i32 {
        let mut status = CANNOT_RUN;
        for Started { name, process } in started {
            status = match process {
                Ok(process) => {
                    if self.is_interrupted {
                        // Control-C is for all of them.
                        let _ = process.kill(INTERRUPTED);
                    }
                    self.wait_for(name, process)
                }
                Err(status) => *status,
            };
        }
        status
    }

    /// Waits for a job, which is one no more.
    pub(crate) fn wait_for_job(&mut self, text: Option<&str>) -> Result<i32, JobError> {
        let job = self.jobs.jobs.remove(self.jobs.find(text)?);
        Ok(self.wait_for_all(&job.started))
    }

    /// Waits for all jobs.
    pub(crate) fn wait_for_jobs(&mut self) {
        while self.wait_for_job(None).is_ok() {
            if self.is_interrupted {
                return;
            }
        }
    }

    /// Says which jobs have ended.
    pub(crate) fn report_jobs(&mut self) {
        for job in self.jobs.take_ended() {
            let status = self.wait_for_all(&job.started);
            eprintln!("[{}] ended with {status}  {}", job.number, job.text);
        }
    }
}

/// The status of a program that has ended, or could not be waited for.
fn finished(name: &str, ended: Result<ExitStatus, Error>) -> i32 {
    match ended {
        Ok(status) => {
            // A fault has been reported by the kernel, an exit code is the program's own business.
            if let ExitStatus::Killed(_) = status {
                eprintln!("sh: {name}: {status}");
            }
            status.shell_code()
        }
        Err(error) => {
            eprintln!("sh: {name}: {error}");
            CANNOT_RUN
        }
    }
}
