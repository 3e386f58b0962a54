//! What was seen of a host and of a trace beside events and files, as a recording keeps it.

use serde::{Deserialize, Serialize};

use crate::probe_state::ProbeState;

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

/// A file of `/dev/vfio` that a process had open when the trace began. Whoever opens one later is
/// seen to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Last part of the path: `12` or `noiommu-0` for a group, `vfio3` for a device.
    pub path: String,
    /// The device's address, where it is a device's file.
    #[serde(default)]
    pub device: Option<String>,
    /// Id of the process.
    pub pid: u32,
    /// Its command name.
    pub comm: String,
    /// Name of the virtual machine that it runs, where its command line gives one.
    #[serde(default)]
    pub vm: Option<String>,
}

/// Whether the kernel refuses devices for `dev_iommu.require_direct`: mainline since 6.6
/// (a48ce36e2786), backported by some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequireDirect {
    /// The kernel has the member.
    Present,
    /// The kernel does not have it.
    Missing,
    /// Nothing shows it: there is no BTF to look into.
    Unknown,
}

/// Whether the kernel has `dev_iommu.require_direct`, with where that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFlag {
    /// The answer.
    pub answer: RequireDirect,
    /// Where it shows.
    pub source: FlagSource,
}

/// Where it shows whether the kernel has the flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagSource {
    /// In its BTF.
    Btf,
    /// In its release: mainline has it from 6.6 on.
    Release {
        /// The release.
        release: String,
        /// Why its BTF does not say it.
        no_btf: String,
    },
    /// Nowhere.
    Nowhere {
        /// Why its BTF does not say it.
        no_btf: String,
    },
}

impl KernelFlag {
    /// What the kernel's BTF, `btf`, says: whether `struct dev_iommu` has the flag, if it has the
    /// struct. It may be a copy, damaged or of another kernel than `release` names.
    #[must_use]
    pub fn of_btf(has_it: Option<bool>, release: Option<&str>, btf: &str) -> Self {
        let from_btf = |answer| Self { answer, source: FlagSource::Btf };
        match has_it {
            Some(true) => from_btf(RequireDirect::Present),
            Some(false) if release.is_none_or(|text| !has_flag(text)) => {
                from_btf(RequireDirect::Missing)
            }
            Some(false) => Self {
                answer: RequireDirect::Unknown,
                source: FlagSource::Nowhere {
                    no_btf: format!("{btf} lacks it: it is damaged, or another kernel's"),
                },
            },
            None => Self::of_release(release, format!("{btf} has no struct dev_iommu")),
        }
    }

    /// What a release says of a kernel whose BTF is not at hand.
    ///
    /// Mainline has the flag from 6.6 on (a48ce36e2786) and has kept it. That an older kernel does
    /// not, its release cannot tell: distributions have backported it.
    #[must_use]
    pub fn of_release(release: Option<&str>, no_btf: String) -> Self {
        match release {
            Some(text) if has_flag(text) => Self {
                answer: RequireDirect::Present,
                source: FlagSource::Release { release: text.to_owned(), no_btf },
            },
            _ => Self { answer: RequireDirect::Unknown, source: FlagSource::Nowhere { no_btf } },
        }
    }
}

/// As recordings note it down, which is by BTF alone.
impl From<RequireDirect> for KernelFlag {
    fn from(answer: RequireDirect) -> Self {
        let source = match answer {
            RequireDirect::Present | RequireDirect::Missing => FlagSource::Btf,
            RequireDirect::Unknown => {
                FlagSource::Nowhere { no_btf: "/sys/kernel/btf/vmlinux was not read".to_owned() }
            }
        };
        Self { answer, source }
    }
}

/// Whether mainline has the flag in this release.
fn has_flag(release: &str) -> bool {
    version(release).is_some_and(|version| version >= (6, 6))
}

/// `(6, 12)` of `6.12.117+deb12-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // `parse` would take a sign.
    major.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((major.parse().ok()?, minor.parse().ok()?))
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
        let missing =
            |reason: &str| ProbeState::Missing { reason: reason.to_owned(), obstacles: Vec::new() };
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
