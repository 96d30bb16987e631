use super::*;

/// Input with a terminal that shows what a person would see in the last line.
struct Session {
    input: Input,
    signs: Signs,
    shown: Vec<u8>,
}

impl Session {
    fn new() -> Session {
        Session { input: Input::new(), signs: Signs::All, shown: Vec::new() }
    }

    fn type_bytes(&mut self, bytes: &[u8]) -> Vec<Signal> {
        bytes.iter().filter_map(|&byte| self.input.typed(byte, self.signs, &mut self.shown)).collect()
    }

    fn read_line_of(&mut self, room: usize) -> Option<Vec<u8>> {
        let mut buffer = std::vec![0; room];
        loop {
            let before = self.shown.len();
            match self.input.read_line(&mut buffer, &mut self.shown) {
                Some(count) => return Some(buffer[..count].to_vec()),
                None if self.input.has_more() => {}
                None => return None,
            }
            assert!(self.shown.len() - before <= SHOWN_MAX);
        }
    }

    fn read_line(&mut self) -> Option<String> {
        self.read_line_of(4096).map(|line| String::from_utf8(line).unwrap())
    }

    /// Types, and expects this line in the end, however the bytes were cut.
    fn expect(bytes: &str, line: &str) {
        for step in [1, 2, 3, bytes.len()] {
            let mut session = Session::new();
            let mut lines = Vec::new();
            for piece in bytes.as_bytes().chunks(step) {
                session.type_bytes(piece);
                lines.extend(session.read_line());
            }
            assert_eq!(lines, [line], "{bytes:?} in pieces of {step}");
        }
    }

    /// The last line on the screen: characters of two columns stand in the first of theirs.
    fn screen(&self) -> String {
        let text = String::from_utf8(self.shown.clone()).unwrap();
        let mut columns_used: Vec<Option<char>> = Vec::new();
        let mut cursor = 0;
        for character in text.rsplit("\r\n").next().unwrap().chars() {
            match character {
                '\x08' => cursor -= 1,
                '\x07' => {}
                _ => {
                    let width = usize::from(columns(character)).max(1);
                    columns_used.resize(columns_used.len().max(cursor + width), None);
                    columns_used[cursor..cursor + width].fill(None);
                    columns_used[cursor] = Some(character);
                    cursor += width;
                }
            }
        }
        columns_used.truncate(cursor);
        columns_used.into_iter().flatten().collect()
    }
}

#[test]
fn a_line_comes_when_it_is_finished_and_is_shown_when_it_is_wanted() {
    let mut session = Session::new();
    session.type_bytes(b"one\rtw");
    assert_eq!(session.shown, b"");
    assert_eq!(session.read_line().unwrap(), "one\n");
    assert_eq!(session.shown, b"one\r\n");
    assert_eq!(session.read_line(), None);
    assert_eq!(session.screen(), "tw");
    session.type_bytes(b"o\nthree\r\n\r");
    let lines: Vec<_> = core::iter::from_fn(|| session.read_line()).collect();
    assert_eq!(lines, ["two\n", "three\n", "\n"]);
}

#[test]
fn what_is_typed_can_be_corrected() {
    Session::expect("righx\x7ft\r", "right\n");
    Session::expect("\x7f\x08a\x08\x08b\r", "b\n");
    Session::expect("away\x15new\r", "new\n");
    Session::expect("one two  \x17\x17three\r", "three\n");
    Session::expect("one  two\x17three\r", "one  three\n");
    let mut session = Session::new();
    session.type_bytes("ab漢ü\x1b[Ac\tx".as_bytes());
    assert_eq!(session.read_line(), None);
    assert_eq!(session.screen(), "ab漢ü^[[Ac x");
    for shown in ["ab漢ü^[[Ac ", "ab漢ü^[[Ac", "ab漢ü^[[A", "ab漢ü", "ab漢", "ab", "a", "", ""] {
        session.type_bytes(b"\x7f");
        assert_eq!((session.read_line(), session.screen().as_str()), (None, shown));
    }
}

