//! What was seen of a host and of a trace beside events and files, as a recording keeps it.

use serde::{Deserialize, Serialize};

use crate::{
    model::{OpenFile, RequireDirect},
    probe_state::ProbeState,
};

/// How a recording began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Name and version of the program that made it.
    pub tool: String,
    /// See [`EVENT_LAYOUT`](crate::recording::EVENT_LAYOUT).
    pub event_layout: u32,
    /// Byte order of the numbers in events: `little` or `big`.
    pub byte_order: String,
    /// Architecture of the program, such as `x86_64`.
    pub architecture: String,
    /// The kernel's release, `uname -r`.
    pub kernel_release: String,
    /// Whether the kernel was traced; else there are files alone.
    pub traced: bool,
    /// Whether the kernel refuses devices for their 1:1 maps, from its BTF.
    pub require_direct: RequireDirect,
    /// The clocks when it began.
    pub clocks: Clocks,
    /// The command that was run, if one was.
    #[serde(default)]
    pub command: Vec<String>,
    /// The files of `/dev/vfio` that processes had open.
    #[serde(default)]
    pub open_files: Vec<OpenFile>,
}

/// Several clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`, ns: the clock of the events.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub realtime_ns: u64,
    /// `CLOCK_BOOTTIME`, ns: like the first, with the time that the host slept.
    pub boottime_ns: u64,
}

/// A probe as it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFact {
    /// The kernel function or the tracepoint.
    pub symbol: String,
    /// The module that it is in, if it is in one.
    #[serde(default)]
    pub module: Option<String>,
    /// What is learnt there.
    pub explains: String,
    /// Whether a refusal cannot be seen or explained without it.
    #[serde(default)]
    pub required: bool,
    /// How its programs are attached, such as `fexit`.
    #[serde(default)]
    pub how: Vec<String>,
    /// Why not in the way that is preferred.
    #[serde(default)]
    pub fallback: Option<String>,
    /// How it stands, and why if it is missing: `state` and `reason`.
    #[serde(flatten)]
    pub state: ProbeState,
}

/// What did not arrive, counted from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What each probe counted.
    #[serde(default)]
    pub probes: Vec<ProbeLoss>,
    /// Events that arrived, but could not be written to the file: it was full or too slow.
    #[serde(default)]
    pub not_recorded: u64,
    /// Other sections that could not be written: files of the host, or how the probes stood.
    #[serde(default)]
    pub sections_not_recorded: u64,
}

impl Loss {
    /// The sums over all probes; `queue` is what could not be written.
    #[must_use]
    pub fn as_lost(&self) -> Lost {
        let sum = |count: fn(&ProbeLoss) -> u64| {
            self.probes.iter().map(count).fold(0, u64::saturating_add)
        };
        Lost {
            ring: sum(|probe| probe.ring_lost),
            read: sum(|probe| probe.read_failed.saturating_add(probe.truncated)),
            queue: self.not_recorded,
        }
    }
}

/// What one probe counted, over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLoss {
    /// The kernel function or the tracepoint.
    pub symbol: String,
    /// Times that it fired.
    pub hits: u64,
    /// Events that found the ring buffer full.
    pub ring_lost: u64,
    /// Reads of kernel memory that failed.
    pub read_failed: u64,
    /// Lists that were cut.
    pub truncated: u64,
}

/// How a recording ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What ended it: `command` (it has ended), `interrupted`, `duration` (it was over), `snapshot`
    /// (there was no more to record) or `rotated` (it goes on in another file).
    pub reason: String,
    /// Exit status of the command, if one was run: 128 and the signal's number after a signal.
    #[serde(default)]
    pub exit_status: Option<i32>,
    /// `CLOCK_MONOTONIC`, ns.
    #[serde(default)]
    pub time_ns: u64,
}

/// Facts that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lost {
    /// Events that found the ring buffer full.
    pub ring: u64,
    /// Reads of kernel memory that failed, and lists that were cut.
    pub read: u64,
    /// Events that could not be decoded or kept in user space.
    pub queue: u64,
}

impl Lost {
    /// Whether anything was lost.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn a_probe_is_read_as_version_0_1_0_wrote_it() {
        let written = |state: &str, reason: Option<&str>| {
            json!({
                "symbol": "_dev_warn", "module": null, "explains": "warnings", "required": false,
                "how": ["fentry"], "fallback": null, "state": state, "reason": reason,
            })
        };
        let missing = |reason: &str| ProbeState::Missing { reason: reason.to_owned() };
        for (state, reason, expected) in [
            ("attached", None, ProbeState::Attached),
            ("not_needed", None, ProbeState::NotNeeded),
            ("missing", Some("inlined"), missing("inlined")),
            ("missing", None, missing("")),
            ("asleep", Some("later"), ProbeState::Unknown),
        ] {
            let probe: ProbeFact = from_value(written(state, reason)).unwrap();
            assert_eq!((probe.symbol.as_str(), &probe.state), ("_dev_warn", &expected));
            assert_eq!(probe.state.reason(), reason.filter(|_| state == "missing"));
            let again = to_value(&probe).unwrap();
            assert_eq!(again["state"], expected.name());
            assert_eq!(from_value::<ProbeFact>(again).unwrap(), probe);
        }
        assert!(from_value::<ProbeFact>(json!({"symbol": "a", "explains": "b"})).is_err());
    }
}
