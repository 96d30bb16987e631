//! From the words of a tree to the arguments of a command.
//!
//! ```text
//!   a"$x"$y*.rs   pieces ─▶ values put in ─▶ what is bare split at blanks ─▶ * and ? in the text matched with names
//! ```
//!
//! `*` and `?` in what a variable or a command puts in are characters like others.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::arithmetic::{ArithmeticError, evaluate};
use super::pattern::Pattern;
use super::syntax::{List, Parameter, Piece, Quoting, Word};

/// Bytes that the words of a command may become together.
pub const EXPANSION_MAX: usize = 64 << 10;

/// What words are expanded with.
pub trait Environment {
    /// The value of a variable; empty if it has none.
    fn variable(&self, name: &str) -> String;
    /// The arguments of the script, from `$1`.
    fn arguments(&self) -> &[String];
    /// The value of a parameter that is neither of the two.
    fn special(&self, parameter: &Parameter) -> String;
    /// What commands print.
    ///
    /// # Errors
    /// A message for the user.
    fn output(&mut self, list: &List) -> Result<String, String>;
    /// The names in a directory; none if it cannot be read.
    fn entries(&mut self, directory: &str) -> Vec<String>;
}

/// Why words could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpandError {
    /// They become longer than [`EXPANSION_MAX`].
    TooLong,
    /// An expression has no result.
    Arithmetic(ArithmeticError),
    /// A command in `$(…)` could not be run.
    Output(String),
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpandError::TooLong => {
                write!(f, "the words of the command become longer than {} KiB", EXPANSION_MAX >> 10)
            }
            ExpandError::Arithmetic(error) => error.fmt(f),
            ExpandError::Output(message) => write!(f, "$(…): {message}"),
        }
    }
}

impl core::error::Error for ExpandError {}

impl From<ArithmeticError> for ExpandError {
    fn from(error: ArithmeticError) -> ExpandError {
        ExpandError::Arithmetic(error)
    }
}

/// The arguments that words become.
///
/// # Errors
/// [`ExpandError`].
pub fn words(words: &[Word], environment: &mut dyn Environment) -> Result<Vec<String>, ExpandError> {
    let mut fields = Fields { room: EXPANSION_MAX, ..Fields::default() };
    for word in words {
        fields.add(word, environment)?;
        fields.end();
    }
    let mut arguments = Vec::new();
    let mut room = EXPANSION_MAX;
    for field in fields.done {
        let mut paths = Vec::new();
        if field.is_wild() {
            let mut entries = |directory: &str| environment.entries(directory);
            paths = field.paths(&mut entries, room).ok_or(ExpandError::TooLong)?;
        }
        if paths.is_empty() {
            paths.push(field.into_text());
        }
        let used: usize = paths.iter().map(|path| path.len() + 1).sum();
        room = room.checked_sub(used).ok_or(ExpandError::TooLong)?;
        arguments.extend(paths);
    }
    Ok(arguments)
}

/// The one text that a word becomes: a value, or the name of a file. It is neither split nor matched.
///
/// # Errors
/// [`ExpandError`].
pub fn text(word: &Word, environment: &mut dyn Environment) -> Result<String, ExpandError> {
    let mut text = String::new();
    for piece in &word.0 {
        match piece {
            Piece::Text(piece) | Piece::Quoted(piece) => text.push_str(piece),
            Piece::Parameter(Parameter::Arguments, _) => text.push_str(&environment.arguments().join(" ")),
            piece => text.push_str(&value(piece, environment)?),
        }
        if text.len() > EXPANSION_MAX {
            return Err(ExpandError::TooLong);
        }
    }
    Ok(text)
}

