//! How durations and moments are written in a link file: `30s`, `1m30s`, `0.5s`;
//! `2026-01-01T00:00:00Z` (RFC 3339).

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", DAY_MS),
];
const DAY_MS: u64 = 86_400_000;

/// Longest duration that is taken: a year. Longer ones are slips, and would overflow timers.
const DURATION_MS_MAX: u64 = 365 * DAY_MS;

/// Reads `250ms`, `3s`, `1m30s`, `0.5s`, `2h`, `7d`, or a bare `0`, as milliseconds. An error is a
/// sentence.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a duration such as 500ms, 30s or 1m");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut micros: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        let unit_length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(unit_length);
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(bad)?;
        if whole.is_empty() || fraction.len() > 6 {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let parts: u64 = format!("{fraction:0<6}").parse().map_err(|_| bad())?;
        let part = whole
            .checked_mul(unit_ms * 1_000)
            .and_then(|w| w.checked_add(parts * unit_ms / 1_000));
        micros = part.and_then(|p| micros.checked_add(p)).ok_or_else(bad)?;
        rest = after;
    }
    let ms = micros / 1_000;
    match ms {
        0 if micros > 0 => Err(format!("{text:?} is shorter than a millisecond")),
        ms if ms > DURATION_MS_MAX => Err(format!("{text:?} is longer than a year")),
        ms => Ok(ms),
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Writes milliseconds in the largest unit that needs no fraction: `30s`, `1m`, `1500ms`.
pub fn format_duration(ms: u64) -> String {
    let (unit, size) = UNITS
        .iter()
        .rev()
        .find(|(_, size)| ms > 0 && ms.is_multiple_of(*size))
        .unwrap_or(&("s", 1_000));
    format!("{}{unit}", ms / size)
}

/// Reads an RFC 3339 moment as milliseconds since 1970. An error is a sentence.
pub fn parse_timestamp(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is not a moment such as 2026-01-01T00:00:00Z");
    let text_bytes = text.as_bytes();
    if !text.is_ascii() || text_bytes.len() < 20 {
        return Err(bad());
    }
    let number = |from: usize, to: usize| -> Result<i64, String> {
        let part = &text[from..to];
        if part.bytes().all(|b| b.is_ascii_digit()) {
            part.parse().map_err(|_| bad())
        } else {
            Err(bad())
        }
    };
    let separators = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    if separators
        .iter()
        .any(|(at, allowed)| !allowed.as_bytes().contains(&text_bytes[*at]))
    {
        return Err(bad());
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return Err(bad());
    }
    let (fraction, zone) = text[19..]
        .strip_prefix('.')
        .map_or(("", &text[19..]), digits);
    if text[19..].starts_with('.') && fraction.is_empty() {
        return Err(bad());
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().map_err(|_| bad())?;
    let offset_minutes = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let (h, m) = (number(at, at + 2)?, number(at + 3, at + 5)?);
            if h > 23 || m > 59 {
                return Err(bad());
            }
            (h * 60 + m) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return Err(bad()),
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - offset_minutes * 60;
    match seconds * 1_000 + millis {
        ms if ms < 0 => Err(format!("{text:?} lies before 1970")),
        ms => Ok(ms),
    }
}

/// Writes milliseconds since 1970 as RFC 3339 in UTC, with a fraction only where there is one.
pub fn format_timestamp(ms: i64) -> String {
    let (days, in_day) = (ms.div_euclid(DAY_MS as i64), ms.rem_euclid(DAY_MS as i64));
    let mut year = 1970 + days.div_euclid(366);
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 12;
    while days_since_1970(year, month, 1) > days {
        month -= 1;
    }
    let day = days - days_since_1970(year, month, 1) + 1;
    let (second, millis) = (in_day / 1_000, in_day % 1_000);
    let fraction = if millis == 0 {
        String::new()
    } else {
        format!(".{millis:03}")
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this day of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 477;
    let in_year: i64 = (1..month).map(|m| days_in_month(year, m)).sum();
    (year - 1970) * 365 + leap_days + in_year + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("0.5s", 500),
            ("2h", 7_200_000),
            ("1.5d", 129_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for bad in [
            "",
            "30",
            "s",
            "30 s",
            "-1s",
            "1.s1",
            "30sec",
            "0.1ms",
            "366d",
            "99999999999999999999s",
            "1µs",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for ms in [
            0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000,
        ] {
            assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
        }
        assert_eq!(
            (
                format_duration(30_000),
                format_duration(60_000),
                format_duration(1_500)
            ),
            ("30s".into(), "1m".into(), "1500ms".into())
        );
    }

    #[test]
    fn moments() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
            ("2000-03-01T00:00:00+01:00", 951_865_200_000),
            ("2026-01-01 00:00:00.5-00:30", 1_767_227_400_500),
        ] {
            assert_eq!(parse_timestamp(text), Ok(ms), "{text}");
        }
        for bad in [
            "",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00+1:00",
        ] {
            assert!(parse_timestamp(bad).is_err(), "{bad}");
        }
        let mut ms: i64 = 1;
        while ms < 253_402_300_799_999 {
            assert_eq!(parse_timestamp(&format_timestamp(ms)), Ok(ms));
            ms = ms * 3 + 86_399_999;
        }
    }
}
