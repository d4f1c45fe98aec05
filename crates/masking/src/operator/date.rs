//! Dates moved by one distance per run, so that what lies between two of them stays true.

/// The same date, so many days later or earlier, in the spelling it had: `2026-11-23`, `2026/11/23`, `23.11.2026`, and
/// whatever follows. `None` for a spelling that could mean two days, like `03/04/2026`.
pub(super) fn shifted(value: &str, days: i32) -> Option<String> {
    let (date, rest) = value.split_at_checked(10)?;
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let text = date.get(from..to)?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten()
    };
    let separator = |at: usize| date.as_bytes().get(at).copied();
    let moved = |year, month, day| real(year, month, day).then(|| civil(days_of(year, month, day) + days));
    match (separator(2), separator(4), separator(5), separator(7)) {
        (Some(b'.'), _, Some(b'.'), _) => {
            let (year, month, day) = moved(number(6, 10)?, number(3, 5)?, number(0, 2)?)?;
            Some(format!("{day:02}.{month:02}.{year:04}{rest}"))
        }
        (_, Some(first @ (b'-' | b'/' | b'.')), _, Some(second)) if first == second => {
            let (year, month, day) = moved(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
            let by = char::from(first);
            Some(format!("{year:04}{by}{month:02}{by}{day:02}{rest}"))
        }
        _ => None,
    }
}

fn real(year: i32, month: i32, day: i32) -> bool {
    (1..=9998).contains(&year)
        && (1..=12).contains(&month)
        && day >= 1
        && civil(days_of(year, month, day)) == (year, month, day)
}

/// Days since 0000-03-01 in the proleptic Gregorian calendar: years begin in March, so that a leap day ends one.
fn days_of(year: i32, month: i32, day: i32) -> i32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
}

fn civil(days: i32) -> (i32, i32, i32) {
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + 400 * era + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_moves_in_its_own_spelling_and_what_could_be_two_days_does_not() {
        for (value, days, expected) in [
            ("2026-11-23", 8, Some("2026-12-01")),
            ("2024-02-28", 1, Some("2024-02-29")),
            ("2023-02-28", 1, Some("2023-03-01")),
            ("2026/01/01", -1, Some("2025/12/31")),
            ("31.12.1999", 1, Some("01.01.2000")),
            ("1970-01-01T10:00:00Z", 20_000, Some("2024-10-04T10:00:00Z")),
            ("03/04/2026", 1, None),
            ("2026-02-30", 1, None),
            ("2026-11-234", 1, None),
            ("today", 1, None),
        ] {
            assert_eq!(shifted(value, days).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for days in days_of(1600, 1, 1)..days_of(2400, 1, 1) {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }
}
