/// Whether there is such a day, in some year: leap days count.
pub(crate) const fn day(month: u64, day: u64) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    day >= 1 && day <= days
}

/// Whether six digits `yymmdd` name a day.
pub(crate) const fn short_day(yymmdd: u64) -> bool {
    day(yymmdd / 100 % 100, yymmdd % 100)
}
