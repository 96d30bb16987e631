//! Records as text, one a line, for tools on a host.
//!
//! `entry LEVEL ADDRESS DESCRIPTOR TABLE REFERENCES KIND PERMISSIONS WRITABLE PAGES TABLES`, addresses
//! and descriptors in hexadecimal, the rest in decimal. Numbers mean what `EntryRecord` says.

use core::fmt;

use graft_abi::EntryRecord;

/// A record that shows itself as a line.
#[derive(Clone, Copy, Debug)]
pub struct Line(pub EntryRecord);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EntryRecord { address, descriptor, table, references, level, kind, .. } = self.0;
        let EntryRecord { permissions, writable_now, pages_below, tables_below, .. } = self.0;
        write!(f, "entry {level} {address:012x} {descriptor:016x} {table:012x} {references} ")?;
        write!(f, "{kind} {permissions} {writable_now} {pages_below} {tables_below}")
    }
}

/// Reads a line; `None` if it is not a record's.
pub fn parse(line: &str) -> Option<EntryRecord> {
    let mut fields = line.strip_prefix("entry ")?.split_whitespace();
    let record = EntryRecord {
        level: fields.next()?.parse().ok()?,
        address: u64::from_str_radix(fields.next()?, 16).ok()?,
        descriptor: u64::from_str_radix(fields.next()?, 16).ok()?,
        table: u64::from_str_radix(fields.next()?, 16).ok()?,
        references: fields.next()?.parse().ok()?,
        kind: fields.next()?.parse().ok()?,
        permissions: fields.next()?.parse().ok()?,
        writable_now: fields.next()?.parse().ok()?,
        pages_below: fields.next()?.parse().ok()?,
        tables_below: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_view::sample;

    #[test]
    fn a_record_survives_the_text() {
        for record in sample::after_fork().0 {
            assert_eq!(parse(&Line(record).to_string()), Some(record));
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let line = Line(sample::after_fork().0[0]).to_string();
        for broken in ["", "entry", "entry 1 2", &line[1..], &format!("{line} 1"), &line.replace("entry 0", "entry x")]
        {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
