//! Filters of events: which of them are shown.
//!
//! A filter is `NAME=VALUE[,VALUE...]` or `NAME!=VALUE[,VALUE...]`; `*` in a value stands for
//! anything. It looks at an event alone, not at what comes before or after.

use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

use super::Event;
use crate::pci::Bdf;

/// What can be asked for.
const NAMES: [&str; 7] = ["device", "group", "pid", "tid", "comm", "kind", "verdict"];
/// The values of `verdict`.
const VERDICTS: [&str; 3] = ["blocked", "failed", "passed"];

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    name: &'static str,
    /// It holds for those that are not so.
    not: bool,
    values: Vec<String>,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseFilterError {
    /// It has no `=`.
    #[error("a filter is written like device=01:00.0 or kind!=region,regions_end")]
    NoEquals,
    /// There is no such name.
    #[error("there is nothing to filter by that name: there are {}", NAMES.join(", "))]
    Name,
    /// It has no values, or an empty one.
    #[error("a value is missing after the =")]
    NoValue,
    /// It is not a value that this name can have.
    #[error("{name} cannot be that: it is {expected}")]
    Value {
        /// The name.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
    },
}

impl FromStr for Filter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, ParseFilterError> {
        let (name, values) = text.split_once('=').ok_or(ParseFilterError::NoEquals)?;
        let (name, not) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let name = *NAMES.iter().find(|known| **known == name).ok_or(ParseFilterError::Name)?;
        let values: Vec<String> = values.split(',').map(|value| plain(name, value)).collect();
        if values.iter().any(String::is_empty) {
            return Err(ParseFilterError::NoValue);
        }
        let wrong = |expected| Err(ParseFilterError::Value { name, expected });
        let digits = |value: &String| value.bytes().all(|byte| byte.is_ascii_digit());
        match name {
            "group" | "pid" | "tid" if !values.iter().all(digits) => wrong("a number"),
            "verdict" if !values.iter().all(|value| VERDICTS.contains(&value.as_str())) => {
                wrong("blocked, failed or passed")
            }
            _ => Ok(Self { name, not, values }),
        }
    }
}

/// A PCI address as events have it; anything else as it is.
fn plain(name: &str, value: &str) -> String {
    let bdf = (name == "device").then(|| value.parse::<Bdf>().ok()).flatten();
    bdf.map_or_else(|| value.to_owned(), |bdf| bdf.to_string())
}

impl Filter {
    /// Whether the filter lets the event through.
    #[must_use]
    pub fn lets(&self, event: &Event) -> bool {
        // By the names of the JSON lines, so that every kind of event is found, later ones too.
        let fields = serde_json::to_value(event).unwrap_or_default();
        let found = of(&fields, self.name);
        let any = found.iter().any(|found| {
            self.values.iter().any(|pattern| matches(pattern.as_bytes(), found.as_bytes()))
        });
        any != self.not
    }
}

/// What the event has under this name.
fn of(event: &Value, name: &str) -> Vec<String> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let device = event.get("device");
    let of_device = |name| device.and_then(|device| text(device.get(name)));
    match name {
        "device" => [of_device("bdf"), of_device("name"), text(event.get("device_name"))]
            .into_iter()
            .flatten()
            .collect(),
        "group" => [of_device("group"), text(event.get("group"))].into_iter().flatten().collect(),
        "verdict" => verdict(event).map(str::to_owned).into_iter().collect(),
        name => text(event.get(name)).into_iter().collect(),
    }
}

/// What a call says by its return: the refusal for a 1:1 map, another failure, or none. Events that
/// are not returns say nothing.
fn verdict(event: &Value) -> Option<&'static str> {
    let is = |name| event.get(name).and_then(Value::as_bool) == Some(true);
    let ret = event.get("ret").and_then(Value::as_i64)?;
    Some(if ret >= 0 {
        "passed"
    } else if is("require_direct") && is("blocking") {
        "blocked"
    } else {
        "failed"
    })
}

/// Whether the text is as the pattern says; `*` is any text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star, if what follows it does not fit here.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(wanted) if wanted == byte => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Device, Phase};

    fn device() -> Device {
        let bdf: Bdf = "01:00.0".parse().unwrap();
        Device { ptr: 1, name: bdf.to_string(), bdf: Some(bdf), group: Some(10) }
    }

    fn event(body: Body) -> Event {
        Event { time_ns: 0, pid: 7, tid: 8, comm: "qemu-system-x86".to_owned(), cpu: 0, body }
    }

    fn refused(ret: i32, blocking: bool) -> Event {
        event(Body::SetDomain {
            device: device(),
            driver: "vfio-pci".to_owned(),
            domain_type: 0,
            require_direct: true,
            blocking,
            ret,
            unity_entries: None,
            unity_matches: 0,
            incomplete: false,
        })
    }

    fn lets(filter: &str, event: &Event) -> bool {
        filter.parse::<Filter>().unwrap().lets(event)
    }

    #[test]
    fn events_are_found_by_what_is_in_them() {
        let blocked = refused(-22, true);
        for filter in [
            "device=01:00.0",
            "device=0000:01:00.0",
            "device=02:00.0,01:00.0",
            "device=0000:01:*",
            "device!=02:00.0",
            "group=10",
            "pid=7",
            "tid=8",
            "comm=qemu*",
            "comm=*x86",
            "comm=q*s*6",
            "kind=set_domain",
            "kind=set*",
            "verdict=blocked",
            "verdict!=passed",
        ] {
            assert!(lets(filter, &blocked), "{filter}");
        }
        for filter in [
            "device=01:00.1",
            "device!=01:00.0",
            "group=1",
            "group=100",
            "pid=70",
            "comm=qemu",
            "comm=*q",
            "kind=domain",
            "verdict=failed,passed",
        ] {
            assert!(!lets(filter, &blocked), "{filter}");
        }
    }

    #[test]
    fn a_verdict_is_what_a_call_returned() {
        assert!(lets("verdict=failed", &refused(-16, false)));
        assert!(lets("verdict=passed", &refused(0, true)));
        let claim = event(Body::ContainerAttach { phase: Phase::Exit { ret: -22 } });
        assert!(lets("verdict=failed", &claim));
        let begun = event(Body::ContainerAttach { phase: Phase::Enter });
        assert!(!lets("verdict=failed,passed,blocked", &begun));
        // An event that has no group is in no other one either.
        assert!(lets("group!=10", &begun) && !lets("group=10", &begun));
    }

    #[test]
    fn what_is_no_filter_is_refused_in_one_line() {
        for text in [
            "",
            "device",
            "=",
            "device=",
            "device=,",
            "devices=1",
            "group=x",
            "group=-1",
            "pid=1*",
            "verdict=clear",
            "device!01:00.0",
            "Kind=region",
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn stars_match_as_a_search_would(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
                    (Some((p, rest)), Some((t, after))) => p == t && slow(rest, after),
                    _ => false,
                }
            }
            let expected = slow(pattern.as_bytes(), text.as_bytes());
            proptest::prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected);
        }
    }
}
