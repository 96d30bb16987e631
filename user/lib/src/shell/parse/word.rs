//! Words: what is quoted in them, what is put in its place, and when they are assignments.

use alloc::string::String;

use super::{Parsed, Parser, Problem, is_name};
use crate::shell::syntax::*;

impl Parser<'_> {
    /// Reads a word of at least a character.
    pub(super) fn word(&mut self) -> Parsed<Word> {
        let begin = self.at;
        let mut word = Word::default();
        loop {
            match self.peek() {
                Some('<' | '>') if is_number(&self.text[begin..self.at]) => {
                    self.at = begin;
                    return Err(Problem::NumberedStream);
                }
                Some(next) if !ends_word(next) => {}
                _ => return Ok(word),
            }
            let begin = self.at;
            match self.next().unwrap_or_default() {
                '\\' => match self.next().ok_or(Problem::NothingToEscape)? {
                    '\n' => {}
                    escaped => word.push_quoted(escaped.encode_utf8(&mut [0; 4])),
                },
                '\'' => {
                    let Some(length) = self.rest().find('\'') else {
                        self.at = begin;
                        return Err(Problem::Unclosed("'"));
                    };
                    let quoted = &self.text[self.at..self.at + length];
                    word.push_quoted(quoted);
                    self.line += quoted.matches('\n').count();
                    self.at += length + 1;
                }
                '"' => self.double_quoted(begin, &mut word)?,
                '$' => self.dollar(&mut word, Quoting::Bare)?,
                '`' => {
                    self.at = begin;
                    return Err(self.unexpected());
                }
                character => word.push_text(character),
            }
        }
    }

    /// Reads what follows a `"`, which is at `begin`.
    fn double_quoted(&mut self, begin: usize, word: &mut Word) -> Parsed<()> {
        if self.eat("\"") {
            word.push_quoted("");
            return Ok(());
        }
        let unclosed = Problem::Unclosed("\"");
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.dollar(word, Quoting::Quoted)?,
                Some('\\') => match self.peek() {
                    Some('\n') => {
                        self.next();
                        word.push_quoted("");
                    }
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => {
                        self.next();
                        word.push_quoted(escaped.encode_utf8(&mut [0; 4]));
                    }
                    _ => word.push_quoted("\\"),
                },
                Some(character) => word.push_quoted(character.encode_utf8(&mut [0; 4])),
                None => {
                    self.at = begin;
                    return Err(unclosed);
                }
            }
        }
    }

    /// Reads what follows a `$`. If nothing does that means something, the `$` stands for itself.
    fn dollar(&mut self, word: &mut Word, quoting: Quoting) -> Parsed<()> {
        let begin = self.at;
        if self.eat("((") {
            let expression = self.nested(Self::expression)?;
            word.0.push(Piece::Arithmetic(expression, quoting));
            return Ok(());
        }
        if self.eat("(") {
            let list = self.nested(Self::list)?;
            self.close("$(")?;
            word.0.push(Piece::Output(list, quoting));
            return Ok(());
        }
        let parameter = if self.eat("{") {
            let Some(length) = self.rest().find('}') else {
                self.at = begin;
                return Err(Problem::Unclosed("${"));
            };
            let name = String::from(&self.rest()[..length]);
            let Some(parameter) = parameter(&name) else { return Err(not_a_name(&name)) };
            self.at += length + 1;
            Some(parameter)
        } else {
            let name = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric();
            let length = match self.rest().bytes().next() {
                Some(first) if first.is_ascii_digit() || b"@#?!$".contains(&first) => 1,
                _ => self.rest().bytes().take_while(name).count(),
            };
            let parameter = parameter(&self.rest()[..length]);
            self.at += length;
            parameter
        };
        match parameter {
            Some(parameter) => word.0.push(Piece::Parameter(parameter, quoting)),
            None => word.push_quoted("$"),
        }
        Ok(())
    }

    /// Reads the inside of `$((…))` and its end.
    fn expression(&mut self) -> Parsed<Word> {
        let mut word = Word::default();
        let mut open = 0;
        loop {
            match self.peek() {
                None => return Err(Problem::Unclosed("$((")),
                Some(')') if open == 0 => {
                    if self.eat("))") {
                        return Ok(word);
                    }
                    return Err(match self.rest() {
                        ")" => Problem::Unclosed("$(("),
                        _ => self.unexpected(),
                    });
                }
                Some('$') => {
                    self.next();
                    let pieces = word.0.len();
                    self.dollar(&mut word, Quoting::Bare)?;
                    if !matches!(
                        word.0.get(pieces..),
                        Some([Piece::Parameter(..) | Piece::Output(..) | Piece::Arithmetic(..)])
                    ) {
                        return Err(Problem::Unexpected("$".into()));
                    }
                }
                Some(next) if next.is_ascii_alphanumeric() || "_ \n+-*/%()<>=!&|".contains(next) => {
                    match next {
                        '(' => open += 1,
                        ')' => open -= 1,
                        _ => {}
                    }
                    self.next();
                    word.push_text(next);
                }
                Some(_) => return Err(self.unexpected()),
            }
        }
    }
}

/// Whether a character ends a word.
pub(super) fn ends_word(character: char) -> bool {
    character.is_whitespace() || matches!(character, ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

/// The problem with what should be a name; of a long text, its beginning.
pub(super) fn not_a_name(text: &str) -> Problem {
    Problem::NotAName(text.chars().take(32).collect())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What stands between `${` and `}`.
fn parameter(name: &str) -> Option<Parameter> {
    Some(match name {
        "@" => Parameter::Arguments,
        "#" => Parameter::Count,
        "?" => Parameter::Status,
        "!" => Parameter::Background,
        "$" => Parameter::Shell,
        _ if is_number(name) => Parameter::Argument(name.parse().ok()?),
        _ if is_name(name) => Parameter::Variable(name.into()),
        _ => return None,
    })
}

/// A word as an assignment, if it is one where assignments can be.
pub(super) fn assignment(word: Word, can_be: bool) -> Result<Assignment, Word> {
    let Some(Piece::Text(text)) = word.0.first().filter(|_| can_be) else { return Err(word) };
    let Some((name, rest)) = text.split_once('=').filter(|(name, _)| is_name(name)) else { return Err(word) };
    let (name, rest) = (String::from(name), String::from(rest));
    let rest = if rest.is_empty() { None } else { Some(Piece::Text(rest)) };
    Ok(Assignment { name, value: Word(rest.into_iter().chain(word.0.into_iter().skip(1)).collect()) })
}
