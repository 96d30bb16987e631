//! Sizes as people write them: `64K`, `1G`, `4096`; and long numbers as they read them: `1,073,741,824`.

use core::fmt;

const UNITS: [(u64, &str, char); 4] =
    [(1 << 40, "TiB", 'T'), (1 << 30, "GiB", 'G'), (1 << 20, "MiB", 'M'), (1 << 10, "KiB", 'K')];

/// Why a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// It is not a whole number, followed by nothing or by K, M, G or T.
    NotANumber,
    /// It is larger than 64 bits hold.
    TooLarge,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SizeError::NotANumber => "a size is a whole number, with K, M, G or T for powers of 1024",
            SizeError::TooLarge => "the size is larger than any address space",
        })
    }
}

impl core::error::Error for SizeError {}

/// Reads a size in bytes: a whole number, then nothing, `B`, or a power of 1024 as `K`, `KiB`, `KB`.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(SizeError::NotANumber);
    }
    let factor = factor(unit).ok_or(SizeError::NotANumber)?;
    let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
    number.checked_mul(factor).ok_or(SizeError::TooLarge)
}

fn factor(unit: &str) -> Option<u64> {
    let mut characters = unit.chars();
    let Some(first) = characters.next() else { return Some(1) };
    let rest = characters.as_str();
    if first.eq_ignore_ascii_case(&'b') && rest.is_empty() {
        return Some(1);
    }
    let (factor, ..) = UNITS.into_iter().find(|(.., letter)| first.eq_ignore_ascii_case(letter))?;
    ["", "b", "ib"].iter().any(|tail| rest.eq_ignore_ascii_case(tail)).then_some(factor)
}

/// A size in bytes, shown with the largest unit that divides it, or rounded to one decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(&(unit, name, _)) = UNITS.iter().find(|(unit, ..)| self.0 >= *unit) else {
            return write_padded(f, format_args!("{} B", self.0));
        };
        if self.0.is_multiple_of(unit) {
            return write_padded(f, format_args!("{} {name}", self.0 / unit));
        }
        // Rounded down: 1023.99 MiB must not be shown as 1024.0 MiB.
        let tenths = (u128::from(self.0) * 10 / u128::from(unit)) as u64;
        write_padded(f, format_args!("{}.{} {name}", tenths / 10, tenths % 10))
    }
}

/// A number, shown with its digits in groups of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = alloc::format!("{}", self.0);
        let mut grouped = alloc::string::String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&grouped)
    }
}

/// Honours the width of `{:>9}`.
fn write_padded(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    f.pad(&alloc::format!("{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_every_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("3MiB", 3 << 20),
            ("3MB", 3 << 20),
            ("1G", 1 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "K", "-1", "1.5G", "1X", "1KK", "1 G", "G1", "0x10", "1kib2"] {
            assert_eq!(parse(text), Err(SizeError::NotANumber), "{text}");
        }
        for text in ["18446744073709551616", "16777216T", "99999999999999999999999"] {
            assert_eq!(parse(text), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (1 << 30, "1 GiB"),
            ((1 << 20) + (512 << 10), "1.5 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(format!("[{:>9}]", Size(4096)), "[    4 KiB]");
    }

    #[test]
    fn long_numbers_are_grouped_from_the_right() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1 << 20, "1,048,576")] {
            assert_eq!(Grouped(number).to_string(), text);
        }
        assert_eq!(format!("[{:>9}]", Grouped(1234)), "[    1,234]");
    }
}
