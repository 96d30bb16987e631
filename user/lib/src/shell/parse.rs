//! Reading command lines and scripts into a [tree](super::syntax).
//!
//! ```text
//! script    = list
//! list      = [ and-or { ( ";" | "&" | newline ) and-or } ] [ ";" | "&" | newline ]
//! and-or    = pipeline { ( "&&" | "||" ) pipeline }
//! pipeline  = [ "time" ] [ "!" ] command { "|" command }
//! command   = NAME=[word] { NAME=[word] } | { word | redirection } | compound { redirection }
//! compound  = "{" list "}" | "(" list ")"
//!           | "if" list "then" list { "elif" list "then" list } [ "else" list ] "fi"
//!           | "for" NAME [ "in" { word } ] ( ";" | newline ) "do" list "done"
//!           | ( "while" | "until" ) list "do" list "done"
//! redirection = ( "<" | ">" | ">>" ) word
//! word      = { character | '…' | "…" | \character | $NAME | ${NAME} | $1 | $@ | $# | $? | $! | $$ | $(list) | $((…)) }
//! comment   = "#" at the start of a word, to the end of the line
//! ```
//!
//! The parser calls itself for what is nested, at most [`DEPTH_MAX`] times: the tree can be walked, printed and dropped
//! in the same way.

mod compound;
mod error;
mod word;

use alloc::vec::Vec;

pub use error::{Problem, SyntaxError};

use super::syntax::*;
use word::{assignment, ends_word};

/// Bytes that a script may have.
pub const LENGTH_MAX: usize = 256 << 10;

/// How deep compound commands and substitutions may be nested.
pub const DEPTH_MAX: usize = 50;

