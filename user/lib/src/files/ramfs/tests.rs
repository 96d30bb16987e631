//! Tests of the room above.

use super::*;
use alloc::vec;

const LIMITS: Limits = Limits { pages: 8, nodes: 6, file_bytes: 1 << 20 };

fn content(fs: &RamFs, node: Node) -> Vec<u8> {
    let mut buffer = vec![0xaa; fs.status(node).unwrap().1 as usize + 5];
    let count = fs.read(node, 0, &mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn what_is_written_is_read_across_pages_and_holes() {
    let mut fs = RamFs::new(LIMITS);
    let file = fs.create(&["f"]).unwrap();
    fs.write(file, PAGE as u64 - 2, b"abcd").unwrap();
    let mut expected = vec![0; PAGE - 2];
    expected.extend(b"abcd");
    assert_eq!(content(&fs, file), expected);
    assert_eq!(fs.usage().pages, 2);
    fs.write(file, 5 * PAGE as u64, b"e").unwrap();
    assert_eq!(fs.usage().pages, 3, "a hole takes nothing");
    expected.resize(5 * PAGE, 0);
    expected.push(b'e');
    assert_eq!(content(&fs, file), expected);
    assert_eq!(fs.read(file, u64::MAX, &mut [0; 9]), Ok(0));
}

#[test]
fn what_was_cut_off_reads_as_zeroes_when_the_file_grows_again() {
    let mut fs = RamFs::new(LIMITS);
    let file = fs.create(&["f"]).unwrap();
    fs.write(file, 0, &[7; 3 * PAGE]).unwrap();
    fs.truncate(file, 10).unwrap();
    assert_eq!((content(&fs, file), fs.usage().pages), (vec![7; 10], 1));
    fs.truncate(file, 20).unwrap();
    assert_eq!(content(&fs, file), [[7; 10], [0; 10]].concat());
    fs.truncate(file, 0).unwrap();
    assert_eq!(fs.usage().pages, 0);
    assert_eq!(fs.truncate(file, LIMITS.file_bytes + 1), Err(FileError::TooLarge));
}

#[test]
fn an_open_file_outlives_its_name_and_is_gone_when_it_is_closed() {
    let mut fs = RamFs::new(LIMITS);
    let file = fs.create(&["f"]).unwrap();
    fs.open(file).unwrap();
    fs.write(file, 0, b"still here").unwrap();
    fs.unlink(&["f"]).unwrap();
    assert_eq!(fs.find(&["f"]), Err(FileError::NoSuchFile));
    let other = fs.create(&["f"]).unwrap();
    assert_ne!(other, file);
    assert_eq!(content(&fs, file), b"still here");
    fs.close(file);
    assert_eq!(fs.usage(), Usage { pages: 0, nodes: 2 });
    assert_eq!(fs.status(file), Err(FileError::BadFile));
}

#[test]
fn a_rename_replaces_in_one_step_and_refuses_what_would_lose_a_tree() {
    let mut fs = RamFs::new(LIMITS);
    let one = fs.create(&["one"]).unwrap();
    fs.write(one, 0, b"1").unwrap();
    let two = fs.create(&["two"]).unwrap();
    fs.write(two, 0, b"2").unwrap();
    fs.rename(&["one"], &["two"]).unwrap();
    assert_eq!((fs.find(&["two"]), fs.find(&["one"])), (Ok(one), Err(FileError::NoSuchFile)));
    assert_eq!(fs.usage(), Usage { pages: 1, nodes: 2 });
    fs.make_directory(&["d"]).unwrap();
    fs.make_directory(&["d", "e"]).unwrap();
    assert_eq!(fs.rename(&["d"], &["d", "e", "d"]), Err(FileError::NotAllowed));
    assert_eq!(fs.rename(&["d"], &["two"]), Err(FileError::NotADirectory));
    assert_eq!(fs.rename(&["two"], &["d"]), Err(FileError::IsADirectory));
    assert_eq!(fs.rename(&["two"], &["two", "x"]), Err(FileError::NotADirectory));
    assert_eq!(fs.rename(&["none"], &["d", "x"]), Err(FileError::NoSuchFile));
    assert_eq!(fs.rename(&["two"], &["two"]), Ok(()));
    fs.rename(&["two"], &["d", "e", "three"]).unwrap();
    assert_eq!(fs.find(&["d", "e", "three"]), Ok(one));
    assert_eq!(fs.unlink(&["d"]), Err(FileError::NotEmpty));
    assert_eq!(fs.unlink(&[]), Err(FileError::NotAllowed));
}

#[test]
fn nothing_grows_beyond_its_limit_and_what_was_refused_has_taken_nothing() {
    let mut fs = RamFs::new(LIMITS);
    let file = fs.create(&["f"]).unwrap();
    assert_eq!(fs.write(file, 0, &[1; 9 * PAGE]), Err(FileError::NoSpace));
    assert_eq!((fs.usage().pages, fs.status(file)), (0, Ok((FileKind::File, 0))));
    fs.write(file, 0, &[1; 8 * PAGE]).unwrap();
    assert_eq!(fs.write(file, 8 * PAGE as u64, b"x"), Err(FileError::NoSpace));
    fs.write(file, 0, b"in place").unwrap();
    for offset in [LIMITS.file_bytes, u64::MAX] {
        assert_eq!(fs.write(file, offset, b"x"), Err(FileError::TooLarge));
    }
    for name in ["a", "b", "c", "d"] {
        fs.create(&[name]).unwrap();
    }
    assert_eq!(fs.create(&["e"]), Err(FileError::NoSpace));
    assert_eq!(fs.make_directory(&["e"]), Err(FileError::NoSpace));
    fs.unlink(&["a"]).unwrap();
    fs.create(&["e"]).unwrap();
}

#[test]
fn names_in_a_directory_come_in_their_order() {
    let mut fs = RamFs::new(LIMITS);
    fs.create(&["b"]).unwrap();
    fs.make_directory(&["a"]).unwrap();
    assert_eq!(fs.create(&["a"]), Err(FileError::Exists));
    assert_eq!(fs.create(&["b", "c"]), Err(FileError::NotADirectory));
    assert_eq!(fs.create(&["none", "c"]), Err(FileError::NoSuchFile));
    let names = (0..).map_while(|index| fs.entry(RamFs::TOP, index).unwrap());
    let names: Vec<_> = names.map(|entry| (entry.name, entry.kind)).collect();
    assert_eq!(names, [("a".into(), FileKind::Directory), ("b".into(), FileKind::File)]);
}

#[test]
fn a_directory_that_was_taken_away_while_open_takes_nothing_in() {
    let mut fs = RamFs::new(LIMITS);
    fs.make_directory(&["d"]).unwrap();
    let node = fs.find(&["d"]).unwrap();
    fs.open(node).unwrap();
    fs.unlink(&["d"]).unwrap();
    assert_eq!(fs.create(&["d", "x"]), Err(FileError::NoSuchFile));
    fs.close(node);
    assert_eq!(fs.usage().nodes, 1);
}

/// Against plain vectors: every operation, at random, with no page and no node lost in the end.
#[test]
fn random_operations_do_what_a_plain_model_does() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..40 {
        let mut fs = RamFs::new(Limits { pages: 24, nodes: 5, file_bytes: 10 * PAGE as u64 });
        let mut model: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for _ in 0..300 {
            let name = ["a", "b", "c", "d", "e"][random(5) as usize];
            match random(6) {
                0 => {
                    let fits = model.len() < 4 && !model.contains_key(name);
                    assert_eq!(fs.create(&[name]).is_ok(), fits);
                    model.entry(name).or_default();
                    if !fits && fs.find(&[name]).is_err() {
                        model.remove(name);
                    }
                }
                1 => assert_eq!(fs.unlink(&[name]).is_ok(), model.remove(name).is_some()),
                2 => {
                    let other = ["a", "b", "c", "d", "e"][random(5) as usize];
                    let moved = fs.rename(&[name], &[other]).is_ok();
                    assert_eq!(moved, model.contains_key(name));
                    if let Some(content) = model.remove(name) {
                        model.insert(other, content);
                    }
                }
                3 => {
                    let length = random(3 * PAGE as u64);
                    let Ok(node) = fs.find(&[name]) else { continue };
                    fs.truncate(node, length).unwrap();
                    model.get_mut(name).unwrap().resize(length as usize, 0);
                }
                _ => {
                    let (offset, length) = (random(3 * PAGE as u64), random(2 * PAGE as u64) as usize);
                    let data = vec![random(256) as u8; length];
                    let Ok(node) = fs.find(&[name]) else { continue };
                    if fs.write(node, offset, &data).is_ok() && length != 0 {
                        let content = model.get_mut(name).unwrap();
                        let end = offset as usize + length;
                        content.resize(content.len().max(end), 0);
                        content[offset as usize..end].copy_from_slice(&data);
                    }
                }
            }
            for (name, expected) in &model {
                assert_eq!(&content(&fs, fs.find(&[name]).unwrap()), expected, "{name}");
            }
        }
        for name in model.keys() {
            fs.unlink(&[name]).unwrap();
        }
        assert_eq!(fs.usage(), Usage { pages: 0, nodes: 1 });
    }
}
