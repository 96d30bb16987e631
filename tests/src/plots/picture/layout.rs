//! Where everything stands: tables in rows by level, in columns by whose they are.
//!
//! ```text
//!              left            middle            right
//!   level 0    ▭▭                                  ▭▭        a table is a strip of descriptors
//!   level 1    ▭▭                                  ▭▭        what only one process reaches is at its side,
//!   level 2    ▭▭                                  ▭▭        what both reach stands once, in the middle
//!   level 3    ▭▭▭              ▭▭                ▭▭▭
//!   pages      □               □□ □□               □         lines lead from a descriptor to what is below it
//! ```

use super::area::Area;
use super::graph::{Cell, Node, PAGES, Side};

/// Pixels of a descriptor, and of the line above the descriptors of a table.
pub(super) const CELL: (f64, f64) = (82.0, 38.0);
pub(super) const HEADER: f64 = 22.0;
/// Pixels of a page, and of the place that says how many descriptors are not drawn.
const PAGE: (f64, f64) = (74.0, 40.0);
const MORE: f64 = 34.0;
/// Pixels that a table's name needs.
const NAME: f64 = 2.0 * CELL.0;
/// Pixels between things of a row, between rows, and between columns.
const SPACE: f64 = 16.0;
const ROW: f64 = HEADER + CELL.1 + 58.0;
const COLUMN: f64 = 56.0;

/// A line from a descriptor to what it leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
    pub(super) is_read_only: bool,
}

/// Everything with its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// The columns, left, middle and right.
    pub(super) columns: [Area; 3],
}

/// Lays pictures out below and right of `origin`; their columns are where those of the others are.
pub(super) fn lay_out<const N: usize>(pictures: [Vec<Node>; N], (left, top): (f64, f64)) -> [Layout; N] {
    let mut columns = [Area::default(); 3];
    let mut x = left;
    for (column, side) in columns.iter_mut().zip(Side::ALL) {
        let width = pictures.iter().map(|nodes| width(nodes, side)).fold(0.0, f64::max);
        *column = Area { x, y: top, width, height: PAGES as f64 * ROW + PAGE.1 };
        x += width + COLUMN;
    }
    pictures.map(|nodes| {
        let mut layout = Layout { nodes, edges: Vec::new(), columns };
        layout.place();
        layout.connect();
        layout
    })
}

/// Pixels that the widest row of a column needs.
fn width(nodes: &[Node], side: Side) -> f64 {
    let width = |row| {
        let members = nodes.iter().filter(|node| node.side == side && node.row == row);
        members.map(|node| node.size().0 + SPACE).sum::<f64>() - SPACE
    };
    (0..=PAGES).map(width).fold(NAME, f64::max)
}

impl Node {
    fn size(&self) -> (f64, f64) {
        if self.row == PAGES {
            return PAGE;
        }
        let more = if self.more > 0 { MORE } else { 0.0 };
        ((self.cells.len() as f64 * CELL.0 + more).max(NAME), HEADER + CELL.1)
    }

    /// Puts the node and its descriptors there.
    fn put(&mut self, x: f64, y: f64) {
        let (width, height) = self.size();
        self.area = Area { x, y, width, height };
        for (number, cell) in self.cells.iter_mut().enumerate() {
            cell.area = Area { x: x + number as f64 * CELL.0, y: y + HEADER, width: CELL.0, height: CELL.1 };
        }
    }
}

impl Layout {
    /// Gives every node its place: rows from above, and in a row each below what leads there if there is room.
    fn place(&mut self) {
        for row in 0..=PAGES {
            for (column, side) in self.columns.into_iter().zip(Side::ALL) {
                let members: Vec<usize> = (0..self.nodes.len())
                    .filter(|&index| self.nodes[index].side == side && self.nodes[index].row == row)
                    .collect();
                let wishes: Vec<(f64, f64)> =
                    members.iter().map(|&index| (self.wish(index, column), self.nodes[index].size().0)).collect();
                for (index, x) in members.into_iter().zip(spread(&wishes, column)) {
                    self.nodes[index].put(x, column.y + row as f64 * ROW);
                }
            }
        }
    }

    /// Where the middle of a node would best be: below the descriptors that lead there, or at the left.
    fn wish(&self, index: usize, column: Area) -> f64 {
        let node = &self.nodes[index];
        let leading: Vec<f64> = self.leading_to(node).map(|cell| cell.area.middle()).collect();
        if leading.is_empty() {
            column.x + node.size().0 / 2.0
        } else {
            leading.iter().sum::<f64>() / leading.len() as f64
        }
    }

    fn leading_to(&self, node: &Node) -> impl Iterator<Item = &Cell> {
        let (frame, row) = (node.frame, node.row);
        let above = self.nodes.iter().filter(move |above| above.row + 1 == row);
        above.flat_map(|above| &above.cells).filter(move |cell| cell.target == Some(frame))
    }

