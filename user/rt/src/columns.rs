//! Text in columns as wide as what stands in them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// On which side a column has its edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Spaces between two columns.
const GAP: &str = "  ";

/// Rows of cells under headings.
#[derive(Clone, Debug)]
pub struct Columns<const N: usize> {
    align: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Columns<N> {
    /// None but the headings.
    pub fn new(headings: &[(&str, Align); N]) -> Columns<N> {
        let headings_alone = headings.map(|(heading, _)| heading.to_string());
        Columns { align: headings.map(|(_, align)| align), rows: alloc::vec![headings_alone] }
    }

    /// Adds a row.
    pub fn push(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The headings and the rows, without spaces at their ends.
    pub fn lines(&self) -> Vec<String> {
        let width = |cell: &String| cell.chars().count();
        let widths: [usize; N] =
            core::array::from_fn(|column| self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
        let line = |row: &[String; N]| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let space = " ".repeat(widths[column] - width(cell));
                if column != 0 {
                    line.push_str(GAP);
                }
                match self.align[column] {
                    Align::Left => line.extend([cell, space.as_str()]),
                    Align::Right => line.extend([space.as_str(), cell]),
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::new(&[("N", Align::Right), ("WORD", Align::Left), ("LONG", Align::Right)]);
        assert_eq!(columns.lines(), ["N  WORD  LONG"]);
        columns.push(["1234".into(), "ä".into(), "x".into()]);
        columns.push([String::new(), String::new(), String::new()]);
        columns.push(["1".into(), "longer".into(), "longest".into()]);
        assert_eq!(columns.lines(), ["   N  WORD       LONG", "1234  ä             x", "", "   1  longer  longest"]);
    }
}
