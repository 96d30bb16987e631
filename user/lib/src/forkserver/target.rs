//! The target: a reader of a picture format of nested chunks, with a realistic bug.
//!
//! ```text
//!   file  = "LINE" chunk*
//!   chunk = tag length body                 one byte, one byte, `length` bytes
//!           C  width height pixel-bytes     the canvas: at most 4096 bytes
//!           P  (red green blue)*            the palette: at most 16 colours
//!           G  chunk*                       a group, at most 4 deep
//!           L  x y length colour            a line downwards, in groups only
//! ```
//!
//! The bug is in the check of the canvas's size: the bytes of a row are computed in 8 bits, because the width has 8.
//! A row of 64 pixels of 4 bytes counts as 0 bytes and passes at any height. A line on such a canvas runs
//! past the end of its memory.

use crate::forkserver::coverage::{Coverage, Edge};
use crate::forkserver::table::Table;

/// Bytes of memory for the picture.
pub const CANVAS_BYTES: usize = 4096;
/// The farthest that a line can go from the canvas's beginning, in bytes: what a guard must cover.
pub const REACH: usize = 256 * 256 * 4;

const MAGIC: &[u8] = b"LINE";
const COLOURS: usize = 16;
const DEPTH: u32 = 4;

/// The memory for the picture.
pub trait Canvas {
    /// Stores a byte at this offset, which the bug may put outside.
    fn store(&mut self, offset: usize, byte: u8);
}

/// The file is not one of this format: the target has noticed and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Draws a file.
pub fn run(file: &[u8], table: &Table, canvas: &mut impl Canvas, coverage: &mut Coverage) -> Result<(), Malformed> {
    let chunks = file.strip_prefix(MAGIC).ok_or(Malformed)?;
    coverage.hit(Edge::Magic);
    let mut reader = Reader { table, canvas, coverage, size: None, palette: [0; COLOURS], colours: 0 };
    reader.chunks(chunks, 0)?;
    reader.coverage.hit(Edge::End);
    Ok(())
}

/// What a canvas chunk has set.
#[derive(Clone, Copy)]
struct Size {
    width: u8,
    height: u8,
    pixel: u8,
    /// Where each row begins.
    rows: [u32; 256],
}

struct Reader<'a, C> {
    table: &'a Table,
    canvas: &'a mut C,
    coverage: &'a mut Coverage,
    size: Option<Size>,
    palette: [u16; COLOURS],
    colours: usize,
}

