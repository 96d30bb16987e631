//! What is to be run.

use alloc::format;
use alloc::string::String;

use graft_lib::kvd::store::SLOT;
use graft_rt::{Share, size};

/// How the program is called.
pub(crate) const USAGE: &str = "\
usage: kvd [--mem SIZE] [--share all|copy|l3|l2|l1] [--requests N] [--sets PERCENT] [--seed N] [--csv]
  --mem SIZE       memory of the records, 1 KiB each (256M)
  --share DEPTH    tables that the fork shares (all: one depth after the other)
  --requests N     requests before and after the snapshot (100000)
  --sets PERCENT   how many of them write (20)
  --seed N         another seed gives other requests (1)
  --csv            rows instead of tables";

/// The command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Records, and keys.
    pub(crate) keys: usize,
    /// One depth, or every one.
    pub(crate) share: Option<Share>,
    pub(crate) requests: u64,
    pub(crate) set_percent: usize,
    pub(crate) seed: u64,
    pub(crate) csv: bool,
}

impl Options {
    /// Reads the command line. The error is the beginning of a complaint.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = &'static str>) -> Result<Options, String> {
        let mut options =
            Options { keys: (256 << 20) / SLOT, share: None, requests: 100_000, set_percent: 20, seed: 1, csv: false };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            match option {
                "--mem" => options.keys = keys(value()?)?,
                "--share" => options.share = share(value()?)?,
                "--requests" => options.requests = number(option, value()?, 1000, 1 << 40)?,
                "--sets" => options.set_percent = number(option, value()?, 0, 100)? as usize,
                "--seed" => options.seed = number(option, value()?, 0, u64::MAX)?,
                "--csv" => options.csv = true,
                _ => return Err(format!("{option}: there is no such option")),
            }
        }
        Ok(options)
    }

    /// Bytes of memory in which the records are.
    pub(crate) const fn bytes(&self) -> u64 {
        (self.keys * SLOT) as u64
    }

    /// Depths to run, in their order.
    pub(crate) fn shares(&self) -> impl Iterator<Item = Share> {
        Share::ALL.into_iter().filter(|share| self.share.is_none_or(|chosen| chosen == *share))
    }
}

fn keys(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text).map_err(|error| format!("--mem {text}: {error}"))?;
    let keys = bytes / SLOT as u64;
    // More would have numbers that the index has no room for, and no machine has so much memory.
    if !(1..1 << 32).contains(&keys) {
        return Err(format!("--mem {text}: from 1 KiB to 4 TiB"));
    }
    Ok(keys as usize)
}

fn share(name: &str) -> Result<Option<Share>, String> {
    match Share::from_name(name) {
        None if name != "all" => Err(format!("--share {name}: there is all, copy, l3, l2 and l1")),
        share => Ok(share),
    }
}

fn number(option: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{option} {text}: a number from {least} to {most}"))
}