/// Words that mean something where a command is expected.
const RESERVED: [&str; 16] =
    ["if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "{", "}", "!", "time", "in", "case"];

/// Those that end a list.
const ENDS: [&str; 7] = ["then", "elif", "else", "fi", "do", "done", "}"];

/// Whether a text can be the name of a variable.
pub fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Reads a script, which may be one line. An empty one is an empty list.
///
/// # Errors
/// [`SyntaxError`] for the first thing that is wrong.
pub fn parse(text: &str) -> Result<List, SyntaxError> {
    if text.len() > LENGTH_MAX {
        return Err(SyntaxError { problem: Problem::TooLong, line: 1, column: 1 });
    }
    let mut parser = Parser { text, at: 0, line: 1, depth: 0 };
    let result = parser.list().and_then(|list| match parser.peek() {
        None => Ok(list),
        Some(_) => Err(parser.unexpected()),
    });
    result.map_err(|problem| {
        let before = &text[..parser.at];
        let line = before.rfind('\n').map_or(0, |index| index + 1);
        SyntaxError { problem, line: 1 + before.matches('\n').count(), column: 1 + before[line..].chars().count() }
    })
}

/// A text, how far it has been read, and how deep.
struct Parser<'a> {
    text: &'a str,
    /// Where the next character is; after an error, where that is.
    at: usize,
    /// The line there.
    line: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Problem>;

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// Goes on behind these characters if they are next.
    fn eat(&mut self, characters: &str) -> bool {
        let is_next = self.rest().starts_with(characters);
        if is_next {
            self.at += characters.len();
        }
        is_next
    }

    /// Goes on to the next word or operator of the line.
    fn skip_blanks(&mut self) {
        loop {
            if self.eat("\\\n") {
                self.line += 1;
            } else if self.peek().is_some_and(|next| next.is_whitespace() && next != '\n') {
                self.next();
            } else if self.peek() == Some('#') {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else {
                return;
            }
        }
    }

    /// Goes on to the next word or operator, maybe on a later line.
    fn skip_lines(&mut self) {
        self.skip_blanks();
        while self.eat("\n") {
            self.line += 1;
            self.skip_blanks();
        }
    }

    /// Reads something nested.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return Err(Problem::TooDeep);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// The reserved word that is next, where a command is expected.
    fn reserved(&self) -> Option<&'static str> {
        let rest = self.rest();
        RESERVED.into_iter().find(|word| {
            let after = rest.strip_prefix(word).map(|after| after.chars().next());
            after.is_some_and(|next| next.is_none_or(ends_word))
        })
    }

    fn eat_reserved(&mut self, word: &str) -> bool {
        self.reserved() == Some(word) && self.eat(word)
    }

    /// Reads the word that a command needs next.
    fn need(&mut self, of: &'static str, word: &'static str) -> Parsed<()> {
        self.skip_lines();
        if self.eat_reserved(word) {
            return Ok(());
        }
        Err(match self.peek() {
            None => Problem::Missing { of, word },
            Some(_) => Problem::Instead { of, word },
        })
    }

    /// What is wrong with what is next, where nothing of its kind can be.
    fn unexpected(&self) -> Problem {
        match self.reserved() {
            Some(word) => Problem::Unexpected(word.into()),
            None => Problem::Unexpected(match self.peek() {
                None => "the end".into(),
                Some('\n') => "the end of the line".into(),
                Some(character) => character.into(),
            }),
        }
    }

    /// The operator that is next, where a command should be.
    fn operator(&self) -> Option<&'static str> {
        ["&&", "||", ";", "&", "|"].into_iter().find(|operator| self.rest().starts_with(operator))
    }

    /// Reads up to what ends a list; leaves that to the caller.
    fn list(&mut self) -> Parsed<List> {
        let mut list = List::default();
        loop {
            self.skip_lines();
            if matches!(self.peek(), None | Some(')')) || self.reserved().is_some_and(|word| ENDS.contains(&word)) {
                return Ok(list);
            }
            let commands = self.and_or()?;
            self.skip_blanks();
            let ground = if self.eat("&") { Ground::Background } else { Ground::Foreground };
            list.0.push(Item { commands, ground });
            if ground == Ground::Background || self.eat(";") {
                continue;
            }
            match self.peek() {
                None | Some('\n' | ')') => {}
                // What can follow a compound command is at an end, too.
                Some(_) if self.reserved().is_some_and(|word| ENDS.contains(&word)) => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    /// Reads a list of at least one command.
    fn commands(&mut self, after: &'static str) -> Parsed<List> {
        let list = self.list()?;
        if !list.0.is_empty() {
            return Ok(list);
        }
        Err(match (self.peek(), self.reserved()) {
            (None, _) => Problem::NoCommandAfter(after),
            (_, Some(word)) => Problem::NoCommandBefore(word),
            _ => Problem::NoCommandBefore(")"),
        })
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let mut and_or = AndOr { first: self.pipeline()?, rest: Vec::new() };
        loop {
            self.skip_blanks();
            let (join, operator) = if self.eat("&&") {
                (Join::IfSuccess, "&&")
            } else if self.eat("||") {
                (Join::IfFailure, "||")
            } else {
                return Ok(and_or);
            };
            self.command_follows(operator)?;
            and_or.rest.push((join, self.pipeline()?));
        }
    }

    /// Goes on to the command that an operator needs.
    fn command_follows(&mut self, operator: &'static str) -> Parsed<()> {
        self.skip_lines();
        if self.peek().is_some() { Ok(()) } else { Err(Problem::NoCommandAfter(operator)) }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut prefix = |word| {
            let has = self.eat_reserved(word);
            self.skip_blanks();
            if has && self.peek().is_none() { Err(Problem::NoCommandAfter(word)) } else { Ok(has) }
        };
        let (is_timed, is_negated) = (prefix("time")?, prefix("!")?);
        let mut pipeline = Pipeline { is_timed, is_negated, commands: [self.command()?].into() };
        loop {
            self.skip_blanks();
            if self.rest().starts_with("||") || !self.eat("|") {
                return Ok(pipeline);
            }
            self.command_follows("|")?;
            pipeline.commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let line = Line(self.line);
        let body = match (self.reserved(), self.peek()) {
            (Some("{"), _) => self.nested(Self::group)?,
            (Some("if"), _) => self.nested(Self::branches)?,
            (Some("for"), _) => self.nested(Self::for_loop)?,
            (Some("while"), _) => self.nested(|parser| parser.while_loop("while", GoesOn::While))?,
            (Some("until"), _) => self.nested(|parser| parser.while_loop("until", GoesOn::Until))?,
            (Some(_), _) => return Err(self.unexpected()),
            (None, Some('(')) => self.nested(Self::subshell)?,
            _ => return self.simple(),
        };
        let mut redirections = Vec::new();
        loop {
            self.skip_blanks();
            match self.redirection()? {
                Some(redirection) => redirections.push(redirection),
                None => return Ok(Command::Compound(Compound { line, body, redirections })),
            }
        }
    }

    fn redirection(&mut self) -> Parsed<Option<Redirection>> {
        let direction = if self.eat("<") {
            Direction::Input
        } else if self.eat(">>") {
            Direction::Append
        } else if self.eat(">") {
            Direction::Output
        } else {
            return Ok(None);
        };
        self.skip_blanks();
        if self.peek().is_none_or(ends_word) {
            return Err(Problem::NoFileAfter(direction.operator()));
        }
        Ok(Some(Redirection { direction, file: self.word()? }))
    }

    fn simple(&mut self) -> Parsed<Command> {
        let line = Line(self.line);
        let mut simple = Simple { line, ..Simple::default() };
        let mut assignments = Vec::new();
        loop {
            self.skip_blanks();
            if let Some(redirection) = self.redirection()? {
                simple.redirections.push(redirection);
            } else if self.peek().is_none_or(ends_word) {
                break;
            } else {
                let begin = self.at;
                if simple.words.is_empty() && !simple.redirections.is_empty() && self.reserved().is_some() {
                    return Err(self.unexpected());
                }
                let word = self.word()?;
                match assignment(word, simple.words.is_empty()) {
                    Ok(assignment) => assignments.push(assignment),
                    Err(word) => {
                        if simple.words.is_empty() && word.literal().is_some_and(|text| RESERVED.contains(&text)) {
                            self.at = begin;
                            return Err(self.unexpected());
                        }
                        simple.words.push(word);
                    }
                }
                if !assignments.is_empty() && !simple.words.is_empty() {
                    self.at = begin;
                    return Err(Problem::AssignmentForCommand);
                }
            }
            if !assignments.is_empty() && !simple.redirections.is_empty() {
                return Err(Problem::AssignmentForCommand);
            }
        }
        if self.peek() == Some('(') {
            return Err(self.unexpected());
        }
        if !assignments.is_empty() {
            return Ok(Command::Assignments(line, assignments));
        }
        if !simple.words.is_empty() || !simple.redirections.is_empty() {
            return Ok(Command::Simple(simple));
        }
        Err(self.operator().map_or_else(|| self.unexpected(), Problem::NoCommandBefore))
    }
}

#[cfg(test)]
mod tests;
