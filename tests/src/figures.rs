//! The rows that `forkbench --csv` prints.

/// One row: `forkbench,SHARE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The share depth.
    pub share: String,
    /// Bytes of touched memory.
    pub bytes: u64,
    /// What was measured.
    pub metric: String,
    /// Its unit: `ns` of guest time or `frames`.
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

/// All rows in a run's output; what is no row is skipped.
pub fn parse(output: &str) -> Vec<Figure> {
    output.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Figure> {
    let fields: Vec<_> = line.trim().split(',').collect();
    let ["forkbench", share, bytes, metric, unit, minimum, median, maximum, count] = fields[..] else { return None };
    let number = |text: &str| text.parse().ok();
    Some(Figure {
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

/// The median of one metric; the error names what is missing.
pub fn median(figures: &[Figure], share: &str, bytes: u64, metric: &str) -> Result<u64, String> {
    figures
        .iter()
        .find(|figure| figure.share == share && figure.bytes == bytes && figure.metric == metric)
        .map(|figure| figure.median)
        .ok_or_else(|| format!("no row forkbench,{share},{bytes},{metric}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_among_other_lines() {
        let output = "$ forkbench\nforkbench,SHARE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N\r\n\
                      forkbench,l3,16777216,fork,ns,900,1000,1100,5\r\nbye\n";
        let figures = parse(output);
        assert_eq!(figures.len(), 1);
        assert_eq!(median(&figures, "l3", 16 << 20, "fork"), Ok(1000));
        assert_eq!((figures[0].minimum, figures[0].maximum, figures[0].count), (900, 1100, 5));
        assert!(median(&figures, "l2", 16 << 20, "fork").unwrap_err().contains("forkbench,l2,16777216,fork"));
    }
}
