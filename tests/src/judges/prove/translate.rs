//! LLVM's intermediate representation of small functions without memory or loops, as functions of SMT-LIB's bit
//! vectors.
//!
//! Everything that is not known here is an error, so that nothing is left out of a proof in silence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A function, translated.
pub struct Translated {
    /// Its path without the crate, with dots: `aarch64.write_protect`.
    pub name: String,
    /// Its definition, and a predicate `NAME.unreachable` that holds for arguments with which it does what the compiler
    /// has excluded.
    pub definition: String,
    /// The bits of each parameter.
    pub parameters: Vec<u32>,
}

/// Every function of the module `module` of the program, in the order of the text.
///
/// # Errors
/// What cannot be translated, and where.
pub fn functions(text: &str, module: &str) -> Result<Vec<Translated>, String> {
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if !line.starts_with("define ") {
            continue;
        }
        let tokens = tokens(line);
        let symbol = tokens.iter().find(|token| token.starts_with('@')).ok_or("a function without a name")?;
        let path = format!("{:#}", rustc_demangle::demangle(symbol[1..].trim_matches('"')));
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
        if let Some((_, rest)) = path.split_once(&format!("::{module}::")) {
            let name = rest.replace("::", ".");
            // Closures and helpers that stayed functions of their own would be calls, which are refused where they are
            // made.
            if name.split('.').count() == 2 {
                found.push(function(&name, &tokens, &body).map_err(|error| format!("{name}: {error}"))?);
            }
        }
    }
    Ok(found)
}

