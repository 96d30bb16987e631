//! What has been typed and not been read, and sessions, as bytes: so that the server of the console that is started in
//! the place of another goes on with them.

use super::sessions::{SESSIONS, Session, Sessions};
use super::unit::Partial;
use super::{Input, LINE_MAX, TYPED_MAX, UNIT_MAX, Unit};
use alloc::vec::Vec;
use graft_rt::console::Mode;

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends bytes, with their length in front.
pub fn put_bytes(out: &mut Vec<u8>, parts: [&[u8]; 2]) {
    put_number(out, (parts[0].len() + parts[1].len()) as u64);
    parts.into_iter().for_each(|part| out.extend_from_slice(part));
}

/// Reads what was appended, in the same order. Everything is `None` where the bytes are none of that.
#[derive(Debug)]
pub struct Saved<'a>(pub &'a [u8]);

impl<'a> Saved<'a> {
    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// A number that is at most so large.
    pub fn number_to(&mut self, most: usize) -> Option<usize> {
        self.number().and_then(|number| usize::try_from(number).ok()).filter(|&number| number <= most)
    }

    /// Bytes, at most so many.
    pub fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let length = self.number_to(most)?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl Input {
    /// Appends all of it.
    pub fn save(&self, out: &mut Vec<u8>) {
        put_number(out, u64::from(self.after_return) | u64::from(self.ended) << 1);
        for bytes in [self.typed.as_slices(), self.ready.as_slices()] {
            put_bytes(out, [bytes.0, bytes.1]);
        }
        put_bytes(out, [&self.line, self.partial.bytes()]);
        put_number(out, self.partial.bytes().len() as u64);
        put_number(out, self.units.len() as u64);
        out.extend(self.units.iter().flat_map(|unit| [unit.bytes, unit.columns]));
    }

    /// What [`save`](Self::save) has appended.
    pub fn restore(saved: &mut Saved<'_>) -> Option<Input> {
        let mut input = Input::new();
        let flags = saved.number()?;
        (input.after_return, input.ended) = (flags & 1 != 0, flags & 2 != 0);
        input.typed.extend(saved.bytes(TYPED_MAX)?);
        input.ready.extend(saved.bytes(LINE_MAX + TYPED_MAX)?);
        let line = saved.bytes(LINE_MAX + UNIT_MAX)?;
        let (line, partial) = line.split_at(line.len().checked_sub(saved.number_to(UNIT_MAX)?)?);
        input.line.extend_from_slice(line);
        input.partial = Partial::of(partial);
        for _ in 0..saved.number_to(LINE_MAX)? {
            let (&[bytes, columns], rest) = saved.0.split_first_chunk()?;
            saved.0 = rest;
            input.units.push(Unit { bytes, columns });
        }
        let in_units: usize = input.units.iter().map(|unit| usize::from(unit.bytes)).sum();
        (in_units == input.line.len()).then_some(input)
    }
}

impl<T> Sessions<T> {
    /// Appends all of them, but for those by which they are told.
    pub fn save(&self, out: &mut Vec<u8>) {
        put_number(out, self.foreground);
        put_number(out, self.next);
        put_number(out, self.all.iter().flatten().count() as u64);
        for (place, session) in self.all.iter().enumerate() {
            let Some(Session { number, parent, mode, .. }) = session else { continue };
            [place as u64, *number, *parent, *mode as u64].into_iter().for_each(|number| put_number(out, number));
        }
    }

