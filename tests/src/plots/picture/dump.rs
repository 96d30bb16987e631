//! What `forkdemo --dump` prints: the descriptors of two processes, step by step.
//!
//! ```text
//!   region A 000200000000 3          the first address of a region, and its pages
//!   step 2. After fork
//!   process 16 forkdemo
//!   entry 0 …                        as vmmap --dump shows it
//!   process 18 forkdemo
//! ```

use graft_abi::{EntryRecord, PAGE_SIZE};
use graft_lib::table_view::tree::Tree;
use graft_lib::table_view::{check, dump};
use std::ops::Range;

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// What the processes did it to.
    pub regions: Vec<Region>,
    /// The moments, in order.
    pub steps: Vec<Step>,
}

/// Memory with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Range<u64>,
}

/// One moment.
#[derive(Clone, Debug)]
pub struct Step {
    /// What has just happened.
    pub title: String,
    /// Each process's identifier and tables, the parent first.
    pub processes: Vec<(u64, Tree)>,
}

/// Reads the output of a run. The error says which line is wrong, or which tables are unsound.
pub fn parse(output: &str) -> Result<Dump, String> {
    let mut dump = Dump::default();
    let mut records: Vec<EntryRecord> = Vec::new();
    for line in output.lines() {
        let wrong = || format!("not a line of a dump: {line:?}");
        match line.split_once(' ') {
            Some(("region", rest)) => dump.regions.push(region(rest).ok_or_else(wrong)?),
            Some(("step", title)) => {
                finish(&mut dump, &mut records)?;
                dump.steps.push(Step { title: title.into(), processes: Vec::new() });
            }
            Some(("process", rest)) => {
                finish(&mut dump, &mut records)?;
                let identifier = rest.split(' ').next().and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
                let step = dump.steps.last_mut().ok_or_else(wrong)?;
                step.processes.push((identifier, Tree { root: None }));
            }
            Some(("entry", _)) => records.push(dump::parse(line).ok_or_else(wrong)?),
            // The kernel's greeting and other lines on the console.
            _ => {}
        }
    }
    finish(&mut dump, &mut records)?;
    for step in &dump.steps {
        sound(step).map_err(|problem| format!("{}: {problem}", step.title))?;
    }
    Ok(dump)
}

fn region(text: &str) -> Option<Region> {
    let [name, address, pages] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    let start = u64::from_str_radix(address, 16).ok()?;
    let bytes = pages.parse::<u64>().ok()?.checked_mul(PAGE_SIZE as u64)?;
    Some(Region { name: name.into(), addresses: start..start.checked_add(bytes)? })
}

/// Makes a tree of the records of the last process.
fn finish(dump: &mut Dump, records: &mut Vec<EntryRecord>) -> Result<(), String> {
    let process = dump.steps.last_mut().and_then(|step| step.processes.last_mut());
    match process {
        Some((identifier, tree)) => {
            *tree = Tree::new(records).map_err(|error| format!("process {identifier}: {error}"))?;
        }
        None if records.is_empty() => {}
        None => return Err("descriptors of no process".into()),
    }
    records.clear();
    Ok(())
}

/// Whether the bits say what the kernel says, and the counts are those of the descriptors that lead there.
fn sound(step: &Step) -> Result<(), String> {
    let trees: Vec<&Tree> = step.processes.iter().map(|(_, tree)| tree).collect();
    let each = trees.iter().try_for_each(|tree| check::check(tree));
    each.and_then(|()| check::check_references(&trees)).map_err(|violation| violation.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("sample.txt");

    #[test]
    fn a_run_is_read() {
        let dump = parse(&format!("Graft 0.1.0 on linux,dummy-virt\n{SAMPLE}bye\n")).unwrap();
        let region = |name: &str, start, end| Region { name: name.into(), addresses: start..end };
        let regions = [region("A", 0x2_0000_0000, 0x2_0000_3000), region("B", 0x2_0020_0000, 0x2_0020_2000)];
        assert_eq!(dump.regions, regions);
        let titles: Vec<_> = dump.steps.iter().map(|step| step.title.as_str()).collect();
        assert_eq!(titles, ["2. After fork", "4. After the child has written A[0]"]);
        let [(parent, left), (child, right)] = &dump.steps[1].processes[..] else { panic!("not two processes") };
        assert_eq!((*parent, *child), (16, 18));
        assert_eq!((left.tables().len(), right.tables().len()), (6, 6));
        assert_ne!(left.entry(3, 0x2_0000_0000).unwrap().target(), right.entry(3, 0x2_0000_0000).unwrap().target());
    }

    #[test]
    fn a_line_that_is_cut_off_is_named() {
        for (whole, cut) in [("region A 000200000000 3", "region A 000200000000"), (" 1 2 2 1 0 0\n", " 1 2 2\n")] {
            assert!(SAMPLE.contains(whole));
            assert!(parse(&SAMPLE.replace(whole, cut)).unwrap_err().contains("not a line of a dump"));
        }
        assert!(parse("entry 0 000000000000 000000007fc23003 00007fc20000 1 1 0 1 49 6\n").is_err());
    }

    #[test]
    fn tables_that_break_a_rule_are_not_drawn() {
        // The way to the shared table of B, as read-only as it must be, and left open.
        let open = SAMPLE.replacen("entry 2 000200200000 4", "entry 2 000200200000 0", 1);
        assert_ne!(open, SAMPLE);
        assert!(parse(&open).unwrap_err().contains("2. After fork"));
    }
}