/// Words, and each punctuation mark by itself; a quoted name is one word. Ends where a comment begins.
fn tokens(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            ';' if !quoted => break,
            ' ' | ',' | '(' | ')' | '[' | ']' | '{' | '}' | ':' if !quoted => {
                if !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                if c != ' ' {
                    all.push(c.into());
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

fn bits(token: &str) -> Result<u32, String> {
    let bits = token.strip_prefix('i').and_then(|bits| bits.parse().ok());
    bits.filter(|bits| (1..=64).contains(bits)).ok_or_else(|| format!("the type {token}"))
}

/// `i1` is SMT-LIB's `Bool`.
pub fn sort(bits: u32) -> String {
    if bits == 1 { "Bool".into() } else { format!("(_ BitVec {bits})") }
}

fn symbol(name: &str) -> String {
    format!("|{}|", name.trim_start_matches('%').trim_matches('"'))
}

fn literal(value: i128, bits: u32) -> String {
    let value = value as u128 & (u128::MAX >> (128 - bits));
    if bits == 1 { (value == 1).to_string() } else { format!("(_ bv{value} {bits})") }
}

fn operand(token: &str, bits: u32) -> Result<String, String> {
    match token {
        "true" => Ok("true".into()),
        "false" => Ok("false".into()),
        _ if token.starts_with('%') => Ok(symbol(token)),
        _ => {
            let value = token.parse().map_err(|_| format!("the operand {token}"))?;
            Ok(literal(value, bits))
        }
    }
}

/// Under which conditions control comes to a block, by the block that it comes from.
type Edges = BTreeMap<String, Vec<(String, String)>>;

fn either(conditions: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = conditions.collect();
    match &all[..] {
        [] => "false".into(),
        [one] => one.clone(),
        _ => format!("(or {})", all.join(" ")),
    }
}

struct Body {
    /// `(name, term)` in order: each may use those before it.
    bindings: Vec<(String, String)>,
    edges: Edges,
    /// Blocks seen so far: a branch back to one of them is a loop.
    seen: Vec<String>,
    /// The condition of every return, and what it returns.
    returns: Vec<(String, String)>,
    unreachable: Vec<String>,
    result: u32,
}

fn function(name: &str, head: &[String], lines: &[&str]) -> Result<Translated, String> {
    let open = head.iter().position(|token| token.starts_with('@')).ok_or("no name")? + 1;
    let result = head[..open].iter().rev().find_map(|token| bits(token).ok()).ok_or("no type of its own")?;
    let mut parameters = Vec::new();
    let mut names = Vec::new();
    let mut width = None;
    for token in &head[open..] {
        if let Ok(bits) = bits(token) {
            width = Some(bits);
        } else if token.starts_with('%') {
            parameters.push(width.take().ok_or("a parameter without a type")?);
            names.push(symbol(token));
        }
    }

    let mut body = Body {
        bindings: Vec::new(),
        edges: Edges::new(),
        seen: Vec::new(),
        returns: Vec::new(),
        unreachable: Vec::new(),
        result,
    };
    // A `switch` goes over several lines.
    let mut statement = Vec::new();
    for line in lines {
        let words = tokens(line);
        if words.is_empty() {
            continue;
        }
        if words.len() == 2 && words[1] == ":" && statement.is_empty() {
            body.enter(words[0].trim_matches('"'))?;
            continue;
        }
        let opens = words.last().is_some_and(|word| word == "[");
        let is_open = opens || !statement.is_empty();
        let closes = words == ["]"];
        statement.extend(words);
        if is_open && !closes {
            continue;
        }
        body.statement(&std::mem::take(&mut statement)).map_err(|error| format!("{error} in `{}`", line.trim()))?;
    }

    let head: Vec<String> =
        names.iter().zip(&parameters).map(|(name, bits)| format!("({name} {})", sort(*bits))).collect();
    let mut last = body.returns.last().ok_or("it never returns")?.1.clone();
    for (condition, value) in body.returns.iter().rev().skip(1) {
        last = format!("(ite {condition} {value} {last})");
    }
    let mut definition = String::new();
    let unreachable = either(body.unreachable.iter().cloned());
    for (suffix, result, value) in [("", result, last), (".unreachable", 1, unreachable)] {
        let _ = write!(definition, "(define-fun {name}{suffix} ({}) {}", head.join(" "), sort(result));
        for (name, term) in &body.bindings {
            let _ = write!(definition, "\n  (let (({name} {term}))");
        }
        let _ = writeln!(definition, "\n  {value}{})", ")".repeat(body.bindings.len()));
    }
    Ok(Translated { name: name.into(), definition, parameters })
}

impl Body {
    fn block(&self) -> &str {
        self.seen.last().map_or("", String::as_str)
    }

    /// The condition under which control reaches the block that is being read.
    fn here(&self) -> String {
        symbol(&format!("at {}", self.block()))
    }

    fn enter(&mut self, label: &str) -> Result<(), String> {
        self.seen.push(label.into());
        let reached = match self.edges.get(label) {
            Some(edges) => either(edges.iter().map(|(_, condition)| condition.clone())),
            None if self.seen.len() == 1 => "true".into(),
            None => return Err(format!("the block {label} comes before those that lead to it")),
        };
        let here = self.here();
        self.bindings.push((here, reached));
        Ok(())
    }

    fn edge(&mut self, label: &str, condition: &str) -> Result<(), String> {
        let label = label.trim_start_matches('%').trim_matches('"').to_owned();
        if self.seen.contains(&label) {
            return Err(format!("a loop back to {label}"));
        }
        let condition = format!("(and {} {condition})", self.here());
        let from = self.block().to_owned();
        self.edges.entry(label).or_default().push((from, condition));
        Ok(())
    }

    fn statement(&mut self, words: &[String]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != ",").collect();
        // What comes after an exclamation mark is metadata.
        let end = words.iter().position(|word| word.starts_with('!')).unwrap_or(words.len());
        match &words[..end] {
            ["br", "label", to] => self.edge(to, "true"),
            ["br", "i1", condition, "label", yes, "label", no] => {
                let condition = operand(condition, 1)?;
                self.edge(yes, &condition)?;
                self.edge(no, &format!("(not {condition})"))
            }
            ["switch", kind, value, "label", otherwise, "[", cases @ .., "]"] => {
                let bits = bits(kind)?;
                let value = operand(value, bits)?;
                let mut others = Vec::new();
                for case in cases.chunks(4) {
                    let [_, constant, "label", to] = case else { return Err("a case".into()) };
                    let condition = format!("(= {value} {})", operand(constant, bits)?);
                    self.edge(to, &condition)?;
                    others.push(format!("(not {condition})"));
                }
                self.edge(otherwise, &format!("(and true {})", others.join(" ")))
            }
            ["ret", kind, value] => {
                let value = operand(value, bits(kind)?)?;
                self.returns.push((self.here(), value));
                if bits(kind)? == self.result { Ok(()) } else { Err("another type than the function's".into()) }
            }
            ["unreachable"] => {
                self.unreachable.push(self.here());
                Ok(())
            }
            [target, "=", rest @ ..] => {
                let term = self.term(rest)?;
                self.bindings.push((symbol(target), term));
                Ok(())
            }
            _ => Err("a statement that is not known".into()),
        }
    }

    fn term(&self, words: &[&str]) -> Result<String, String> {
        // Flags say when a result would be poison. Safe code has no poison, so they add nothing.
        let flags = ["nuw", "nsw", "exact", "disjoint", "nneg", "samesign"];
        let words: Vec<&str> = words.iter().copied().filter(|word| !flags.contains(word)).collect();
        match &words[..] {
            [operation @ ("and" | "or" | "xor"), "i1", a, b] => {
                Ok(format!("({operation} {} {})", operand(a, 1)?, operand(b, 1)?))
            }
            [operation @ ("add" | "sub" | "mul" | "and" | "or" | "xor"), kind, a, b] => {
                let bits = bits(kind)?;
                Ok(format!("(bv{operation} {} {})", operand(a, bits)?, operand(b, bits)?))
            }
            [operation @ ("shl" | "lshr" | "ashr"), kind, a, by] => {
                let bits = bits(kind)?;
                // One that is computed would be poison if it were too large, as above.
                if !by.starts_with('%') && by.parse().map_or(true, |by: u32| by >= bits) {
                    return Err("a distance that is too large".into());
                }
                Ok(format!("(bv{operation} {} {})", operand(a, bits)?, operand(by, bits)?))
            }
            ["icmp", relation, kind, a, b] => {
                let bits = bits(kind)?;
                let (a, b) = (operand(a, bits)?, operand(b, bits)?);
                match *relation {
                    "eq" => Ok(format!("(= {a} {b})")),
                    "ne" => Ok(format!("(distinct {a} {b})")),
                    _ if bits == 1 => Err("an order of truths".into()),
                    "ult" | "ule" | "ugt" | "uge" | "slt" | "sle" | "sgt" | "sge" => {
                        // ult is bvult, uge bvuge, and so on.
                        Ok(format!("(bv{relation} {a} {b})"))
                    }
                    other => Err(format!("the relation {other}")),
                }
            }
            ["select", "i1", condition, kind, a, other, b] if kind == other => {
                let bits = bits(kind)?;
                Ok(format!("(ite {} {} {})", operand(condition, 1)?, operand(a, bits)?, operand(b, bits)?))
            }
            ["zext", "i1", a, "to", wide] => {
                let wide = bits(wide)?;
                Ok(format!("(ite {} {} {})", operand(a, 1)?, literal(1, wide), literal(0, wide)))
            }
            ["zext", from, a, "to", wide] => {
                let (from, wide) = (bits(from)?, bits(wide)?);
                Ok(format!("((_ zero_extend {}) {})", wide - from, operand(a, from)?))
            }
            ["sext", from, a, "to", wide] if *from != "i1" => {
                let (from, wide) = (bits(from)?, bits(wide)?);
                Ok(format!("((_ sign_extend {}) {})", wide - from, operand(a, from)?))
            }
            ["trunc", from, a, "to", narrow] => {
                let (from, narrow) = (bits(from)?, bits(narrow)?);
                let low = format!("((_ extract {} 0) {})", narrow - 1, operand(a, from)?);
                Ok(if narrow == 1 { format!("(= {low} #b1)") } else { low })
            }
            ["phi", kind, choices @ ..] => {
                let bits = bits(kind)?;
                let edges = self.edges.get(self.block()).ok_or("a choice without a way here")?;
                let mut term = None;
                for choice in choices.chunks(4) {
                    let ["[", value, from, "]"] = choice else { return Err("a choice".into()) };
                    let from = from.trim_start_matches('%').trim_matches('"');
                    let value = operand(value, bits)?;
                    let mut ways = edges.iter().filter(|(block, _)| block == from).map(|(_, way)| way.clone());
                    let way = either(&mut ways);
                    term = Some(match term {
                        None => value,
                        Some(rest) => format!("(ite {way} {value} {rest})"),
                    });
                }
                term.ok_or_else(|| "nothing to choose from".into())
            }
            _ => Err("an instruction that is not known".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "define noundef i64 @_ZN1c5proof1f4name17h0123456789abcdefE(i64 noundef %a, i1 zeroext %b) #1 {";

    fn definition(body: &str) -> Result<String, String> {
        functions(&format!("{HEAD}\nstart:\n{body}\n}}\n"), "proof").map(|all| all[0].definition.clone())
    }

    #[test]
    fn branches_become_conditions() {
        let text = definition(
            "  br i1 %b, label %x, label %y\n\nx:  ; preds = %start\n  br label %y\n\ny:\n  \
             %v = phi i64 [ 7, %x ], [ %a, %start ]\n  ret i64 %v, !dbg !3",
        );
        let text = text.unwrap();
        assert!(text.contains("(define-fun f.name ((|a| (_ BitVec 64)) (|b| Bool)) (_ BitVec 64)"), "{text}");
        assert!(text.contains("(|v| (ite (and |at start| (not |b|)) |a| (_ bv7 64)))"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for body in [
            "  %v = load i64, ptr %a, align 8\n  ret i64 %v",
            "  %v = call i64 @other(i64 %a)\n  ret i64 %v",
            "  %v = shl i64 %a, 64\n  ret i64 %v",
            "  ret i64 poison",
            "  br label %start",
        ] {
            assert!(definition(body).is_err(), "{body}");
        }
    }

    #[test]
    fn negative_numbers_are_their_bits() {
        assert_eq!(literal(-1, 8), "(_ bv255 8)");
        assert_eq!(literal(-1, 1), "true");
        assert_eq!(literal(-1, 64), format!("(_ bv{} 64)", u64::MAX));
    }
}
