//! Text whose parts have a meaning, painted for a terminal or left plain.

use alloc::string::String;
use alloc::vec::Vec;

/// What a piece of text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing in particular.
    Plain,
    /// Of little weight.
    Faint,
    /// Belongs to the left process alone.
    Left,
    /// Belongs to the right process alone.
    Right,
    /// Belongs to both.
    Both,
    /// Write-protects what is below.
    ReadOnly,
    /// Has changed.
    Changed,
    /// A heading.
    Heading,
}

/// Whether meanings become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Escape sequences of ANSI terminals.
    Colours,
    /// Text only.
    Plain,
}

impl Palette {
    const fn sequence(self, meaning: Meaning) -> &'static str {
        match (self, meaning) {
            (Palette::Plain, _) | (_, Meaning::Plain) => "",
            (_, Meaning::Faint) => "\x1b[2m",
            (_, Meaning::Left) => "\x1b[36m",
            (_, Meaning::Right) => "\x1b[35m",
            (_, Meaning::Both) => "\x1b[32m",
            (_, Meaning::ReadOnly) => "\x1b[31m",
            (_, Meaning::Changed) => "\x1b[1;33m",
            (_, Meaning::Heading) => "\x1b[1m",
        }
    }
}

/// A line made of pieces, each with its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<(Meaning, String)>);

impl Text {
    /// An empty line.
    pub const fn new() -> Text {
        Text(Vec::new())
    }

    /// Appends a piece.
    #[must_use]
    pub fn with(mut self, meaning: Meaning, text: impl Into<String>) -> Text {
        self.0.push((meaning, text.into()));
        self
    }

    /// Appends another line.
    #[must_use]
    pub fn then(mut self, other: Text) -> Text {
        self.0.extend(other.0);
        self
    }

    /// Columns that it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Appends copies of a character until the line takes this many columns.
    #[must_use]
    pub fn fill(self, meaning: Meaning, character: char, width: usize) -> Text {
        let missing = width.saturating_sub(self.width());
        self.with(meaning, core::iter::repeat_n(character, missing).collect::<String>())
    }

    /// The line as the terminal gets it, without spaces at its end.
    pub fn paint(&self, palette: Palette) -> String {
        let mut painted = String::new();
        for (meaning, text) in &self.0 {
            // Space has no colour.
            let meaning = if text.trim().is_empty() { Meaning::Plain } else { *meaning };
            let sequence = palette.sequence(meaning);
            painted.push_str(sequence);
            painted.push_str(text);
            if !sequence.is_empty() {
                painted.push_str("\x1b[0m");
            }
        }
        if palette == Palette::Plain {
            painted.truncate(painted.trim_end().len());
        }
        painted
    }
}
