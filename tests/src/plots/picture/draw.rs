//! The graph as SVG.

use super::area::Area;
use super::graph::{Cell, Change, Node, PAGES, Side};
use super::layout::{HEADER, Layout};
use svg::Document;
use svg::node::element::{Definitions, Group, Marker, Path, Rectangle, Text};

/// Colours that can be told apart without seeing red or green: of the left process, of both, of the right one.
const SIDES: [(&str, &str); 3] = [("#0072B2", "#E8F2F9"), ("#00795A", "#E4F4EE"), ("#8A4C86", "#F5EBF4")];
const READ_ONLY: (&str, &str) = ("#C24A00", "#FBE5D6");
const CHANGED: (&str, &str) = ("#B8860B", "#FFF1A8");
const INK: &str = "#222222";
const FAINT: &str = "#6E6E6E";
const LINE: &str = "#8A8A8A";

/// Pixels left of the columns, for the names of the rows; above them, for title and headings; around everything.
pub(super) const LEFT: f64 = 112.0;
pub(super) const TOP: f64 = 100.0;
const MARGIN: f64 = 20.0;
const LEGEND: f64 = 78.0;

/// What is written around the graph.
pub(super) struct Words<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    /// Above the columns.
    pub(super) headings: [&'a str; 3],
}

/// Names of the rows, and how much one descriptor in it covers.
const ROWS: [(&str, &str); 5] = [
    ("level 0", "512 GiB each"),
    ("level 1", "1 GiB each"),
    ("level 2", "2 MiB each"),
    ("level 3", "4 KiB each"),
    ("pages", ""),
];

/// Draws the graph.
pub(super) fn draw(layout: &Layout, words: &Words<'_>) -> String {
    let [first, _, last] = layout.columns;
    let (width, height) = (last.right() + MARGIN, last.bottom() + MARGIN + LEGEND);
    let mut page = Group::new().set("font-family", "sans-serif");
    page = page.add(rectangle(Area { x: 0.0, y: 0.0, width, height }).set("fill", "white"));
    page = page.add(text(words.title, (MARGIN, 32.0), 19, INK).set("font-weight", "bold"));
    page = page.add(text(words.subtitle, (MARGIN, 52.0), 12, FAINT));
    for ((column, heading), (colour, _)) in layout.columns.iter().zip(words.headings).zip(SIDES) {
        let band = Area { x: column.x - 14.0, y: TOP - 30.0, width: column.width + 28.0, height: column.height + 44.0 };
        page = page.add(rectangle(band).set("rx", 8).set("fill", colour).set("fill-opacity", 0.045));
        let heading = centred(heading, (column.middle(), TOP - 11.0), 13, colour).set("font-weight", "bold");
        page = page.add(heading);
    }
    for (row, (name, covers)) in ROWS.into_iter().enumerate() {
        let Some(node) = layout.nodes.iter().find(|node| node.row == row) else { continue };
        let y = node.area.y + node.area.height / 2.0;
        page = page.add(text(name, (MARGIN, y), 13, INK).set("font-weight", "bold"));
        page = page.add(text(covers, (MARGIN, y + 15.0), 11, FAINT));
    }
    for edge in &layout.edges {
        let ((x, y), (to_x, to_y)) = (edge.from, edge.to);
        let bend = (to_y - y) * 0.55;
        let curve = format!("M{x:.1},{y:.1} C{x:.1},{:.1} {to_x:.1},{:.1} {to_x:.1},{to_y:.1}", y + bend, to_y - bend);
        let (colour, marker) = if edge.is_read_only { (READ_ONLY.0, "url(#closed)") } else { (LINE, "url(#open)") };
        let path = Path::new().set("d", curve).set("fill", "none").set("stroke", colour);
        page = page.add(path.set("stroke-width", 1.6).set("marker-end", marker));
    }
    for node in &layout.nodes {
        page = page.add(if node.row == PAGES { self::page(node) } else { table(node) });
    }
    let has_changes = layout.nodes.iter().any(|node| node.change != Change::None);
    page = page.add(legend((first.x - 14.0, last.bottom() + MARGIN + 16.0), has_changes));
    let heads = Definitions::new().add(arrow("open", LINE)).add(arrow("closed", READ_ONLY.0));
    let document = Document::new().set("viewBox", (0, 0, width, height)).set("width", width).set("height", height);
    document.add(heads).add(page).to_string()
}

