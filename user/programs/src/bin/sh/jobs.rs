//! Waiting for processes, and those that run in the background or have been stopped.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use graft_lib::shell::syntax::AndOr;
use graft_rt::abi::ProcessState;
use graft_rt::{Error, ExitStatus, Process, eprintln};

use crate::foreground::{Group, Stops};
use crate::shell::{CANNOT_RUN, INTERRUPTED, STOPPED, Shell};
use crate::start::Started;

/// Commands in the background, and those that have been stopped.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: Vec<Job>,
    /// The process of the last one: `$!`.
    last_process: Option<u64>,
}

/// Such a command: the processes of a pipeline.
#[derive(Debug)]
struct Job {
    number: usize,
    text: String,
    started: Vec<Started>,
    group: Group,
    is_stopped: bool,
}

/// Whether a process has ended.
pub(crate) fn has_ended(process: &Process) -> bool {
    process.info().is_ok_and(|info| info.state == ProcessState::Ended as u32)
}

/// Why a text names no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobError {
    /// There is none.
    None,
    /// There is none with this number.
    Unknown(String),
    /// It has been stopped.
    Stopped(usize),
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
            JobError::Stopped(number) => write!(f, "job {number} is stopped; `fg` or `bg` lets it go on"),
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
        self.processes().all(has_ended)
    }

    fn state(&self) -> &'static str {
        match self.is_stopped {
            _ if self.has_ended() => "ended",
            true => "stopped",
            false => "running",
        }
    }
}

impl Jobs {
    /// Notes what was started.
    pub(crate) fn add(&mut self, commands: &AndOr, started: Vec<Started>, group: Group) {
        let job = Job { number: self.next(), text: commands.to_string(), started, group, is_stopped: false };
        let last = job.processes().last().map(Process::identifier);
        if last.is_some() {
            self.last_process = last;
            self.jobs.push(job);
        }
    }

    fn next(&self) -> usize {
        self.jobs.last().map_or(1, |job| job.number + 1)
    }

    /// The identifier of the last process in the background.
    pub(crate) const fn last_process(&self) -> Option<u64> {
        self.last_process
    }

    /// Leaves the jobs to the shell that this one is a copy of.
    pub(crate) fn forget(&mut self) {
        self.jobs.drain(..).for_each(|job| job.group.leave_to_parent());
    }

    /// A line for each job.
    pub(crate) fn list(&self) -> String {
        let mut list = String::new();
        for job in &self.jobs {
            let processes: Vec<String> = job.processes().map(|process| process.identifier().to_string()).collect();
            list.push_str(&format!("[{}] {:8} {:8} {}\n", job.number, job.state(), processes.join(" "), job.text));
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
    pub(crate) fn kill(&mut self, text: &str, code: i32) -> Result<(), JobError> {
        let place = self.find(Some(text))?;
        let job = &mut self.jobs[place];
        let identifier = text.parse::<u64>().ok();
        if identifier.is_none() && job.group.kill(code) {
            // It ends by itself from here on.
            job.is_stopped = false;
            return Ok(());
        }
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
    /// Waits for the processes of a command and answers its status, the last one's; or, when it has been stopped, makes
    /// a job of it. All that the user has to wait for is waited for here.
    pub(crate) fn wait_for(
        &mut self,
        started: Vec<Started>,
        group: Group,
        stops: Stops,
        text: impl FnOnce() -> String,
    ) -> i32 {
        let number = self.jobs.next();
        self.wait_for_group(Job { number, text: String::new(), started, group, is_stopped: false }, stops, text)
    }

    fn wait_for_group(&mut self, mut job: Job, stops: Stops, text: impl FnOnce() -> String) -> i32 {
        let may_stop = self.control.as_ref().is_some_and(|control| control.allows(stops));
        if job.group.wait(job.processes(), may_stop) == Ok(true) {
            if job.text.is_empty() {
                job.text = text();
            }
            job.is_stopped = true;
            eprintln!("[{}] stopped  {}", job.number, job.text);
            if let Some(control) = &mut self.control {
                control.renew();
            }
            let place = self.jobs.jobs.partition_point(|other| other.number < job.number);
            self.jobs.jobs.insert(place, job);
            self.given_up = Some(STOPPED);
            return STOPPED;
        }
        self.statuses(&job.started)
    }

    /// The status of processes that have ended, or that the user cannot but wait for: the last one's.
    fn statuses(&mut self, started: &[Started]) -> i32 {
        let mut last = CANNOT_RUN;
        for Started { name, process } in started {
            last = match process {
                Ok(process) => self.status_of(name, process),
                Err(status) => *status,
            };
        }
        last
    }

    fn status_of(&mut self, name: &str, process: &Process) -> i32 {
        if self.given_up == Some(INTERRUPTED) {
            // Control-C is for all of them.
            let _ = process.kill(INTERRUPTED);
        }
        let status = process.wait();
        if let Ok(info) = process.info() {
            self.processor_time += Duration::from_nanos(info.processor_time);
        }
        if status == Ok(ExitStatus::Killed(INTERRUPTED)) {
            self.given_up = Some(INTERRUPTED);
            return INTERRUPTED;
        }
        finished(name, status)
    }

    /// Waits for a job, which is one no more unless it is stopped.
    pub(crate) fn wait_for_job(&mut self, text: Option<&str>) -> Result<i32, JobError> {
        let place = self.jobs.find(text)?;
        let job = &self.jobs.jobs[place];
        if job.is_stopped && !job.has_ended() {
            return Err(JobError::Stopped(job.number));
        }
        let job = self.jobs.jobs.remove(place);
        Ok(self.wait_for_group(job, Stops::May, String::new))
    }

    /// Lets a job go on that may have been stopped, and waits for it.
    pub(crate) fn resume_in_foreground(&mut self, text: Option<&str>) -> Result<i32, JobError> {
        let job = self.go_on_with(text)?;
        eprintln!("{}", job.text);
        self.wait_for_job(text)
    }

    /// Lets a job go on that may have been stopped.
    pub(crate) fn resume_in_background(&mut self, text: Option<&str>) -> Result<i32, JobError> {
        let job = self.go_on_with(text)?;
        eprintln!("[{}] running  {}", job.number, job.text);
        Ok(0)
    }

    fn go_on_with(&mut self, text: Option<&str>) -> Result<&Job, JobError> {
        let place = self.jobs.find(text)?;
        let job = &mut self.jobs.jobs[place];
        if core::mem::take(&mut job.is_stopped) {
            job.group.resume();
        }
        Ok(job)
    }

    /// Waits for all jobs that are not stopped.
    pub(crate) fn wait_for_jobs(&mut self) {
        while self.given_up.is_none()
            && let Some(job) = self.jobs.jobs.iter().rfind(|job| !job.is_stopped)
        {
            let name = format!("%{}", job.number);
            if self.wait_for_job(Some(&name)).is_err() {
                return;
            }
        }
    }

    /// Says which jobs have ended.
    pub(crate) fn report_jobs(&mut self) {
        for job in self.jobs.take_ended() {
            let status = self.statuses(&job.started);
            eprintln!("[{}] ended with {status}  {}", job.number, job.text);
        }
    }

    /// Ends the jobs that have been stopped: without the shell nothing lets them go on. The others go on by themselves.
    pub(crate) fn end_stopped(&mut self) {
        for job in self.jobs.jobs.iter().filter(|job| job.is_stopped) {
            job.group.kill(INTERRUPTED);
        }
        self.jobs.forget();
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