impl<C: Canvas> Reader<'_, C> {
    /// Counts an edge that ends in a refusal.
    fn refuse<T>(&mut self, edge: Edge) -> Result<T, Malformed> {
        self.coverage.hit(edge);
        Err(Malformed)
    }

    fn chunks(&mut self, mut bytes: &[u8], depth: u32) -> Result<(), Malformed> {
        while let [tag, length, rest @ ..] = bytes {
            let Some((body, after)) = rest.split_at_checked(usize::from(*length)) else {
                return self.refuse(Edge::ChunkTooLong);
            };
            match tag {
                b'C' => self.set_canvas(body)?,
                b'P' => self.set_palette(body)?,
                b'G' => self.group(body, depth)?,
                b'L' => self.line(body, depth)?,
                _ => return self.refuse(Edge::ChunkUnknown),
            }
            bytes = after;
        }
        Ok(())
    }

    fn set_canvas(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let [width, height, pixel @ (1 | 2 | 4)] = *body else { return self.refuse(Edge::CanvasRefused) };
        // The bug: 8 bits are too few for the product.
        let row_bytes = width.wrapping_mul(pixel);
        if usize::from(row_bytes) * usize::from(height) > CANVAS_BYTES {
            return self.refuse(Edge::CanvasRefused);
        }
        let mut rows = [0; 256];
        for (row, start) in rows.iter_mut().enumerate().take(height.into()) {
            *start = row as u32 * u32::from(width) * u32::from(pixel);
            self.coverage.hit(Edge::CanvasRow);
        }
        self.size = Some(Size { width, height, pixel, rows });
        Ok(())
    }

    fn set_palette(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let (colours, rest) = body.as_chunks();
        if !rest.is_empty() || colours.len() > COLOURS {
            return self.refuse(Edge::PaletteRefused);
        }
        for (entry, colour) in self.palette.iter_mut().zip(colours) {
            *entry = self.table.lookup(*colour);
            self.coverage.hit(Edge::PaletteColour);
        }
        self.colours = colours.len();
        Ok(())
    }

    fn group(&mut self, body: &[u8], depth: u32) -> Result<(), Malformed> {
        self.coverage.hit(match depth {
            0 => Edge::Group,
            DEPTH.. => return self.refuse(Edge::GroupTooDeep),
            _ => Edge::GroupInGroup,
        });
        self.chunks(body, depth + 1)
    }

    fn line(&mut self, body: &[u8], depth: u32) -> Result<(), Malformed> {
        let (&[x, y, length, colour], Some(size), 1..) = (body, self.size, depth) else {
            return self.refuse(Edge::LineMisplaced);
        };
        let [x, y, length, colour] = [x, y, length, colour].map(usize::from);
        if x >= size.width.into() || y + length > size.height.into() {
            return self.refuse(Edge::LineOutside);
        }
        if colour >= self.colours {
            return self.refuse(Edge::LineColourless);
        }
        let [low, high] = self.palette[colour].to_le_bytes();
        let edge = match size.pixel {
            1 => Edge::LineGrey,
            2 => Edge::LineHigh,
            _ => Edge::LineTrue,
        };
        for row in &size.rows[y..y + length] {
            let offset = *row as usize + x * usize::from(size.pixel);
            for (index, byte) in [low, high, 0, 0xff].into_iter().enumerate().take(size.pixel.into()) {
                self.canvas.store(offset + index, byte);
            }
            self.coverage.hit(edge);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A canvas that notes the first store outside of it.
    #[derive(Debug)]
    pub(crate) struct Watched {
        pub(crate) bytes: [u8; CANVAS_BYTES],
        pub(crate) outside: Option<usize>,
    }

    impl Watched {
        pub(crate) const fn new() -> Watched {
            Watched { bytes: [0; CANVAS_BYTES], outside: None }
        }
    }

    impl Canvas for Watched {
        fn store(&mut self, offset: usize, byte: u8) {
            assert!(offset < REACH, "{offset:#x} is out of the guard's reach");
            match self.bytes.get_mut(offset) {
                Some(place) => *place = byte,
                None => self.outside = self.outside.or(Some(offset)),
            }
        }
    }

    fn draw(file: &[u8]) -> (Watched, Coverage, Result<(), Malformed>) {
        let (mut canvas, mut coverage) = (Watched::new(), Coverage::default());
        let result = run(file, &Table::new(4).unwrap(), &mut canvas, &mut coverage);
        (canvas, coverage, result)
    }

    fn ends_with(file: &[u8], edge: Edge) {
        let (canvas, coverage, result) = draw(file);
        assert_eq!(result.is_ok(), edge == Edge::End, "{}", file.escape_ascii());
        assert_ne!(coverage.classes()[edge as usize], 0, "{}", file.escape_ascii());
        assert_eq!(canvas.outside, None);
    }

    #[test]
    fn a_picture_is_drawn() {
        let file = b"LINEC\x03\x08\x08\x02P\x06\0\0\0\xff\xff\xffG\x0cL\x04\x01\x02\x03\x01L\x04\x02\x02\x06\x00";
        let (canvas, _, result) = draw(file);
        assert_eq!(result, Ok(()));
        let white = Table::new(4).unwrap().lookup([255; 3]).to_le_bytes();
        let drawn: Vec<_> = (0..64).filter(|pixel| canvas.bytes[pixel * 2..][..2] == white).collect();
        assert_eq!(drawn, [2 * 8 + 1, 3 * 8 + 1, 4 * 8 + 1]);
        assert_eq!(canvas.bytes.iter().filter(|byte| **byte != 0).count(), 6);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert_eq!(draw(b"LANE").2, Err(Malformed));
        for (file, edge) in [
            (&b"LINE"[..], Edge::End),
            (b"LINEC\x04abc", Edge::ChunkTooLong),
            (b"LINEX\x00", Edge::ChunkUnknown),
            (b"LINEC\x02\x01\x01", Edge::CanvasRefused),
            (b"LINEC\x03\x01\x01\x03", Edge::CanvasRefused),
            (b"LINEC\x03\x41\x40\x01", Edge::CanvasRefused),
            (b"LINEP\x04abcd", Edge::PaletteRefused),
            (b"LINEG\x00G\x00", Edge::End),
            (b"LINEG\x08G\x06G\x04G\x02G\x00", Edge::GroupTooDeep),
            (b"LINEP\x03abcC\x03\x08\x08\x01L\x04\x00\x00\x01\x00", Edge::LineMisplaced),
            (b"LINEP\x03abcG\x06L\x04\x00\x00\x01\x00", Edge::LineMisplaced),
            (b"LINEP\x03abcC\x03\x08\x08\x01G\x06L\x04\x08\x00\x01\x00", Edge::LineOutside),
            (b"LINEP\x03abcC\x03\x08\x08\x01G\x06L\x04\x00\x04\x05\x00", Edge::LineOutside),
            (b"LINEP\x03abcC\x03\x08\x08\x01G\x06L\x04\x00\x00\x01\x01", Edge::LineColourless),
            (b"LINEP\x03abcC\x03\x40\x40\x01G\x06L\x04\x3f\x00\x40\x00", Edge::End),
        ] {
            ends_with(file, edge);
        }
    }

    #[test]
    fn the_planted_bug_takes_a_large_canvas_and_a_far_line() {
        let file = |canvas: [u8; 3], line: [u8; 3]| {
            [&b"LINEP\x03abcC\x03"[..], &canvas, b"G\x06L\x04", &line, b"\x00"].concat()
        };
        let outside = |canvas, line| draw(&file(canvas, line)).0.outside;
        assert_eq!(outside([128, 128, 4], [127, 127, 1]), Some(128 * 128 * 4 - 4));
        assert_eq!(outside([64, 255, 4], [0, 0, 255]), Some(CANVAS_BYTES));
        assert_eq!(outside([64, 255, 4], [63, 0, 16]), None, "up to the last pixel inside");
        assert_eq!(outside([63, 255, 4], [0, 0, 255]), None, "252 bytes do not wrap, and are refused");
        assert_eq!(outside([128, 255, 2], [0, 0, 17]), Some(CANVAS_BYTES));
        assert_eq!(outside([255, 255, 1], [0, 0, 255]), None, "nor do 255");
    }
}