/// The head of a line.
fn arrow(name: &str, colour: &str) -> Marker {
    let head = Path::new().set("d", "M0,0 L8,4 L0,8 z").set("fill", colour);
    let marker = Marker::new().set("id", name).set("orient", "auto").set("refX", 7).set("refY", 4);
    marker.set("markerWidth", 8).set("markerHeight", 8).set("markerUnits", "userSpaceOnUse").add(head)
}

fn side(node: &Node) -> (&'static str, &'static str) {
    SIDES[Side::ALL.iter().position(|side| *side == node.side).unwrap_or(0)]
}

/// The border of a table or page: gold and thick if it is new.
fn border(node: &Node) -> (&'static str, f64) {
    if node.change == Change::New { (CHANGED.0, 2.6) } else { (side(node).0, 1.4) }
}

fn table(node: &Node) -> Group {
    let (colour, tint) = side(node);
    let area = node.area;
    let mut group = Group::new().add(rectangle(area).set("fill", tint).set("rx", 3));
    let name = text(&node.name, (area.x + 7.0, area.y + 15.5), 12, INK).set("font-weight", "bold");
    let after = area.x + 13.0 + text_width(&node.name, 12.5);
    group = group.add(name).add(text(&format!("#{:x}", node.frame), (after, area.y + 15.5), 11, FAINT));
    if node.references > 0 {
        group = group.add(count(node, (area.right() - 17.0, area.y + 11.0)));
    }
    for cell in &node.cells {
        group = group.add(descriptor(cell, colour));
    }
    if node.more > 0 {
        let x = node.cells.last().map_or(area.x, |cell| cell.area.right());
        let place = ((x + area.right()) / 2.0, area.y + HEADER + 23.0);
        group = group.add(centred(&format!("+{}", node.more), place, 11, FAINT));
    }
    let (stroke, width) = border(node);
    group.add(rectangle(area).set("fill", "none").set("rx", 3).set("stroke", stroke).set("stroke-width", width))
}

fn descriptor(cell: &Cell, colour: &str) -> Group {
    let fill = match cell {
        Cell { has_changed: true, .. } => CHANGED.1,
        Cell { is_read_only: true, .. } => READ_ONLY.1,
        _ => "white",
    };
    let area = cell.area;
    let (middle, ink) = (area.middle(), if cell.is_read_only { READ_ONLY.0 } else { INK });
    let shape = rectangle(area).set("fill", fill).set("stroke", colour).set("stroke-width", 0.8);
    let group = Group::new()
        .add(shape)
        .add(centred(&format!("[{}]", cell.index), (middle, area.y + 15.0), 11, FAINT))
        .add(centred(&cell.bits, (middle, area.y + 30.0), 12, ink));
    if !cell.is_held_back {
        return group;
    }
    group.add(centred("▲", (area.right() - 11.0, area.y + 14.0), 10, READ_ONLY.0))
}

fn page(node: &Node) -> Group {
    let area = node.area;
    let (stroke, width) = border(node);
    let fill = if node.change == Change::New { CHANGED.1 } else { side(node).1 };
    let shape = rectangle(area).set("fill", fill).set("rx", 3).set("stroke", stroke).set("stroke-width", width);
    Group::new()
        .add(shape)
        .add(text(&node.name, (area.x + 7.0, area.y + 17.0), 12, INK).set("font-weight", "bold"))
        .add(text(&format!("#{:x}", node.frame), (area.x + 7.0, area.y + 32.0), 11, FAINT))
        .add(count(node, (area.right() - 16.0, area.y + 11.5)))
}

/// How many descriptors lead there, as a badge around a middle.
fn count(node: &Node, (x, y): (f64, f64)) -> Group {
    let fill = if node.change == Change::None { "white" } else { CHANGED.1 };
    let stroke = if node.change == Change::None { side(node).0 } else { CHANGED.0 };
    let badge = rectangle(Area { x: x - 13.0, y: y - 8.0, width: 26.0, height: 16.0 }).set("rx", 8);
    let badge = badge.set("fill", fill).set("stroke", stroke).set("stroke-width", 1);
    let weight = if node.references > 1 { "bold" } else { "normal" };
    let number = centred(&format!("×{}", node.references), (x, y + 4.0), 11, INK);
    Group::new().add(badge).add(number.set("font-weight", weight))
}