#[test]
fn characters_and_escape_sequences_stay_whole() {
    Session::expect("grün 漢字 🦀\r", "grün 漢字 🦀\n");
    Session::expect("ü\x7fö\r", "ö\n");
    Session::expect("a\x1b[1;5C\x7fb\r", "ab\n");
    Session::expect("\x1b[A\x1bOP\x1bx\r", "\x1b[A\x1bOP\x1bx\n");
    Session::expect("\x1b\r", "\x1b\n");
    Session::expect("\x1b\x1b[A\x7f\r", "\x1b\n");
    let mut session = Session::new();
    session.type_bytes("aü漢🦀z\r".as_bytes());
    let parts: Vec<_> = core::iter::from_fn(|| session.read_line_of(4)).collect();
    assert_eq!(parts, ["aü".as_bytes(), "漢".as_bytes(), "🦀".as_bytes(), b"z\n"]);
    session.type_bytes("🦀\r".as_bytes());
    assert_eq!(session.read_line_of(1).unwrap().len(), 1);
    assert_eq!(session.read_line_of(9).unwrap().len(), 4);
}

#[test]
fn bytes_that_are_no_text_pass_one_by_one() {
    let mut session = Session::new();
    session.type_bytes(b"\xff\xc3(\xe2\x82x\x80\r");
    assert_eq!(session.read_line_of(99).unwrap(), b"\xff\xc3(\xe2\x82x\x80\n");
    assert_eq!(session.shown, "\u{fffd}\u{fffd}(\u{fffd}x\u{fffd}\r\n".as_bytes());
}

#[test]
fn control_d_ends_the_input_or_the_line_where_it_stands() {
    let mut session = Session::new();
    session.type_bytes(b"\x04ab\x04\x04c\r");
    let read: Vec<_> = core::iter::from_fn(|| session.read_line()).collect();
    assert_eq!(read, ["", "ab", "", "c\n"]);
}

#[test]
fn control_c_and_z_are_told_at_once_and_what_was_typed_is_gone() {
    let mut session = Session::new();
    session.type_bytes(b"lost");
    assert_eq!(session.read_line(), None);
    assert_eq!(session.type_bytes(b"too\x03"), [Signal::Interrupt]);
    session.type_bytes(b"kept\r");
    assert_eq!(session.read_line().unwrap(), "kept\n");
    assert_eq!(session.type_bytes(b"\x1a"), [Signal::Suspend]);
    assert_eq!(session.shown, b"lost^C\r\nkept\r\n^Z\r\n");
}

#[test]
fn a_program_that_wants_bytes_gets_them_as_they_come() {
    let mut session = Session::new();
    session.signs = Signs::None;
    assert_eq!(session.type_bytes(b"\x03\x1b[A\x7f\x1a\x04"), []);
    let mut buffer = [0; 5];
    assert_eq!((session.input.read_raw(&mut buffer), &buffer), (Some(5), b"\x03\x1b[A\x7f"));
    assert_eq!((session.input.read_raw(&mut buffer), &buffer[..2]), (Some(2), &b"\x1a\x04"[..]));
    assert_eq!((session.input.read_raw(&mut buffer), session.shown.len()), (None, 0));
}

#[test]
fn control_backslash_is_a_sign_for_a_job_that_wants_all_bytes() {
    let mut session = Session::new();
    session.signs = Signs::Last;
    assert_eq!(session.type_bytes(b"\x03\x1a"), []);
    assert_eq!(session.type_bytes(b"\x1c"), [Signal::Interrupt]);
    assert_eq!((session.input.has_more(), &session.shown[..]), (false, &b"^\\\r\n"[..]));
    session.signs = Signs::None;
    assert_eq!(session.type_bytes(b"\x1c"), []);
    assert!(session.input.has_more());
}

#[test]
fn a_sign_that_came_before_its_job_is_found_and_what_follows_is_kept() {
    let mut session = Session::new();
    session.signs = Signs::None;
    session.type_bytes(b"sleep\rab\x1acd\x03ef");
    let mut buffer = [0; 99];
    // The end of the line is where the shell starts the job.
    assert_eq!(session.input.read_raw(&mut buffer), Some(6));
    assert_eq!(session.input.signal_before(&mut session.shown), Some(Signal::Interrupt));
    assert_eq!(session.input.signal_before(&mut session.shown), None);
    assert_eq!((session.input.read_raw(&mut buffer), &buffer[..2]), (Some(2), &b"ef"[..]));
    assert_eq!(session.shown, b"^C\r\n");
}

