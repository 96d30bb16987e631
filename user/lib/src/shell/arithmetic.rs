//! `$((…))`: whole numbers of 64 bits.

use alloc::string::String;
use core::fmt;

/// How deep parentheses may be nested.
const DEPTH_MAX: usize = 50;

/// Operators with their precedence; longer ones before their beginnings.
const OPERATORS: [(&str, usize); 13] = [
    ("||", 1),
    ("&&", 2),
    ("==", 3),
    ("!=", 3),
    ("<=", 4),
    (">=", 4),
    ("<", 4),
    (">", 4),
    ("+", 5),
    ("-", 5),
    ("*", 6),
    ("/", 6),
    ("%", 6),
];

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArithmeticError {
    /// Something else stands where a number should.
    NoNumber(String),
    /// The expression ends where a number should stand.
    Ends,
    /// Something that is no operator stands where one should.
    NoOperator(String),
    /// A variable that is used is not a number.
    Variable {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
    /// `(` without `)`.
    Unclosed,
    /// Division by 0.
    DivisionByZero,
    /// A number or a result does not fit 64 bits.
    TooLarge,
    /// More parentheses in each other than 50.
    TooDeep,
}

impl fmt::Display for ArithmeticError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArithmeticError::NoNumber(text) => write!(f, "$((…)): {text:?} stands where a number should"),
            ArithmeticError::Ends => f.write_str("$((…)): it ends where a number should stand"),
            ArithmeticError::NoOperator(text) => write!(f, "$((…)): {text:?} is no operator"),
            ArithmeticError::Variable { name, value } => write!(f, "$((…)): {name} is {value:?}, which is no number"),
            ArithmeticError::Unclosed => f.write_str("$((…)): ( is not closed"),
            ArithmeticError::DivisionByZero => f.write_str("$((…)): division by 0"),
            ArithmeticError::TooLarge => f.write_str("$((…)): the number does not fit 64 bits"),
            ArithmeticError::TooDeep => write!(f, "$((…)): nested more than {DEPTH_MAX} deep"),
        }
    }
}

impl core::error::Error for ArithmeticError {}

/// What an expression comes to. Both sides of `&&` and `||` are evaluated.
///
/// # Errors
/// [`ArithmeticError`].
pub fn evaluate(text: &str, variable: &dyn Fn(&str) -> String) -> Result<i64, ArithmeticError> {
    let mut evaluator = Evaluator { rest: text.trim_start(), variable };
    let value = evaluator.binary(1, 0)?;
    match evaluator.rest {
        "" => i64::try_from(value).map_err(|_| ArithmeticError::TooLarge),
        rest => Err(ArithmeticError::NoOperator(shown(rest))),
    }
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    text.chars().take(16).collect()
}

struct Evaluator<'a> {
    /// What has not been read, without blanks before it.
    rest: &'a str,
    variable: &'a dyn Fn(&str) -> String,
}

impl<'a> Evaluator<'a> {
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.rest = rest.trim_start();
        skipped
    }

    /// Operands joined by operators of at least this precedence.
    fn binary(&mut self, precedence: usize, depth: usize) -> Result<i128, ArithmeticError> {
        let mut left = self.operand(depth)?;
        loop {
            let next = OPERATORS.iter().find(|(operator, _)| self.rest.starts_with(operator));
            let Some(&(operator, its)) = next.filter(|(_, its)| *its >= precedence) else { return Ok(left) };
            self.skip(operator.len());
            let right = self.binary(its + 1, depth)?;
            left = apply(operator, left, right)?;
        }
    }

    fn operand(&mut self, depth: usize) -> Result<i128, ArithmeticError> {
        let signs = self.rest.len() - self.rest.trim_start_matches(['-', '+', '!', ' ', '\t', '\n']).len();
        let signs = self.skip(signs);
        let value = if self.rest.starts_with('(') {
            if depth == DEPTH_MAX {
                return Err(ArithmeticError::TooDeep);
            }
            self.skip(1);
            let value = self.binary(1, depth + 1)?;
            if !self.rest.starts_with(')') {
                return Err(ArithmeticError::Unclosed);
            }
            self.skip(1);
            value
        } else {
            self.number()?
        };
        fitting(signs.chars().rev().fold(value, |value, sign| match sign {
            '-' => -value,
            '!' => i128::from(value == 0),
            _ => value,
        }))
    }

    /// A literal or a variable. The literal behind the sign of the most negative number does not fit by itself.
    fn number(&mut self) -> Result<i128, ArithmeticError> {
        let in_word = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric();
        let word = self.skip(self.rest.bytes().take_while(in_word).count());
        match word.bytes().next() {
            None if self.rest.is_empty() => Err(ArithmeticError::Ends),
            None => Err(ArithmeticError::NoNumber(shown(self.rest))),
            Some(first) if first.is_ascii_digit() => {
                if !word.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(ArithmeticError::NoNumber(shown(word)));
                }
                word.parse::<u64>().map(i128::from).map_err(|_| ArithmeticError::TooLarge)
            }
            Some(_) => match (self.variable)(word).trim() {
                "" => Ok(0),
                value => match value.parse::<i64>() {
                    Ok(value) => Ok(value.into()),
                    Err(_) => Err(ArithmeticError::Variable { name: shown(word), value: shown(value) }),
                },
            },
        }
    }
}

