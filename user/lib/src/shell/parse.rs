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

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::syntax::*;

/// Bytes that a script may have.
pub const LENGTH_MAX: usize = 256 << 10;

/// How deep compound commands and substitutions may be nested.
pub const DEPTH_MAX: usize = 50;

/// Why a text is no script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub problem: Problem,
    /// The line where it is, from 1.
    pub line: usize,
    /// The character in the line where it is, from 1.
    pub column: usize,
}

impl SyntaxError {
    /// Whether more text could mend it.
    pub const fn is_incomplete(&self) -> bool {
        use Problem::*;
        matches!(self.problem, Unclosed(_) | NothingToEscape | NoCommandAfter(_) | Missing { .. })
    }
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A quote or a bracket, shown here, is opened and not closed.
    Unclosed(&'static str),
    /// The last character is a backslash.
    NothingToEscape,
    /// An operator or a reserved word stands where a command is expected.
    NoCommandBefore(&'static str),
    /// The text ends where a command is expected.
    NoCommandAfter(&'static str),
    /// The text ends before the reserved word that a command needs.
    Missing {
        /// What the command begins with.
        of: &'static str,
        /// What it needs.
        word: &'static str,
    },
    /// Another word stands where a command needs a reserved word.
    Instead {
        /// What the command begins with.
        of: &'static str,
        /// What it needs.
        word: &'static str,
    },
    /// No word follows a redirection.
    NoFileAfter(&'static str),
    /// What follows `for`, or stands in `${…}`, is no name.
    NotAName(String),
    /// Something that is never expected here.
    Unexpected(String),
    /// `2>` and its kin.
    NumberedStream,
    /// `NAME=VALUE PROGRAM`.
    AssignmentForCommand,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// Longer than [`LENGTH_MAX`].
    TooLong,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unclosed(quote) => write!(f, "{quote} is not closed"),
            Problem::NothingToEscape => f.write_str("the line ends in a backslash"),
            Problem::NoCommandBefore(operator) => write!(f, "there is no command before {operator}"),
            Problem::NoCommandAfter(operator) => write!(f, "there is no command after {operator}"),
            Problem::Missing { of, word } => write!(f, "{of} needs {word}, and the text ends"),
            Problem::Instead { of, word } => write!(f, "{of} needs {word} here"),
            Problem::NoFileAfter(operator) => write!(f, "there is no file after {operator}"),
            Problem::NotAName(name) => write!(f, "{name:?} is no name of a variable"),
            Problem::Unexpected(text) => write!(f, "{text} is not expected here"),
            Problem::NumberedStream => {
                f.write_str("only input and output can be redirected: what a program complains goes to the console")
            }
            Problem::AssignmentForCommand => f.write_str("programs do not get variables: NAME=VALUE stands alone"),
            Problem::TooDeep => write!(f, "this is nested more than {DEPTH_MAX} deep"),
            Problem::TooLong => write!(f, "more than {} KiB are too long", LENGTH_MAX >> 10),
        }
    }
}

impl core::error::Error for SyntaxError {}

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

    fn group(&mut self) -> Parsed<Body> {
        self.eat("{");
        let list = self.commands("{")?;
        self.need("{", "}")?;
        Ok(Body::Group(list))
    }

    fn subshell(&mut self) -> Parsed<Body> {
        self.eat("(");
        let list = self.commands("(")?;
        self.close("(")?;
        Ok(Body::Subshell(list))
    }

    /// Reads the `)` behind a list.
    fn close(&mut self, opened: &'static str) -> Parsed<()> {
        match self.peek() {
            Some(')') => {
                self.eat(")");
                Ok(())
            }
            None => Err(Problem::Unclosed(opened)),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn branches(&mut self) -> Parsed<Body> {
        let mut branches = Vec::new();
        let mut word = "if";
        self.eat(word);
        loop {
            let condition = self.commands(word)?;
            self.need("if", "then")?;
            branches.push((condition, self.commands("then")?));
            if !self.eat_reserved("elif") {
                break;
            }
            word = "elif";
        }
        let otherwise = if self.eat_reserved("else") { Some(self.commands("else")?) } else { None };
        self.need("if", "fi")?;
        Ok(Body::If { branches, otherwise })
    }

    fn for_loop(&mut self) -> Parsed<Body> {
        self.eat("for");
        self.skip_blanks();
        let end = self.rest().find(ends_word).unwrap_or(self.rest().len());
        let name = String::from(&self.rest()[..end]);
        if !is_name(&name) {
            return Err(match self.peek() {
                None => Problem::Missing { of: "for", word: "a name" },
                Some(_) => not_a_name(&name),
            });
        }
        self.at += end;
        self.skip_lines();
        let mut words = None;
        if self.eat_reserved("in") {
            let words = words.insert(Vec::new());
            loop {
                self.skip_blanks();
                if self.peek().is_none_or(ends_word) {
                    break;
                }
                words.push(self.word()?);
            }
        }
        self.skip_blanks();
        self.eat(";");
        let body = self.body("for")?;
        Ok(Body::For { name, words, body })
    }

    fn while_loop(&mut self, word: &'static str, goes_on: GoesOn) -> Parsed<Body> {
        self.eat(word);
        let condition = self.commands(word)?;
        let body = self.body(word)?;
        Ok(Body::Loop { goes_on, condition, body })
    }

    /// `do LIST done`.
    fn body(&mut self, of: &'static str) -> Parsed<List> {
        self.need(of, "do")?;
        let body = self.commands("do")?;
        self.need(of, "done")?;
        Ok(body)
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

    /// Reads a word of at least a character.
    fn word(&mut self) -> Parsed<Word> {
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
fn ends_word(character: char) -> bool {
    character.is_whitespace() || matches!(character, ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

/// The problem with what should be a name; of a long text, its beginning.
fn not_a_name(text: &str) -> Problem {
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
fn assignment(word: Word, can_be: bool) -> Result<Assignment, Word> {
    let Some(Piece::Text(text)) = word.0.first().filter(|_| can_be) else { return Err(word) };
    let Some((name, rest)) = text.split_once('=').filter(|(name, _)| is_name(name)) else { return Err(word) };
    let (name, rest) = (String::from(name), String::from(rest));
    let rest = if rest.is_empty() { None } else { Some(Piece::Text(rest)) };
    Ok(Assignment { name, value: Word(rest.into_iter().chain(word.0.into_iter().skip(1)).collect()) })
}

#[cfg(test)]
mod tests;
