//! Archives made by other programs are read; damage is named, and damaged content is never believed.

use flate2::{Compression, write::GzEncoder};
use graft_archive::gzip::{self, Decompressor, GzipError};
use graft_archive::{Archive, Content, Damage, Error, Kind, LookupError};
use proptest::prelude::*;
use std::io::Write;

const BIG: usize = 5000;

/// A tar archive out of headers and contents.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Tar {
        self.add(b'0', name, "", content)
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A cpio archive out of its entries: inode, mode, number of links, name, content.
fn cpio(magic: &str, entries: &[(u32, u32, u32, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (inode, mode, links, name, content) in entries.iter().chain([&(0, 0, 1, "TRAILER!!!", &b""[..])]) {
        let sum = if magic == "070702" { content.iter().map(|&byte| u32::from(byte)).sum() } else { 0 };
        let sizes = (content.len(), name.len() + 1);
        let header = format!(
            "{magic}{inode:08X}{mode:08X}{0:08X}{0:08X}{links:08X}{0:08X}{1:08X}{0:08X}{0:08X}{0:08X}{0:08X}{2:08X}{sum:08X}",
            0, sizes.0, sizes.1
        );
        bytes.extend(header.bytes().chain(name.bytes()).chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

const FILE: u32 = 0o100_755;
const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unpack(packed: &[u8], room: usize) -> Result<Vec<u8>, GzipError> {
    let mut bytes = vec![0xAA; room];
    let length = gzip::unpack(packed, &mut bytes, &mut Decompressor::default())?;
    bytes.truncate(length);
    Ok(bytes)
}

fn file<'a>(archive: &'a [u8], name: &str) -> Result<&'a [u8], LookupError> {
    Archive::new(archive).unwrap().file(name)
}

fn names(archive: &[u8]) -> Vec<String> {
    Archive::new(archive).unwrap().entries().map(|entry| entry.name.to_string()).collect()
}

#[test]
fn leading_dots_and_slashes_and_folders_do_not_hide_a_file() {
    for name in ["init", "./init", "/init", ".//./init"] {
        let archive = Tar::default().add(b'5', "./", "", b"").file(name, b"program").finish();
        assert_eq!(file(&archive, "init"), Ok(&b"program"[..]), "{name}");
        assert_eq!(file(&archive, "./init"), Ok(&b"program"[..]), "{name}");
    }
}

#[test]
fn long_names_are_read_as_gnu_and_as_pax_write_them() {
    let long = format!("{}/{}", "folder".repeat(30), "n".repeat(150));
    let other_target = format!("./{long}");
    let mut gnu = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    gnu.append_data(&mut header, &long, &b"hello"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    gnu.append_link(&mut link, "init", &other_target).unwrap();
    let gnu = gnu.into_inner().unwrap();
    assert_eq!((file(&gnu, &long), file(&gnu, "init")), (Ok(&b"hello"[..]), Ok(&b"hello"[..])));

    let record = |key: &str, value: &str| {
        let length = (1..9999).find(|length| format!("{length} {key}={value}\n").len() == *length).unwrap();
        format!("{length} {key}={value}\n")
    };
    let records = [record("mtime", "1.5"), record("path", &long), record("size", "5")].concat();
    let mut pax = Tar::default().add(b'g', "pax_global_header", "", record("comment", "c0ffee").as_bytes());
    pax = pax.add(b'x', "PaxHeaders/n", "", records.as_bytes());
    // What is too long for a ustar field is cut off there; what counts is the record.
    pax = pax.file(&long[..99], b"hello");
    pax = pax.add(b'x', "PaxHeaders/l", "", record("linkpath", &other_target).as_bytes());
    let pax = pax.add(b'2', "init", "cut off", b"").finish();
    assert_eq!((file(&pax, &long), file(&pax, "init")), (Ok(&b"hello"[..]), Ok(&b"hello"[..])));
}

#[test]
fn a_ustar_prefix_is_a_part_of_the_name_and_what_gnu_has_there_is_not() {
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("{}/init", "p".repeat(120))).unwrap();
    header.set_size(0);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.resize(512 * 3, 0);
    assert_eq!(names(&archive), [format!("{}/init", "p".repeat(120))]);

    let mut header = tar::Header::new_gnu();
    header.set_path("init").unwrap();
    header.set_size(0);
    header.as_mut_bytes()[345] = b'7';
    header.set_cksum();
    archive[..512].copy_from_slice(header.as_bytes());
    assert_eq!(names(&archive), ["init"]);
}

#[test]
fn links_lead_where_they_do_in_a_file_system() {
    let archive = Tar::default()
        .file("./usr/bin/first", b"program")
        .add(b'2', "./bin", "usr/bin", b"")
        .add(b'2', "./usr/sbin", "../bin", b"")
        .add(b'2', "./init", "/sbin/first", b"")
        .add(b'2', "./sbin", "usr/../usr/sbin/.", b"")
        .add(b'1', "./hard", "./usr/bin/first", b"")
        .add(b'2', "./round", "./about", b"")
        .add(b'2', "./about", "round", b"")
        .add(b'2', "./nowhere", "missing", b"")
        .add(b'1', "./itself", "./itself", b"")
        .add(b'3', "./null", "", b"")
        .finish();
    for name in ["init", "bin/first", "usr/sbin/first", "sbin/first", "hard", "usr/sbin/../bin/first"] {
        assert_eq!(file(&archive, name), Ok(&b"program"[..]), "{name}");
    }
    for (name, error) in [
        ("round", LookupError::TooManyLinks),
        ("itself", LookupError::TooManyLinks),
        ("nowhere", LookupError::Dangling),
        ("first", LookupError::Missing),
        ("null", LookupError::NotAFile),
        ("init/x", LookupError::Dangling),
    ] {
        assert_eq!(file(&archive, name), Err(error), "{name}");
    }
}

#[test]
fn of_two_files_with_one_name_the_last_counts() {
    let archive = Tar::default().file("init", b"old").file("./init", b"new").finish();
    assert_eq!(file(&archive, "init"), Ok(&b"new"[..]));
}

#[test]
fn a_packed_folder_is_found_one_level_down() {
    let archive = Tar::default().add(b'5', "stuff/init/", "", b"").file("stuff/init", b"x").finish();
    assert_eq!(Archive::new(&archive).unwrap().one_folder_down("init").unwrap().to_string(), "stuff/init");
    assert_eq!(Archive::new(&archive).unwrap().one_folder_down("other"), None);
}

#[test]
fn cpio_is_read_in_both_new_formats_with_hard_links_and_several_in_a_row() {
    for magic in ["070701", "070702"] {
        let first = cpio(
            magic,
            &[
                (1, FOLDER, 2, ".", b""),
                (2, FILE, 2, "./other", b""),
                (2, FILE, 2, "./init", b"program"),
                (3, LINK, 1, "./link", b"init"),
                (4, FILE, 2, "./empty", b""),
            ],
        );
        let second = cpio("070701", &[(9, FILE, 1, "late", b"12345")]);
        let archive = [&first[..], &[0; 300], &second, &[0; 20]].concat();
        for (name, content) in
            [("init", &b"program"[..]), ("other", b"program"), ("link", b"program"), ("empty", b""), ("late", b"12345")]
        {
            assert_eq!(file(&archive, name), Ok(content), "{name} of {magic}");
        }
        assert_eq!(file(&archive, "."), Err(LookupError::NotAFile));
    }
}

#[test]
fn a_cpio_checksum_is_believed() {
    let mut archive = cpio("070702", &[(1, FILE, 1, "init", b"program")]);
    let place = archive.windows(7).position(|window| window == b"program").unwrap();
    archive[place] ^= 1;
    assert_eq!(Archive::new(&archive).unwrap_err(), Error::Damaged { at: 0, damage: Damage::Checksum });
}

#[test]
fn what_follows_a_cpio_archive_is_named() {
    let archive = [cpio("070701", &[(1, FILE, 1, "microcode", b"")]), gzip(b"x")].concat();
    let Err(error @ Error::Damaged { damage: Damage::Appended(Kind::Gzip), .. }) = Archive::new(&archive) else {
        panic!("accepted");
    };
    assert!(error.to_string().contains("is compressed with gzip"), "{error}");
}

#[test]
fn what_a_tar_archive_may_not_hold_is_named() {
    let sparse = Tar::default().add(b'S', "x", "", b"").finish();
    assert!(Archive::new(&sparse).unwrap_err().to_string().contains("--sparse"));
    let pax = Tar::default().add(b'x', "h", "", b"22 GNU.sparse.major=1\n").file("x", b"").finish();
    assert!(Archive::new(&pax).unwrap_err().to_string().contains("--sparse"));
    let record = Tar::default().add(b'x', "h", "", b"99 path=x\n").file("x", b"").finish();
    assert_eq!(Archive::new(&record).unwrap_err(), Error::Damaged { at: 0, damage: Damage::Record });
}

#[test]
fn a_size_beyond_the_end_is_refused_in_either_notation() {
    for size in [
        &b"77777777777\0"[..],
        b"\x80\0\0\0\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ] {
        let mut archive = Tar::default().file("init", b"program").finish();
        archive[124..136].copy_from_slice(size);
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&archive[..512]);
        header.set_cksum();
        archive[..512].copy_from_slice(header.as_bytes());
        let error = Archive::new(&archive).unwrap_err();
        assert!(matches!(error, Error::Damaged { at: 0, damage: Damage::CutOff | Damage::Number }), "{error:?}");
    }
}

#[test]
fn other_files_are_named() {
    for (bytes, what) in [
        (&b"PK\x03\x04rest of it"[..], "a zip file"),
        (b"\xFD7zXZ\0\0\x04", "compressed with xz"),
        (b"\x28\xB5\x2F\xFDxxxx", "compressed with zstd"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\x02\x21\x4C\x18xxxx", "compressed with lz4"),
        (b"\x7FELF\x02\x01\x01", "an ELF file"),
        (b"hsqs\x10\0\0\0", "a squashfs image"),
        (b"070707000000", "old format odc"),
        (b"#!/bin/sh\n", "a script"),
        (b"Gr\xC3\xBC\xC3\x9Fe an alle\n", "a text file"),
        (b"\x01\x02\x03", "of no kind"),
        (b"", "empty"),
        (&[0; 10240], "empty"),
    ] {
        let error = Archive::new(bytes).unwrap_err();
        assert!(error.to_string().contains(what), "{error} for {what}");
        assert!(error.to_string().contains("a tar or a newc cpio works, gzipped or not"));
    }
    assert_eq!(Kind::of(&gzip(b"x")), Kind::Gzip);
}

#[test]
fn gzip_is_unpacked_with_every_field_its_header_can_have() {
    let plain = [&b"program "[..]; 999].concat();
    let mut encoder =
        flate2::GzBuilder::new().extra("extra").filename("a.tar").comment("c").write(Vec::new(), Compression::best());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(unpack(&packed, 1 << 20), Ok(plain.clone()));
    // Several members, padding behind.
    let twice = [&packed[..], &gzip(b"more"), &[0; 100]].concat();
    assert_eq!(unpack(&twice, 1 << 20), Ok([&plain[..], b"more"].concat()));
    assert_eq!(unpack(&[&packed[..], b"junk"].concat(), 1 << 20), Err(GzipError::Appended));
    assert_eq!(unpack(&gzip(b""), 4096), Ok(vec![]));
}

#[test]
fn more_than_there_is_room_for_is_refused_whatever_length_is_claimed() {
    let mut bomb = gzip(&vec![0; 3 << 20]);
    assert_eq!(unpack(&bomb, 3 << 20).map(|bytes| bytes.len()), Ok(3 << 20));
    assert_eq!(unpack(&bomb, (3 << 20) - 1), Err(GzipError::TooLong((3 << 20) - 1)));
    let claim = bomb.len() - 4;
    bomb[claim..].copy_from_slice(&4_u32.to_le_bytes());
    assert_eq!(unpack(&bomb, 1 << 20), Err(GzipError::TooLong(1 << 20)));
    assert_eq!(unpack(&bomb, 3 << 20), Err(GzipError::Checksum));
}

/// An archive of every kind that is read.
fn good() -> Vec<Vec<u8>> {
    let content: Vec<u8> = (0..BIG).map(|number| ((number * number) >> 3) as u8).collect();
    let record = b"20 path=longer/name\n";
    let tar =
        Tar::default().file("./init", &content).add(b'x', "h", "", record).file("n", b"1").add(b'2', "l", "init", b"");
    let long = Tar::default().add(b'L', "././@LongLink", "", &[b'x'; 200]).file("x", &content).file("init", b"");
    let entries = [(1, FILE, 2, "init", &content[..]), (1, FILE, 2, "other", b""), (2, LINK, 1, "link", b"init")];
    vec![tar.finish(), long.finish(), cpio("070701", &entries), cpio("070702", &entries)]
}

/// Reads everything that can be reached; the sum of all lengths.
fn walk(bytes: &[u8]) -> Option<usize> {
    let archive = Archive::new(bytes).ok()?;
    let mut sum = 0;
    for entry in archive.entries() {
        let name = entry.name.to_string();
        sum += archive.file(&name).map_or(0, <[u8]>::len) + name.len();
        if let Content::File(bytes) = entry.content {
            sum += bytes.len();
        }
    }
    Some(sum)
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    for archive in good() {
        // tar and cpio end with a mark; what follows that may be missing.
        let end = archive.len() - if Kind::of(&archive) == Kind::Tar { 512 } else { 1 };
        assert!(walk(&archive).is_some());
        for length in 0..end {
            assert!(Archive::new(&archive[..length]).is_err(), "{length} of {}", archive.len());
        }
        let packed = gzip(&archive);
        for length in 0..packed.len() {
            assert_eq!(unpack(&packed[..length], 1 << 16), Err(GzipError::CutOff), "{length} of {}", packed.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_bytes_were_changed_an_archive_is_refused_or_can_be_read(
        which in 0_usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep_sums in any::<bool>(),
    ) {
        let mut archive = good().swap_remove(which);
        for (place, value) in changes {
            let place = place.index(archive.len());
            archive[place] = value;
            if keep_sums && which < 2 {
                let start = place / 512 * 512;
                let mut header = tar::Header::new_gnu();
                header.as_mut_bytes().copy_from_slice(&archive[start..start + 512]);
                header.set_cksum();
                archive[start..start + 512].copy_from_slice(header.as_bytes());
            }
        }
        walk(&archive);
    }

    #[test]
    fn whatever_bits_of_gzip_were_changed_it_is_refused_or_unpacks_to_the_same(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 1..4),
    ) {
        let plain = good().swap_remove(0);
        let mut packed = gzip(&plain);
        for (place, bit) in flips {
            let place = place.index(packed.len());
            packed[place] ^= 1 << bit;
        }
        if let Ok(bytes) = unpack(&packed, 1 << 16) {
            prop_assert_eq!(bytes, plain);
        }
    }

    #[test]
    fn noise_is_never_more_than_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000), magic in 0_usize..4) {
        let magic: &[u8] = [&b""[..], b"070701", b"\x1F\x8B\x08\0", b"070702"][magic];
        let noise = [magic, &bytes].concat();
        walk(&noise);
        let _ = unpack(&noise, 1 << 16);
    }
}
