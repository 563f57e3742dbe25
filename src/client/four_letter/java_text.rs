//! Numbers, dates and addresses as Java prints them.

use std::net::{IpAddr, SocketAddr};

/// A double, rounded to four decimals first (`Double.toString`).
pub(super) fn double(value: f64) -> String {
    let value = (value * 1e4).round() / 1e4;
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    // Rust writes `5e-4` where Java writes `5.0E-4`.
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

/// Milliseconds since the Unix epoch, as `Sat Nov 21 01:22:41 UTC 2026` (`Date.toString`), always in UTC.
pub(super) fn date(wall_ms: i64) -> String {
    let seconds = wall_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[month as usize];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// `/ip:port`, IPv6 in brackets and in full (`InetSocketAddress.toString`).
pub(super) fn address(address: &SocketAddr) -> String {
    let port = address.port();
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}:{port}"),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}"));
            format!("/[{}]:{port}", groups.join(":"))
        }
    }
}

/// Year, month from 0 and day from 1 of a day since the Unix epoch, counted in eras of 400 years that begin
/// in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.clamp(-100_000_000, 100_000_000) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year + i64::from(month < 2);
    (year, month, day)
}

/// The Unix epoch began on a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_like_javas() {
        let cases = [
            (0.0, "0.0"),
            (4.5, "4.5"),
            (0.326_17, "0.3262"),
            (0.0005, "5.0E-4"),
            (0.001, "0.001"),
            (0.000_04, "0.0"),
            (100.0, "100.0"),
            (9_999_999.0, "9999999.0"),
            (12_345_678.5, "1.23456785E7"),
            (1e7, "1.0E7"),
        ];
        for (value, text) in cases {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn dates_look_like_javas() {
        assert_eq!(date(1_795_224_161_000), "Sat Nov 21 01:22:41 UTC 2026");
        assert_eq!(date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(951_782_400_999), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(-1), "Wed Dec 31 23:59:59 UTC 1969");
        assert_eq!(date(4_107_542_400_000), "Mon Mar 01 00:00:00 UTC 2100");
        assert!(date(i64::MAX).ends_with(|c: char| c.is_ascii_digit()));
        assert!(!date(i64::MIN).is_empty());
    }

    #[test]
    fn addresses_look_like_javas() {
        let text = |text: &str| address(&text.parse().unwrap());
        assert_eq!(text("127.0.0.1:35682"), "/127.0.0.1:35682");
        assert_eq!(text("[::1]:55452"), "/[0:0:0:0:0:0:0:1]:55452");
        assert_eq!(text("[::ffff:10.0.0.1]:1"), "/10.0.0.1:1");
    }
}