/// A value, if it fits 64 bits.
fn fitting(value: i128) -> Result<i128, ArithmeticError> {
    if i64::try_from(value).is_ok() { Ok(value) } else { Err(ArithmeticError::TooLarge) }
}

fn apply(operator: &str, left: i128, right: i128) -> Result<i128, ArithmeticError> {
    if right == 0 && matches!(operator, "/" | "%") {
        return Err(ArithmeticError::DivisionByZero);
    }
    // Both fit 64 bits, so that nothing overflows here.
    fitting(match operator {
        "||" => (left != 0 || right != 0).into(),
        "&&" => (left != 0 && right != 0).into(),
        "==" => (left == right).into(),
        "!=" => (left != right).into(),
        "<=" => (left <= right).into(),
        ">=" => (left >= right).into(),
        "<" => (left < right).into(),
        ">" => (left > right).into(),
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        _ => left % right,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<i64, ArithmeticError> {
        let variable = |name: &str| match name {
            "i" => "41".into(),
            "text" => "x".into(),
            "least" => i64::MIN.to_string(),
            _ => String::new(),
        };
        evaluate(text, &variable)
    }

    #[test]
    fn operators_bind_as_in_c() {
        for (text, result) in [
            ("1+2*3", 7),
            (" ( 1 + 2 ) * 3 ", 9),
            ("7/2*2", 6),
            ("-7 % 3", -1),
            ("2 - 3 - 4", -5),
            ("- -3", 3),
            ("!0 + !7", 1),
            ("1 < 2 == 1", 1),
            ("1 == 1 && 2 >= 3 || 4 != 4", 0),
            ("i + 1", 42),
            ("unset", 0),
            ("-9223372036854775808", i64::MIN),
            ("least", i64::MIN),
            ("9223372036854775807", i64::MAX),
            ("5 --5", 10),
        ] {
            assert_eq!(value(text), Ok(result), "{text}");
        }
    }

    #[test]
    fn what_has_no_result_is_an_error_with_its_reason() {
        use ArithmeticError::*;
        for (text, error) in [
            ("", Ends),
            ("1 +", Ends),
            ("1 + *", NoNumber("*".into())),
            ("1 2", NoOperator("2".into())),
            ("3x", NoNumber("3x".into())),
            ("(1", Unclosed),
            ("1)", NoOperator(")".into())),
            ("1/0", DivisionByZero),
            ("1 % (2-2)", DivisionByZero),
            ("9223372036854775807 + 1", TooLarge),
            ("9223372036854775808", TooLarge),
            ("99999999999999999999999", TooLarge),
            ("-least", TooLarge),
            ("least / -1", TooLarge),
            ("text", Variable { name: "text".into(), value: "x".into() }),
            (&"(".repeat(10_000), TooDeep),
        ] {
            assert_eq!(value(text), Err(error), "{text:.20}");
        }
        assert_eq!(value(&"-".repeat(100_000)), Err(Ends));
        assert_eq!(value(&format!("{}0", "1+".repeat(50_000))), Ok(50_000));
    }
}
