//! What every chart has: title, axes with their grid, legend, notes; and the shapes that stand in it.

use super::axis::Ruler;
use super::style::{Colour, Look, Marker, PlotError, Stroke};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fmt;
use std::ops::Range;

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (position - self.start) / (self.end - self.start);
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => self.minor.clone(),
            false => self.major.iter().map(|(position, _)| *position).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.start..self.end
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, position: &f64) -> String {
        let labelled = self.major.iter().find(|(place, _)| place == position);
        labelled.map_or_else(String::new, |(_, label)| label.clone())
    }
}

impl Colour {
    const fn rgb(self) -> RGBColor {
        match self {
            Colour::Black => RGBColor(0, 0, 0),
            Colour::Grey => RGBColor(127, 127, 127),
            Colour::Orange => RGBColor(230, 159, 0),
            Colour::SkyBlue => RGBColor(86, 180, 233),
            Colour::Green => RGBColor(0, 158, 115),
            Colour::Blue => RGBColor(0, 114, 178),
            Colour::Vermilion => RGBColor(213, 94, 0),
            Colour::Purple => RGBColor(204, 121, 167),
        }
    }
}

const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(214, 214, 214);
const FINE_GRID: RGBColor = RGBColor(240, 240, 240);
/// Pixels of the page and of its parts.
const WIDTH: i32 = 840;
const PLOT_HEIGHT: i32 = 410;
const MARGIN: i32 = 14;
const LINE_HEIGHT: i32 = 22;
const NOTE_HEIGHT: i32 = 17;
/// Sizes of letters in pixels.
const LARGE: i32 = 17;
const NORMAL: i32 = 14;
const SMALL: i32 = 12;
/// Half of a marker, and the length of a line in the legend.
const MARKER: i32 = 5;
const SAMPLE: i32 = 30;
/// Between figures of neighbouring bars.
const GAP: i32 = 6;

pub(super) type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What the legend shows beside a name.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Line(Look),
    Bar(Colour),
}

impl Key {
    const fn width(self) -> i32 {
        match self {
            Key::Line(_) => SAMPLE,
            Key::Bar(_) => 14,
        }
    }
}

/// What both kinds of charts have around what they draw.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) legend: &'a [(&'a str, Key)],
    pub(super) notes: &'a [String],
}

impl Page<'_> {
    /// Draws the page; `content` gets it, and where on it the rulers' positions are.
    pub(super) fn draw(
        &self,
        x: &Ruler,
        y: &Ruler,
        content: impl FnOnce(&Root<'_>, &dyn Fn(f64, f64) -> (i32, i32)) -> Result<(), PlotError>,
    ) -> Result<String, PlotError> {
        let mut svg = String::new();
        let keys = self.keys(if self.title.is_empty() { 18 } else { 52 });
        let above = keys.last().map_or(10, |(_, y)| y + 20);
        let below = NOTE_HEIGHT * self.notes.len() as i32 + 20;
        let height = above + PLOT_HEIGHT + below;
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
            draw(root.fill(&WHITE));
            draw(root.draw_text(self.title, &font(LARGE).style(FontStyle::Bold).color(&INK), (MARGIN, 8)));
            for ((name, key), place) in self.legend.iter().zip(keys) {
                self.key(&root, place, name, *key);
            }
            let chart = self.frame(&root, x, y, [above, below]);
            content(&root, &|x, y| chart.backend_coord(&(x, y)))?;
            for (number, note) in self.notes.iter().enumerate() {
                let place = (MARGIN, above + PLOT_HEIGHT + 12 + NOTE_HEIGHT * number as i32);
                draw(root.draw_text(note, &font(SMALL).color(&FAINT), place));
            }
            draw(root.present());
        }
        Ok(svg)
    }

    /// Draws grid, axes and labels.
    fn frame<'a>(
        &self,
        root: &Root<'a>,
        x: &Ruler,
        y: &Ruler,
        [above, below]: [i32; 2],
    ) -> ChartContext<'a, SVGBackend<'a>, Cartesian2d<Ruler, Ruler>> {
        let left = y.major.iter().map(|(_, label)| text_width(label, NORMAL)).max().unwrap_or(0) + 44;
        let mut chart = draw(
            ChartBuilder::on(root)
                .margin_top(above)
                .margin_bottom(below)
                .margin_left(MARGIN - 4)
                // Half of a long label stands beside the last grid line.
                .margin_right(2 * MARGIN + 6)
                .x_label_area_size(50)
                .y_label_area_size(left)
                .build_cartesian_2d(x.clone(), y.clone()),
        );
        let mut mesh = chart.configure_mesh();
        if self.x.is_empty() {
            // Groups have names, not places on a scale.
            mesh.disable_x_mesh();
        }
        draw(
            mesh.x_desc(self.x)
                .y_desc(self.y)
                .axis_style(INK)
                .bold_line_style(GRID)
                .light_line_style(FINE_GRID)
                .label_style(font(NORMAL).color(&INK))
                .axis_desc_style(font(NORMAL).color(&INK))
                .draw(),
        );
        chart
    }

    /// Where the legend's entries stand: side by side, in as many rows as they need.
    fn keys(&self, mut y: i32) -> Vec<(i32, i32)> {
        let mut x = MARGIN;
        let mut places = Vec::new();
        for (name, key) in self.legend {
            let width = key.width() + 8 + text_width(name, NORMAL);
            if x > MARGIN && x + width > WIDTH - MARGIN {
                (x, y) = (MARGIN, y + LINE_HEIGHT);
            }
            places.push((x, y));
            x += width + 20;
        }
        places
    }

    fn key(&self, root: &Root<'_>, (x, y): (i32, i32), name: &str, key: Key) {
        match key {
            Key::Line(look) => {
                stroke(root, &[(x, y), (x + SAMPLE, y)], look);
                mark(root, (x + SAMPLE / 2, y), look);
            }
            Key::Bar(colour) => bar(root, (x, y - 7), (x + 14, y + 7), colour),
        }
        let style = font(NORMAL).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        draw(root.draw_text(name, &style, (x + key.width() + 8, y)));
    }
}

