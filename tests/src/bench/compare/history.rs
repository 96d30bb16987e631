//! Histories as text: one operation a line, `#` begins a comment.
//!
//! ```text
//! sizes 16M 1G               replay once for each; SIZE stands for it below
//! space NAME                 an empty space
//! everywhere NAME            a thread of it runs on every core; otherwise one runs on the last
//! reserve NAME START BYTES   demand-zero memory
//! read NAME START BYTES      one load from each page
//! write NAME START BYTES     one store to each page
//! scatter NAME START BYTES COUNT SEED    one store to each of COUNT pages at random
//! unmap NAME START BYTES
//! fork NAME CHILD            at the depth that is being compared
//! exit NAME
//! count WHAT…                count from here on, under this name
//! pause                      count no more
//! ```
//!
//! START and BYTES are sizes such as `64K`, or sums such as `1G+64K`.

use graft_paging::VirtRange;
use graft_rt::size;
use std::num::NonZeroU64;
use std::path::Path;

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line's number, from 1 on.
    pub line: usize,
    /// What it says.
    pub operation: Operation,
}

/// What a line says. Spaces are named by the number of their first mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes an empty space.
    Space(usize),
    /// Lets a space run on every core.
    Everywhere(usize),
    /// Reserves a range.
    Reserve(usize, VirtRange),
    /// Reads each page of a range.
    Read(usize, VirtRange),
    /// Writes each page of a range.
    Write(usize, VirtRange),
    /// Writes so many pages of a range, chosen by the seed.
    Scatter(usize, VirtRange, u64, NonZeroU64),
    /// Unmaps a range.
    Unmap(usize, VirtRange),
    /// Forks the first space into the second.
    Fork(usize, usize),
    /// Ends a space.
    Exit(usize),
    /// Counts under this name.
    Count(String),
    /// Counts no more.
    Pause,
}

/// A recorded history, of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The name of its file.
    pub name: String,
    /// What SIZE stands for; 0 if the history has only one.
    pub size: u64,
    /// Its lines.
    pub steps: Vec<Step>,
    /// How many spaces it names.
    pub spaces: usize,
}

/// Reads every `*.txt` of a folder, in the order of their names. A number in front of a name is for the order alone.
///
/// # Errors
/// If the folder or a file cannot be read, or a line makes no sense: says which and why.
pub fn read(folder: &Path) -> Result<Vec<History>, String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| failed(folder, error))?;
    let mut paths: Vec<_> = entries.iter().map(std::fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut histories = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = stem.trim_start_matches(|character: char| character.is_ascii_digit()).trim_start_matches('-');
        histories.extend(parse(name, &text).map_err(|error| format!("{}:{error}", path.display()))?);
    }
    if histories.is_empty() {
        return Err(format!("{}: no histories (*.txt) there", folder.display()));
    }
    Ok(histories)
}

/// Reads one history: once for each of its sizes.
///
/// # Errors
/// `LINE: what is wrong`.
pub fn parse(name: &str, text: &str) -> Result<Vec<History>, String> {
    let mut lines = lines(text).peekable();
    let mut sizes = vec![0];
    if let Some((number, words)) = lines.next_if(|(_, words)| words[0] == "sizes") {
        sizes = words[1..].iter().map(|word| bytes(word, 0)).collect::<Result<_, _>>().map_err(at(number))?;
        if sizes.is_empty() {
            return Err(at(number)("no size".into()));
        }
    }
    let lines: Vec<_> = lines.collect();
    sizes.into_iter().map(|size| one(name, size, &lines)).collect()
}

/// Puts the line's number in front of what is wrong with it.
fn at(line: usize) -> impl Fn(String) -> String {
    move |what| format!("{line}: {what}")
}

/// The lines that say something, as words.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines().enumerate().filter_map(|(number, line)| {
        let said = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = said.split_whitespace().collect();
        (!words.is_empty()).then_some((number + 1, words))
    })
}

