//! The syntax tree of what the shell runs. Printed, it is one command line again that reads as the same tree.
//!
//! ```text
//!   List ── Item ── AndOr ── Pipeline ── Command ─┬─ Assignments  NAME=Word
//!    ▲      ; or &  && ||    | ! time             ├─ Simple       words, redirections
//!    │                                            └─ Compound     { } ( ) if for while until, redirections
//!    └───────────────────────────────────────────────────┘
//!   Word ── Piece    text, quoted text, $NAME, $(List), $((Word))
//! ```
//!
//! No list, pipeline or word in a tree that the [parser](super::parse) has made is empty, unless it says so here.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Commands, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<Item>);

/// A part of a [`List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What runs.
    pub commands: AndOr,
    /// Whether the shell waits for it.
    pub ground: Ground,
}

/// Whether the shell waits for a command's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It does.
    Foreground,
    /// It goes on at once: `&`.
    Background,
}

/// Pipelines, each but the first depending on the status of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AndOr {
    /// Runs in any case.
    pub first: Pipeline,
    /// Runs if the status then asks for it.
    pub rest: Vec<(Join, Pipeline)>,
}

/// When a pipeline runs, given the status before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// If the status is 0: `&&`.
    IfSuccess,
    /// If the status is not 0: `||`.
    IfFailure,
}

impl Join {
    /// Whether a pipeline joined in this way runs after that status.
    pub const fn runs_after(self, status: i32) -> bool {
        match self {
            Join::IfSuccess => status == 0,
            Join::IfFailure => status != 0,
        }
    }

    const fn operator(self) -> &'static str {
        match self {
            Join::IfSuccess => "&&",
            Join::IfFailure => "||",
        }
    }
}

/// Commands that run at the same time, each reading what the one before it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// `time`: how long it took is to be printed.
    pub is_timed: bool,
    /// `!`: success becomes failure, failure success.
    pub is_negated: bool,
    /// At least one.
    pub commands: Vec<Command>,
}

/// A part of a [`Pipeline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Variables that are set.
    Assignments(Line, Vec<Assignment>),
    /// A program or builtin with its arguments.
    Simple(Simple),
    /// Commands within a command.
    Compound(Compound),
}

/// A program or builtin with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// Where it stands.
    pub line: Line,
    /// The name and the arguments. Empty only if there are redirections.
    pub words: Vec<Word>,
    /// Files in the place of its input and output.
    pub redirections: Vec<Redirection>,
}

/// The number of a line, from 1. Trees that differ in nothing else are equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line(pub usize);

impl PartialEq for Line {
    fn eq(&self, _: &Line) -> bool {
        true
    }
}

impl Eq for Line {}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The variable's name.
    pub name: String,
    /// What it becomes; may be empty.
    pub value: Word,
}

/// A file in the place of input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// What it takes the place of.
    pub direction: Direction,
    /// Its name.
    pub file: Word,
}

/// What a file takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The input: `<`.
    Input,
    /// The output, from the file's beginning: `>`.
    Output,
    /// The output, behind what is there: `>>`.
    Append,
}

impl Direction {
    /// As it is written.
    pub const fn operator(self) -> &'static str {
        match self {
            Direction::Input => "<",
            Direction::Output => ">",
            Direction::Append => ">>",
        }
    }
}

/// Commands within a command, and files in the place of the input and output of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compound {
    /// Where it stands.
    pub line: Line,
    /// What runs, and when.
    pub body: Body,
    /// Files in the place of its input and output.
    pub redirections: Vec<Redirection>,
}

/// What a [`Compound`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `{ LIST; }`.
    Group(List),
    /// `( LIST )`: in a copy of the shell.
    Subshell(List),
    /// `if LIST; then LIST; elif LIST; then LIST; else LIST; fi`.
    If {
        /// Conditions, and what runs after the first that succeeds. Never empty.
        branches: Vec<(List, List)>,
        /// What runs if none succeeds.
        otherwise: Option<List>,
    },
    /// `for NAME in WORD...; do LIST; done`.
    For {
        /// The variable.
        name: String,
        /// Its values; without `in`, the arguments of the script.
        words: Option<Vec<Word>>,
        /// What runs with each.
        body: List,
    },
    /// `while LIST; do LIST; done`, or `until`.
    Loop {
        /// Which of the two.
        goes_on: GoesOn,
        /// What decides.
        condition: List,
        /// What runs as long as it does.
        body: List,
    },
}

/// What a loop's condition has to do for another turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoesOn {
    /// To succeed.
    While,
    /// To fail.
    Until,
}

/// What becomes an argument, several, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(pub Vec<Piece>);

/// A part of a [`Word`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Characters, of which `*` and `?` are a pattern.
    Text(String),
    /// Characters that stand for themselves.
    Quoted(String),
    /// `$NAME` and its kin.
    Parameter(Parameter, Quoting),
    /// `$(LIST)`: what it prints.
    Output(List, Quoting),
    /// `$((EXPRESSION))`: a number.
    Arithmetic(Word, Quoting),
}

/// Whether what a piece becomes is split at blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// It is.
    Bare,
    /// It is not: it stands in `"…"`.
    Quoted,
}

