//! The rows that `forkbench --csv` and other measuring programs print.

use std::fmt;

/// The line above the rows of a file.
pub const HEADING: &str = "program,share,bytes,metric,unit,min,median,max,n";

/// What stands for the depth of sharing in rows of `ipcbench`, which shares nothing.
pub const MESSAGES: &str = "ipc";

/// One row: `PROGRAM,SHARE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What measured: `forkbench`, or a name for another system.
    pub program: String,
    /// The share depth; for another system, its version.
    pub share: String,
    /// Bytes of touched memory.
    pub bytes: u64,
    /// What was measured.
    pub metric: String,
    /// Its unit: `ns` of guest time, `instructions`, `bytes` or `frames`.
    pub unit: String,
    /// The smallest value.
    pub minimum: u64,
    /// The middle value.
    pub median: u64,
    /// The largest value.
    pub maximum: u64,
    /// How many values there were.
    pub count: u64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { program, share, bytes, metric, unit, minimum, median, maximum, count } = self;
        write!(f, "{program},{share},{bytes},{metric},{unit},{minimum},{median},{maximum},{count}")
    }
}

/// All rows in a run's output; what is no row is skipped.
pub fn parse(output: &str) -> Vec<Figure> {
    output.lines().filter_map(row).collect()
}

/// A row as above, or one of `ipcbench`'s, `PROGRAM,METRIC,UNIT,MIN,MEDIAN,MAX,N`.
fn row(line: &str) -> Option<Figure> {
    let mut fields: Vec<_> = line.trim().split(',').collect();
    if fields.len() == 7 && fields[0] == "ipcbench" {
        fields.splice(1..1, [MESSAGES, "0"]);
    }
    let [program, share, bytes, metric, unit, minimum, median, maximum, count] = fields[..] else { return None };
    let number = |text: &str| text.parse().ok();
    Some(Figure {
        program: program.into(),
        share: share.into(),
        bytes: number(bytes)?,
        metric: metric.into(),
        unit: unit.into(),
        minimum: number(minimum)?,
        median: number(median)?,
        maximum: number(maximum)?,
        count: number(count)?,
    })
}

/// A file of these figures.
pub fn file(figures: &[Figure]) -> String {
    let rows: String = figures.iter().map(|figure| format!("{figure}\n")).collect();
    format!("{HEADING}\n{rows}")
}

/// Turns nanoseconds of a guest whose instructions take one each into instructions.
pub fn count_nanoseconds(figures: &mut [Figure]) {
    for figure in figures.iter_mut().filter(|figure| figure.unit == "ns") {
        figure.unit = "instructions".into();
    }
}

/// The median of one metric; the error names what is missing.
pub fn median(figures: &[Figure], share: &str, bytes: u64, metric: &str) -> Result<u64, String> {
    figures
        .iter()
        .find(|figure| figure.share == share && figure.bytes == bytes && figure.metric == metric)
        .map(|figure| figure.median)
        .ok_or_else(|| format!("no row {share},{bytes},{metric}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_among_other_lines() {
        let output = "$ forkbench\nforkbench,SHARE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N\r\n\
                      forkbench,l3,16777216,fork,ns,900,1000,1100,5\r\nbye, 1, 2\n";
        let figures = parse(output);
        assert_eq!(figures.len(), 1);
        assert_eq!(median(&figures, "l3", 16 << 20, "fork"), Ok(1000));
        assert_eq!((figures[0].minimum, figures[0].maximum, figures[0].count), (900, 1100, 5));
        assert!(median(&figures, "l2", 16 << 20, "fork").unwrap_err().contains("l2,16777216,fork"));
    }

    #[test]
    fn rows_of_messages_have_neither_depth_nor_memory() {
        let figures = parse("ipcbench,call_reply_0,ns,400,410,420,5\nipcbench,METRIC,UNIT,MIN,MEDIAN,MAX,N\n");
        assert_eq!(figures.len(), 1);
        assert_eq!(median(&figures, MESSAGES, 0, "call_reply_0"), Ok(410));
        assert_eq!(parse(&figures[0].to_string()), figures);
    }

    #[test]
    fn a_row_survives_its_text() {
        let row = "linux,6.12,1073741824,fork,ns,1,2,3,4";
        assert_eq!(parse(&format!("{HEADING}\n{row}\n"))[0].to_string(), row);
    }
}