/// What a piece other than text and `$@` becomes.
fn value(piece: &Piece, environment: &mut dyn Environment) -> Result<String, ExpandError> {
    match piece {
        Piece::Parameter(Parameter::Variable(name), _) => Ok(environment.variable(name)),
        Piece::Parameter(Parameter::Argument(index @ 1..), _) => {
            Ok(environment.arguments().get(index - 1).cloned().unwrap_or_default())
        }
        Piece::Parameter(Parameter::Count, _) => Ok(environment.arguments().len().to_string()),
        Piece::Parameter(parameter, _) => Ok(environment.special(parameter)),
        Piece::Output(list, _) => {
            let mut output = environment.output(list).map_err(ExpandError::Output)?;
            output.truncate(output.trim_end_matches('\n').len());
            Ok(output)
        }
        Piece::Arithmetic(expression, _) => {
            let expression = text(expression, environment)?;
            let result = evaluate(&expression, &|name| environment.variable(name))?;
            Ok(format!("{result}"))
        }
        Piece::Text(text) | Piece::Quoted(text) => Ok(text.clone()),
    }
}

/// Arguments in the making.
#[derive(Default)]
struct Fields {
    done: Vec<Pattern>,
    /// The one that is not finished, if something of it is there.
    current: Option<Pattern>,
    /// Bytes that may still come.
    room: usize,
}

impl Fields {
    fn end(&mut self) {
        self.done.extend(self.current.take());
    }

    /// The one that is not finished, which these bytes are about to be appended to.
    fn current(&mut self, bytes: usize) -> Result<&mut Pattern, ExpandError> {
        let bytes = bytes + usize::from(self.current.is_none());
        self.room = self.room.checked_sub(bytes).ok_or(ExpandError::TooLong)?;
        Ok(self.current.get_or_insert_default())
    }

    fn add(&mut self, word: &Word, environment: &mut dyn Environment) -> Result<(), ExpandError> {
        for piece in &word.0 {
            match piece {
                Piece::Text(text) => self.current(text.len())?.push(text),
                Piece::Quoted(text) => self.current(text.len())?.push_quoted(text),
                Piece::Parameter(Parameter::Arguments, quoting) => {
                    for (index, argument) in environment.arguments().iter().enumerate() {
                        if index > 0 {
                            self.end();
                        }
                        self.put(argument, *quoting)?;
                    }
                }
                Piece::Parameter(_, quoting) | Piece::Output(_, quoting) | Piece::Arithmetic(_, quoting) => {
                    self.put(&value(piece, environment)?, *quoting)?;
                }
            }
        }
        Ok(())
    }

