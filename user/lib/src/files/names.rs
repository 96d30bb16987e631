//! Paths: which text is one, and which components it has.

use alloc::vec::Vec;

use graft_rt::files::{FileError, Result};

/// Bytes of a name at most.
pub const NAME_MAX: usize = 255;
/// Bytes of a path at most.
pub const PATH_MAX: usize = 4096;

/// The components of a path from the top: `.` and empty ones are left out, `..` takes the one before it away.
///
/// # Errors
/// [`FileError::NameTooLong`] for a path above [`PATH_MAX`] or a name above [`NAME_MAX`]; [`FileError::BadName`] for
/// what is not text, and for control characters.
pub fn components(path: &[u8]) -> Result<Vec<&str>> {
    if path.len() > PATH_MAX {
        return Err(FileError::NameTooLong);
    }
    let path = core::str::from_utf8(path).map_err(|_| FileError::BadName)?;
    if path.chars().any(char::is_control) {
        return Err(FileError::BadName);
    }
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => _ = components.pop(),
            name if name.len() > NAME_MAX => return Err(FileError::NameTooLong),
            name => components.push(name),
        }
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_names_from_the_top() {
        for (path, names) in [
            ("", &[][..]),
            ("/", &[]),
            ("a/b", &["a", "b"]),
            ("//a/./b//", &["a", "b"]),
            ("/tmp/../README.md", &["README.md"]),
            ("../../x", &["x"]),
            ("ü/€", &["ü", "€"]),
        ] {
            assert_eq!(components(path.as_bytes()).as_deref(), Ok(names), "{path}");
        }
    }

    #[test]
    fn paths_of_any_length_and_content_are_refused_or_read() {
        let name = "n".repeat(NAME_MAX);
        assert_eq!(components(name.as_bytes()), Ok(std::vec![name.as_str()]));
        assert_eq!(components("n".repeat(NAME_MAX + 1).as_bytes()), Err(FileError::NameTooLong));
        assert!(components("a/".repeat(PATH_MAX / 2).as_bytes()).is_ok());
        assert_eq!(components("/".repeat(PATH_MAX + 1).as_bytes()), Err(FileError::NameTooLong));
        assert_eq!(components(b"a\xff"), Err(FileError::BadName));
        assert_eq!(components(b"a\0b"), Err(FileError::BadName));
        assert_eq!(components(b"a\nb"), Err(FileError::BadName));
    }
}
