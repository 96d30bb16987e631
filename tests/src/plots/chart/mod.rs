//! Charts as SVG: lines over two axes, and bars in groups.
//!
//! ```text
//!   title
//!   ● a   ■ b                     the legend stands above what is drawn, never over it
//!   y ┤    ───●
//!     │  ──■
//!     └──────────── x
//!   notes: how it was measured
//! ```
//!
//! Colours are those of Okabe and Ito, which the colour-blind can tell apart; markers differ as well, so that a
//! chart survives a black-and-white printer. Text stays text.

mod axis;
mod page;
mod style;

use axis::Ruler;
use page::{Key, Page};

pub use axis::{Axis, Notation, Scale};
pub use style::{Colour, Look, Marker, PlotError, Stroke};

/// Lines over two axes.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// What the chart shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
    /// How it was measured, a line each.
    pub notes: Vec<String>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// Its points in the order in which they are connected.
    pub points: Vec<(f64, f64)>,
}

/// Bars in groups: one group for each thing, one bar in it for each of those compared.
#[derive(Clone, Debug)]
pub struct BarChart {
    /// What the chart shows.
    pub title: String,
    /// The vertical axis.
    pub y: Axis,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// What is compared, in the order of the legend.
    pub bars: Vec<Bars>,
    /// How it was measured, a line each.
    pub notes: Vec<String>,
}

/// One colour of bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Its name in the legend.
    pub name: String,
    /// Its colour.
    pub colour: Colour,
    /// One value for each group; where there is none, there is no bar.
    pub values: Vec<Option<f64>>,
}

impl LineChart {
    /// The chart as an SVG document.
    pub fn svg(&self) -> Result<String, PlotError> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let x = self.x.ruler(all().map(|point| point.0))?;
        let y = self.y.ruler(all().map(|point| point.1))?;
        let legend: Vec<_> = self.lines.iter().map(|line| (line.name.as_str(), Key::Line(line.look))).collect();
        let page = Page { title: &self.title, x: &self.x.label, y: &self.y.label, legend: &legend, notes: &self.notes };
        page.draw(&x, &y, |root, place| {
            for line in &self.lines {
                let points: Vec<_> = line
                    .points
                    .iter()
                    .map(|&(x, y)| Ok(place(self.x.position(x)?, self.y.position(y)?)))
                    .collect::<Result<_, PlotError>>()?;
                page::stroke(root, &points, line.look);
                points.iter().for_each(|&point| page::mark(root, point, line.look));
            }
            Ok(())
        })
    }
}

