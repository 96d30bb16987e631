//! What is drawn as SVG: charts of figures, and pictures of translation tables.

pub mod chart;
pub mod picture;
