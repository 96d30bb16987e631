//! Messages between processes, and what servers need beside them, side by side with another microkernel.

use super::figures::{Figure, MESSAGES};
use super::lines;
use graft_rt::size::Grouped;

/// The other one, as `others.csv` calls it.
pub(super) const OTHER: &str = "sel4";
/// Counts of cache lines that are shown, and what stands above them.
const LINES: [(&str, &str, &str); 3] =
    [("L1D cold", "l1d", "cold"), ("L1I cold", "l1i", "cold"), ("L1D warm", "l1d", "warm")];
const WIDTH: usize = 12;

/// A row for each operation; the error says what is missing.
pub(super) fn show(figures: &[Figure]) -> Result<String, String> {
    let ours: Vec<_> = figures.iter().filter(|figure| figure.share == MESSAGES).collect();
    let of = |metric: &str| ours.iter().find(|figure| figure.metric == metric).map(|figure| figure.median);
    let metrics: Vec<_> = ours.iter().map(|figure| &figure.metric).filter(|metric| !lines::is_metric(metric)).collect();
    if metrics.is_empty() {
        return Err("ipcbench has printed no rows".into());
    }
    let version = figures.iter().find(|figure| figure.program == OTHER).map_or("", |figure| &figure.share);
    let mut text = format!("{:18}{:>WIDTH$}{:>20}", "messages", "Graft", format!("seL4 {version}"));
    LINES.iter().for_each(|(name, ..)| text += &format!("{name:>WIDTH$}"));
    for metric in metrics {
        let theirs = figures.iter().find(|figure| figure.program == OTHER && figure.metric == *metric);
        let [graft, sel4] = [of(metric), theirs.map(|figure| figure.median)].map(shown);
        text += &format!("\n{metric:18}{graft:>WIDTH$}{sel4:>20}");
        for (_, count, state) in LINES {
            text += &format!("{:>WIDTH$}", shown(of(&lines::metric(metric, count, state))));
        }
    }
    Ok(text + "\ninstructions, and lines that Graft's missed. seL4: tests/src/bench/others.csv has figures and source\n")
}

fn shown(count: Option<u64>) -> String {
    count.map_or_else(|| "-".into(), |count| Grouped(count).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::parse;

    #[test]
    fn each_operation_stands_beside_the_others() {
        let figures = parse(
            "ipcbench,call_reply_0,ns,1,410,1,5\nipcbench,map,ns,1,1234,1,5\nsel4,16.0-dev,0,call_reply_0,instructions,1,406,1,1\n\
             ipcbench,ipc,0,call_reply_0.l1d.cold,lines,1,77,1,5\n",
        );
        let table = show(&figures).unwrap();
        let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["call_reply_0", "410", "406", "77", "-", "-"]);
        assert_eq!(rows[2], ["map", "1,234", "-", "-", "-", "-"]);
        assert!(show(&[]).is_err());
    }
}