    /// Draws the lines; those that arrive at the same node arrive side by side.
    fn connect(&mut self) {
        let mut edges = Vec::new();
        for node in &self.nodes {
            let mut leading: Vec<&Cell> = self.leading_to(node).collect();
            leading.sort_by(|one, other| one.area.x.total_cmp(&other.area.x));
            let count = leading.len() as f64;
            for (number, cell) in leading.into_iter().enumerate() {
                let x = node.area.x + node.area.width * (number as f64 + 1.0) / (count + 1.0);
                // Straight down is better than the exact middle.
                let x = if count == 1.0 && (node.area.x + 8.0..node.area.right() - 8.0).contains(&cell.area.middle()) {
                    cell.area.middle()
                } else {
                    x
                };
                let from = (cell.area.middle(), cell.area.bottom());
                edges.push(Edge { from, to: (x, node.area.y), is_read_only: cell.is_read_only });
            }
        }
        self.edges = edges;
    }
}

/// Where things begin that wish their middles somewhere, so that none overlaps another and all are in the column.
fn spread(wishes: &[(f64, f64)], column: Area) -> Vec<f64> {
    let total = wishes.iter().map(|(_, width)| width).sum::<f64>() + SPACE * wishes.len().saturating_sub(1) as f64;
    let begins: Vec<f64> = wishes.iter().map(|(middle, width)| middle - width / 2.0).collect();
    let fits = begins.iter().zip(wishes).all(|(x, (_, width))| *x >= column.x && x + width <= column.right());
    let apart = begins.windows(2).zip(wishes).all(|(pair, (_, width))| pair[0] + width + SPACE <= pair[1]);
    if fits && apart {
        return begins;
    }
    // Close together, in the middle of what they wish if the column has room there.
    let wished = wishes.iter().map(|(middle, _)| middle).sum::<f64>() / wishes.len().max(1) as f64;
    let mut x = (wished - total / 2.0).min(column.right() - total).max(column.x);
    let mut places = Vec::new();
    for (_, width) in wishes {
        places.push(x);
        x += width + SPACE;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::picture::{graph, sample};

    fn layouts() -> [Layout; 2] {
        lay_out(graph::both(&sample::dump()).unwrap().1, (100.0, 50.0))
    }

    fn overlap(one: &Area, other: &Area) -> bool {
        one.x < other.right() && other.x < one.right() && one.y < other.bottom() && other.y < one.bottom()
    }

    #[test]
    fn nothing_overlaps_and_everything_is_in_its_column() {
        for layout in layouts() {
            for (index, node) in layout.nodes.iter().enumerate() {
                assert!(layout.nodes[..index].iter().all(|other| !overlap(&node.area, &other.area)), "{node:?}");
                let column = layout.columns[Side::ALL.iter().position(|side| *side == node.side).unwrap()];
                assert!(column.x <= node.area.x && node.area.right() <= column.right() + 0.01, "{node:?} {column:?}");
                assert!(column.y <= node.area.y && node.area.bottom() <= column.bottom() + 0.01, "{node:?} {column:?}");
                let last = node.cells.last().map_or(node.area.x, |cell| cell.area.right());
                assert!(last <= node.area.right(), "{node:?}");
            }
            let [left, middle, right] = layout.columns;
            assert!(left.right() < middle.x && middle.right() < right.x);
        }
    }

    #[test]
    fn columns_and_rows_are_the_same_in_every_picture() {
        let [before, after] = layouts();
        assert_eq!(before.columns, after.columns);
        for node in before.nodes.iter().chain(&after.nodes) {
            assert_eq!(node.area.y, 50.0 + ROW * node.row as f64);
        }
    }

    #[test]
    fn every_line_leads_from_its_descriptor_to_what_it_leads_to() {
        for layout in layouts() {
            let cells: Vec<&Cell> = layout.nodes.iter().flat_map(|node| &node.cells).collect();
            assert_eq!(layout.edges.len(), cells.len());
            for edge in &layout.edges {
                let from = cells.iter().find(|cell| (cell.area.middle(), cell.area.bottom()) == edge.from).unwrap();
                let lands =
                    |node: &&Node| node.area.y == edge.to.1 && (node.area.x..node.area.right()).contains(&edge.to.0);
                assert_eq!(layout.nodes.iter().find(lands).map(|node| node.frame), from.target);
                assert_eq!(edge.is_read_only, from.is_read_only);
            }
        }
    }

    #[test]
    fn lines_to_the_same_thing_arrive_side_by_side() {
        let [before, _] = layouts();
        let mut ends: Vec<_> = before.edges.iter().map(|edge| (edge.to.0 as i64, edge.to.1 as i64)).collect();
        ends.sort_unstable();
        assert!(ends.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_full_row_is_packed_and_stays_in_its_column() {
        let column = Area { x: 10.0, y: 0.0, width: 232.0, height: 1.0 };
        assert_eq!(spread(&[(60.0, 100.0), (190.0, 100.0)], column), [10.0, 140.0]);
        assert_eq!(spread(&[(200.0, 100.0), (201.0, 100.0)], column), [26.0, 142.0]);
        assert_eq!(spread(&[], column), [0.0; 0]);
    }
}
