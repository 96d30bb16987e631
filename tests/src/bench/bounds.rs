//! How long each operation keeps interrupts and other threads waiting: `t-pieces` on a counting machine, beside a
//! plugin that counts how many instructions the kernel executes before it answers interrupts again.

use super::plan::counting;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::Outcome;
use crate::harness::session;
use crate::harness::verdict::Expected;
use graft_rt::size::Grouped;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Most instructions for which interrupts may wait.
pub const MASKED: u64 = 20_000;
const LIMIT: Duration = Duration::from_secs(1800);

/// What one operation has done to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The operation.
    pub name: String,
    /// Instructions for which interrupts waited at most, from before the operation until its process had ended.
    pub masked: u64,
    /// Where the kernel was then.
    pub address: String,
    /// Nanoseconds, which are instructions, for which a ready thread of the same core waited at most.
    pub waited: u64,
}

/// Measures every operation on so many MiB.
pub fn measure(build: &Build, machine: Machine, mebibytes: u64, log: &Path) -> Outcome<Vec<Bound>> {
    let rows = log.with_extension("masked.csv");
    let machine = counting(machine).with_line(&format!("t-pieces --exact --size {mebibytes}"));
    let mut command = machine.command(Console::Pipe);
    let mut plugin = build.path("masked-plugin.so").into_os_string();
    plugin.push(",out=");
    plugin.push(&rows);
    command.arg("-plugin").arg(plugin);
    let ended = session::run(command, log, LIMIT)?;
    Expected::success().judge(&ended)?;
    let rows = fs::read_to_string(&rows).map_err(|error| format!("{}: {error}", rows.display()))?;
    Ok(joined(&ended.output, &rows)?)
}

/// The program's rows, `bound,NAME,WAITED`, and the plugin's, `MASKED,ADDRESS`, which come in the same order.
fn joined(output: &str, rows: &str) -> Result<Vec<Bound>, String> {
    let waits = output.lines().filter_map(|line| line.trim().strip_prefix("bound,")?.rsplit_once(','));
    let counts = rows.lines().filter(|row| !row.starts_with("all,")).filter_map(|row| row.split_once(','));
    let (waits, counts): (Vec<_>, Vec<_>) = (waits.collect(), counts.collect());
    if waits.is_empty() || waits.len() != counts.len() {
        return Err(format!("{} operations, and {} rows of the plugin", waits.len(), counts.len()));
    }
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    let bound = |((name, waited), (masked, address)): ((&str, &str), (&str, &str))| {
        Ok(Bound { name: name.into(), masked: number(masked)?, address: address.into(), waited: number(waited)? })
    };
    waits.into_iter().zip(counts).map(bound).collect()
}

/// The operations that keep interrupts waiting for too long.
pub fn excesses(bounds: &[Bound]) -> Vec<&Bound> {
    bounds.iter().filter(|bound| bound.masked > MASKED).collect()
}

/// A table for the terminal.
pub fn show(bounds: &[Bound], mebibytes: u64) -> String {
    let mut text = format!("How long others wait at most, in instructions, beside operations on {mebibytes} MiB\n");
    let _ = writeln!(text, "  {:<42} {:>12} {:>14}", "", "interrupts", "a ready thread");
    for Bound { name, masked, waited, .. } in bounds {
        let _ =
            writeln!(text, "  {name:<42} {:>12} {:>14}", Grouped(*masked).to_string(), Grouped(*waited).to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Bound, excesses, joined};

    #[test]
    fn rows_of_program_and_plugin_meet_in_their_order() {
        let output = "Graft\r\nbound,exit,9000000\r\nbound,unmap, but not all,5\n2 claims held, 0 failed\n";
        let bounds = joined(output, "15000,0x1\n21000,0x2\nall,21000,0x2\n").unwrap();
        let second = Bound { name: "unmap, but not all".into(), masked: 21_000, address: "0x2".into(), waited: 5 };
        assert_eq!(bounds[1], second);
        assert_eq!(excesses(&bounds), [&second]);
        assert!(joined(output, "15000,0x1\n").is_err() && joined("", "").is_err());
    }
}
