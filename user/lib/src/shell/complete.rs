//! Completing the word before the cursor from a list of names.

use alloc::string::String;
use alloc::vec::Vec;

/// Names that a word can become. The shell fills it; the editor asks it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What a command can begin with: programs and builtins.
    pub commands: Vec<String>,
    /// What an argument can be: files, and directories with a slash at their end.
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

/// Words behind which a command begins.
const BEFORE_COMMANDS: [&str; 10] = ["if", "then", "elif", "else", "while", "until", "do", "{", "!", "time"];

impl Names {
    /// Completes the word at the end of `before`, the line up to the cursor.
    pub fn complete(&self, before: &str) -> Completion {
        let start = before.rfind([' ', '\t', ';', '&', '|', '<', '>', '(', '=']).map_or(0, |index| index + 1);
        let word = &before[start..];
        let preceding = before[..start].trim_end();
        let last = preceding.rsplit([' ', '\t', ';', '&', '|', '(']).next().unwrap_or_default();
        // A word begins a command if nothing but an operator or a reserved word stands before it.
        let begins =
            preceding.is_empty() || preceding.ends_with([';', '&', '|', '(']) || BEFORE_COMMANDS.contains(&last);
        let mut candidates = if begins { beginning(&self.commands, word) } else { next_parts(&self.files, word) };
        candidates.sort();
        candidates.dedup();
        Completion { typed: word.chars().count(), candidates }
    }
}

fn beginning(names: &[String], word: &str) -> Vec<String> {
    names.iter().filter(|name| name.starts_with(word)).cloned().collect()
}

/// The names that begin with a word, up to the slash behind it. If that leaves one directory, what is in it too: the
/// word is not at its end there.
fn next_parts(names: &[String], word: &str) -> Vec<String> {
    let names = beginning(names, word);
    let up_to = |from: usize, name: &String| {
        // The slash that a path begins with ends nothing.
        let from = if from == 0 && name.starts_with('/') { 1 } else { from };
        let end = name[from..].find('/').map_or(name.len(), |slash| from + slash + 1);
        String::from(&name[..end])
    };
    let mut parts: Vec<String> = names.iter().map(|name| up_to(word.len(), name)).collect();
    parts.sort();
    parts.dedup();
    match &parts[..] {
        [only] if only.ends_with('/') => {
            let from = only.len();
            names.iter().map(|name| up_to(from, name)).chain([only.clone()]).collect()
        }
        _ => parts,
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
        for before in ["if fr", "while ! fr", "do fr", "(fr", "echo $(fr", "true | time fr", "{ fr"] {
            assert_eq!(names().complete(before).candidates, ["free"], "{before}");
        }
        for before in ["echo a >m", "cat <m", "x=m", "[ -e m", "for x in m"] {
            assert_eq!(names().complete(before).candidates, ["motd"], "{before}");
        }
    }

    #[test]
    fn a_path_is_completed_name_by_name() {
        let files = ["motd", "/tmp/", "/tmp/a", "/tmp/ab/", "/tmp/ab/c", "/tmp/ab/d/", "/tmp/ab/d/e", "/tmp/empty/"];
        let names = Names { commands: Vec::new(), files: files.map(String::from).into() };
        let candidates = |before: &str| names.complete(before).candidates.join(" ");
        assert_eq!(candidates("cat "), "/tmp/ motd");
        assert_eq!(candidates("cat /tmp/a"), "/tmp/a /tmp/ab/");
        assert_eq!(candidates("cat /tmp/ab/"), "/tmp/ab/ /tmp/ab/c /tmp/ab/d/");
        assert_eq!(candidates("cat /tmp/ab/d/"), "/tmp/ab/d/ /tmp/ab/d/e");
        assert_eq!(names.complete("cat /t").common_rest(), "mp/");
        assert_eq!(names.complete("cat /tmp/e").common_rest(), "mpty/");
        assert_eq!(candidates("cat /tmp/x"), "");
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
