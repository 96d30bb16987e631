//! Coverage: how often an execution took each edge, as the target itself counts it.

/// The edges of the target's control flow that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Edge {
    /// The file begins as it must.
    Magic,
    /// A chunk is longer than what is left.
    ChunkTooLong,
    /// A chunk has a tag without a meaning.
    ChunkUnknown,
    /// A row of a canvas.
    CanvasRow,
    /// A canvas of another length, format or size.
    CanvasRefused,
    /// A colour of a palette.
    PaletteColour,
    /// A palette that ends in the middle of a colour, or has too many.
    PaletteRefused,
    /// A group.
    Group,
    /// A group in a group.
    GroupInGroup,
    /// A group too deep in groups.
    GroupTooDeep,
    /// A line before the canvas, outside of a group, or of another length.
    LineMisplaced,
    /// A line that leaves the canvas.
    LineOutside,
    /// A line whose colour is not in the palette.
    LineColourless,
    /// A pixel of a line on a canvas with one byte for each.
    LineGrey,
    /// A pixel on one with two.
    LineHigh,
    /// A pixel on one with four.
    LineTrue,
    /// The end, without anything refused.
    End,
}

/// How many edges there are.
pub const EDGES: usize = Edge::End as usize + 1;

/// How often each edge was taken, up to 255 times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Coverage {
    counts: [u8; EDGES],
}

impl Coverage {
    /// Counts an edge.
    pub fn hit(&mut self, edge: Edge) {
        let count = &mut self.counts[edge as usize];
        *count = count.saturating_add(1);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
    }

    /// For each edge one bit that stands for how often it was taken: 1, 2, 3, up to 7, 15, 31, 127, more; 0 if never.
    /// These are the classes that AFL uses: a loop that runs once more is nothing new, one that runs twice as often is.
    pub fn classes(&self) -> [u8; EDGES] {
        self.counts.map(|count| match count {
            0 => 0,
            1..=3 => 1 << (count - 1),
            4..=7 => 1 << 3,
            8..=15 => 1 << 4,
            16..=31 => 1 << 5,
            32..=127 => 1 << 6,
            128.. => 1 << 7,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_fall_into_classes_and_stay_at_their_most() {
        let mut coverage = Coverage::default();
        let mut classes = Vec::new();
        for _ in 0..1000 {
            coverage.hit(Edge::LineGrey);
            classes.push(coverage.classes()[Edge::LineGrey as usize]);
        }
        assert!(classes.is_sorted());
        assert_eq!(
            [1, 2, 3, 4, 7, 8, 16, 32, 128, 1000].map(|count| classes[count - 1]),
            [1, 2, 4, 8, 8, 16, 32, 64, 128, 128]
        );
        assert_eq!(coverage.classes().iter().filter(|class| **class != 0).count(), 1);
        coverage.clear();
        assert_eq!(coverage, Coverage::default());
    }
}
