//! Axes: where a value stands, which values are marked, and how they are written.

use super::style::PlotError;

/// One axis of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What is counted, and in which unit.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// How values are written.
    pub notation: Notation,
}

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0 on.
    Linear,
    /// Logarithmically, marked at powers of ten.
    Decades,
    /// Logarithmically, marked at powers of two.
    Doublings,
    /// Percentiles from 0 to below 100, spread so that 90, 99 and 99.9 are equally far apart.
    Nines,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// Three digits and `k`, `M` or `G`.
    Number,
    /// Bytes in `KiB`, `MiB` or `GiB`.
    Bytes,
    /// With a percent sign.
    Percent,
}

/// An axis laid out for the values it has to hold. Positions are on a linear scale of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ruler {
    pub(super) start: f64,
    pub(super) end: f64,
    /// Positions with a label.
    pub(super) major: Vec<(f64, String)>,
    /// Positions with a line only.
    pub(super) minor: Vec<f64>,
}

/// Most labels of an axis of bytes, whose labels are long.
const LABELS_MAX: f64 = 8.0;
/// A difference too small to be seen.
const NEARLY: f64 = 1e-9;

impl Axis {
    /// An axis of numbers.
    pub fn new(label: impl Into<String>, scale: Scale) -> Axis {
        Axis { label: label.into(), scale, notation: Notation::Number }
    }

    /// The same axis with its values written in another way.
    #[must_use]
    pub fn written(self, notation: Notation) -> Axis {
        Axis { notation, ..self }
    }

    /// Where a value stands.
    pub(super) fn position(&self, value: f64) -> Result<f64, PlotError> {
        let position = match self.scale {
            Scale::Linear if value < 0.0 => f64::NAN,
            Scale::Linear => value,
            Scale::Decades => value.log10(),
            Scale::Doublings => value.log2(),
            Scale::Nines => nines(value),
        };
        if position.is_finite() {
            Ok(position)
        } else {
            Err(PlotError::OffScale { axis: self.label.clone(), value: value.to_string() })
        }
    }

    /// Lays the axis out so that all these values fit.
    pub(super) fn ruler(&self, values: impl IntoIterator<Item = f64>) -> Result<Ruler, PlotError> {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let position = self.position(value)?;
            (least, most) = (least.min(position), most.max(position));
        }
        if least > most {
            return Err(PlotError::Empty);
        }
        Ok(match self.scale {
            Scale::Linear => self.linear(most),
            Scale::Decades => self.decades(least, most),
            Scale::Doublings => self.doublings(least, most),
            Scale::Nines => self.nines(most),
        })
    }

    fn linear(&self, most: f64) -> Ruler {
        let rough = (most / 6.0).max(f64::MIN_POSITIVE);
        let step = match self.notation {
            Notation::Bytes => 2_f64.powf(rough.log2().ceil()),
            Notation::Number | Notation::Percent => {
                let decade = 10_f64.powf(rough.log10().floor());
                [1.0, 2.0, 5.0]
                    .map(|part| part * decade)
                    .into_iter()
                    .find(|step| *step >= rough)
                    .unwrap_or(decade * 10.0)
            }
        };
        let steps = (most / step).ceil().max(1.0) as u32;
        let major = (0..=steps).map(|number| f64::from(number) * step);
        Ruler {
            start: 0.0,
            end: f64::from(steps) * step,
            major: major.map(|value| (value, self.write(value))).collect(),
            minor: Vec::new(),
        }
    }

    /// From one of 1, 2, 5, 10, 20 … to another; all of these have labels where there are few.
    fn decades(&self, least: f64, most: f64) -> Ruler {
        let parts = |number: i32| (1..10).map(move |part| (f64::from(number) + f64::from(part).log10(), part));
        let all: Vec<(f64, i32)> = (least.floor() as i32 - 1..=most.ceil() as i32).flat_map(parts).collect();
        let is_round = |part: i32| matches!(part, 1 | 2 | 5);
        let round = || all.iter().filter(|(_, part)| is_round(*part)).map(|(position, _)| *position);
        let start = round().rfind(|position| *position <= least + NEARLY).unwrap_or(least);
        let end = round().find(|position| *position >= most - NEARLY && *position > start).unwrap_or(most);
        let inside = || all.iter().filter(|(position, _)| (start..=end).contains(position)).copied();
        let few = inside().filter(|(_, part)| *part == 1).count() < 3;
        let (major, minor): (Vec<_>, Vec<_>) = inside().partition(|(_, part)| *part == 1 || few && is_round(*part));
        let label = |position: f64| (position, self.write(10_f64.powf(position)));
        Ruler {
            start,
            end,
            major: major.into_iter().map(|(position, _)| label(position)).collect(),
            minor: minor.into_iter().map(|(position, _)| position).collect(),
        }
    }

    fn nines(&self, most: f64) -> Ruler {
        let end = (most - NEARLY).ceil().max(1.0) as i32;
        let label = |number: i32| (f64::from(number), self.write(100.0 - 100.0 / 10_f64.powi(number)));
        let minor = |number: i32| (2..10).map(move |part| f64::from(number) - f64::from(part).log10());
        Ruler {
            start: 0.0,
            end: f64::from(end),
            major: (0..=end).map(label).collect(),
            minor: (1..=end).flat_map(minor).collect(),
        }
    }

    fn doublings(&self, least: f64, most: f64) -> Ruler {
        let (low, high) = whole(least, most);
        let step = ((high - low + 1.0) / LABELS_MAX).ceil().max(1.0) as usize;
        let all: Vec<f64> = (0..=(high - low) as u32).map(|number| low + f64::from(number)).collect();
        let major = all.iter().step_by(step).map(|&position| (position, self.write(position.exp2())));
        // The first and the last value do not lie on the frame.
        Ruler { start: low - 0.3, end: high + 0.3, major: major.collect(), minor: all }
    }

    /// A value as this axis writes it.
    pub(super) fn write(&self, value: f64) -> String {
        match self.notation {
            Notation::Number => scaled(value, 1000.0, &["", " k", " M", " G", " T"]),
            Notation::Bytes => scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]),
            Notation::Percent => format!("{} %", (value * 1e6).round() / 1e6),
        }
    }
}

