//! What a run must look like, and whether it does.

use crate::harness::session::{End, Ended};

/// The exit status that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// This one.
    Is(i32),
    /// Any but 0.
    Failure,
}

/// What a run must look like.
#[derive(Clone, Debug)]
pub struct Expected {
    status: Status,
    says: Vec<String>,
}

/// What no run may print, whatever its status: the beginnings of the kernel's reports on its own faults.
const PANICS: [&str; 2] = ["kernel panic on core", "kernel fault on core"];

impl Expected {
    /// A run that ends with exit status 0.
    pub fn success() -> Expected {
        Expected::status(Status::Is(0))
    }

    /// A run that ends with this exit status.
    pub fn status(status: Status) -> Expected {
        Expected { status, says: Vec::new() }
    }

    /// The same, and its output contains `text`.
    #[must_use]
    pub fn saying(mut self, text: &str) -> Expected {
        self.says.push(text.into());
        self
    }

    /// Judges a run; the error says what is wrong with it.
    pub fn judge(&self, ended: &Ended) -> Result<(), String> {
        let is_right = match (self.status, ended.end) {
            (Status::Is(expected), End::Status(status)) => status == expected,
            (Status::Failure, End::Status(status)) => status != 0,
            (_, End::Signalled | End::TimedOut(_)) => false,
        };
        if !is_right {
            let expected = match self.status {
                Status::Is(status) => format!("status {status}"),
                Status::Failure => "a status other than 0".into(),
            };
            return Err(format!("{}, expected {expected}", ended.end));
        }
        let is_panic = |line: &&str| PANICS.iter().any(|start| line.contains(start));
        if let Some(line) = ended.output.lines().find(is_panic) {
            return Err(format!("the kernel panicked: {line}"));
        }
        match self.says.iter().find(|text| !ended.output.contains(text.as_str())) {
            Some(text) => Err(format!("the output lacks {text:?}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ended(end: End, output: &str) -> Ended {
        Ended { end, output: output.into(), elapsed: Duration::ZERO }
    }

    #[test]
    fn a_wrong_status_fails() {
        let run = ended(End::Status(1), "");
        assert!(Expected::success().judge(&run).unwrap_err().contains("exit status 1, expected status 0"));
        assert!(Expected::status(Status::Is(2)).judge(&run).is_err());
        assert!(Expected::status(Status::Is(1)).judge(&run).is_ok());
        assert!(Expected::status(Status::Failure).judge(&run).is_ok());
        assert!(Expected::status(Status::Failure).judge(&ended(End::Status(0), "")).is_err());
    }

    #[test]
    fn a_run_without_a_status_fails_whatever_was_expected() {
        for end in [End::TimedOut(Duration::from_secs(1)), End::Signalled] {
            for status in [Status::Is(0), Status::Failure] {
                assert!(Expected::status(status).judge(&ended(end, "")).is_err());
            }
        }
    }

    #[test]
    fn missing_output_fails() {
        let expected = Expected::success().saying("hello");
        assert!(expected.judge(&ended(End::Status(0), "hello\n")).is_ok());
        assert!(expected.judge(&ended(End::Status(0), "help\n")).unwrap_err().contains("lacks \"hello\""));
    }

    #[test]
    fn a_panic_fails_even_where_a_failure_is_expected() {
        let run = ended(End::Status(101), "kernel panic on core 0: index out of bounds\n");
        assert!(Expected::status(Status::Failure).judge(&run).unwrap_err().contains("index out of bounds"));
    }
}
