//! Reading a command line: words, quotes, `$?`, `;`, `&&`, `||`, `|`, `<`, `>`, `>>`.
//!
//! ```text
//! line     = command { ( ";" | "&&" | "||" | "|" ) command } [ ";" ]
//! command  = word { word | ( "<" | ">" | ">>" ) word }
//! word     = { character | '…' | "…" | \character | $? }
//! comment  = "#" at the start of a word, to the end of the line
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// When a command runs, given the status of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// In any case: it is the first, or follows `;`.
    Always,
    /// If the status is 0: it follows `&&`.
    IfSuccess,
    /// If the status is not 0: it follows `||`.
    IfFailure,
    /// At the same time as the one before it, whose output it reads: it follows `|`.
    Piped,
}

impl Join {
    /// Whether a command joined in this way runs after that status.
    pub const fn runs_after(self, status: i32) -> bool {
        match self {
            Join::Always | Join::Piped => true,
            Join::IfSuccess => status == 0,
            Join::IfFailure => status != 0,
        }
    }
}

/// A command: a program or builtin, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// When it runs.
    pub join: Join,
    /// The name and the arguments; never empty.
    pub words: Vec<Word>,
    /// Files in the place of its input and output.
    pub redirections: Vec<(Redirection, Word)>,
}

/// What a file takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirection {
    /// The input: `<`.
    Input,
    /// The output, from the file's beginning: `>`.
    Output,
    /// The output, behind what is there: `>>`.
    Append,
}

impl Redirection {
    const fn operator(self) -> &'static str {
        match self {
            Redirection::Input => "<",
            Redirection::Output => ">",
            Redirection::Append => ">>",
        }
    }
}

/// A word whose `$?` waits for the status of the command before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Status,
}

impl Word {
    fn push(&mut self, character: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.0.push(Piece::Text(String::from(character))),
        }
    }

    /// The word as the command gets it, after a command that ended with this status.
    pub fn expand(&self, status: i32) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Status => text.push_str(&alloc::format!("{status}")),
            }
        }
        text
    }
}

/// Why a line is not a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyntaxError {
    /// A quote, shown here, is opened and not closed.
    Unclosed(char),
    /// The last character is a backslash.
    NothingToEscape,
    /// An operator stands where a command is expected.
    NoCommandBefore(&'static str),
    /// The line ends where a command is expected.
    NoCommandAfter(&'static str),
    /// No word follows a redirection.
    NoFileAfter(&'static str),
    /// An operator of other shells.
    Unsupported(char),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyntaxError::Unclosed(quote) => write!(f, "the quote {quote} is not closed"),
            SyntaxError::NothingToEscape => f.write_str("the line ends in a backslash"),
            SyntaxError::NoCommandBefore(operator) => write!(f, "there is no command before {operator}"),
            SyntaxError::NoCommandAfter(operator) => write!(f, "there is no command after {operator}"),
            SyntaxError::Unsupported(operator) => {
                write!(f, "{operator} does nothing here: there are no background commands")
            }
            SyntaxError::NoFileAfter(operator) => write!(f, "there is no file after {operator}"),
        }
    }
}

impl core::error::Error for SyntaxError {}

