//! What is to be run.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_lib::forkserver::table::BITS;
use graft_rt::Share;

use crate::ways::Way;

/// How the program is called.
pub(crate) const USAGE: &str = "\
usage: forkserver [--by all|spawn|fork|restore] [--share all|copy|l3|l2|l1] [--runs N] [--bits N] [--seed N] [--csv]
  --by WAY        how each run begins; all: by fork and restore, and a few by spawn to compare (all)
  --share DEPTH   tables that a fork or a snapshot shares (all: one depth after the other)
  --runs N        give up after so many (100000)
  --bits N        bits of a colour's channels, 4 to 8: the table has 32 MiB with 8 (8)
  --seed N        another seed makes other inputs (3)
  --csv           rows instead of a table";

/// Most runs by spawn when they serve only for comparison: each builds the table.
const SPAWNS: u64 = 8;

/// The command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    by: By,
    /// One depth, or every one.
    share: Option<Share>,
    pub(crate) runs: u64,
    pub(crate) bits: u32,
    pub(crate) seed: u64,
    pub(crate) csv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    All,
    Spawn,
    Fork,
    Restore,
}

impl Options {
    /// Reads the command line. The error is the beginning of a complaint.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = &'static str>) -> Result<Options, String> {
        let mut options = Options { by: By::All, share: None, runs: 100_000, bits: 8, seed: 3, csv: false };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            match option {
                "--by" => {
                    options.by = match value()? {
                        "all" => By::All,
                        "spawn" => By::Spawn,
                        "fork" => By::Fork,
                        "restore" => By::Restore,
                        other => return Err(format!("--by {other}: there is all, spawn, fork and restore")),
                    }
                }
                "--share" => {
                    let name = value()?;
                    options.share = Share::from_name(name);
                    if options.share.is_none() && name != "all" {
                        return Err(format!("--share {name}: there is all, copy, l3, l2 and l1"));
                    }
                }
                "--runs" => options.runs = number(option, value()?, 1, u64::MAX)?,
                "--bits" => {
                    options.bits = number(option, value()?, (*BITS.start()).into(), (*BITS.end()).into())? as u32
                }
                "--seed" => options.seed = number(option, value()?, 0, u64::MAX)?,
                "--csv" => options.csv = true,
                _ => return Err(format!("{option}: there is no such option")),
            }
        }
        Ok(options)
    }

    /// The ways to search by, each with its most runs.
    pub(crate) fn ways(&self) -> Vec<(Way, u64)> {
        let shares = || Share::ALL.into_iter().filter(|share| self.share.is_none_or(|chosen| chosen == *share));
        let mut ways = Vec::new();
        match self.by {
            By::All => ways.push((Way::Spawn, self.runs.min(SPAWNS))),
            By::Spawn => ways.push((Way::Spawn, self.runs)),
            By::Fork | By::Restore => {}
        }
        if matches!(self.by, By::All | By::Fork) {
            ways.extend(shares().map(|share| (Way::Fork(share), self.runs)));
        }
        if matches!(self.by, By::All | By::Restore) {
            ways.extend(shares().map(|share| (Way::Restore(share), self.runs)));
        }
        ways
    }
}

fn number(option: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{option} {text}: a number from {least} to {most}"))
}
