//! Which memory there is: ranges of physical addresses, added and taken away.

use crate::arch::PhysRange;
use heapless::Vec;

/// Bytes in a page.
const PAGE: u64 = graft_abi::PAGE_SIZE as u64;

/// There are more pieces than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPieces;

/// At most `N` runs of whole pages, in ascending order, with a gap between any two.
#[derive(Clone, Debug, Default)]
pub struct Pieces<const N: usize>(Vec<PhysRange, N>);

impl<const N: usize> Pieces<N> {
    /// The pieces, in ascending order.
    pub fn as_slice(&self) -> &[PhysRange] {
        &self.0
    }

    /// Bytes in all of them.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|piece| piece.size()).sum()
    }

    /// Whether one of them holds all of the range.
    pub fn contains(&self, range: PhysRange) -> bool {
        self.0.iter().any(|piece| piece.contains(range))
    }

    /// Adds the pages that lie wholly in a range.
    ///
    /// # Errors
    ///
    /// [`TooManyPieces`]; then some are missing.
    pub fn add(&mut self, range: PhysRange) -> Result<(), TooManyPieces> {
        let end = range.end / PAGE * PAGE;
        let Some(start) = range.start.checked_next_multiple_of(PAGE).filter(|&start| start < end) else {
            return Ok(());
        };
        let mut merged = PhysRange { start, end };
        self.0.retain(|piece| {
            let touches = piece.start <= end && start <= piece.end;
            if touches {
                merged = PhysRange { start: merged.start.min(piece.start), end: merged.end.max(piece.end) };
            }
            !touches
        });
        self.insert(merged)
    }

    /// Takes away every page that a range touches.
    ///
    /// # Errors
    ///
    /// [`TooManyPieces`]; then more is missing than was asked for.
    pub fn remove(&mut self, range: PhysRange) -> Result<(), TooManyPieces> {
        if range.start >= range.end {
            return Ok(());
        }
        let start = range.start / PAGE * PAGE;
        let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        // Only the first and the last piece that the range touches leave something: below and above it.
        let mut rest = [None; 2];
        self.0.retain(|piece| {
            let touches = piece.start < end && start < piece.end;
            if touches && piece.start < start {
                rest[0] = Some(PhysRange { start: piece.start, end: start });
            }
            if touches && end < piece.end {
                rest[1] = Some(PhysRange { start: end, end: piece.end });
            }
            !touches
        });
        rest.into_iter().flatten().try_for_each(|piece| self.insert(piece))
    }

    /// Takes away, and returns, the highest `bytes` that lie in one piece and begin at `offset` from a
    /// multiple of `alignment`. All three are numbers of pages.
    pub fn take(&mut self, bytes: u64, alignment: u64, offset: u64) -> Option<PhysRange> {
        let start = self.0.iter().rev().find_map(|piece| {
            let highest = piece.end.checked_sub(bytes)?.checked_sub(offset)?;
            let start = highest / alignment * alignment + offset;
            (start >= piece.start).then_some(start)
        })?;
        let range = PhysRange { start, end: start + bytes };
        self.remove(range).ok()?;
        Some(range)
    }

    fn insert(&mut self, piece: PhysRange) -> Result<(), TooManyPieces> {
        let position = self.0.iter().position(|other| piece < *other).unwrap_or(self.0.len());
        self.0.insert(position, piece).map_err(|_| TooManyPieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(start: u64, end: u64) -> PhysRange {
        PhysRange { start: start * PAGE, end: end * PAGE }
    }

    /// What the pieces must hold, page by page.
    fn check(pieces: &Pieces<16>, model: &[bool]) {
        let list = pieces.as_slice();
        assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start), "{list:x?}");
        assert!(list.iter().all(|piece| piece.start < piece.end));
        for (page, &present) in model.iter().enumerate() {
            let page = page as u64;
            assert_eq!(pieces.contains(pages(page, page + 1)), present, "page {page} of {list:x?}");
        }
        assert_eq!(pieces.total(), model.iter().filter(|&&present| present).count() as u64 * PAGE);
    }

    #[test]
    fn pieces_hold_what_a_set_of_pages_would() {
        const PAGES: u64 = 24;
        let mut pieces = Pieces::default();
        let mut model = [false; PAGES as usize];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (start, length, add) = (seed >> 33 & 0x1F_FFF, seed >> 50 & 0x7FFF, seed >> 20 & 1 == 1);
            let range = PhysRange { start: start % (PAGES * PAGE), end: (start + length) % (PAGES * PAGE) };
            let empty = range.start >= range.end;
            if add {
                pieces.add(range).unwrap();
            } else {
                pieces.remove(range).unwrap();
            }
            for page in (0..PAGES).filter(|_| !empty) {
                let whole = pages(page, page + 1);
                if add && range.contains(whole) {
                    model[page as usize] = true;
                } else if !add && range.start < whole.end && whole.start < range.end {
                    model[page as usize] = false;
                }
            }
            check(&pieces, &model);
        }
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_trap() {
        let mut pieces: Pieces<4> = Pieces::default();
        pieces.add(PhysRange { start: u64::MAX - 100, end: u64::MAX }).unwrap();
        assert_eq!(pieces.total(), 0);
        pieces.add(PhysRange { start: 1, end: u64::MAX }).unwrap();
        assert_eq!(pieces.as_slice(), [PhysRange { start: PAGE, end: u64::MAX / PAGE * PAGE }]);
        pieces.remove(PhysRange { start: 0, end: u64::MAX }).unwrap();
        assert_eq!(pieces.as_slice(), []);
    }

    #[test]
    fn more_pieces_than_there_is_room_for_are_refused() {
        let mut pieces: Pieces<2> = Pieces::default();
        pieces.add(pages(0, 9)).unwrap();
        pieces.remove(pages(2, 3)).unwrap();
        assert_eq!(pieces.remove(pages(5, 6)), Err(TooManyPieces));
    }

    #[test]
    fn what_is_taken_is_high_aligned_and_gone() {
        let mut pieces: Pieces<8> = Pieces::default();
        pieces.add(pages(3, 40)).unwrap();
        pieces.add(pages(50, 52)).unwrap();
        assert_eq!(pieces.take(2 * PAGE, PAGE, 0), Some(pages(50, 52)));
        assert_eq!(pieces.take(8 * PAGE, 16 * PAGE, 4 * PAGE), Some(pages(20, 28)));
        assert_eq!(pieces.as_slice(), [pages(3, 20), pages(28, 40)]);
        assert_eq!(pieces.take(18 * PAGE, PAGE, 0), None);
    }
}
