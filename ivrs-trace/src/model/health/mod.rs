//! Whether a host can be traced, and what else would stop VFIO: facts to lines.
//!
//! Each line has a state, what it rests on, and what to do. It reads nothing: the host and its
//! [`Conditions`] were read before, and how the probes stand was found out by who attached them.

mod binding;
mod device;
mod iommu;
mod misspelt;
mod remapping;
mod table;
mod tracing;
mod vfio;

#[cfg(test)]
mod tests;

pub use self::{
    binding::DeviceFact,
    misspelt::Misspelt,
    remapping::{NotRemapped, Remapped, Remapping, logged_causes, remapping},
};

use serde::Serialize;

use super::{DeviceVerdict, Known, NoIommu, Verdict, Verdicts};
use crate::{
    facts::ProbeFact,
    host::{Conditions, Reading},
    pci::Bdf,
};

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but something is lacking or to be known before.
    Warning,
    /// It could not be found out.
    Unknown,
    /// It stops what it is about.
    No,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Line {
    /// A name for it that stays.
    pub code: &'static str,
    /// How it stands.
    pub state: State,
    /// The same in words, printable.
    pub message: String,
    /// What it rests on: path and content, printable.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub todo: Option<String>,
}

impl Line {
    pub(crate) fn new(code: &'static str, state: State, message: impl Into<String>) -> Self {
        Self { code, state, message: message.into(), evidence: Vec::new(), todo: None }
    }

    pub(crate) fn from(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(crate::escape::printable(&evidence.into()));
        self
    }

    pub(crate) fn then(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}

/// What was looked at, by what it is about. The layout of `doctor --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Health {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/doctor/1")))]
    pub schema: &'static str,
    /// Can this host be traced.
    pub tracing: Vec<Line>,
    /// Is the IOMMU on, and does the kernel refuse.
    pub iommu: Vec<Line>,
    /// Is the IVRS table the firmware's own.
    pub table: Vec<Line>,
    /// Is VFIO there.
    pub vfio: Vec<Line>,
    /// Whether interrupts are remapped, for who phrases it among the lines on VFIO.
    #[serde(skip)]
    pub remapping: Option<Remapping>,
    /// Options for VFIO that nothing knows, for the same.
    #[serde(skip)]
    pub misspelt: Vec<Misspelt>,
    /// What stops single devices.
    pub devices: Vec<DeviceHealth>,
    /// How many devices were looked at, and not shown because nothing stops them or firmware does
    /// alone.
    pub devices_not_shown: usize,
}

/// What stops one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceHealth {
    /// The device.
    pub bdf: Bdf,
    /// Its lines.
    pub lines: Vec<Line>,
    /// What is in the way of its driver, for who phrases it among the lines.
    #[serde(skip)]
    pub facts: Vec<DeviceFact>,
}

impl Health {
    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        let of_host = [&self.tracing, &self.iommu, &self.table, &self.vfio].into_iter().flatten();
        of_host.chain(self.devices.iter().flat_map(|device| &device.lines))
    }

    /// The worst state of all: `no`, else `unknown`, else `warning`.
    #[must_use]
    pub fn worst(&self) -> State {
        self.lines().map(|line| line.state).max().unwrap_or(State::Unknown)
    }
}

/// How this host is traced now.
#[derive(Clone, Debug, Default)]
pub struct Tracing {
    /// How the probes stand.
    pub probes: Vec<ProbeFact>,
    /// Why none is attached.
    pub error: Option<String>,
    /// The rights of the process that looked; `None` for another host than this one.
    pub rights: Option<Rights>,
}

/// What a process may do.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// The capabilities that are of use.
    pub wanted: Vec<Right>,
    /// What it had at the start, in words.
    pub effective: String,
    /// What all its threads have left after attaching, in words; `None` if it attached nothing.
    pub left: Option<String>,
    /// `kernel.perf_event_paranoid`, where it keeps the process from attaching kprobes.
    pub paranoid: Option<i32>,
}

/// A capability that is of use.
#[derive(Clone, Debug)]
pub struct Right {
    /// Its name.
    pub name: String,
    /// Whether nothing can be traced without it.
    pub required: bool,
    /// Whether the process has it, or one that does as well.
    pub held: bool,
    /// What it does.
    pub purpose: &'static str,
    /// What is missing without it.
    pub without: &'static str,
}

/// Looks at a host. Of devices, those that were asked for, or else those that something stops beside
/// the firmware's table.
#[must_use]
pub fn health(
    model: &Known,
    verdicts: &Verdicts,
    conditions: &Conditions,
    tracing: &Tracing,
    asked: &[Bdf],
) -> Health {
    let mut devices = Vec::new();
    let mut looked = 0;
    let looked_at = |device: &&DeviceVerdict| {
        // What is true of every device of the host is said of the host.
        !matches!(device.no_iommu, Some(NoIommu::Iommu | NoIommu::HostBridge | NoIommu::Inactive))
    };
    let endpoints = verdicts.devices.iter().filter(looked_at).filter(|device| {
        let function = model.function(device.bdf);
        function.is_none_or(|function| function.is_bridge() != Some(true))
    });
    let all: Vec<Bdf> = endpoints.map(|device| device.bdf).collect();
    let wanted = if asked.is_empty() { &all[..] } else { asked };
    for bdf in wanted {
        looked += 1;
        let lines = device::lines(model, verdicts, conditions, *bdf);
        let function = model.function(*bdf);
        let facts = function.map_or_else(Vec::new, |function| {
            binding::facts(model, conditions, function, !asked.is_empty())
        });
        // Without being asked, what firmware alone stops is counted with the table.
        let told =
            lines.iter().any(|line| line.state > State::Ok && line.code != "device-firmware");
        if told || !facts.is_empty() || !asked.is_empty() {
            devices.push(DeviceHealth { bdf: *bdf, lines, facts });
        }
    }
    Health {
        schema: "ivrs-trace/doctor/1",
        tracing: tracing::lines(model, conditions, tracing),
        iommu: iommu::lines(model, verdicts, conditions),
        table: table::lines(model, conditions),
        vfio: vec![vfio::driver(model, conditions)],
        remapping: remapping(model, conditions),
        misspelt: misspelt::misspelt(model, conditions),
        devices_not_shown: looked - devices.len(),
        devices,
    }
}

/// Devices of a verdict.
fn count(verdicts: &Verdicts, verdict: Verdict) -> usize {
    verdicts.devices.iter().filter(|device| device.verdict == verdict).count()
}

/// What a reading says, for evidence: the value, that it is not there, or why it was not read.
fn shown(path: &str, reading: &Reading<String>) -> String {
    match reading {
        Reading::Read(text) => format!("{path}: {text}"),
        Reading::Absent => format!("{path} is not there"),
        Reading::Unreadable(why) => why.clone(),
    }
}

/// A line of what could not be read. Where that was for want of a right, that is what to do.
fn unread(line: Line, why: &str, right: &str) -> Line {
    let denied = ["ermission denied", "not permitted"].iter().any(|word| why.contains(word));
    let line = line.from(why);
    if denied { line.then(format!("use sudo, or give {right}")) } else { line }
}
