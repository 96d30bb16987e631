//! What is to be measured.

use alloc::format;
use alloc::string::String;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::{Share, size};

/// How the program is called.
pub(crate) const USAGE: &str = "usage: forkbench --mem SIZE --share copy|l3|l2|l1 [--reps N] [--csv] [--spans]";

/// Most repetitions: more would only cost time.
const REPETITIONS_MAX: usize = 10_000;

/// The command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Bytes of memory that are mapped and touched; a multiple of the page size.
    pub(crate) bytes: usize,
    pub(crate) share: Share,
    pub(crate) repetitions: usize,
    pub(crate) csv: bool,
    /// Whether to say when each time was taken, too.
    pub(crate) spans: bool,
}

impl Options {
    /// Reads the command line. The error is the beginning of a complaint.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = &'static str>) -> Result<Options, String> {
        let (mut bytes, mut share, mut repetitions) = (None, None, 3);
        let (mut csv, mut spans) = (false, false);
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            match option {
                "--mem" => bytes = Some(memory(value()?)?),
                "--share" => {
                    let name = value()?;
                    let known = Share::from_name(name);
                    share = Some(known.ok_or_else(|| format!("--share {name}: there is copy, l3, l2 and l1"))?);
                }
                "--reps" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|number| (1..=REPETITIONS_MAX).contains(number));
                    repetitions =
                        number.ok_or_else(|| format!("--reps {text}: a number from 1 to {REPETITIONS_MAX}"))?;
                }
                "--csv" => csv = true,
                "--spans" => spans = true,
                _ => return Err(format!("{option}: there is no such option")),
            }
        }
        let bytes = bytes.ok_or("--mem is missing")?;
        let share = share.ok_or("--share is missing")?;
        Ok(Options { bytes, share, repetitions, csv, spans })
    }
}

fn memory(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text).map_err(|error| format!("--mem {text}: {error}"))?;
    if !bytes.is_multiple_of(PAGE_SIZE as u64) {
        return Err(format!("--mem {text}: not a multiple of the page size, {PAGE_SIZE}"));
    }
    Ok(bytes as usize)
}