/// What the signs mean, three in a row from `place` on.
fn legend((left, top): (f64, f64), has_changes: bool) -> Group {
    let entries = [
        (READ_ONLY.1, "", "takes write permission from all below"),
        ("", "▲", "writable, but for a table above"),
        ("", "×n", "descriptors that lead there"),
        ("", "+n", "descriptors that are not drawn"),
        ("", "#n", "number of the frame"),
        (CHANGED.1, "", "changed by the write; thick: new"),
    ];
    // The last sign is not in a picture without changes.
    let count = if has_changes { entries.len() } else { entries.len() - 1 };
    let mut group = Group::new();
    for (number, (fill, sign, meaning)) in entries.into_iter().take(count).enumerate() {
        let (x, y) = (left + 20.0 + 320.0 * (number % 3) as f64, top + 22.0 * (number / 3) as f64);
        if fill.is_empty() {
            group = group.add(centred(sign, (x, y + 4.0), 13, INK));
        } else {
            let area = Area { x: x - 12.0, y: y - 8.0, width: 24.0, height: 16.0 };
            group = group.add(rectangle(area).set("fill", fill).set("stroke", LINE).set("stroke-width", 0.8));
        }
        group = group.add(text(meaning, (x + 20.0, y + 4.0), 12, INK));
    }
    group
}

fn rectangle(Area { x, y, width, height }: Area) -> Rectangle {
    Rectangle::new().set("x", x).set("y", y).set("width", width).set("height", height)
}

fn text(content: &str, (x, y): (f64, f64), size: u32, colour: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("font-size", size).set("fill", colour)
}

fn centred(content: &str, place: (f64, f64), size: u32, colour: &str) -> Text {
    text(content, place, size, colour).set("text-anchor", "middle")
}

/// Pixels that bold text takes in the usual fonts.
fn text_width(content: &str, size: f64) -> f64 {
    content.chars().count() as f64 * size * 0.6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::picture::{graph, layout, sample};
    use svg::parser::Event;

    fn drawn() -> [String; 2] {
        let words = Words { title: "A & B", subtitle: "from a run", headings: ["ONE", "BOTH", "OTHER"] };
        layout::lay_out(graph::both(&sample::dump()).unwrap().1, (LEFT, TOP)).map(|layout| draw(&layout, &words))
    }

    /// Every text of the document.
    fn texts(svg: &str) -> Vec<&str> {
        let text = |event| if let Event::Text(text) = event { Some(text.trim()) } else { None };
        svg::read(svg).unwrap().filter_map(text).filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn all_that_there_is_to_know_is_written() {
        let [before, after] = drawn();
        for text in ["A &amp; B", "ONE", "level 3 A", "APTable=10", "AP=01 rw", "#7fedb", "B[1]", "×2", "+1", "▲"] {
            assert!(texts(&before).contains(&text), "{text} is not in {:?}", texts(&before));
        }
        assert_eq!(texts(&before).iter().filter(|text| **text == "level 3 A").count(), 1);
        assert_eq!(texts(&after).iter().filter(|text| **text == "level 3 A").count(), 2);
        assert!(texts(&after).contains(&"AP=11 ro"));
    }

    #[test]
    fn changes_are_coloured_where_there_are_some() {
        let [before, after] = drawn();
        assert!(!before.contains(CHANGED.0) && !before.contains(CHANGED.1));
        // The new table and the new page have thick borders.
        assert_eq!(after.matches("stroke-width=\"2.6\"").count(), 2);
        assert!(after.contains("changed by the write"));
    }

    #[test]
    fn everything_is_on_the_page() {
        for svg in drawn() {
            let mut page = None;
            for event in svg::read(&svg).unwrap() {
                let Event::Tag(name, _, attributes) = event else { continue };
                let number = |key: &str| attributes.get(key).and_then(|value| value.parse::<f64>().ok());
                match name {
                    "svg" if number("width").is_some() => {
                        page = Some((number("width").unwrap(), number("height").unwrap()))
                    }
                    "rect" => {
                        let (width, height) = page.unwrap();
                        let at = |key| number(key).unwrap();
                        assert!(at("x") >= 0.0 && at("x") + at("width") <= width, "{attributes:?}");
                        assert!(at("y") >= 0.0 && at("y") + at("height") <= height, "{attributes:?}");
                    }
                    _ => {}
                }
            }
            assert!(page.is_some());
        }
    }
}
