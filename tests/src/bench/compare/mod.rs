//! AArch64 against x86_64: the same histories replayed through both descriptor formats with the same tree.
//!
//! ```text
//!   tests/histories/*.txt ──▶ history ──▶ replay ──▶ the tree ──┬──▶ memory     words, references, bytes
//!                                           │                   └──▶ processor  invalidations, barriers, interrupts
//!                                           └──▶ what every program must find
//! ```
//!
//! Nothing is estimated: what is counted are the calls that the tree makes. What is not modelled: caches and TLBs as
//! such, so no misses, and no fault of a core that runs into another core's operation. `docs/x86_64.md` explains the
//! differences.

pub mod charts;
pub mod count;
pub mod history;
pub mod memory;
pub mod processor;
pub mod replay;
pub mod rows;
pub mod table;

use crate::builder::folder::Build;
use rows::run;
use std::path::Path;

/// Replays the histories of a folder, shows what they cost and writes `compare.csv` and the charts; returns what to
/// tell the user.
///
/// # Errors
/// If a history makes no sense or cannot be replayed, if the formats disagree, or a file cannot be written.
pub fn report(build: &Build, folder: &Path) -> Result<String, String> {
    if cfg!(debug_assertions) {
        return Err("this build counts what the tree's assertions load, too: use make compare".into());
    }
    let rows = run(&history::read(folder)?)?;
    let mut report = table::table(&rows)?;
    build.write("compare.csv", table::csv(&rows))?;
    report += &format!("\n{}: every count\n", build.path("compare.csv").display());
    for (name, chart) in charts::all(&rows)? {
        build.write(name, &chart)?;
        report += &format!("{}\n", build.path(name).display());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use count::Event;
    use processor::Machine;
    use rows::{CORES, Row, SHARES};

    /// Forks, splits, copies, takes over, unmaps and ends.
    const EVERYTHING: &str = "\
space parent
everywhere parent
reserve parent 1G 6M
write parent 1G 6M
count fork
fork parent child
count split
write child 1G 4K
write parent 1G+2M 64K
count unmap
unmap parent 1G+4M 64K
unmap child 1G+4M 2M
count exit
exit child
count last owner
everywhere parent
write parent 1G+3M 64K
";

    fn rows(text: &str) -> Vec<Row> {
        run(&history::parse("test", text).unwrap()).unwrap()
    }

    fn of<'a>(rows: &'a [Row], what: &'a str) -> impl Iterator<Item = &'a Row> {
        let before = rows.len();
        let found = rows.iter().filter(move |row| row.what == what);
        assert!(before > 0 && found.clone().count() > 0, "no rows for {what}");
        found
    }

    #[test]
    fn the_tree_does_the_same_in_both_formats_and_for_any_number_of_cores() {
        let rows = rows(EVERYTHING);
        table::table(&rows).unwrap();
        // The check itself can fail.
        let mut wrong = rows.clone();
        wrong.last_mut().unwrap().counts[Event::Split] += 1;
        assert!(table::table(&wrong).unwrap_err().contains("splits are"));
        let splits: Vec<_> = of(&rows, "split").filter(|row| row.cores == 2).collect();
        assert!(splits.iter().all(|row| row.counts[Event::Copied] == 17 << 12));
        assert!(splits.iter().all(|row| (row.counts[Event::Split] > 0) == (row.share != "copy")));
    }

    #[test]
    fn only_aarch64_breaks_before_it_makes() {
        for row in &rows(EVERYTHING) {
            let breaks = if row.machine == Machine::X86_64 { 0 } else { row.counts[Event::Redirected] };
            assert_eq!(row.counts[Event::Break], breaks, "{row:?}");
            assert_eq!(row.counts[Event::Barrier] > 0, row.machine != Machine::X86_64, "{row:?}");
            assert!(row.what != "split" || row.counts[Event::Redirected] >= 17);
        }
    }

    #[test]
    fn only_x86_64_interrupts_and_the_more_the_more_cores() {
        let rows = rows(EVERYTHING);
        for row in &rows {
            let others = [Event::Interrupt, Event::Remote, Event::Late].map(|event| row.counts[event]);
            assert!(row.machine == Machine::X86_64 || others == [0; 3], "{row:?}");
        }
        for (what, more) in [("fork", 0), ("split", 1)] {
            for row in of(&rows, what).filter(|row| row.machine == Machine::X86_64) {
                // When the child runs, one core less runs the parent, whose writes take 16 page copies, or one split
                // and 15 page copies.
                let times = if what == "fork" { 1 } else { 16 };
                let others = (row.cores as u64).saturating_sub(1 + more);
                assert_eq!(row.counts[Event::Interrupt], others * times, "{row:?}");
                assert_eq!(row.counts[Event::Remote], row.counts[Event::Interrupt]);
            }
        }
    }

    #[test]
    fn the_number_of_cores_changes_nothing_but_what_other_cores_do() {
        let rows = rows(EVERYTHING);
        for row in &rows {
            let one =
                of(&rows, &row.what).find(|one| (one.share, one.machine, one.cores) == (row.share, row.machine, 1));
            for (event, name) in Event::ALL.into_iter().filter(|(event, _)| *event < Event::Interrupt) {
                assert_eq!(row.counts[event], one.unwrap().counts[event], "{name}: {row:?}");
            }
        }
    }

    #[test]
    fn giving_permission_back_costs_x86_64_no_invalidation() {
        for row in of(&rows(EVERYTHING), "last owner") {
            let own = row.counts[Event::OnePage];
            assert_eq!(own, if row.machine == Machine::X86_64 { 0 } else { 16 }, "{row:?}");
            assert_eq!((row.counts[Event::Fault], row.counts[Event::Copied]), (16, 0));
        }
    }

    #[test]
    fn forks_at_levels_1_and_2_cost_the_same_for_every_size() {
        let rows = rows("sizes 2M 32M\nspace a\nreserve a 1G SIZE\nwrite a 1G SIZE\ncount fork\nfork a b\n");
        for small in rows.iter().filter(|row| row.size == 2 << 20) {
            let like = |row: &&Row| (row.share, row.machine, row.cores) == (small.share, small.machine, small.cores);
            let large = rows.iter().filter(|row| row.size == 32 << 20).find(like).unwrap();
            assert_eq!(small.counts == large.counts, ["l2", "l1"].contains(&small.share), "{small:?} {large:?}");
        }
    }

    #[test]
    fn a_core_that_heard_of_nothing_invalidates_when_it_comes_back() {
        let rows = rows(
            "\
space server\neverywhere server\nreserve server 1G 2M\nwrite server 1G 2M\nfork server child\nread child 1G 4K
write server 1G 4K\nexit child\ncount return\neverywhere server\n",
        );
        for row in of(&rows, "return") {
            let late = row.machine == Machine::X86_64 && row.cores > 1;
            assert_eq!(row.counts[Event::Late], u64::from(late), "{row:?}");
        }
    }

    #[test]
    fn csv_has_a_field_for_every_heading() {
        let text = table::csv(&rows(EVERYTHING));
        let fields: Vec<_> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields, vec![6 + Event::ALL.len(); 1 + 5 * SHARES.len() * Machine::ALL.len() * CORES.len()]);
    }
}
