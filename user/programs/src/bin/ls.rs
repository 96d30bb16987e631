//! Lists files and what is in directories: `ls [NAME]...`; without a name, what is at the top.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_rt::archive::Archive;
use graft_rt::files::{FileKind, Files, Open};
use graft_rt::size::Size;
use graft_rt::{Arguments, eprintln, println};

graft_rt::program!(main);

/// What a program begins with.
const ELF: &[u8] = b"\x7fELF";

/// A line of the list.
struct Listed {
    name: String,
    bytes: u64,
    kind: &'static str,
}

fn main(arguments: Arguments) -> Result<i32, String> {
    let wanted: Vec<&str> = arguments.skip(1).collect();
    let files = Files::open();
    let list: &dyn Fn(&str) -> Result<Vec<Listed>, String> = match &files {
        Ok(files) => &|name| of_server(files, name),
        Err(_) => &of_archive,
    };
    let mut listed = Vec::new();
    let mut status = 0;
    for name in if wanted.is_empty() { &[""][..] } else { &wanted } {
        match list(name) {
            Ok(lines) => listed.extend(lines),
            Err(error) => {
                eprintln!("ls: {name}: {error}");
                status = 1;
            }
        }
    }
    let width = listed.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
    for Listed { name, bytes, kind } in listed {
        match kind {
            "directory" => println!("{name:width$}  {:>10}  {kind}", ""),
            _ => println!("{name:width$}  {:>10}  {kind}", Size(bytes)),
        }
    }
    Ok(status)
}

/// A file, or all that is in a directory, as the file server has it.
fn of_server(files: &Files, name: &str) -> Result<Vec<Listed>, String> {
    let status = files.status(name).map_err(|error| error.to_string())?;
    if status.kind == FileKind::File {
        return Ok([Listed { name: name.into(), bytes: status.bytes, kind: kind(files, name) }].into());
    }
    let mut entries = files.entries(name).map_err(|error| error.to_string())?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let directory = match name.trim_end_matches('/') {
        "" => String::from(if name.is_empty() { "" } else { "/" }),
        name => alloc::format!("{name}/"),
    };
    let listed = entries.into_iter().map(|entry| {
        let name = alloc::format!("{directory}{}", entry.name);
        let kind = if entry.kind == FileKind::Directory { "directory" } else { kind(files, &name) };
        Listed { name, bytes: entry.bytes, kind }
    });
    Ok(listed.collect())
}

/// What a file begins as.
fn kind(files: &Files, name: &str) -> &'static str {
    let mut beginning = [0; ELF.len()];
    let Ok(file) = files.open_file(name, Open::Read) else { return "unreadable" };
    let read = files.read(file.number, 0, &mut beginning);
    let _ = files.close(file.number);
    match read {
        Ok(_) if beginning == *ELF => "program",
        Ok(_) => "text",
        Err(_) => "unreadable",
    }
}

/// The files of the archive, or one of them, where there is no file server.
fn of_archive(name: &str) -> Result<Vec<Listed>, String> {
    let archive = Archive::open().map_err(|error| error.to_string())?;
    let mut files: Vec<_> = archive.files().filter(|file| name.is_empty() || file.name == name).collect();
    if files.is_empty() && !name.is_empty() {
        return Err(graft_rt::archive::FileError::NoSuchFile.to_string());
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let listed = files.into_iter().map(|file| Listed {
        kind: if file.is_program() { "program" } else { "text" },
        bytes: file.data.len() as u64,
        name: file.name,
    });
    Ok(listed.collect())
}
