//! Every history at every depth, on every machine: a row each.

use super::count::Counts;
use super::history::History;
use super::processor::Machine;
use super::replay;
use graft_paging::Share;

/// Depths of sharing, by the names that `forkbench` gives them.
pub const SHARES: [(Share, &str); 4] =
    [(Share::Pages, "copy"), (Share::Level3, "l3"), (Share::Level2, "l2"), (Share::Level1, "l1")];

/// Numbers of cores.
pub const CORES: [usize; 4] = [1, 2, 4, 8];

/// What one replay counted under one name.
#[derive(Clone, Debug)]
pub struct Row {
    /// The history.
    pub history: String,
    /// Its size in bytes; 0 if there is only one.
    pub size: u64,
    /// The name under which it was counted.
    pub what: String,
    /// The depth of sharing.
    pub share: &'static str,
    /// The machine.
    pub machine: Machine,
    /// Its cores.
    pub cores: usize,
    /// The counts.
    pub counts: Counts,
}

/// Replays every history at every depth, on every machine with every number of cores.
///
/// # Errors
/// If one of them cannot be replayed.
pub fn run(histories: &[History]) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for history in histories {
        let mut block = Vec::new();
        for (share, depth) in SHARES {
            for machine in Machine::ALL {
                for cores in CORES {
                    let counted = replay::replay(history, machine, share, cores).map_err(|error| {
                        format!("{}, {depth}, {}, {cores} cores: {error}", history.name, machine.name())
                    })?;
                    block.extend(counted.into_iter().enumerate().map(|(place, (what, counts))| {
                        let (history, size) = (history.name.clone(), history.size);
                        (place, Row { history, size, what, share: depth, machine, cores, counts })
                    }));
                }
            }
        }
        // What belongs together stands together: by what was counted first, then by depth.
        block.sort_by_key(|(place, _)| *place);
        rows.extend(block.into_iter().map(|(_, row)| row));
    }
    Ok(rows)
}
