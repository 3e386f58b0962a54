//! What a report is made from, and what follows from it for every reader alike.

use std::collections::BTreeSet;

use crate::{
    facts::{Lost, ProbeFact},
    firmware::{
        EntryId, Ivrs,
        amd::{ivrs::Ivmd, kernel::UnityEntry},
    },
    host::{MapSource, Reading, RegionClass, Snapshot},
    model::{
        Attempt, Cause, Coverage, DeviceVerdict, Model, Outcome, Owner, RequireDirect, Verdict,
        Verdicts,
    },
    report::{attempt::one_line, calls::Trail, document::list, redact::Redactor},
};

/// Devices and groups that are told one by one.
pub(crate) const TOLD: usize = 64;

/// Where the facts come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The running host; its kernel was asked through probes, or only its files were read.
    Live {
        /// Probes were attached.
        traced: bool,
    },
    /// A recording.
    Recording {
        /// Name and version of the program that made it.
        tool: Option<String>,
        /// The kernel's release, where the recording names it at its beginning.
        kernel: Option<String>,
        /// When it began, as text.
        began: Option<String>,
        /// The command that was run.
        command: Vec<String>,
        /// How it ended, or that it does not show.
        ended: String,
    },
    /// A copied tree of files.
    Tree,
}

/// What a report is made from.
pub struct Case<'a> {
    /// The host.
    pub model: &'a Model,
    /// What is said of it.
    pub verdicts: &'a Verdicts,
    /// Where the facts come from.
    pub origin: &'a Origin,
    /// The probes as they stood; none where nothing was traced.
    pub probes: &'a [ProbeFact],
    /// What did not arrive.
    pub lost: Lost,
    /// What else is missing, a sentence each.
    pub notes: &'a [String],
    /// The events of attempts.
    pub trail: &'a Trail,
    /// What is to be taken out.
    pub redact: &'a Redactor,
}

/// Name and version of this program.
pub(crate) const TOOL: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// An attempt that is told for all that are like it.
pub(crate) struct Told<'a> {
    pub(crate) attempt: &'a Attempt,
    /// How many there were, this one included.
    pub(crate) count: usize,
}

/// A block that Linux uses and that holds somebody.
pub(crate) struct Held<'a> {
    pub(crate) block: &'a Ivmd,
    pub(crate) entry: &'a UnityEntry,
    pub(crate) coverage: Coverage,
    pub(crate) owners: Vec<Owner>,
}

/// How a host stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The kernel refuses devices for 1:1 maps.
    Blocked,
    /// It does not, but firmware asks for maps for which later kernels refuse.
    Later,
    /// What is missing leaves it open.
    Unknown,
    /// Nothing is refused for 1:1 maps.
    Clear,
    /// Nothing is refused for 1:1 maps, but no IOMMU serves some devices.
    NoIommu,
    /// There are no groups to judge.
    NoGroups,
}

impl<'a> Case<'a> {
    pub(crate) fn standing(&self) -> Standing {
        let devices = &self.verdicts.devices;
        let any = |verdict| devices.iter().any(|device| device.verdict == verdict);
        if any(Verdict::Blocked) || self.refused().next().is_some() {
            Standing::Blocked
        } else if !self.verdicts.unserved().is_empty() {
            Standing::NoIommu
        } else if self.total() == 0
            && self.missing().is_empty()
            && self.model.host().groups.value().is_none_or(Vec::is_empty)
        {
            Standing::NoGroups
        } else if self.total() == 0 || any(Verdict::Unknown) {
            Standing::Unknown
        } else if self.model.refuses() == RequireDirect::Missing
            && devices.iter().any(|device| !device.causes.is_empty())
        {
            Standing::Later
        } else {
            Standing::Clear
        }
    }

    /// How many devices an IOMMU serves: those that firmware could keep from VFIO.
    pub(crate) fn total(&self) -> usize {
        self.verdicts.served().count()
    }

