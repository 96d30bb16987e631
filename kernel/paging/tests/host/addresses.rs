//! Addresses, ranges and levels, and how they are displayed.

use graft_paging::{
    ADDRESS_BITS, ENTRIES, Error, Fault, Frame, Level, OutOfMemory, Permissions, TABLES_MAX, VirtAddr, VirtRange,
};

use crate::memory::{GIB, MIB, PAGE, at, range};

#[test]
fn addresses_are_those_of_the_lower_half() {
    assert_eq!(VirtAddr::new((1 << ADDRESS_BITS) - 1).map(VirtAddr::get), Some((1 << ADDRESS_BITS) - 1));
    assert_eq!(VirtAddr::new(1 << ADDRESS_BITS), None);
    assert_eq!(VirtAddr::new(u64::MAX), None);
    assert_eq!(at(0x12_3fff).page(), at(0x12_3000));
    assert_eq!(at(0x12_3000).page(), at(0x12_3000));
}

#[test]
fn frames_are_numbered_by_their_pages() {
    assert_eq!(Frame::containing(0x4567_8fff), Frame(0x4_5678));
    assert_eq!(Frame(0x4_5678).address(), 0x4567_8000);
}

/// With one table more, the references to a frame could make a count of 32 bits overflow.
#[test]
fn descriptors_in_all_tables_can_be_counted() {
    let descriptors = TABLES_MAX * ENTRIES as u64;
    assert!(descriptors < u64::from(u32::MAX) && descriptors + ENTRIES as u64 > u64::from(u32::MAX));
    // 1 TiB in pages, each mapped by as many spaces as a process table holds.
    let tables = (1_u64 << 40) / PAGE / ENTRIES as u64;
    assert!(tables * 8 < TABLES_MAX);
}

#[test]
fn ranges_are_whole_pages_of_the_lower_half_and_not_empty() {
    assert_eq!(VirtRange::new(PAGE, 0), None);
    assert_eq!(VirtRange::new(PAGE, PAGE - 1), None);
    assert_eq!(VirtRange::new(PAGE / 2, PAGE), None);
    assert_eq!(VirtRange::new(PAGE / 2, PAGE / 2), None);
    assert_eq!(VirtRange::new(u64::MAX - PAGE + 1, 2 * PAGE), None);
    assert_eq!(VirtRange::new((1 << ADDRESS_BITS) - PAGE, 2 * PAGE), None);
    let last = range((1 << ADDRESS_BITS) - PAGE, PAGE);
    assert_eq!((last.start(), last.end(), last.pages()), ((1 << ADDRESS_BITS) - PAGE, 1 << ADDRESS_BITS, 1));
    assert_eq!(VirtRange::new(0, 1 << ADDRESS_BITS), Some(VirtRange::ALL));
    assert_eq!(range(3 * PAGE, 5 * PAGE).pages(), 5);
}

#[test]
fn a_range_contains_its_start_and_not_its_end() {
    let range = range(4 * PAGE, 2 * PAGE);
    let contained = [4 * PAGE, 4 * PAGE + 1, 6 * PAGE - 1].map(|address| range.contains(at(address)));
    let outside = [0, 4 * PAGE - 1, 6 * PAGE, 6 * PAGE + 1].map(|address| range.contains(at(address)));
    assert_eq!((contained, outside), ([true; 3], [false; 4]));
}

#[test]
fn a_page_and_an_entry_cover_what_is_around_an_address() {
    assert_eq!(VirtRange::page(at(GIB + 17)), range(GIB, PAGE));
    let spans = [PAGE, 2 * MIB, GIB, 512 * GIB];
    for (number, span) in (0..4).rev().zip(spans) {
        let level = Level::new(number).unwrap();
        assert_eq!((level.span(), level.pages(), level.number()), (span, span / PAGE, number.into()));
        assert_eq!(VirtRange::entry(at(5 * span + span / 2), level), range(5 * span, span));
        assert_eq!((level.index(at(5 * span + span - 1)), level.index(at(0))), (5, 0));
    }
    assert_eq!(Level::LAST.index(at(2 * MIB - 1)), 511);
    assert_eq!(Level::LAST.index(at(2 * MIB)), 0);
}

#[test]
fn there_are_four_levels() {
    assert_eq!((Level::new(0), Level::new(3), Level::new(4)), (Some(Level::ROOT), Some(Level::LAST), None));
    assert_eq!(Level::ROOT.below().below().below(), Level::LAST);
    assert_eq!(Level::LAST.above().above().above(), Level::ROOT);
}

#[test]
#[should_panic(expected = "no level below the last")]
fn there_is_no_level_below_the_last() {
    let _ = Level::LAST.below();
}

#[test]
#[should_panic(expected = "no level above the root")]
fn there_is_no_level_above_the_root() {
    let _ = Level::ROOT.above();
}

#[test]
fn addresses_are_shown_as_numbers() {
    assert_eq!(format!("{:?} {:?}", at(0x1000), range(0x1000, 0x2000)), "0x1000 0x1000..0x3000");
    assert_eq!(format!("{:?}", Frame(0x1f)), "Frame(0x1f000)");
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(OutOfMemory.to_string(), "out of memory");
    for error in [Error::Contended, Error::Unguaranteed, Error::OutOfMemory] {
        assert!(error.to_string().len() > 10, "{error:?}");
    }
    let faults = [Fault::Unmapped, Fault::Denied(Permissions::Read), Fault::OutOfMemory, Fault::Contended];
    let shown = faults.map(|fault| fault.to_string());
    assert_eq!(shown[..3], ["nothing is mapped there", "Read forbids the access", "out of memory"]);
    assert!(shown[3].contains("try again"), "{shown:?}");
}

#[test]
fn errors_name_their_address() {
    let shown = [
        Error::Occupied(at(0x5000)),
        Error::NotMapped(at(0x6000)),
        Error::Unsuitable(at(0x7000), Permissions::ReadWrite),
        Error::from(OutOfMemory),
    ]
    .map(|error| error.to_string());
    assert!(shown[0].contains("0x5000") && shown[1].contains("0x6000"), "{shown:?}");
    assert!(shown[2].contains("0x7000") && shown[2].contains("ReadWrite"), "{shown:?}");
    assert_eq!(shown[3], "out of memory");
    assert_eq!(Fault::from(OutOfMemory), Fault::OutOfMemory);
}
