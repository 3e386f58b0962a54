//! Filters of events: which of them are shown.
//!
//! A filter is `NAME=VALUE[,VALUE...]` or `NAME!=VALUE[,VALUE...]`; `*` in a value stands for
//! anything. It looks at an event alone, and at what is known of its process: the virtual machine that
//! it runs, which [`Follow`] remembers.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{Body, CommandLines, Event, Value};
use crate::{command_line::Vm, pci::Bdf};

const NAMES: [&str; 8] = ["device", "group", "vm", "pid", "tid", "comm", "kind", "verdict"];
const VERDICTS: [&str; 3] = ["blocked", "failed", "passed"];

/// A condition that events must meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    name: &'static str,
    not: bool,
    values: Vec<String>,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ParseFilterError {
    #[error("a filter is written like device=01:00.0 or kind!=region,regions_end")]
    NoEquals,
    #[error("there is nothing to filter by that name: there are {}", NAMES.join(", "))]
    Name,
    #[error("a value is missing after the =")]
    NoValue,
    #[error("{name} cannot be that: it is {expected}")]
    Value { name: &'static str, expected: &'static str },
}

impl FromStr for Filter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, ParseFilterError> {
        let (name, values) = text.split_once('=').ok_or(ParseFilterError::NoEquals)?;
        let (name, not) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        Self::new(name, not, values.split(','))
    }
}

/// As it is parsed.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.not { "!" } else { "" };
        write!(f, "{}{not}={}", self.name, self.values.join(","))
    }
}

/// Which events of a stream are followed: those that all of some filters let through.
///
/// It must be shown every event, in order, also those that are not followed: what it knows of a
/// process came with another event.
#[derive(Default)]
pub(crate) struct Follow {
    filters: Vec<Filter>,
    lines: CommandLines,
}

impl Follow {
    /// Follows what every one of these lets through, from the next event on. What is known of
    /// processes stays.
    pub(crate) fn set(&mut self, filters: Vec<Filter>) {
        self.filters = filters;
    }

    /// Takes in the next event and says whether it is followed.
    pub(crate) fn lets(&mut self, event: &Event) -> bool {
        self.lines.observe(event);
        let arguments = self.lines.of(event.pid);
        self.filters.iter().all(|filter| filter.lets(event, arguments))
    }
}

/// A PCI address as events have it; anything else unchanged.
fn plain(name: &str, value: &str) -> String {
    let bdf = (name == "device").then(|| value.parse::<Bdf>().ok()).flatten();
    bdf.map_or_else(|| value.to_owned(), |bdf| bdf.to_string())
}

impl Filter {
    /// Passes what is one of these; `None` where there are none. The values may have commas.
    ///
    /// # Errors
    /// As for a text.
    pub fn any_of(name: &str, values: &[String]) -> Result<Option<Self>, ParseFilterError> {
        if values.is_empty() {
            return Ok(None);
        }
        Self::new(name, false, values.iter().map(String::as_str)).map(Some)
    }