    pub(crate) fn of(&self, verdict: Verdict) -> impl Iterator<Item = &'a DeviceVerdict> {
        self.verdicts.devices.iter().filter(move |device| device.verdict == verdict)
    }

    /// The devices in groups with direct regions, refused by this kernel or not.
    pub(crate) fn held_devices(&self) -> impl Iterator<Item = &'a DeviceVerdict> {
        self.verdicts
            .devices
            .iter()
            .filter(|device| device.verdict == Verdict::Blocked || !device.causes.is_empty())
    }

    /// The attempts that the kernel refused for a 1:1 map.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &'a Attempt> {
        self.model.attempts().iter().filter(|one| one.outcome == Outcome::Rejected)
    }

    /// The attempts that came to nothing, the last of those that are alike.
    pub(crate) fn failures(&self) -> Vec<Told<'a>> {
        let mut told: Vec<Told<'a>> = Vec::new();
        for attempt in self.model.attempts() {
            if !matches!(attempt.outcome, Outcome::Rejected | Outcome::Failed) {
                continue;
            }
            let alike = |one: &Told<'_>| {
                let key = |one: &Attempt| {
                    let blockers: Vec<_> =
                        one.rejections.iter().map(|one| one.device.name.clone()).collect();
                    (
                        one.via,
                        one.requested,
                        one.group,
                        one.outcome,
                        one.reason,
                        one.errno,
                        blockers,
                    )
                };
                key(one.attempt) == key(attempt)
            };
            let before = told.iter().position(alike).map(|at| told.remove(at));
            let count = before.map_or(0, |one| one.count) + 1;
            told.push(Told { attempt, count });
        }
        // Those for which this program is made come first.
        told.sort_by_key(|one| one.attempt.outcome != Outcome::Rejected);
        told
    }

    /// What came of an attempt, with no more than may be told of its process.
    pub(crate) fn one_line(&self, attempt: &Attempt) -> String {
        if !self.redact.is_on() {
            return self.redact.text(&one_line(attempt));
        }
        let mut attempt = attempt.clone();
        attempt.process.comm = self.redact.process(&attempt.process.comm);
        attempt.process.vm = None;
        self.redact.text(&one_line(&attempt))
    }

    pub(crate) fn ivrs(&self) -> Option<&'a Ivrs> {
        self.model.table().ivrs()
    }

    /// Whether it is AMD's IOMMU that serves this host.
    pub(crate) fn is_amd(&self) -> bool {
        self.model.host().iommus.value().into_iter().flatten().any(|unit| unit.starts_with("ivhd"))
    }

    /// The IOMMUs of this host, if there are some and none is AMD's.
    pub(crate) fn other_iommus(&self) -> Option<String> {
        let units = self.model.host().iommus.value()?;
        let names: Vec<String> = units.iter().map(|unit| self.redact.text(unit)).collect();
        (!names.is_empty() && !self.is_amd()).then(|| names.join(", "))
    }

    /// The causes that a verdict or a refusal rests on.
    pub(crate) fn causes(&self) -> Vec<Cause> {
        let of_devices = self.verdicts.devices.iter().flat_map(|device| device.causes.clone());
        let rejections = self.refused().flat_map(|attempt| &attempt.rejections);
        of_devices.chain(rejections.flat_map(|one| self.model.causes(one))).collect()
    }

    /// The entries that they are.
    pub(crate) fn entries(&self) -> BTreeSet<EntryId> {
        self.causes().iter().filter_map(|cause| cause.entry).collect()
    }

    /// The blocks among them.
    pub(crate) fn culprits(&self) -> Vec<Held<'a>> {
        self.entries().into_iter().filter_map(|id| self.held(id.ivmd()?)).collect()
    }

    /// What is missing for a verdict.
    pub(crate) fn missing(&self) -> BTreeSet<String> {
        let host = self.model.host();
        let groups = match &host.groups {
            Reading::Unreadable(why) => Some(why),
            _ => None,
        };
        let functions = match &host.functions {
            Reading::Unreadable(why) => Some(why),
            _ => None,
        };
        let of_devices = self.of(Verdict::Unknown).filter_map(|device| device.missing.as_ref());
        let missing = of_devices.chain(groups).chain(functions);
        missing.map(|what| self.redact.text(what)).collect()
    }

    pub(crate) fn held(&self, index: usize) -> Option<Held<'a>> {
        Some(Held {
            block: self.model.ivmd(index)?,
            entry: self.model.entry(index)?,
            coverage: self.model.coverage(index)?,
            owners: self.model.owners(index),
        })
    }

    pub(crate) fn release(&self) -> String {
        let recorded = match self.origin {
            Origin::Recording { kernel, .. } => kernel.as_ref(),
            Origin::Live { .. } | Origin::Tree => None,
        };
        let release = self.model.host().kernel_release.value().or(recorded);
        release.map_or_else(|| "of unknown release".to_owned(), |text| self.redact.release(text))
    }

    /// What is known of a pair of DMI fields.
    fn dmi(&self, parts: [&Reading<String>; 2], between: &str) -> Option<String> {
        let known = parts.iter().filter_map(|part| part.value());
        let known: Vec<String> = known
            .map(|text| self.redact.text(text.trim()))
            .filter(|text| !text.is_empty())
            .collect();
        (!known.is_empty()).then(|| known.join(between))
    }

    /// The machine, its firmware and its kernel, and where the facts come from.
    pub(crate) fn host_rows(&self) -> [(&'static str, String); 5] {
        let dmi = &self.model.host().dmi;
        let known = |text: Option<String>| text.unwrap_or_else(|| "not known".to_owned());
        let machine = self.dmi([&dmi.sys_vendor, &dmi.product_name], " ");
        let board = self.dmi([&dmi.board_vendor, &dmi.board_name], " ").or(machine.clone());
        let machine = machine.filter(|text| Some(text) != board.as_ref());
        [
            ("kernel", self.release()),
            ("machine", machine.unwrap_or_default()),
            ("board", known(board)),
            ("BIOS", known(self.dmi([&dmi.bios_version, &dmi.bios_date], " of "))),
            ("source", self.origin_text()),
        ]
    }

    /// The options for IOMMU and VFIO on the kernel command line.
    pub(crate) fn options(&self) -> Vec<String> {
        self.model.iommu_options().iter().map(|option| self.redact.text(option)).collect()
    }

    pub(crate) fn origin_text(&self) -> String {
        match self.origin {
            Origin::Live { traced: true } => {
                "the running host, its kernel asked by probes".to_owned()
            }
            Origin::Live { traced: false } => "files of the running host alone".to_owned(),
            Origin::Tree => "a copied tree of the host's files".to_owned(),
            Origin::Recording { tool, began, ended, .. } => {
                let by = tool.as_ref().map(|tool| format!(" made by {}", self.redact.text(tool)));
                let begun = began.as_ref().map(|began| format!(", begun {began}"));
                let (by, begun) = (by.unwrap_or_default(), begun.unwrap_or_default());
                format!("a recording{by}{begun}, {ended}")
            }
        }
    }

    /// Whether a range is known to touch memory that the operating system uses.
    pub(crate) fn is_ram(&self, start: u64, end: u64) -> bool {
        let class = self.model.host().region_class(start, end);
        end >= start && class.value().is_some_and(RegionClass::touches_ram)
    }

    /// What memory a range is, by the host's own map.
    pub(crate) fn memory(&self, start: u64, end: u64) -> Option<String> {
        memory(self.model.host(), start, end, |name| self.redact.text(name))
    }
}

