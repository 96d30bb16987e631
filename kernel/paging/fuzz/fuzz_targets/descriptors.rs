//! Any 64 bits at any level: decoding never panics, and the laws of the format hold for the result.
#![no_main]

use graft_paging::{AArch64, Entry, Format, Level, X86_64};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bits: (u64, u64)| {
    for level in (0..4).filter_map(Level::new) {
        // Bit 0 alone marks a descriptor that the tree does not use (a block); bit 56 belongs to retired entries.
        laws::<AArch64>(bits.0, bits.1, level, |raw| raw & 0b11 != 0b01);
        laws::<X86_64>(bits.0, bits.1, level, |raw| raw & (1 << 56 | 1) != (1 << 56 | 1));
    }
});

fn laws<F: Format>(raw: u64, other: u64, level: Level, is_used: fn(u64) -> bool) {
    let entry = F::decode(raw, level);
    let present = matches!(entry, Entry::Table(_) | Entry::Page(_));
    assert_eq!(F::is_present(raw), present);
    assert!(!(F::is_retired(raw) && present));
    assert!(!F::is_retired(raw) || entry == Entry::Empty);

    // Encoding keeps the meaning, but not the bits without a meaning.
    let plain = F::encode(entry, level);
    assert_eq!(F::decode(plain, level), entry);
    assert_eq!(F::encode(F::decode(plain, level), level), plain);
    if !present || !is_used(raw) {
        return;
    }
    match entry {
        Entry::Table(table) => assert_eq!((F::output(raw), F::is_read_only_table(raw)), (table.frame, table.read_only)),
        Entry::Page(page) => assert_eq!((F::output(raw), F::is_counted(raw)), (page.frame, page.kind.is_counted())),
        _ => unreachable!("it is present"),
    }

    let retired = F::retire(raw);
    assert!(F::is_retired(retired) && !F::is_present(retired) && retired != 0);
    assert_eq!((F::restore(retired), F::output(retired)), (raw, F::output(raw)));

    let (protected, enabled) = (F::write_protect(raw, level), F::write_enable(raw, level));
    assert_eq!(F::write_protect(protected, level), protected);
    assert_eq!(F::write_enable(enabled, level), enabled);
    assert_eq!((F::write_enable(protected, level), F::write_protect(enabled, level)), (enabled, protected));
    assert!(raw == protected || raw == enabled);
    assert_eq!((protected ^ enabled).count_ones(), 1, "one bit decides about writing");
    match (F::decode(protected, level), F::decode(enabled, level)) {
        (Entry::Table(protected), Entry::Table(enabled)) => {
            assert!(protected.read_only && !enabled.read_only && protected.frame == enabled.frame);
        }
        (Entry::Page(protected), Entry::Page(mut enabled)) => {
            assert!(!protected.writable && enabled.writable);
            enabled.writable = false;
            assert_eq!(protected, enabled);
        }
        _ => panic!("write permission changed what {raw:#x} is"),
    }

    let is_protected = |raw: u64| F::write_protect(raw, level) == raw;
    assert_eq!(is_protected(F::both(raw, other)), is_protected(raw) && is_protected(other));
    assert_eq!(is_protected(F::both(F::PROTECTED, raw)), is_protected(raw));
}
