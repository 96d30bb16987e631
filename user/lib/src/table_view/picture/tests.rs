//! Pictures compared character by character.

use graft_abi::EntryRecord;

use super::cell::SIDE;
use super::*;
use crate::table_view::sample;

const FOCUS: Range<u64> = sample::A..sample::B + 0x2000;
const NAMES: [(u64, u8, &str); 2] = [(sample::A, 3, "A"), (sample::B, 3, "B")];

fn draw(now: &(Tree, Tree), before: Option<&(Tree, Tree)>) -> Vec<String> {
    let picture = Picture {
        left: ("PARENT process 4", &now.0),
        right: Some(("CHILD process 5", &now.1)),
        before: before.map(|(left, right)| (left, Some(right))),
        focus: &FOCUS,
        names: &NAMES,
    };
    for line in picture.draw(Palette::Plain) {
        assert!(line.chars().count() <= COLUMNS, "{} columns: {line}", line.chars().count());
    }
    picture.draw(Palette::Plain)
}

type Records = (Vec<EntryRecord>, Vec<EntryRecord>);

fn trees((left, right): &Records) -> (Tree, Tree) {
    (Tree::new(left).unwrap(), Tree::new(right).unwrap())
}

#[test]
fn shared_tables_stand_once_in_the_middle() {
    let lines = draw(&trees(&sample::after_fork()), None);
    assert_eq!(
        lines.join("\n"),
        "       PARENT process 4                  SHARED: drawn once                  CHILD process 5
┌ level 0 root #40000 ────────┐                                      ┌ level 0 root #41000 ────────┐
│ [0] APTable=00 ▼            │                                      │ [0] APTable=00 ▼            │
├ level 1 #40001 ───────── ×1 ┤                                      ├ level 1 #41001 ───────── ×1 ┤
│ [8] APTable=00 ▼            │                                      │ [8] APTable=00 ▼            │
│ +1 descriptor               │                                      │ +1 descriptor               │
├ level 2 #40003 ───────── ×1 ┤                                      ├ level 2 #41003 ───────── ×1 ┤
│ [0] APTable=10 read-only ───┼──▶┌ level 3 A #40010 ──────── ×2 ┐◀──┼ [0] APTable=10 read-only    │
│                             │   │ [0] AP=01 UXN rw▲ #50000 ×1  │   │                             │
│                             │   │ [1] AP=01 UXN rw▲ #50001 ×1  │   │                             │
│                             │   │ [2] AP=01 UXN rw▲ #50002 ×1  │   │                             │
│                             │   └──────────────────────────────┘   │                             │
│ [1] APTable=10 read-only ───┼──▶┌ level 3 B #40011 ──────── ×2 ┐◀──┼ [1] APTable=10 read-only    │
│                             │   │ [0] AP=01 UXN rw▲ #50010 ×1  │   │                             │
│                             │   │ [1] AP=01 UXN rw▲ #50011 ×1  │   │                             │
│                             │   └──────────────────────────────┘   │                             │
└─────────────────────────────┘                                      └─────────────────────────────┘"
    );
}

#[test]
fn a_split_moves_a_table_to_the_sides_and_marks_what_changed() {
    let lines = draw(&trees(&sample::after_child_write()), Some(&trees(&sample::after_fork())));
    assert_eq!(
        lines.join("\n"),
        "       PARENT process 4                  SHARED: drawn once                  CHILD process 5
┌ level 0 root #40000 ────────┐                                      ┌ level 0 root #41000 ────────┐
│ [0] APTable=00 ▼            │                                      │ [0] APTable=00 ▼            │
├ level 1 #40001 ───────── ×1 ┤                                      ├ level 1 #41001 ───────── ×1 ┤
│ [8] APTable=00 ▼            │                                      │ [8] APTable=00 ▼            │
│ +1 descriptor               │                                      │ +1 descriptor               │
├ level 2 #40003 ───────── ×1 ┤                                      ├ level 2 #41003 ───────── ×1 ┤
│ [0] APTable=10 read-only ▼  │                                      │*[0] APTable=00 ▼            │
│ [1] APTable=10 read-only ───┼──▶┌ level 3 B #40011 ──────── ×2 ┐◀──┼ [1] APTable=10 read-only    │
│                             │   │ [0] AP=01 UXN rw▲ #50010 ×1  │   │                             │
│                             │   │ [1] AP=01 UXN rw▲ #50011 ×1  │   │                             │
│                             │   └──────────────────────────────┘   │                             │
├*level 3 A #40010 ─────── ×1 ┤                                      ├*level 3 A #41010 ─────── ×1 ┤
│*[0] AP=11 UXN ro #50000 ×1  │                                      │*[0] AP=01 UXN rw #51000 ×1  │
│*[1] AP=11 UXN ro ───────────┼──▶ *page A[1] #50001 ×2           ◀──┼*[1] AP=11 UXN ro            │
│*[2] AP=11 UXN ro ───────────┼──▶ *page A[2] #50002 ×2           ◀──┼*[2] AP=11 UXN ro            │
└─────────────────────────────┘                                      └─────────────────────────────┘"
    );
}

