//! A terminal for the tests: understands what the editor sends and nothing else.

/// Lines of characters and a cursor.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    widest: usize,
}

impl Screen {
    pub(crate) fn write(&mut self, text: &str) {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
            match character {
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                '\x07' => {}
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['));
                    let mut number = 0;
                    let letter = loop {
                        let next = characters.next().expect("an escape sequence ends in a letter");
                        match next.to_digit(10) {
                            Some(digit) => number = number * 10 + digit as usize,
                            None => break next,
                        }
                    };
                    self.sequence(number.max(1), letter);
                }
                printed => {
                    let row = &mut self.rows[self.row];
                    row.resize(row.len().max(self.column + 1), ' ');
                    row[self.column] = printed;
                    self.column += 1;
                    self.widest = self.widest.max(self.column);
                }
            }
        }
        self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
    }

    fn sequence(&mut self, number: usize, letter: char) {
        match letter {
            'm' => {}
            'D' => self.column -= number,
            'K' => self.rows[self.row].truncate(self.column),
            'H' => (self.row, self.column) = (0, 0),
            'J' => self.rows.iter_mut().for_each(Vec::clear),
            other => panic!("the editor sent an unknown sequence that ends in {other}"),
        }
    }

    /// The line that the cursor is in, with `|` for the cursor.
    pub(crate) fn line_with_cursor(&self) -> String {
        let row = &self.rows[self.row];
        let mut shown: String = row[..self.column].iter().collect();
        shown.push('|');
        shown.extend(&row[self.column..]);
        shown
    }

    /// The line above the cursor.
    pub(crate) fn line_above(&self) -> String {
        self.rows[self.row - 1].iter().collect()
    }

    pub(crate) fn cursor_row(&self) -> usize {
        self.row
    }

    /// The most columns that any line has used.
    pub(crate) fn widest(&self) -> usize {
        self.widest
    }
}