#[test]
fn a_reader_of_bytes_gets_what_one_of_lines_has_left() {
    let mut session = Session::new();
    session.type_bytes("first\rsecon\u{fc}".as_bytes());
    session.input.typed(0xC3, Signs::All, &mut Vec::new());
    assert_eq!(session.read_line_of(2).unwrap(), b"fi");
    session.type_bytes(b"d\r");
    let mut buffer = [0; 99];
    for expected in [&b"rst\n"[..], b"secon\xc3\xbc\xc3d\r"] {
        let count = session.input.read_raw(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], expected);
    }
    session.type_bytes(b"half\xc3");
    assert_eq!(session.read_line(), None);
    let count = session.input.read_raw(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"half\xc3");
}

#[test]
fn what_a_reader_did_not_take_is_the_next_ones() {
    let mut session = Session::new();
    session.type_bytes(b"one\rtwo\r");
    let line = session.read_line_of(2).unwrap();
    session.input.unread(&line);
    let read: Vec<_> = core::iter::from_fn(|| session.read_line()).collect();
    assert_eq!(read, ["one\n", "two\n"]);
}

#[test]
fn a_flood_is_cut_off_and_control_c_still_heard() {
    let mut session = Session::new();
    let capacity = (session.input.typed.capacity(), session.input.ready.capacity(), session.input.line.capacity());
    session.type_bytes(&[b'x'; 5 * TYPED_MAX]);
    assert_eq!(session.shown, std::vec![BELL; 4 * TYPED_MAX]);
    session.shown.clear();
    assert_eq!(session.type_bytes(b"y\x03"), [Signal::Interrupt]);
    // A line takes what it can hold, and its end.
    for _ in 0..4 {
        session.type_bytes(&[b'z'; LINE_MAX]);
        assert_eq!(session.read_line(), None);
    }
    session.type_bytes(b"\r");
    assert_eq!(session.read_line().unwrap().len(), LINE_MAX + 1);
    let after = (session.input.typed.capacity(), session.input.ready.capacity(), session.input.line.capacity());
    assert_eq!(after, capacity, "memory has been taken");
}

#[test]
fn bytes_of_all_kinds_leave_the_input_in_order() {
    let mut numbers = 1_u32;
    let mut next = || {
        numbers = numbers.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        numbers >> 16
    };
    let mut session = Session::new();
    for _ in 0..200_000 {
        let byte = match next() % 4 {
            0 => next() as u8,
            1 => [ESCAPE, b'[', RUBOUT, WORD, KILL, b'\r', b'\n', END, INTERRUPT, b' '][next() as usize % 10],
            _ => 0xA0 + (next() % 0x60) as u8,
        };
        session.type_bytes(&[byte]);
        match next() % 3 {
            0 => _ = session.read_line_of(1 + next() as usize % 9),
            1 if next() % 50 == 0 => _ = session.input.read_raw(&mut [0; 7]),
            _ => {}
        }
        let units: usize = session.input.units.iter().map(|unit| usize::from(unit.bytes)).sum();
        assert_eq!(units, session.input.line.len());
        assert!(units <= LINE_MAX);
        session.shown.clear();
    }
}

#[test]
fn the_terminals_answer_is_found_among_what_is_typed() {
    let run = |bytes: &[u8]| {
        let (mut answer, mut passed, mut sizes) = (SizeAnswer::new(), Vec::new(), Vec::new());
        for &byte in bytes {
            match answer.feed(byte) {
                Answered::Perhaps => {}
                Answered::Size(columns, rows) => sizes.push((columns, rows)),
                Answered::No => {
                    passed.extend(answer.take_held());
                    passed.push(byte);
                }
            }
        }
        passed.extend(answer.take_held());
        (passed, sizes)
    };
    assert_eq!(run(b"ab\x1b[8;24;80tc"), (b"abc".to_vec(), std::vec![(80, 24)]));
    for other in [
        "\x1b[A",
        "\x1b[8;24t",
        "\x1b[8;0;0t",
        "\x1b[8;;t",
        "\x1b[8;1;2;3t",
        "\x1b[8;99999;1t",
        "\x1b[8;123456789012345",
    ] {
        assert_eq!(run(other.as_bytes()), (other.as_bytes().to_vec(), Vec::new()), "{other:?}");
    }
}