    /// Appends a value, which ends an argument at every blank if it is bare.
    fn put(&mut self, value: &str, quoting: Quoting) -> Result<(), ExpandError> {
        if quoting == Quoting::Quoted {
            self.current(value.len())?.push_quoted(value);
            return Ok(());
        }
        for (index, part) in value.split(|next: char| next.is_ascii_whitespace()).enumerate() {
            if index > 0 {
                self.end();
            }
            if !part.is_empty() {
                self.current(part.len())?.push_quoted(part);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::parse::parse;
    use crate::shell::syntax::Command;

    struct Sample(Vec<String>);

    impl Environment for Sample {
        fn variable(&self, name: &str) -> String {
            match name {
                "two" => " one  two\n".into(),
                "star" => "*".into(),
                "n" => "6".into(),
                "long" => "x".repeat(EXPANSION_MAX - 100),
                _ => String::new(),
            }
        }

        fn arguments(&self) -> &[String] {
            &self.0
        }

        fn special(&self, parameter: &Parameter) -> String {
            match parameter {
                Parameter::Status => "7".into(),
                _ => "script".into(),
            }
        }

        fn output(&mut self, list: &List) -> Result<String, String> {
            match list.to_string().as_str() {
                "fail" => Err("no memory".into()),
                command => Ok(format!("<{command}>\n\n")),
            }
        }

        fn entries(&mut self, directory: &str) -> Vec<String> {
            let names = if directory == "/tmp/" { vec!["b", "a"] } else { vec!["motd"] };
            names.into_iter().map(String::from).collect()
        }
    }

    fn expanded(line: &str, arguments: &[&str]) -> Result<Vec<String>, ExpandError> {
        let list = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let [Command::Simple(simple)] = &list.0[0].commands.first.commands[..] else { panic!("{line}") };
        words(&simple.words, &mut Sample(arguments.iter().copied().map(String::from).collect()))
    }

    fn expect(line: &str, result: &[&str]) {
        assert_eq!(expanded(line, &["a b", "c"]).unwrap(), result, "{line}");
    }

    #[test]
    fn words_are_separated_by_space_and_joined_by_quotes() {
        expect("echo a  b\tc", &["echo", "a", "b", "c"]);
        expect(r#"echo 'a  b' "c  d" e' 'f"#, &["echo", "a  b", "c  d", "e f"]);
        expect(r#"echo '' """#, &["echo", "", ""]);
        expect(r"echo a\ b \; \'", &["echo", "a b", ";", "'"]);
        expect(r#"echo "a\"b\\c\d\$?""#, &["echo", r#"a"b\c\d$?"#]);
        expect("echo ü€ a\\\nb \"c\\\nd\"", &["echo", "ü€", "ab", "cd"]);
    }

    #[test]
    fn the_status_expands_outside_single_quotes() {
        expect("echo $? x$?y \"$?\" '$?' $ $% \"$\"", &["echo", "7", "x7y", "7", "$?", "$", "$%", "$"]);
    }

    #[test]
    fn values_are_split_at_blanks_unless_they_are_quoted() {
        expect("echo $two \"$two\" a${two}b", &["echo", "one", "two", " one  two\n", "a", "one", "two", "b"]);
        expect("echo $unset \"$unset\" a$unset", &["echo", "", "a"]);
        expect("echo $(print $two) \"$(a  b)\"", &["echo", "<print", "${two}>", "<a b>"]);
        expect("$unset", &[]);
    }

    #[test]
    fn arguments_keep_their_borders_in_quotes() {
        expect("f $1 \"$1\" $2$3 $# $0 ${2}x $10 ${10}", &["f", "a", "b", "a b", "c", "2", "script", "cx", "a", "b0"]);
        expect("f \"$@\"", &["f", "a b", "c"]);
        expect("f \"<$@>\"", &["f", "<a b", "c>"]);
        expect("f $@", &["f", "a", "b", "c"]);
        assert_eq!(expanded("f \"$@\" $@", &[]).unwrap(), ["f"]);
        assert_eq!(expanded("f \"<$@>\"", &[]).unwrap(), ["f", "<>"]);
    }

    #[test]
    fn patterns_are_matched_where_they_are_written_and_nowhere_else() {
        expect(
            "ls /tmp/* '/tmp/*' /tmp/\\* $star \"$star\" m*",
            &["ls", "/tmp/a", "/tmp/b", "/tmp/*", "/tmp/*", "*", "*", "motd"],
        );
        expect("ls nosuch*", &["ls", "nosuch*"]);
    }

    #[test]
    fn expressions_become_numbers() {
        expect("echo $((n * 7)) \"$(( $n + 1 ))\" $(( (1+1)*$((3)) ))", &["echo", "42", "7", "6"]);
        assert_eq!(expanded("echo $((1/0))", &[]), Err(ArithmeticError::DivisionByZero.into()));
    }

    #[test]
    fn what_becomes_too_long_is_an_error_before_it_is_there() {
        assert!(expanded("echo $long", &[]).is_ok());
        assert_eq!(expanded("echo $long $long", &[]), Err(ExpandError::TooLong));
        assert_eq!(expanded("echo \"$long$long\"", &[]), Err(ExpandError::TooLong));
        assert_eq!(expanded(&"/tmp/* ".repeat(20_000), &[]), Err(ExpandError::TooLong));
        assert_eq!(expanded("echo $(fail)", &[]), Err(ExpandError::Output("no memory".into())));
        let environment = &mut Sample(Vec::new());
        let long = || Piece::Parameter(Parameter::Variable("long".into()), Quoting::Bare);
        assert_eq!(text(&Word([long(), long()].into()), environment), Err(ExpandError::TooLong));
    }
}