fn nines(percentile: f64) -> f64 {
    if (0.0..100.0).contains(&percentile) { -(1.0 - percentile / 100.0).log10() } else { f64::NAN }
}

/// The whole numbers around two positions, at least one apart.
fn whole(least: f64, most: f64) -> (f64, f64) {
    let (low, high) = (least.floor(), most.ceil());
    (low, if high > low { high } else { low + 1.0 })
}

/// Three digits and the unit in which they are not less than 1.
fn scaled(value: f64, thousand: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    // 999.6 is a thousand to three digits.
    while value.abs() >= thousand - 0.5 && unit + 1 < units.len() {
        value /= thousand;
        unit += 1;
    }
    let decimals = if value.abs() >= 99.95 {
        0
    } else if value.abs() >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        axis.ruler(values.iter().copied()).unwrap().major.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn decades_cover_the_values_and_not_much_more() {
        let axis = Axis::new("instructions", Scale::Decades);
        assert_eq!(labels(&axis, &[1219.0, 3_658_311.0]), ["1 k", "10 k", "100 k", "1 M"]);
        let ruler = axis.ruler([1219.0, 3_658_311.0]).unwrap();
        assert!((ruler.start - 3.0).abs() < NEARLY && (ruler.end - 5e6_f64.log10()).abs() < NEARLY, "{ruler:?}");
        assert_eq!(ruler.minor.len(), 8 * 3 + 4);
        assert_eq!(labels(&axis, &[15.0, 95.0]), ["10", "20", "50", "100"]);
        assert_eq!(labels(&axis, &[100.0, 100.0]), ["100", "200"]);
    }

    #[test]
    fn doublings_are_bytes_with_room_at_both_ends_and_never_too_many_labels() {
        let axis = Axis::new("touched", Scale::Doublings).written(Notation::Bytes);
        let values: Vec<f64> = (20..=31).map(|power| f64::from(power).exp2()).collect();
        assert_eq!(labels(&axis, &values), ["1 MiB", "4 MiB", "16 MiB", "64 MiB", "256 MiB", "1 GiB"]);
        assert_eq!(labels(&axis, &values[..4]), ["1 MiB", "2 MiB", "4 MiB", "8 MiB"]);
        let ruler = axis.ruler(values).unwrap();
        assert!(ruler.start < 20.0 && ruler.end > 31.0 && ruler.minor.len() == 12);
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_above_the_most() {
        let axis = Axis::new("frames", Scale::Linear);
        assert_eq!(labels(&axis, &[522.0, 3.0]), ["0", "100", "200", "300", "400", "500", "600"]);
        assert_eq!(labels(&axis, &[0.0]).first().unwrap(), "0");
        let bytes = Axis::new("tables", Scale::Linear).written(Notation::Bytes);
        assert_eq!(labels(&bytes, &[2_140_000.0]), ["0 B", "512 KiB", "1 MiB", "1.5 MiB", "2 MiB", "2.5 MiB"]);
    }

    #[test]
    fn nines_are_equally_far_apart() {
        let axis = Axis::new("percentile", Scale::Nines).written(Notation::Percent);
        assert_eq!(labels(&axis, &[0.0, 50.0, 99.9]), ["0 %", "90 %", "99 %", "99.9 %"]);
        let ruler = axis.ruler([99.0]).unwrap();
        for percentile in [10.0, 50.0, 80.0, 91.0, 98.0] {
            let position = axis.position(percentile).unwrap();
            assert!(ruler.minor.iter().any(|minor| (minor - position).abs() < NEARLY), "{percentile}: {ruler:?}");
        }
        assert!(axis.position(100.0).is_err());
    }

    #[test]
    fn values_off_the_scale_and_no_values_are_refused() {
        let axis = Axis::new("instructions", Scale::Decades);
        let error = axis.ruler([5.0, 0.0]).unwrap_err();
        assert_eq!(error, PlotError::OffScale { axis: "instructions".into(), value: "0".into() });
        assert_eq!(axis.ruler([]).unwrap_err(), PlotError::Empty);
        assert!(Axis::new("frames", Scale::Linear).ruler([-1.0]).is_err());
        assert!(Axis::new("frames", Scale::Linear).ruler([f64::NAN]).is_err());
    }

    #[test]
    fn numbers_have_three_digits() {
        let write = |value| Axis::new("", Scale::Linear).write(value);
        assert_eq!([0.0, 7.0, 1219.0, 9_400.0, 55_340_209.0].map(write), ["0", "7", "1.22 k", "9.4 k", "55.3 M"]);
        assert_eq!([999.0, 999.7, 0.25, 100_000.0, 20.0].map(write), ["999", "1 k", "0.25", "100 k", "20"]);
    }
}
