//! The three columns of a picture and what a row shows in each.

use alloc::format;
use alloc::string::String;

use crate::table_view::paint::{Meaning, Text};

/// Columns of the whole picture.
pub const COLUMNS: usize = 100;
/// Columns of a process's own column, borders included.
pub(super) const SIDE: usize = 31;
/// Columns of the middle, borders included.
const MIDDLE: usize = 32;
/// Columns of the arrows between.
pub(super) const GAP: usize = 3;

const _: () = assert!(2 * SIDE + MIDDLE + 2 * GAP == COLUMNS);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Left,
    Middle,
    Right,
}

impl Column {
    pub(super) const fn meaning(self) -> Meaning {
        match self {
            Column::Left => Meaning::Left,
            Column::Middle => Meaning::Both,
            Column::Right => Meaning::Right,
        }
    }

    pub(super) const fn width(self) -> usize {
        match self {
            Column::Middle => MIDDLE,
            Column::Left | Column::Right => SIDE,
        }
    }
}

/// Whether something differs from the picture before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Unchanged,
    Changed,
}

impl Mark {
    pub(super) const fn when(changed: bool) -> Mark {
        if changed { Mark::Changed } else { Mark::Unchanged }
    }

    /// The mark takes the place of the space between border and text.
    fn text(self) -> Text {
        match self {
            Mark::Unchanged => Text::new().with(Meaning::Plain, " "),
            Mark::Changed => Text::new().with(Meaning::Changed, "*"),
        }
    }
}

/// What one column shows in one row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Nothing, or the inside of a box that goes on.
    Blank,
    /// The upper border of a table: whether it has changed, its name and its references.
    Header(Mark, Text, String),
    /// A descriptor inside a table.
    Inside(Mark, Text),
    /// A page without a box.
    Page(Mark, Text),
    /// The lower border.
    Bottom,
}

/// Where what a descriptor leads to is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// Below, in the same column; a page is named beside its descriptor.
    Below,
    /// In the middle, at the end of an arrow.
    Middle,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) left: Cell,
    pub(super) middle: Cell,
    pub(super) right: Cell,
    /// An arrow leads from the left column, or from the right one, into the middle.
    pub(super) arrows: (bool, bool),
}

impl Row {
    pub(super) const EMPTY: Row =
        Row { left: Cell::Blank, middle: Cell::Blank, right: Cell::Blank, arrows: (false, false) };
}

/// Puts the cells of a row side by side. `open` says which columns are inside a box.
pub(super) fn compose(row: &Row, open: &mut (bool, bool, bool)) -> Text {
    let gap = |arrow: bool, text: &str| Text::new().with(Meaning::Both, if arrow { text } else { "   " });
    let left = cell(&row.left, Column::Left, &mut open.0, row.arrows.0);
    let middle = cell(&row.middle, Column::Middle, &mut open.1, false);
    let right = cell(&row.right, Column::Right, &mut open.2, row.arrows.1);
    left.then(gap(row.arrows.0, "──▶")).then(middle).then(gap(row.arrows.1, "◀──")).then(right)
}

fn cell(cell: &Cell, column: Column, open: &mut bool, arrow: bool) -> Text {
    let meaning = column.meaning();
    let last = column.width() - 1;
    let was_open = *open;
    let bordered = |mark: Mark, text: Text| {
        // An arrow leaves through the border on the side of the middle.
        let (start, fill, end) = match (arrow, column) {
            (true, Column::Left) => ("│", '─', "┼"),
            (true, _) => ("┼", ' ', "│"),
            (false, _) => ("│", ' ', "│"),
        };
        let start_meaning = if start == "┼" { Meaning::Both } else { meaning };
        let end_meaning = if end == "┼" { Meaning::Both } else { meaning };
        let text = Text::new().with(start_meaning, start).then(mark.text()).then(text);
        // Frame numbers of large machines may take the space before the border.
        let space = if text.width() < last { " " } else { "" };
        text.with(Meaning::Plain, space).fill(Meaning::Both, fill, last).with(end_meaning, end)
    };
    match cell {
        Cell::Blank if was_open => bordered(Mark::Unchanged, Text::new()),
        Cell::Header(mark, title, references) => {
            *open = true;
            let (start, end) = if was_open { ("├", "┤") } else { ("┌", "┐") };
            let tail = if references.is_empty() { String::new() } else { format!(" {references} ") };
            Text::new()
                .with(meaning, start)
                .then(mark.text())
                .then(title.clone())
                .with(meaning, " ")
                .fill(meaning, '─', last - tail.chars().count())
                .with(meaning, tail)
                .with(meaning, end)
        }
        Cell::Inside(mark, text) => bordered(*mark, text.clone()),
        Cell::Page(mark, text) => {
            Text::new().with(meaning, " ").then(mark.text()).then(text.clone()).fill(meaning, ' ', column.width())
        }
        Cell::Bottom if was_open => {
            *open = false;
            Text::new().with(meaning, "└").fill(meaning, '─', last).with(meaning, "┘")
        }
        Cell::Blank | Cell::Bottom => Text::new().fill(meaning, ' ', column.width()),
    }
}
