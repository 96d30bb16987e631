//! Shows how fork shares translation tables and how a write splits them.
//!
//! ```text
//!   forkdemo  ──spawns──▶  parent  ──forks──▶  child        driven step by step through gates
//!      └── reads and draws the tables of both, checks every claim, touches neither's memory
//! ```
//!
//! The two processes that are drawn run without touching memory but where a picture says so: with
//! tables shared at level 1, a single store to the stack would split them. Hence a third process
//! draws, and `actors.rs` is written in assembly.
//!
//! With `--dump` it draws nothing: `vmmap --dump` prints both processes' descriptors after each step, for
//! a picture that is drawn elsewhere. Lines before those of the first step name the two regions.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod actors;
mod claims;
mod stage;
mod words;

use graft_lib::table_view::paint::Palette;
use graft_rt::test::Report;
use graft_rt::{Arguments, Share, eprintln, println};

use crate::stage::Stage;
use crate::words::Step;

graft_rt::program!(main);

const USAGE: &str = "usage: forkdemo [--share copy|l3|l2|l1] [--plain | --dump]";

fn main(arguments: Arguments) -> i32 {
    let mut share = Share::default();
    let mut palette = Palette::Colours;
    let mut is_dump = false;
    let mut rest = arguments;
    rest.next();
    while let Some(argument) = rest.next() {
        match argument {
            "--share" => match rest.next().and_then(Share::from_name) {
                Some(chosen) => share = chosen,
                None => return usage("--share takes copy, l3, l2 or l1"),
            },
            "--plain" => palette = Palette::Plain,
            "--dump" => is_dump = true,
            actors::ROLE => return actors::play(rest),
            _ => return usage(argument),
        }
    }
    let shown = if is_dump { dump(share) } else { show(share, palette) };
    match shown {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("forkdemo: {problem}");
            1
        }
    }
}

fn usage(problem: &str) -> i32 {
    eprintln!("forkdemo: {problem}");
    eprintln!("{USAGE}");
    2
}

fn show(share: Share, palette: Palette) -> Result<i32, stage::Problem> {
    let report = Report::new();
    let mut stage = Stage::new(share)?;
    words::legend(share, palette);
    let mut before = None;
    for step in Step::ALL {
        stage.play(step)?;
        let now = stage.look(step)?;
        stage::draw(step, share, &now, before.as_ref(), palette);
        claims::check(&report, step, share, &now, before.as_ref());
        before = Some(now);
    }
    stage.end()?;
    println!();
    println!("Every picture was checked against the descriptors that the kernel reports:");
    Ok(report.finish())
}

fn dump(share: Share) -> Result<i32, stage::Problem> {
    let mut stage = Stage::new(share)?;
    stage::name_regions();
    for step in Step::ALL {
        stage.play(step)?;
        println!("step {}", step.title());
        stage.dump(step)?;
    }
    stage.end()?;
    Ok(0)
}
