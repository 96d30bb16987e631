//! Names with `*` and `?` in them.

use alloc::string::String;
use alloc::vec::Vec;

/// A text of which some characters, `*` and `?`, stand for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Where in the text they are.
    wild: Vec<usize>,
}

/// A part of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Exactly(char),
}

impl Pattern {
    /// Appends characters that stand for themselves.
    pub fn push_quoted(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Appends characters of which each `*` stands for any others, each `?` for one.
    pub fn push(&mut self, text: &str) {
        let begin = self.text.len();
        self.wild.extend(text.bytes().enumerate().filter(|(_, byte)| b"*?".contains(byte)).map(|(at, _)| begin + at));
        self.text.push_str(text);
    }

    /// Whether a character stands for others.
    pub fn is_wild(&self) -> bool {
        !self.wild.is_empty()
    }

    /// As text, whatever it stands for.
    pub fn into_text(self) -> String {
        self.text
    }

    /// What stands between the slashes.
    fn components(&self) -> Vec<Pattern> {
        let mut begin = 0;
        let component = |text: &str| {
            let wild = self.wild.iter().filter(|at| (begin..begin + text.len()).contains(at)).map(|at| at - begin);
            let component = Pattern { text: text.into(), wild: wild.collect() };
            begin += text.len() + 1;
            component
        };
        self.text.split('/').map(component).collect()
    }

    /// Whether a name is one of those that the pattern stands for. One that begins with a dot has to be asked for with
    /// a dot.
    pub fn matches(&self, name: &str) -> bool {
        let part = |(at, character)| match character {
            _ if self.wild.binary_search(&at).is_err() => Part::Exactly(character),
            '*' => Part::Any,
            _ => Part::One,
        };
        let parts: Vec<Part> = self.text.char_indices().map(part).collect();
        if name.starts_with('.') && parts.first() != Some(&Part::Exactly('.')) {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut place) = (0, 0);
        // Where to go on if the rest does not match: behind the last `*`, with one more character taken by it. An
        // earlier one need not take more: the last can take what it would.
        let mut retry = None;
        while place < name.len() {
            match parts.get(at) {
                Some(Part::Any) => {
                    at += 1;
                    retry = Some((at, place));
                }
                Some(part) if *part == Part::One || *part == Part::Exactly(name[place]) => {
                    at += 1;
                    place += 1;
                }
                _ => {
                    let Some((behind, taken)) = retry else { return false };
                    (at, place) = (behind, taken + 1);
                    retry = Some((behind, taken + 1));
                }
            }
        }
        parts[at..].iter().all(|part| *part == Part::Any)
    }

    /// The paths that the pattern stands for, in order; `entries` answers with the names in a directory. Their number
    /// is bounded by `bytes`, which all of them may have together: `None` if they have more.
    pub fn paths(&self, entries: &mut dyn FnMut(&str) -> Vec<String>, bytes: usize) -> Option<Vec<String>> {
        let components = self.components();
        let mut paths: Vec<String> = [String::new()].into();
        for (index, component) in components.iter().enumerate() {
            let mut longer = Vec::new();
            let mut used = 0;
            for path in paths {
                let mut names = Vec::new();
                if component.text.is_empty() {
                    // Before the first slash, between two, or behind the last.
                    names.push(String::new());
                } else if component.is_wild() || components[..index].iter().any(Pattern::is_wild) {
                    names = entries(&path);
                    names.retain(|name| component.matches(name));
                    names.sort_unstable();
                } else {
                    names.push(component.text.clone());
                }
                for name in names {
                    let slash = if index + 1 < components.len() { "/" } else { "" };
                    longer.push(alloc::format!("{path}{name}{slash}"));
                    used += longer.last().map_or(0, String::len) + 1;
                    if used > bytes {
                        return None;
                    }
                }
            }
            paths = longer;
        }
        Some(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let mut pattern = Pattern::default();
        pattern.push(text);
        pattern
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (text, name, is_match) in [
            ("*", "abc", true),
            ("*", "", true),
            ("?", "", false),
            ("?", "€", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*b*b*", "abab", true),
            ("*a?", "aaab", true),
            ("*.rs", "a.rs", true),
            ("*.rs", ".rs", false),
            (".*", ".rs", true),
            ("abc", "abc", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(pattern(text).matches(name), is_match, "{text} {name}");
        }
        let mut quoted = Pattern::default();
        quoted.push_quoted("*");
        quoted.push("?");
        assert!(quoted.matches("*x") && !quoted.matches("xx"));
        // Quadratic at worst.
        assert!(!pattern(&"*a".repeat(200)).matches(&"a".repeat(199)));
        assert!(!pattern(&format!("{}b", "*a".repeat(100))).matches(&"a".repeat(20_000)));
    }

    #[test]
    fn a_path_is_matched_name_by_name() {
        let mut entries = |directory: &str| -> Vec<String> {
            let names = match directory {
                "" | "/" => "motd tmp README.md",
                "tmp/" | "/tmp/" => "b a .hidden",
                "/tmp/a/" => "x y",
                _ => "",
            };
            names.split_whitespace().map(String::from).collect()
        };
        for (text, paths) in [
            ("m*", "motd"),
            ("/t*", "/tmp"),
            ("/tmp/*", "/tmp/a /tmp/b"),
            ("t?p/?", "tmp/a tmp/b"),
            ("/*/a", "/tmp/a"),
            ("/*/*/y", "/tmp/a/y"),
            ("/*/c", ""),
            ("z*", ""),
        ] {
            let found = pattern(text).paths(&mut entries, 1000).unwrap();
            assert_eq!(found.join(" "), paths, "{text}");
        }
        assert_eq!(pattern("/tmp/*").paths(&mut entries, 13), None);
    }
}