enum Token {
    Word(Word),
    Operator(&'static str),
    Redirection(Redirection),
}

/// Reads a command line. An empty line is no command.
pub fn parse(line: &str) -> Result<Vec<Command>, SyntaxError> {
    let mut commands = Vec::new();
    let (mut words, mut redirections) = (Vec::new(), Vec::new());
    let mut join = Join::Always;
    let mut last_operator = None;
    let mut redirection: Option<Redirection> = None;
    for token in tokens(line)? {
        match (token, redirection.take()) {
            (Token::Word(word), Some(redirection)) => redirections.push((redirection, word)),
            (_, Some(redirection)) => return Err(SyntaxError::NoFileAfter(redirection.operator())),
            (Token::Word(word), None) => words.push(word),
            (Token::Redirection(next), None) => redirection = Some(next),
            (Token::Operator(operator), None) => {
                if words.is_empty() {
                    return Err(SyntaxError::NoCommandBefore(operator));
                }
                let (words, redirections) = (core::mem::take(&mut words), core::mem::take(&mut redirections));
                commands.push(Command { join, words, redirections });
                join = match operator {
                    "&&" => Join::IfSuccess,
                    "||" => Join::IfFailure,
                    "|" => Join::Piped,
                    _ => Join::Always,
                };
                last_operator = Some(operator);
            }
        }
    }
    if let Some(redirection) = redirection {
        return Err(SyntaxError::NoFileAfter(redirection.operator()));
    }
    if !words.is_empty() {
        commands.push(Command { join, words, redirections });
    } else if let Some((redirection, _)) = redirections.first() {
        return Err(SyntaxError::NoCommandBefore(redirection.operator()));
    } else if join != Join::Always {
        return Err(SyntaxError::NoCommandAfter(last_operator.unwrap_or_default()));
    }
    Ok(commands)
}

fn tokens(line: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(&next) = characters.peek() {
        match next {
            _ if next.is_whitespace() => {
                characters.next();
            }
            '#' => break,
            ';' | '&' | '|' => {
                characters.next();
                let doubled = next != ';' && characters.next_if_eq(&next).is_some();
                tokens.push(Token::Operator(match (next, doubled) {
                    (';', _) => ";",
                    ('&', true) => "&&",
                    ('|', true) => "||",
                    ('|', false) => "|",
                    _ => return Err(SyntaxError::Unsupported(next)),
                }));
            }
            '<' | '>' => {
                characters.next();
                tokens.push(Token::Redirection(match next {
                    '<' => Redirection::Input,
                    _ if characters.next_if_eq(&'>').is_some() => Redirection::Append,
                    _ => Redirection::Output,
                }));
            }
            _ => tokens.push(Token::Word(word(&mut characters)?)),
        }
    }
    Ok(tokens)
}

type Characters<'a> = core::iter::Peekable<core::str::Chars<'a>>;

fn word(characters: &mut Characters<'_>) -> Result<Word, SyntaxError> {
    let mut word = Word::default();
    while let Some(next) =
        characters.next_if(|&next| !next.is_whitespace() && !matches!(next, ';' | '&' | '|' | '<' | '>'))
    {
        match next {
            '\\' => word.push(characters.next().ok_or(SyntaxError::NothingToEscape)?),
            '\'' => loop {
                match characters.next().ok_or(SyntaxError::Unclosed('\''))? {
                    '\'' => break,
                    character => word.push(character),
                }
            },
            '"' => loop {
                match characters.next().ok_or(SyntaxError::Unclosed('"'))? {
                    '"' => break,
                    '\\' => match characters.next().ok_or(SyntaxError::Unclosed('"'))? {
                        escaped @ ('"' | '\\' | '$') => word.push(escaped),
                        other => {
                            word.push('\\');
                            word.push(other);
                        }
                    },
                    '$' => dollar(characters, &mut word),
                    character => word.push(character),
                }
            },
            '$' => dollar(characters, &mut word),
            character => word.push(character),
        }
    }
    Ok(word)
}

fn dollar(characters: &mut Characters<'_>, word: &mut Word) {
    if characters.next_if_eq(&'?').is_some() {
        word.0.push(Piece::Status);
    } else {
        word.push('$');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Vec<(Join, Vec<String>)> {
        let expand = |word: &Word| word.expand(7);
        let commands = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        commands.iter().map(|command| (command.join, command.words.iter().map(expand).collect())).collect()
    }

    fn words(line: &str) -> Vec<String> {
        let mut commands = shown(line);
        assert_eq!(commands.len(), 1, "{line}");
        commands.remove(0).1
    }

    #[test]
    fn words_are_separated_by_space_and_joined_by_quotes() {
        assert_eq!(words("echo a  b\tc"), ["echo", "a", "b", "c"]);
        assert_eq!(words(r#"echo 'a  b' "c  d" e' 'f"#), ["echo", "a  b", "c  d", "e f"]);
        assert_eq!(words(r#"echo '' """#), ["echo", "", ""]);
        assert_eq!(words(r"echo a\ b \; \'"), ["echo", "a b", ";", "'"]);
        assert_eq!(words(r#"echo "a\"b\\c\d\$?""#), ["echo", r#"a"b\c\d$?"#]);
        assert_eq!(words("echo ü€"), ["echo", "ü€"]);
    }

    #[test]
    fn the_status_expands_outside_single_quotes() {
        assert_eq!(words("echo $? x$?y \"$?\" '$?' $ $a"), ["echo", "7", "x7y", "7", "$?", "$", "$a"]);
    }

    #[test]
    fn operators_need_no_space_and_join_commands() {
        assert_eq!(
            shown("a;b&&c||d ;"),
            [
                (Join::Always, vec!["a".into()]),
                (Join::Always, vec!["b".into()]),
                (Join::IfSuccess, vec!["c".into()]),
                (Join::IfFailure, vec!["d".into()]),
            ]
        );
        assert!(Join::Always.runs_after(3) && Join::IfSuccess.runs_after(0) && Join::IfFailure.runs_after(3));
        assert!(!Join::IfSuccess.runs_after(3) && !Join::IfFailure.runs_after(0));
    }

    #[test]
    fn files_and_pipes_take_the_place_of_input_and_output() {
        let commands = parse("a <in x>out>>'more out'|b").unwrap();
        let files: Vec<_> = commands[0].redirections.iter().map(|(what, file)| (*what, file.expand(0))).collect();
        let expected = [(Redirection::Input, "in"), (Redirection::Output, "out"), (Redirection::Append, "more out")];
        assert_eq!(files, expected.map(|(what, file)| (what, String::from(file))));
        assert_eq!(commands[0].words.len(), 2);
        assert_eq!((commands[1].join, commands[1].words.len()), (Join::Piped, 1));
    }

    #[test]
    fn comments_and_empty_lines_are_no_commands() {
        for line in ["", "   ", "# echo", "  # a ; b"] {
            assert_eq!(shown(line), [], "{line}");
        }
        assert_eq!(words("echo a#b # c"), ["echo", "a#b"]);
    }

    #[test]
    fn what_is_no_command_line_is_refused() {
        for (line, error) in [
            ("echo 'a", SyntaxError::Unclosed('\'')),
            ("echo \"a", SyntaxError::Unclosed('"')),
            ("echo \"a\\", SyntaxError::Unclosed('"')),
            ("echo \\", SyntaxError::NothingToEscape),
            ("; a", SyntaxError::NoCommandBefore(";")),
            ("a ;; b", SyntaxError::NoCommandBefore(";")),
            ("&& a", SyntaxError::NoCommandBefore("&&")),
            ("a && || b", SyntaxError::NoCommandBefore("||")),
            ("a &&", SyntaxError::NoCommandAfter("&&")),
            ("a || # b", SyntaxError::NoCommandAfter("||")),
            ("a |", SyntaxError::NoCommandAfter("|")),
            ("| a", SyntaxError::NoCommandBefore("|")),
            ("a &", SyntaxError::Unsupported('&')),
            ("a >", SyntaxError::NoFileAfter(">")),
            ("a >> ; b", SyntaxError::NoFileAfter(">>")),
            ("a < > b", SyntaxError::NoFileAfter("<")),
            ("> b", SyntaxError::NoCommandBefore(">")),
        ] {
            assert_eq!(parse(line), Err(error), "{line}");
        }
    }
}
