//! Completing the word before the cursor from a list of names.

use alloc::string::String;
use alloc::vec::Vec;

/// Names that a word can become. The shell fills it; the editor asks it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What a command can begin with: programs and builtins.
    pub commands: Vec<String>,
    /// What an argument can be: files.
    pub files: Vec<String>,
}

/// What could stand in the place of the word before the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Characters of the word that are there already.
    pub typed: usize,
    /// Whole words that begin with them, sorted.
    pub candidates: Vec<String>,
}

impl Completion {
    /// The characters that all candidates have beyond what is typed.
    pub fn common_rest(&self) -> String {
        let Some((first, others)) = self.candidates.split_first() else { return String::new() };
        let shared =
            |index: usize, character: char| others.iter().all(|other| other.chars().nth(index) == Some(character));
        first
            .chars()
            .enumerate()
            .take_while(|&(index, character)| shared(index, character))
            .skip(self.typed)
            .map(|(_, c)| c)
            .collect()
    }
}

impl Names {
    /// Completes the word at the end of `before`, the line up to the cursor.
    pub fn complete(&self, before: &str) -> Completion {
        let start = before.rfind([' ', '\t', ';', '&', '|']).map_or(0, |index| index + 1);
        let word = &before[start..];
        // A word begins a command if nothing but an operator stands before it.
        let preceding = before[..start].trim_end();
        let names = match preceding.chars().last() {
            None | Some(';' | '&' | '|') => &self.commands,
            Some(_) => &self.files,
        };
        let mut candidates: Vec<String> = names.iter().filter(|name| name.starts_with(word)).cloned().collect();
        candidates.sort();
        candidates.dedup();
        Completion { typed: word.chars().count(), candidates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let list = |text: &str| text.split(' ').map(String::from).collect();
        Names { commands: list("free forkdemo forkbench false echo"), files: list("motd forkdemo") }
    }

    #[test]
    fn the_first_word_of_a_command_is_a_command_and_others_are_files() {
        assert_eq!(names().complete("fr").candidates, ["free"]);
        assert_eq!(names().complete("echo a; fr").candidates, ["free"]);
        assert_eq!(names().complete("echo a&&fr").candidates, ["free"]);
        assert_eq!(names().complete("cat m").candidates, ["motd"]);
        assert_eq!(names().complete("cat fr").candidates, [""; 0]);
    }

    #[test]
    fn several_candidates_share_a_beginning() {
        let completion = names().complete("fo");
        assert_eq!(completion.candidates, ["forkbench", "forkdemo"]);
        assert_eq!(completion.common_rest(), "rk");
        assert_eq!(names().complete("fork").common_rest(), "");
        assert_eq!(names().complete("zz").common_rest(), "");
        assert_eq!(names().complete("ec").common_rest(), "ho");
    }
}