/// What stands behind a `$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `$NAME`.
    Variable(String),
    /// `$1`; `$0` is the script.
    Argument(usize),
    /// `$@`: all arguments, each a word.
    Arguments,
    /// `$#`: how many arguments there are.
    Count,
    /// `$?`: the last status.
    Status,
    /// `$!`: the process of the last command in the background.
    Background,
    /// `$$`: the shell's own process.
    Shell,
}

impl Word {
    /// The text, if it is plain from beginning to end.
    pub fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends a character that may be part of a pattern.
    pub(super) fn push_text(&mut self, character: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.0.push(Piece::Text(character.into())),
        }
    }

    /// Appends characters that stand for themselves, or an empty word's beginning.
    pub(super) fn push_quoted(&mut self, characters: &str) {
        match self.0.last_mut() {
            Some(Piece::Quoted(text)) => text.push_str(characters),
            _ => self.0.push(Piece::Quoted(characters.into())),
        }
    }
}

impl fmt::Display for List {
    /// Without a `;` at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            item.commands.fmt(f)?;
            f.write_str(match item.ground {
                Ground::Background => " &",
                Ground::Foreground if index + 1 < self.0.len() => ";",
                Ground::Foreground => "",
            })?;
            if index + 1 < self.0.len() {
                f.write_str(" ")?;
            }
        }
        Ok(())
    }
}

/// A list with its end, so that a reserved word can follow.
struct Ended<'a>(&'a List);

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.0.0.last() {
            Some(Item { ground: Ground::Background, .. }) => "",
            _ => ";",
        };
        write!(f, "{}{end}", self.0)
    }
}

impl fmt::Display for AndOr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.rest.iter().try_for_each(|(join, pipeline)| write!(f, " {} {pipeline}", join.operator()))
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_timed { "time " } else { "" })?;
        f.write_str(if self.is_negated { "! " } else { "" })?;
        for (index, command) in self.commands.iter().enumerate() {
            f.write_str(if index > 0 { " | " } else { "" })?;
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Assignments(_, assignments) => {
                for (index, Assignment { name, value }) in assignments.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index > 0 { " " } else { "" })?;
                }
                Ok(())
            }
            Command::Simple(simple) => simple.fmt(f),
            Command::Compound(compound) => {
                compound.body.fmt(f)?;
                compound.redirections.iter().try_for_each(|redirection| write!(f, " {redirection}"))
            }
        }
    }
}

impl fmt::Display for Simple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for word in &self.words {
            write!(f, "{separator}{word}")?;
            separator = " ";
        }
        for redirection in &self.redirections {
            write!(f, "{separator}{redirection}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Display for Redirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.direction.operator(), self.file)
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Group(list) => write!(f, "{{ {} }}", Ended(list)),
            Body::Subshell(list) => write!(f, "( {list} )"),
            Body::If { branches, otherwise } => {
                for (index, (condition, body)) in branches.iter().enumerate() {
                    let word = if index == 0 { "if" } else { " elif" };
                    write!(f, "{word} {} then {}", Ended(condition), Ended(body))?;
                }
                if let Some(body) = otherwise {
                    write!(f, " else {}", Ended(body))?;
                }
                f.write_str(" fi")
            }
            Body::For { name, words, body } => {
                write!(f, "for {name}")?;
                if let Some(words) = words {
                    f.write_str(" in")?;
                    words.iter().try_for_each(|word| write!(f, " {word}"))?;
                }
                write!(f, "; do {} done", Ended(body))
            }
            Body::Loop { goes_on, condition, body } => {
                let word = match goes_on {
                    GoesOn::While => "while",
                    GoesOn::Until => "until",
                };
                write!(f, "{word} {} do {} done", Ended(condition), Ended(body))
            }
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| piece.fmt(f))
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Piece::Parameter(_, quoting) | Piece::Output(_, quoting) | Piece::Arithmetic(_, quoting)) = self else {
            return match self {
                Piece::Quoted(text) => write!(f, "'{}'", text.replace('\'', r"'\''")),
                Piece::Text(text) => f.write_str(text),
                _ => Ok(()),
            };
        };
        let quote = if *quoting == Quoting::Quoted { "\"" } else { "" };
        f.write_str(quote)?;
        match self {
            Piece::Parameter(parameter, _) => parameter.fmt(f)?,
            // The blank keeps a subshell from looking like arithmetic.
            Piece::Output(list, _) => write!(f, "$( {list} )")?,
            Piece::Arithmetic(expression, _) => write!(f, "$(({expression}))")?,
            Piece::Text(_) | Piece::Quoted(_) => {}
        }
        f.write_str(quote)
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parameter::Variable(name) => write!(f, "${{{name}}}"),
            Parameter::Argument(index) => write!(f, "${{{index}}}"),
            Parameter::Arguments => f.write_str("$@"),
            Parameter::Count => f.write_str("$#"),
            Parameter::Status => f.write_str("$?"),
            Parameter::Background => f.write_str("$!"),
            Parameter::Shell => f.write_str("$$"),
        }
    }
}
