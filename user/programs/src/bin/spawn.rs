//! Starts a program, one run after the other, and says how long they took:
//! `spawn [--warm] [--count N] [--share copy|l3|l2|l1] PROGRAM [ARGUMENT]...`.
//!
//! With `--warm` the program is loaded once and kept as it is before its first line; each run begins there. Without, it
//! is loaded from its ELF image each time. The status is that of the last run.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_rt::archive::Archive;
use graft_rt::grants::Grants;
use graft_rt::size::Grouped;
use graft_rt::template::Template;
use graft_rt::{Arguments, Share, eprintln, println, time};

graft_rt::program!(main);

const USAGE: &str = "usage: spawn [--warm] [--count N] [--share copy|l3|l2|l1] PROGRAM [ARGUMENT]...";
/// Most runs.
const COUNT_MAX: usize = 10_000;

/// The command line.
struct Options {
    warm: bool,
    count: usize,
    share: Share,
    words: Vec<&'static str>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = &'static str>) -> Result<Options, String> {
        let mut options = Options { warm: false, count: 1, share: Share::default(), words: Vec::new() };
        while let Some(word) = arguments.next() {
            match word {
                "--warm" => options.warm = true,
                "--count" => {
                    let number = arguments.next().and_then(|text| text.parse().ok());
                    let number = number.filter(|number| (1..=COUNT_MAX).contains(number));
                    options.count = number.ok_or_else(|| format!("--count takes a number from 1 to {COUNT_MAX}"))?;
                }
                "--share" => {
                    let share = arguments.next().and_then(Share::from_name);
                    options.share = share.ok_or("--share takes copy, l3, l2 or l1")?;
                }
                option if option.starts_with("--") => return Err(format!("{option}: there is no such option")),
                program => {
                    options.words = [program].into_iter().chain(arguments).collect();
                    return Ok(options);
                }
            }
        }
        Err("a program is missing".into())
    }
}

fn main(arguments: Arguments) -> i32 {
    let options = match Options::parse(arguments.skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("spawn: {problem}");
            eprintln!("{USAGE}");
            return 2;
        }
    };
    match run(&options) {
        Ok(status) => status,
        Err(problem) => {
            eprintln!("spawn: {}: {problem}", options.words[0]);
            127
        }
    }
}

fn run(options: &Options) -> Result<i32, String> {
    let refused = |error: graft_rt::Error| error.to_string();
    let archive = Archive::open().map_err(|error| error.to_string())?;
    let name = options.words[0];
    let image = archive.file(name).map_err(|error| error.to_string())?;
    let template = options.warm.then(|| Template::load(image, name, options.share)).transpose().map_err(refused)?;
    let grants = Grants::inherited();
    let mut times = Vec::with_capacity(options.count);
    let mut status = 0;
    for _ in 0..options.count {
        let begin = time::clock();
        let process = match &template {
            Some(template) => grants.spawn_warm(template, &options.words),
            None => grants.spawn(image, &options.words),
        };
        status = process.and_then(|process| process.wait()).map_err(refused)?.shell_code();
        times.push((time::clock() - begin).as_nanos() as u64);
    }
    times.sort_unstable();
    let [least, median, most] = [0, times.len() / 2, times.len() - 1].map(|index| Grouped(times[index]));
    let how = if options.warm { "from a template" } else { "loaded each time" };
    let runs = if options.count == 1 { "1 run".into() } else { format!("{} runs", options.count) };
    println!("{runs}, {how}: {least} ns at least, median {median}, at most {most}");
    Ok(status)
}