impl crate::report::cause::Letter for Case<'_> {
    fn memory(&self, start: u64, end: u64) -> Option<String> {
        self.memory(start, end)
    }

    fn redacted(&self, text: &str) -> String {
        self.redact.text(text)
    }
}

/// What memory a range (its end inclusive) is by the host's own map, if there is one. Names in it go
/// through `text`, for they come from outside.
#[must_use]
pub fn memory(
    host: &Snapshot,
    start: u64,
    end: u64,
    text: impl Fn(&str) -> String,
) -> Option<String> {
    if end < start {
        return None;
    }
    let Reading::Read(class) = host.region_class(start, end) else { return None };
    let map = match class.source {
        MapSource::Iomem => "/proc/iomem",
        MapSource::Firmware => "/sys/firmware/memmap",
    };
    let names: Vec<String> = class.names().into_iter().map(text).collect();
    let names = names.join(" and ");
    Some(if names.is_empty() {
        format!("{map} does not list it")
    } else {
        let rest = if class.gap { ", in part" } else { "" };
        format!("{map} lists it as {names}{rest}")
    })
}

/// `IVMD 0`, `IVMD 0 and 1`, `IVMD 0, 1 and 2`.
pub(crate) fn numbered(blocks: &[&Ivmd]) -> String {
    let numbers: Vec<String> = blocks.iter().map(|block| block.index.to_string()).collect();
    format!("IVMD {}", list(&numbers))
}
