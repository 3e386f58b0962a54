//! The firmware entry behind a device that the kernel will not block.

use std::collections::BTreeSet;

use serde::Serialize;

use super::owner::Owner;
use crate::{
    firmware::{EntryId, Fact, Place},
    hex::Hex,
    model::bounds::OWNERS,
    pci::Bdf,
};

/// What holds a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// An IVMD block that asks for a unity map.
    UnityMap,
    /// An IVMD block that asks for an exclusion range, which Linux turns into a unity map.
    ExclusionRange,
    /// A direct region whose IVMD block or RMRR is not known.
    DirectRegion,
    /// An RMRR structure of Intel's DMAR.
    Rmrr,
}

/// One reason why a device cannot leave its 1:1 map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "Document"))]
#[serde(into = "Document")]
pub struct Cause {
    /// What it is.
    pub kind: CauseKind,
    /// The entry of the firmware's table, where it is known.
    pub entry: Option<EntryId>,
    /// The device scope of the RMRR by which it applies: what it names, then bus and path.
    pub scope: Option<String>,
    /// Where the entry is.
    pub place: Option<Place>,
    /// First address of the region.
    pub start: u64,
    /// Last address, inclusive; one below `start` where the region has no length.
    pub end: u64,
    /// What this rests on.
    pub evidence: Vec<Fact>,
}

impl Cause {
    /// A direct region whose entry is not known.
    pub(crate) fn region(start: u64, end: u64, evidence: Vec<Fact>) -> Self {
        let kind = CauseKind::DirectRegion;
        Self { kind, entry: None, scope: None, place: None, start, end, evidence }
    }

    /// Index of the IVMD block.
    #[must_use]
    pub fn ivmd(&self) -> Option<usize> {
        self.entry?.ivmd()
    }

    /// Index of the RMRR structure.
    #[must_use]
    pub fn rmrr(&self) -> Option<usize> {
        self.entry?.rmrr()
    }
}

/// A cause as JSON has it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Cause"))]
struct Document {
    /// What it is.
    kind: CauseKind,
    /// Index of the IVMD block, counted from 0 in table order.
    ivmd: Option<usize>,
    /// Index of the RMRR structure, counted from 0 in table order.
    #[serde(skip_serializing_if = "Option::is_none")]
    rmrr: Option<usize>,
    /// The device scope of the RMRR by which it applies: what it names, then bus and path.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Its offset in the table, bytes.
    offset: Option<Hex<usize>>,
    /// First address of the region.
    start: Hex<u64>,
    /// Last address, inclusive; one below `start` where the region has no length.
    end: Hex<u64>,
    /// What this rests on, one fact a line.
    evidence: Vec<Fact>,
}

impl From<Cause> for Document {
    fn from(cause: Cause) -> Self {
        let (ivmd, rmrr) = (cause.ivmd(), cause.rmrr());
        let Cause { kind, scope, place, start, end, evidence, .. } = cause;
        let offset = place.map(|place| Hex(place.offset));
        Self { kind, ivmd, rmrr, scope, offset, start: Hex(start), end: Hex(end), evidence }
    }
}

/// Why it is not known of every function of the host which entries apply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The functions are not all known, and why.
    Functions(String),
    /// Nothing shows whose IOMMU serves this one.
    Service(Bdf),
    /// The class of this one is not known, or a bridge above it.
    Way(Bdf),
}

/// The devices of this host that an entry covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// PCI functions behind an AMD IOMMU, in order.
    pub devices: Vec<Bdf>,
    /// Their groups, each of which is blocked whole.
    pub groups: BTreeSet<u32>,
    /// All PCI functions behind an AMD IOMMU, for comparison.
    pub of_devices: usize,
    /// Why there may be more of them.
    pub gap: Option<Gap>,
}

/// The reach of an RMRR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RmrrCoverage {
    /// Index of the structure.
    pub rmrr: usize,
    /// The PCI functions that it applies to and that the kernel refuses for it, in order.
    pub devices: Vec<Bdf>,
    /// Those that it applies to and that the kernel does not refuse for it: USB controllers and
    /// display devices.
    pub relaxable: Vec<Bdf>,
    /// The groups of those that are refused, each of which is blocked whole.
    pub groups: BTreeSet<u32>,
    /// All PCI functions behind an Intel IOMMU, for comparison.
    pub of_devices: usize,
    /// Why there may be more of them.
    pub gap: Option<Gap>,
}

/// The reach of an IVMD block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryCoverage {
    /// Index of the block.
    pub ivmd: usize,
    /// What it covers.
    pub coverage: Coverage,
    /// For whom it is likely meant, as far as the table names anybody.
    pub owners: Vec<Owner>,
}

impl EntryCoverage {
    /// The PCI functions that are merely caught: covered, though the likely owners are others. None
    /// where no owner is named.
    pub fn caught(&self) -> impl Iterator<Item = Bdf> + '_ {
        // Where not all owners are named, nobody is known to be none.
        let named = (1..OWNERS).contains(&self.owners.len());
        let is_owner = |bdf: &Bdf| self.owners.iter().any(|owner| owner.bdf == *bdf);
        self.coverage.devices.iter().copied().filter(move |bdf| named && !is_owner(bdf))
    }
}