    /// What [`save`](Self::save) has appended; `told` gives for each place that by which its session is told.
    pub fn restore(saved: &mut Saved<'_>, mut told: impl FnMut(usize) -> Option<T>) -> Option<Sessions<T>> {
        let mut sessions = Sessions::new(0);
        (sessions.foreground, sessions.next) = (saved.number()?, saved.number()?);
        for _ in 0..saved.number_to(SESSIONS)? {
            let place = saved.number_to(SESSIONS - 1)?;
            let (number, parent, mode) = (saved.number()?, saved.number()?, Mode::from_number(saved.number()?)?);
            let told = if place == 0 { None } else { told(place) };
            sessions.all[place] = Some(Session { number, parent, told, mode });
        }
        sessions.exists(sessions.foreground).then_some(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Signs;
    use super::super::sessions::FIRST;
    use super::*;

    /// Types and reads at random, with everything saved and restored before each step, or not.
    fn dialogue(seed: u64, is_restored: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (mut input, mut screen, mut read) = (Input::new(), Vec::new(), Vec::new());
        let mut state = seed;
        let mut next = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..600 {
            if is_restored {
                let mut saved = Vec::new();
                input.save(&mut saved);
                let mut rest = Saved(&saved);
                input = Input::restore(&mut rest).expect("what was saved");
                assert!(rest.0.is_empty());
            }
            let mut buffer = [0; 40];
            let room = next(40) as usize + 1;
            match next(8) {
                0 => read.extend(input.read_raw(&mut buffer[..room]).map(|count| buffer[..count].to_vec())),
                1..4 => {
                    read.extend(input.read_line(&mut buffer[..room], &mut screen).map(|count| buffer[..count].to_vec()))
                }
                _ => {
                    let keys =
                        ["word ", "grün", "\r", "\r\n", "\x7f", "\x15", "\x17", "\x04", "\x1b[A", "日本", "\x03"];
                    let keys = keys[next(keys.len() as u64) as usize].as_bytes();
                    // Cut anywhere.
                    let keys = &keys[..keys.len() - (next(8) == 0) as usize];
                    let signs = if next(9) == 0 { Signs::All } else { Signs::None };
                    keys.iter().for_each(|&byte| _ = input.typed(byte, signs, &mut screen));
                }
            }
        }
        (screen, read)
    }

    #[test]
    fn input_that_is_saved_and_restored_at_every_step_is_the_same() {
        for seed in 0..50 {
            assert_eq!(dialogue(seed, true), dialogue(seed, false), "seed {seed}");
        }
    }

    #[test]
    fn sessions_that_are_saved_and_restored_are_the_same_ones() {
        let mut sessions = Sessions::new(100);
        let ended = sessions.open(FIRST, 1).unwrap();
        let job = sessions.open(FIRST, 2).unwrap();
        let inner = sessions.open(job, 3).unwrap();
        assert!(sessions.end(ended) && sessions.set_foreground(FIRST, job));
        sessions.find_mut(job).unwrap().mode = Mode::Raw;
        let mut saved = Vec::new();
        sessions.save(&mut saved);
        let mut again = Sessions::restore(&mut Saved(&saved), |place| Some(place as i32)).unwrap();
        assert_eq!((again.foreground(), again.in_foreground().unwrap().mode), (job, Mode::Raw));
        assert_eq!(again.in_foreground().unwrap().told, Some(2));
        assert!(again.set_foreground(job, inner) && !again.exists(ended));
        assert_eq!(again.open(FIRST, 4), sessions.open(FIRST, 4), "numbers go on");
    }

    #[test]
    fn what_is_none_of_it_is_nothing() {
        let (mut saved, mut sessions) = (Vec::new(), Vec::new());
        let mut input = Input::new();
        b"some grapes\xc3".iter().for_each(|&byte| _ = input.typed(byte, Signs::None, &mut Vec::new()));
        input.read_line(&mut [0; 9], &mut Vec::new());
        input.save(&mut saved);
        Sessions::<()>::new(7).save(&mut sessions);
        for length in 0..saved.len() {
            assert!(Input::restore(&mut Saved(&saved[..length])).is_none(), "{length} bytes");
        }
        for length in 0..sessions.len() {
            assert!(Sessions::<()>::restore(&mut Saved(&sessions[..length]), |_| None).is_none(), "{length} bytes");
        }
        for place in 0..saved.len() {
            let mut wrong = saved.clone();
            wrong[place] ^= 0x80;
            // Whatever it is, it is one that can be used.
            if let Some(mut input) = Input::restore(&mut Saved(&wrong)) {
                input.typed(0x15, Signs::None, &mut Vec::new());
                while input.has_more() && input.read_line(&mut [0; 9], &mut Vec::new()).is_some() {}
            }
        }
    }
}