pub(super) fn bar(root: &Root<'_>, top: (i32, i32), bottom: (i32, i32), colour: Colour) {
    draw(root.draw(&Rectangle::new([top, bottom], colour.rgb().filled())));
}

pub(super) fn stroke(root: &Root<'_>, points: &[(i32, i32)], look: Look) {
    let style = look.colour.rgb().stroke_width(2);
    match look.stroke {
        Stroke::Solid => draw(root.draw(&PathElement::new(points, style))),
        Stroke::Dashed => draw(root.draw(&DashedPathElement::new(points.to_vec(), 7, 5, style))),
    }
}

pub(super) fn mark(root: &Root<'_>, (x, y): (i32, i32), look: Look) {
    let corners: &[(i32, i32)] = match look.marker {
        Marker::None => return,
        Marker::Circle => {
            let fill = if look.stroke == Stroke::Solid { look.colour.rgb() } else { WHITE };
            draw(root.draw(&Circle::new((x, y), MARKER, fill.filled())));
            return draw(root.draw(&Circle::new((x, y), MARKER, look.colour.rgb().stroke_width(2))));
        }
        Marker::Square => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
        Marker::Triangle => &[(0, -6), (5, 4), (-5, 4)],
        Marker::Diamond => &[(0, -6), (6, 0), (0, 6), (-6, 0)],
    };
    let mut outline: Vec<_> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
    let fill = if look.stroke == Stroke::Solid { look.colour.rgb() } else { WHITE };
    draw(root.draw(&Polygon::new(outline.clone(), fill.filled())));
    outline.extend_from_within(..2);
    draw(root.draw(&PathElement::new(outline, look.colour.rgb().stroke_width(2))));
}

/// Writes a bar's value above it, upright where it is wider than the bar.
pub(super) fn figure(root: &Root<'_>, text: &str, (left, right): (i32, i32), top: i32) {
    let (anchor, turn) = if text_width(text, SMALL) + GAP <= right - left {
        (Pos::new(HPos::Center, VPos::Bottom), FontTransform::None)
    } else {
        (Pos::new(HPos::Left, VPos::Center), FontTransform::Rotate270)
    };
    let style = font(SMALL).transform(turn).color(&INK).pos(anchor);
    draw(root.draw_text(text, &style, ((left + right) / 2, top - 3)));
}

/// Writes a group's name below it, in several lines where it is wider than the group.
pub(super) fn name(root: &Root<'_>, text: &str, (left, right): (i32, i32), bottom: i32) {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), NORMAL) <= right - left => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    let style = font(NORMAL).color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
    for (number, line) in lines.iter().enumerate() {
        draw(root.draw_text(line, &style, ((left + right) / 2, bottom + 10 + NOTE_HEIGHT * number as i32)));
    }
}

/// A font whose letters are this many pixels high; the library's own measure is 1.24 times as large.
fn font(pixels: i32) -> FontDesc<'static> {
    ("sans-serif", f64::from(pixels) * 1.24).into_font()
}

/// Pixels that a text takes, at most, in the usual fonts.
pub(super) fn text_width(text: &str, pixels: i32) -> i32 {
    text.chars().count() as i32 * pixels * 3 / 5
}

/// What was drawn. Into a string nothing fails.
fn draw<T, E: fmt::Debug>(drawn: Result<T, E>) -> T {
    drawn.expect("a string takes everything")
}
