//! Commands that are made of lists.

use alloc::string::String;
use alloc::vec::Vec;

use super::word::{ends_word, not_a_name};
use super::{Parsed, Parser, Problem, is_name};
use crate::shell::syntax::*;

impl Parser<'_> {
    pub(super) fn group(&mut self) -> Parsed<Body> {
        self.eat("{");
        let list = self.commands("{")?;
        self.need("{", "}")?;
        Ok(Body::Group(list))
    }

    pub(super) fn subshell(&mut self) -> Parsed<Body> {
        self.eat("(");
        let list = self.commands("(")?;
        self.close("(")?;
        Ok(Body::Subshell(list))
    }

    /// Reads the `)` behind a list.
    pub(super) fn close(&mut self, opened: &'static str) -> Parsed<()> {
        match self.peek() {
            Some(')') => {
                self.eat(")");
                Ok(())
            }
            None => Err(Problem::Unclosed(opened)),
            Some(_) => Err(self.unexpected()),
        }
    }

    pub(super) fn branches(&mut self) -> Parsed<Body> {
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

    pub(super) fn for_loop(&mut self) -> Parsed<Body> {
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

    pub(super) fn while_loop(&mut self, word: &'static str, goes_on: GoesOn) -> Parsed<Body> {
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
}
