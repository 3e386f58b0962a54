//! The stream of events: a line an event, readable beside strace's output.

use crate::{event::Event, facts::Clocks, width::pad};

/// How the time of an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Seconds since the trace began.
    Relative,
    /// Date and time of day, UTC, by the clock of the host when the trace began.
    Utc,
    /// Seconds of `CLOCK_MONOTONIC`, as the kernel's log has them, nearly.
    Monotonic,
}

/// An event on one line, without its end: number, time, process and thread, command name, what
/// happened. `began` are the clocks when the trace began.
#[must_use]
pub fn line(number: u64, event: &Event, time: Time, began: Clocks) -> String {
    let process = format!("{}/{}", event.pid, event.tid);
    let time = at(event.time_ns, time, began);
    format!("{number:>6} {time} {process:<13} {} {}", pad(&event.comm, 15), event.body)
}

fn at(time_ns: u64, time: Time, began: Clocks) -> String {
    match time {
        Time::Relative => {
            // What another CPU saw just before may come after what was first.
            let sign = if time_ns < began.monotonic_ns { "-" } else { "" };
            let since = time_ns.abs_diff(began.monotonic_ns);
            format!("{:>12}", format!("{sign}{}", seconds(since)))
        }
        Time::Utc => utc(time_ns
            .saturating_sub(began.monotonic_ns)
            .saturating_add(began.realtime_ns)
            .saturating_sub(began.monotonic_ns.saturating_sub(time_ns))),
        Time::Monotonic => format!("{:>13}", seconds(time_ns)),
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

/// `2026-11-22T20:15:01.000042Z`, of nanoseconds since 1970.
pub(crate) fn utc(ns: u64) -> String {
    let (second, micros) = (ns / 1_000_000_000, ns % 1_000_000_000 / 1000);
    let (day, second) = (second / 86_400, second % 86_400);
    // Years that begin in March, from 1 March of the year 0: a leap day is then the last of its
    // year, and 400 years have 146097 days.
    let days = day + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::event::Body;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_795_377_901, "2026-11-22T20:05:01.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), expected);
        }
        assert_eq!(utc(u64::MAX), "2554-07-21T23:34:33.709551Z");
    }

    #[test]
    fn times_are_from_the_start_of_the_trace_or_of_the_day_or_of_the_host() {
        let began = Clocks {
            monotonic_ns: 5_000_000_000,
            realtime_ns: 1_795_377_901_000_000_000,
            boottime_ns: 0,
        };
        let event = |time_ns| Event {
            time_ns,
            pid: 7,
            tid: 8,
            comm: "qemu".to_owned(),
            cpu: 0,
            body: Body::ModuleLoad { name: "vfio".to_owned() },
        };
        let line = |ns, time| line(3, &event(ns), time, began);
        assert_eq!(
            line(5_000_123_456, Time::Relative),
            "     3     0.000123 7/8           qemu            module vfio loaded"
        );
        let named = |comm: &str| {
            let event = Event { comm: comm.to_owned(), ..event(0) };
            let lines = [super::line(3, &event, Time::Relative, began), event.to_string()];
            lines.map(|line| line.split_once("module").unwrap().0.width())
        };
        for comm in ["", "\u{6f22}\u{5b57}", "cafe\u{301}", "\u{ff76}"] {
            assert_eq!(named(comm), named("qemu"), "{comm}");
        }
        assert!(line(4_999_000_000, Time::Relative).contains(" -0.001000 "));
        assert!(line(6_000_000_000, Time::Utc).contains(" 2026-11-22T20:05:02.000000Z "));
        assert!(line(4_000_000_000, Time::Utc).contains(" 2026-11-22T20:05:00.000000Z "));
        assert!(line(6_000_001_000, Time::Monotonic).contains(" 6.000001 "));
    }
}