fn one(name: &str, size: u64, lines: &[(usize, Vec<&str>)]) -> Result<History, String> {
    let (mut names, mut steps) = (Vec::new(), Vec::new());
    for (line, words) in lines {
        let operation = operation(&mut names, size, words).map_err(at(*line))?;
        steps.push(Step { line: *line, operation });
    }
    Ok(History { name: name.into(), size, steps, spaces: names.len() })
}

fn operation<'a>(names: &mut Vec<&'a str>, size: u64, words: &[&'a str]) -> Result<Operation, String> {
    let mut space = |name| {
        names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
    };
    let range = |start, length| {
        let (start, length) = (bytes(start, size)?, bytes(length, size)?);
        VirtRange::new(start, length)
            .ok_or_else(|| format!("{length} bytes from {start:#x} are no range of whole pages"))
    };
    Ok(match *words {
        ["space", name] => Operation::Space(space(name)),
        ["everywhere", name] => Operation::Everywhere(space(name)),
        ["reserve", name, start, length] => Operation::Reserve(space(name), range(start, length)?),
        ["read", name, start, length] => Operation::Read(space(name), range(start, length)?),
        ["write", name, start, length] => Operation::Write(space(name), range(start, length)?),
        ["scatter", name, start, length, count, seed] => {
            let seed = NonZeroU64::new(bytes(seed, size)?).ok_or("a seed is not 0")?;
            Operation::Scatter(space(name), range(start, length)?, bytes(count, size)?, seed)
        }
        ["unmap", name, start, length] => Operation::Unmap(space(name), range(start, length)?),
        ["fork", name, child] => Operation::Fork(space(name), space(child)),
        ["exit", name] => Operation::Exit(space(name)),
        ["count", _, ..] => Operation::Count(words[1..].join(" ")),
        ["pause"] => Operation::Pause,
        _ => return Err(format!("no operation: {}", words.join(" "))),
    })
}

/// A number, a size, SIZE, or a sum of those.
fn bytes(word: &str, size: u64) -> Result<u64, String> {
    word.split('+').try_fold(0_u64, |sum, part| {
        let part = match part {
            "SIZE" if size == 0 => return Err("SIZE without a line `sizes` at the beginning".into()),
            "SIZE" => size,
            _ => size::parse(part).map_err(|error| format!("{word}: {error}"))?,
        };
        sum.checked_add(part).ok_or_else(|| format!("{word} is larger than any address space"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_once_for_each_size() {
        let text =
            "# what it shows\nsizes 4K 2M\n\nspace a\nreserve a 1G SIZE  # all of it\ncount the fork\nfork a b\n";
        let histories = parse("name", text).unwrap();
        assert_eq!(histories.iter().map(|history| history.size).collect::<Vec<_>>(), [4096, 2 << 20]);
        let range = VirtRange::new(1 << 30, 2 << 20).unwrap();
        assert_eq!(histories[1].steps[1], Step { line: 5, operation: Operation::Reserve(0, range) });
        assert_eq!(histories[1].steps[2].operation, Operation::Count("the fork".into()));
        assert_eq!(histories[1].steps[3].operation, Operation::Fork(0, 1));
        assert_eq!(histories[1].spaces, 2);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        for (text, error) in [
            ("space a\nfrok a b", "2: no operation: frok a b"),
            ("space", "1: no operation: space"),
            ("space a b", "1: no operation: space a b"),
            ("count", "1: no operation: count"),
            ("sizes", "1: no size"),
            ("space a\nsizes 1M", "2: no operation: sizes 1M"),
            ("space a\nreserve a 0 SIZE", "2: SIZE without a line `sizes` at the beginning"),
            ("sizes 1M\n\nwrite a 1 4K", "3: 4096 bytes from 0x1 are no range of whole pages"),
            ("scatter a 0 4K 1 0", "1: a seed is not 0"),
            ("write a 0 0", "1: 0 bytes from 0x0 are no range of whole pages"),
            ("write a 256T 4K", "1: 4096 bytes from 0x1000000000000 are no range of whole pages"),
        ] {
            assert_eq!(parse("name", text).unwrap_err(), error);
        }
        assert!(parse("name", "write a x 4K").unwrap_err().starts_with("1: x: a size is"));
    }
}
