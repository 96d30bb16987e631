//! Seconds as dates, in the Gregorian calendar and universal time.

use core::fmt;

const DAY: u64 = 86_400;

/// A moment after the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// From 1970.
    pub year: u64,
    /// From 1.
    pub month: u64,
    /// From 1.
    pub day: u64,
    /// Of the day.
    pub second: u64,
}

impl Date {
    /// The moment so many seconds after the beginning of 1970, leap seconds left out.
    pub fn from_seconds(seconds: u64) -> Date {
        // Years that begin in March have the leap day at their end: then a day's place in 400 years, the calendar's
        // period, gives the year, and its place in the year the month. 719,468 days before 1970 began such a period.
        let days = seconds / DAY + 719_468;
        let (period, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Five months from March, or from August, have 153 days.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Date { year: period * 400 + year + next, month, day, second: seconds % DAY }
    }
}

impl fmt::Display for Date {
    /// `2026-11-27 23:05:09 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        write!(f, "{}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_three_periods_follows_the_one_before() {
        let mut expected = Date { year: 1970, month: 1, day: 1, second: 0 };
        for day in 0..3 * 146_097 {
            assert_eq!(Date::from_seconds(day * DAY), expected, "day {day}");
            let year = expected.year;
            let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
            let days = match expected.month {
                2 => 28 + u64::from(is_leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected.day += 1;
            if expected.day > days {
                (expected.month, expected.day) = (expected.month + 1, 1);
            }
            if expected.month > 12 {
                (expected.year, expected.month) = (expected.year + 1, 1);
            }
        }
    }

    #[test]
    fn a_date_is_printed_with_its_time() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_000_000_000, "2001-09-09 01:46:40 UTC"),
            (u64::from(u32::MAX), "2106-02-07 06:28:15 UTC"),
        ] {
            assert_eq!(Date::from_seconds(seconds).to_string(), text);
        }
    }
}
