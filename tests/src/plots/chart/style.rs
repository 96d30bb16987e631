//! How lines and bars look, and why there is no chart.

use std::fmt;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its colour.
    pub colour: Colour,
    /// What stands at each point.
    pub marker: Marker,
    /// How points are connected.
    pub stroke: Stroke,
}

/// Colours that can be told apart without seeing red or green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Colour {
    Black,
    Grey,
    Orange,
    SkyBlue,
    Green,
    Blue,
    Vermilion,
    Purple,
}

/// What stands at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    /// For lines of so many points that marks would hide them.
    None,
}

/// How points are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// By a line; markers are filled.
    Solid,
    /// By dashes; markers are hollow.
    Dashed,
}

/// Why there is no chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlotError {
    /// There is nothing to draw.
    Empty,
    /// The axis has no place for a value.
    OffScale {
        /// The axis's label.
        axis: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for PlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlotError::Empty => f.write_str("there is nothing to draw"),
            PlotError::OffScale { axis, value } => write!(f, "the axis {axis:?} has no place for {value}"),
        }
    }
}

impl std::error::Error for PlotError {}