    fn new<'a>(
        name: &str,
        not: bool,
        values: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ParseFilterError> {
        let name = *NAMES.iter().find(|known| **known == name).ok_or(ParseFilterError::Name)?;
        let values: Vec<String> = values.map(|value| plain(name, value)).collect();
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

    /// Whether the filter lets the event through. `arguments` is the command line of its process, as
    /// far as it is known; only `vm` needs it.
    pub(crate) fn lets(&self, event: &Event, arguments: &[String]) -> bool {
        let found = match self.name {
            "vm" => {
                let Vm { name, id } = Vm::of(arguments);
                [name, id].into_iter().flatten().collect()
            }
            name => of(event, name),
        };
        let any = found.iter().any(|found| {
            self.values.iter().any(|pattern| matches(pattern.as_bytes(), found.as_bytes()))
        });
        any != self.not
    }
}

/// What the event has under this name.
fn of(event: &Event, name: &str) -> Vec<String> {
    let body = &event.body;
    let device = body.device();
    let plain = |name| match body.field(name) {
        Some(Value::Plain(plain)) => Some(plain.to_string()),
        _ => None,
    };
    let found = match name {
        "device" => [
            device.and_then(|device| device.bdf).map(|bdf| bdf.to_string()),
            device.map(|device| device.name.clone()),
            plain("device_name"),
        ],
        "group" => {
            [device.and_then(|device| device.group).map(|id| id.to_string()), plain("group"), None]
        }
        "verdict" => [verdict(body).map(str::to_owned), None, None],
        "pid" => [Some(event.pid.to_string()), None, None],
        "tid" => [Some(event.tid.to_string()), None, None],
        "comm" => [Some(event.comm.clone()), None, None],
        "kind" => [Some(body.kind().to_owned()), None, None],
        _ => [None, None, None],
    };
    found.into_iter().flatten().collect()
}

/// What a call says by its return: the refusal for a 1:1 map, another failure, or none. Events that
/// are not returns say nothing.
fn verdict(body: &Body) -> Option<&'static str> {
    Some(if body.ret()? >= 0 {
        "passed"
    } else if body.is("require_direct") && body.is("blocking") {
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
    use crate::event::{Device, Phase};

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
        filter.parse::<Filter>().unwrap().lets(event, &[])
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
            "vm=",
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }

    fn args(pid: u32, line: &str) -> Event {
        let bytes = line.replace('|', "\0").into_bytes();
        let total = u32::try_from(bytes.len()).unwrap();
        let body = Body::Args { offset: 0, total, bytes, text: String::new() };
        Event { pid, tid: pid, ..event(body) }
    }

    #[test]
    fn a_machine_is_followed_by_its_name_or_number() {
        let call = |pid| Event { pid, ..refused(-22, true) };
        let mut events = vec![call(1)];
        events.push(args(1, "qemu|-name|guest=win11,debug-threads=on|"));
        events.push(args(2, "kvm|-id|100|-name|other|"));
        events.extend([call(1), call(2), call(3)]);
        let followed = |filters: &[&str]| {
            let filters = filters.iter().map(|text| text.parse().unwrap()).collect();
            let mut follow = Follow::default();
            follow.set(filters);
            let number = |(number, event)| follow.lets(event).then_some(number);
            (0..).zip(&events).filter_map(number).collect::<Vec<u32>>()
        };
        assert_eq!(followed(&[]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(followed(&["vm=win11"]), [1, 3]);
        assert_eq!(followed(&["vm=win*,100"]), [1, 2, 3, 4]);
        assert_eq!(followed(&["vm=other", "kind=set_domain"]), [4]);
        assert_eq!(followed(&["vm!=win11"]), [0, 2, 4, 5], "what is no machine is not that one");
        // The process is another one now.
        let mut follow = Follow::default();
        follow.set(vec!["vm=win11".parse().unwrap()]);
        assert!(follow.lets(&args(1, "qemu|-name|win11|")) && follow.lets(&call(1)));
        assert!(!follow.lets(&args(1, "qemu|-name|third|")) && !follow.lets(&call(1)));
    }

    #[test]
    fn values_of_an_option_are_alternatives_and_may_have_commas() {
        let filter = Filter::any_of("vm", &["a,b".to_owned(), "c".to_owned()]).unwrap().unwrap();
        let lets = |line: &str| {
            filter.lets(
                &event(Body::ModuleLoad { name: String::new() }),
                &["qemu".to_owned(), "-name".to_owned(), line.to_owned()],
            )
        };
        assert!(lets("a,,b") && lets("guest=c") && !lets("a") && !lets("b"));
        assert_eq!(Filter::any_of("vm", &[]), Ok(None));
        assert!(Filter::any_of("pid", &["x".to_owned()]).is_err());
        for text in ["device=0000:01:00.0", "kind!=region,regions_end"] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), text);
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
