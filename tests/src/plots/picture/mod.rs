//! `make picture`: the translation tables of two running processes as a graph, before and after a write.
//!
//! ```text
//!   forkdemo --dump in QEMU ──▶ dump: trees of two processes, step by step
//!                                 └▶ graph: whose is what ──▶ layout: where it stands ──▶ draw: SVG
//! ```

mod area;
mod draw;
mod dump;
mod graph;
mod layout;
#[cfg(test)]
mod sample;

use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::Outcome;
use crate::harness::session;
use crate::harness::verdict::Expected;
use draw::Words;
use dump::{Dump, Step};
use graft_abi::Share;
use layout::Layout;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Draws the pictures of a fork at this depth into the build folder; returns the files.
pub fn run(build: &Build, share: Share) -> Result<Vec<PathBuf>, String> {
    let log = build.logs().join("picture.log");
    let drawn = pictures(build, share, &log);
    let pictures = drawn.map_err(|error| format!("{error}; see {}", log.display()))?;
    let mut files = Vec::new();
    for (name, svg) in ["picture-before.svg", "picture-after.svg"].into_iter().zip(pictures) {
        build.write(name, &svg)?;
        files.push(build.path(name));
    }
    Ok(files)
}

/// Lets `forkdemo` fork at this depth and draws what it dumps: before and after the child's write.
pub fn pictures(build: &Build, share: Share, log: &Path) -> Outcome<[String; 2]> {
    let line = format!("forkdemo --dump --share {}", share.name());
    let machine = Machine::new(&build.kernel_image()).with_archive(&build.archive()).with_line(&line);
    // So that every run draws the same frames.
    let machine = Machine { cores: 1, icount: true, ..machine };
    let ended = session::run(machine.command(Console::Pipe), log, LIMIT)?;
    Expected::success().judge(&ended)?;
    Ok(draw_both(&dump::parse(&ended.output)?, &line)?)
}

/// Draws the moment after the fork, and the moment after the child's write with what that has changed.
fn draw_both(dump: &Dump, source: &str) -> Result<[String; 2], String> {
    let ([before, after], graphs) = graph::both(dump)?;
    let [first, second] = layout::lay_out(graphs, (draw::LEFT, draw::TOP));
    Ok([picture(before, &first, source), picture(after, &second, source)])
}

fn picture(step: &Step, layout: &Layout, source: &str) -> String {
    // `4. After the child has written A[0]`
    let title = step.title.split_once(". ").map_or(step.title.as_str(), |(_, title)| title);
    let subtitle = format!("Translation tables of two running processes, as the kernel reports them: {source}");
    let heading = |who: &str, index: usize| format!("{who}: process {}", step.processes[index].0);
    let (left, right) = (heading("PARENT", 0), heading("CHILD", 1));
    draw::draw(layout, &Words { title, subtitle: &subtitle, headings: [&left, "SHARED, drawn once", &right] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_moments_are_drawn() {
        let [before, after] = draw_both(&sample::dump(), "forkdemo --dump").unwrap();
        assert!(before.contains("\nAfter fork\n") && after.contains("\nAfter the child has written A[0]\n"));
        assert!(after.contains("PARENT: process 16") && after.contains("CHILD: process 18"));
    }

    #[test]
    fn a_dump_without_such_a_moment_is_refused() {
        let mut dump = sample::dump();
        dump.steps[1].processes.pop();
        assert!(draw_both(&dump, "").unwrap_err().contains("\"the child has written\" of two processes"));
    }
}
