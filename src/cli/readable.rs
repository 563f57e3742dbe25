//! Times, data and ACLs for the eyes of an operator, in the forms of ZooKeeper's own tools.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::proto::acl::RawAcls;

/// `11/21/26, 1:07:33 AM UTC`, as TxnLogToolkit prints times in the American locale.
pub fn short_time(ms: i64) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::new(ms);
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = (hour + 11) % 12 + 1;
    let year = year.rem_euclid(100);
    format!("{month}/{day}/{year:02}, {hour}:{minute:02}:{second:02} {half} UTC")
}

/// `Sat Nov 21 01:07:33 UTC 2026`, as Java prints a date.
pub fn long_time(ms: i64) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        weekday,
    } = Civil::new(ms);
    let (weekday, month) = (WEEKDAYS[weekday], MONTHS[month - 1]);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Data as text, with everything escaped that a terminal would obey.
pub fn text(data: Option<&[u8]>) -> String {
    let mut out = String::new();
    for c in String::from_utf8_lossy(data.unwrap_or_default()).chars() {
        match c {
            _ if c.is_control() => out.extend(c.escape_default()),
            _ => out.push(c),
        }
    }
    out
}

/// `[31,s{'world,'anyone}]`.
pub fn acl_text(acl: &RawAcls<'_>) -> String {
    let Some(list) = acl.to_list() else {
        return "null".into();
    };
    let mut out = String::from("[");
    for (i, entry) in list.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let (scheme, id) = (
            text(Some(entry.id.scheme.as_bytes())),
            text(Some(entry.id.id.as_bytes())),
        );
        // Writing to a string does not fail.
        let _ = write!(out, "{comma}{},s{{'{scheme},'{id}}}", entry.perms);
    }
    out.push(']');
    out
}

/// A list of objects, or null.
pub fn acl_json(acl: &RawAcls<'_>) -> Value {
    let Some(list) = acl.to_list() else {
        return Value::Null;
    };
    list.into_iter()
        .map(|entry| json!({"perms": entry.perms, "scheme": entry.id.scheme, "id": entry.id.id}))
        .collect()
}

/// Base64, or null.
pub fn data_json(data: Option<&[u8]>) -> Value {
    use base64::Engine;
    data.map(|data| base64::engine::general_purpose::STANDARD.encode(data))
        .into()
}

struct Civil {
    year: i64,
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    weekday: usize,
}

impl Civil {
    /// Days to a date of the Gregorian calendar, counting years from March (Hinnant's algorithm).
    fn new(ms: i64) -> Civil {
        let seconds = ms.div_euclid(1000);
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: usize::try_from(month).unwrap_or(1),
            day: of_year - (153 * from_march + 2) / 5 + 1,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
        }
    }
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_java() {
        assert_eq!(short_time(1_795_223_253_695), "11/21/26, 1:07:33 AM UTC");
        assert_eq!(long_time(1_795_223_253_695), "Sat Nov 21 01:07:33 UTC 2026");
        assert_eq!(long_time(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(short_time(951_868_800_000), "3/1/00, 12:00:00 AM UTC");
        assert_eq!(long_time(951_782_399_000), "Mon Feb 28 23:59:59 UTC 2000");
        assert_eq!(long_time(-1), "Wed Dec 31 23:59:59 UTC 1969");
    }

    #[test]
    fn data_cannot_speak_to_the_terminal() {
        assert_eq!(text(Some(b"a\x1b[2Jb\n")), "a\\u{1b}[2Jb\\n");
        assert_eq!(text(None), "");
    }
}