#[test]
fn tables_below_a_shared_table_are_drawn_below_it() {
    let lines = draw(&trees(&sample::after_deep_fork()), None);
    assert_eq!(
        lines.join("\n"),
        "       PARENT process 4                  SHARED: drawn once                  CHILD process 5
┌ level 0 root #40000 ────────┐                                      ┌ level 0 root #41000 ────────┐
│ [0] APTable=10 read-only ───┼──▶┌ level 1 #42001 ────────── ×2 ┐◀──┼ [0] APTable=10 read-only    │
│                             │   │ [8] APTable=00 ▲ ▼           │   │                             │
│                             │   │ +1 descriptor                │   │                             │
│                             │   ├ level 2 #42003 ────────── ×1 ┤   │                             │
│                             │   │ [0] APTable=00 ▲ ▼           │   │                             │
│                             │   │ [1] APTable=00 ▲ ▼           │   │                             │
│                             │   ├ level 3 A #40010 ──────── ×1 ┤   │                             │
│                             │   │ [0] AP=01 UXN rw▲ #50000 ×1  │   │                             │
│                             │   │ [1] AP=01 UXN rw▲ #50001 ×1  │   │                             │
│                             │   │ [2] AP=01 UXN rw▲ #50002 ×1  │   │                             │
│                             │   ├ level 3 B #40011 ──────── ×1 ┤   │                             │
│                             │   │ [0] AP=01 UXN rw▲ #50010 ×1  │   │                             │
│                             │   │ [1] AP=01 UXN rw▲ #50011 ×1  │   │                             │
│                             │   └──────────────────────────────┘   │                             │
└─────────────────────────────┘                                      └─────────────────────────────┘"
    );
}

#[test]
fn nothing_is_marked_where_nothing_has_changed() {
    let same = trees(&sample::after_child_write());
    assert_eq!(draw(&same, Some(&same)), draw(&same, None));
}

#[test]
fn one_process_alone_is_drawn_at_the_left() {
    let (left, _) = trees(&sample::after_fork());
    let picture = Picture { left: ("ALONE", &left), right: None, before: None, focus: &FOCUS, names: &NAMES };
    let lines = picture.draw(Palette::Plain);
    assert!(lines.iter().all(|line| line.chars().count() <= SIDE));
    assert_eq!(lines.iter().filter(|line| line.contains("level")).count(), 5);
}

#[test]
fn frames_of_large_machines_do_not_make_it_wider() {
    let (mut left, mut right) = sample::after_child_write();
    for record in left.iter_mut().chain(&mut right) {
        record.table += 0x40_0000_0000;
        record.descriptor += 0x40_0000_0000;
    }
    draw(&trees(&(left, right)), None);
}

#[test]
fn colours_do_not_change_the_text() {
    let (left, right) = trees(&sample::after_child_write());
    let picture = |palette| {
        let right = Some(("CHILD", &right));
        Picture { left: ("PARENT", &left), right, before: None, focus: &FOCUS, names: &NAMES }.draw(palette)
    };
    let uncoloured: Vec<String> = picture(Palette::Colours)
        .iter()
        .map(|line| line.split('\x1b').map(|part| part.split_once('m').map_or(part, |(_, rest)| rest)).collect())
        .map(|line: String| line.trim_end().to_string())
        .collect();
    assert_eq!(uncoloured, picture(Palette::Plain));
}