impl BarChart {
    /// The chart as an SVG document.
    pub fn svg(&self) -> Result<String, PlotError> {
        let values = self.bars.iter().flat_map(|bars| bars.values.iter().flatten().copied());
        let mut y = self.y.ruler(values)?;
        // A bar of the least value is still a bar, and there is room for the figure above the highest.
        if self.y.scale != Scale::Linear {
            y.start -= 0.15;
        }
        y.end += (y.end - y.start) * 0.13;
        let middles = (0..self.groups.len()).map(|group| (group as f64 + 0.5, String::new()));
        let x = Ruler { start: 0.0, end: self.groups.len() as f64, major: middles.collect(), minor: Vec::new() };
        let legend: Vec<_> = self.bars.iter().map(|bars| (bars.name.as_str(), Key::Bar(bars.colour))).collect();
        let page = Page { title: &self.title, x: "", y: &self.y.label, legend: &legend, notes: &self.notes };
        let width = 0.84 / self.bars.len() as f64;
        page.draw(&x, &y, |root, place| {
            for (group, name) in self.groups.iter().enumerate() {
                let (left, bottom) = place(group as f64, y.start);
                page::name(root, name, (left, place(group as f64 + 1.0, y.start).0), bottom);
            }
            for (number, bars) in self.bars.iter().enumerate() {
                for (group, value) in bars.values.iter().enumerate() {
                    let Some(value) = *value else { continue };
                    let left = group as f64 + 0.08 + width * number as f64;
                    let top = place(left, self.y.position(value)?);
                    let bottom = place(left + width, y.start);
                    page::bar(root, top, (bottom.0 - 1, bottom.1), bars.colour);
                    page::figure(root, &self.y.write(value), (top.0, bottom.0), top.1);
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        let look = |colour, marker, stroke| Look { colour, marker, stroke };
        LineChart {
            title: "fork & wait".into(),
            x: Axis::new("touched memory", Scale::Doublings).written(Notation::Bytes),
            y: Axis::new("instructions", Scale::Decades),
            lines: vec![
                Line { name: "ours".into(), look: look(Colour::Blue, Marker::Square, Stroke::Solid), points },
                Line {
                    name: "theirs".into(),
                    look: look(Colour::Vermilion, Marker::Circle, Stroke::Dashed),
                    points: vec![(1024.0, 10.0), (4096.0, 1000.0)],
                },
            ],
            notes: vec!["one core".into()],
        }
    }

    /// The numbers of an attribute of every element that has `with` in it.
    fn numbers(svg: &str, with: &str, attribute: &str) -> Vec<i32> {
        let value = |line: &str| line.split_once(&format!(" {attribute}=\""))?.1.split('"').next()?.parse().ok();
        svg.lines().filter(|line| line.contains(with)).filter_map(value).collect()
    }

    #[test]
    fn text_stays_text_and_is_escaped() {
        let svg = chart(vec![(1024.0, 100.0), (2048.0, 200.0)]).svg().unwrap();
        for text in ["fork &amp; wait", "touched memory", "instructions", "4 KiB", "1 k", "theirs", "one core"] {
            assert!(svg.lines().any(|line| line.trim() == text), "{text} is not in:\n{svg}");
        }
    }

    #[test]
    fn the_legend_is_above_what_is_drawn_and_none_of_it_leaves_the_page() {
        let mut chart = chart(vec![(1024.0, 100.0), (2048.0, 200.0)]);
        let circles = numbers(&chart.svg().unwrap(), "<circle", "cy");
        // Each marker is a filled and an outlined circle; the legend's comes first.
        assert_eq!(circles.len(), 6);
        assert!(circles[2..].iter().all(|y| y - 15 > circles[0]), "{circles:?}");

        let name = "a name so long that two of them do not fit into one row of the legend";
        chart.lines.iter_mut().for_each(|line| line.name = name.into());
        let svg = chart.svg().unwrap();
        let lines: Vec<_> = svg.lines().collect();
        let named = lines.windows(2).filter(|pair| pair[1].trim() == name).map(|pair| pair[0]);
        let places: Vec<_> = named.map(|tag| (numbers(tag, "<text", "x")[0], numbers(tag, "<text", "y")[0])).collect();
        assert!(places.len() == 2 && places[0].0 == places[1].0 && places[0].1 + 14 < places[1].1, "{places:?}");
        let widest = numbers(&svg, "<svg", "width")[0];
        assert!(places.iter().all(|(x, _)| x + page::text_width(name, 14) <= widest), "{places:?}");
    }

    #[test]
    fn larger_values_are_higher_and_further_right() {
        let svg = chart(vec![(1024.0, 100.0), (2048.0, 200.0)]).svg().unwrap();
        // The legend's two are the first.
        let (x, y) = (numbers(&svg, "<circle", "cx"), numbers(&svg, "<circle", "cy"));
        assert!(x[2] < x[4] && y[2] > y[4]);
    }

    #[test]
    fn a_value_that_a_logarithm_has_no_place_for_is_an_error() {
        let error = chart(vec![(0.0, 100.0)]).svg().unwrap_err();
        assert_eq!(error.to_string(), "the axis \"touched memory\" has no place for 0");
        let empty = LineChart { lines: Vec::new(), ..chart(Vec::new()) };
        assert_eq!(empty.svg().unwrap_err(), PlotError::Empty);
    }

    #[test]
    fn a_missing_value_has_no_bar_and_a_small_one_is_seen() {
        let bars = |values: Vec<Option<f64>>| BarChart {
            title: String::new(),
            y: Axis::new("instructions", Scale::Decades),
            groups: vec!["null call".into(), "fork".into()],
            bars: vec![Bars { name: "ours".into(), colour: Colour::Blue, values }],
            notes: Vec::new(),
        };
        let blue = |svg: &str| numbers(svg, "#0072B2", "height");
        let both = bars(vec![Some(10.0), Some(10_000.0)]).svg().unwrap();
        let one = bars(vec![Some(10.0), None]).svg().unwrap();
        // The first of them is in the legend.
        assert_eq!((blue(&both).len(), blue(&one).len()), (3, 2));
        assert!(blue(&both)[1] > 5 && blue(&both)[2] > 10 * blue(&both)[1], "{:?}", blue(&both));
        assert!(both.contains("10 k\n") && both.contains("null call\n"));
        let many = BarChart { groups: vec!["a long name of a group".into(); 9], ..bars(vec![Some(10.0); 9]) };
        assert!(many.svg().unwrap().contains("\na long\n"));
    }
}
