//! What a log tells: of a table, of what is wrong with it, and of refusals.

use crate::{
    firmware::{
        amd::{
            device_entry::{Devices, Settings, SpecialKind},
            ivrs::{IvmdFlags, IvmdKind},
        },
        intel::dmar::ScopeKind,
    },
    pci::{Bdf, Devid, Segment},
};

/// An IVMD block that the kernel heeded, as its log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvmdLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// The block's type.
    pub kind: IvmdKind,
    /// PCI segment; 0 where the kernel is too old to say it.
    pub segment: Segment,
    /// First devid.
    pub devid_start: Devid,
    /// Last devid, inclusive. Below `devid_start` it matches nothing.
    pub devid_end: Devid,
    /// First byte of memory, rounded up to a page by the kernel.
    pub start: u64,
    /// First byte after it; equals `start` for a block of length 0.
    pub end_exclusive: u64,
    /// The block's flags as firmware gave them.
    pub flags: IvmdFlags,
}

/// The highest devid of a segment, which a block for all devices ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBdf {
    /// The segment.
    pub segment: Segment,
    /// Its highest devid.
    pub devid: Devid,
}

/// A device entry of an IVHD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedEntry {
    /// Every device of the segment.
    All(Settings),
    /// Devices, or one of them.
    Devices(Devices),
    /// The start of a range whose end is not in the log.
    RangeStart(Devices),
    /// The end of a range whose start is not in the log.
    RangeEnd(Devid),
    /// An IO-APIC or HPET.
    Special {
        /// What it is.
        kind: SpecialKind,
        /// APIC id or HPET number.
        handle: u8,
        /// The devid that its requests carry.
        devid: Devid,
    },
    /// A device named by ACPI.
    Acpi {
        /// Hardware id.
        hid: String,
        /// Unique id.
        uid: String,
        /// The devid.
        devid: Devid,
    },
}

/// An IOMMU of AMD and the devices that its IVHD gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedIommu {
    /// The line at which it begins.
    pub line: usize,
    /// Its function; none where the line that says it is missing.
    pub bdf: Option<Bdf>,
    /// The segment of its devices.
    pub segment: Segment,
    /// Flags of the IVHD.
    pub flags: Option<u8>,
    /// Offset of its capability, and the info field.
    pub cap_info: Option<(u16, u16)>,
    /// Address of its registers.
    pub mmio: Option<u64>,
    /// Line and content of the device entries, a range as one entry.
    pub entries: Vec<(usize, LoggedEntry)>,
}

/// A device scope as Xen resolved it, or a device that Linux mapped an RMRR's memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedScope {
    /// What it names.
    pub kind: ScopeKind,
    /// The function.
    pub bdf: Bdf,
}

/// A remapping unit of Intel: a DRHD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedUnit {
    /// The line at which it begins.
    pub line: usize,
    /// Address of its registers.
    pub address: u64,
    /// Flags; bit 0 is set for a unit of all other devices.
    pub flags: Option<u8>,
    /// What the unit can do: its registers CAP and ECAP.
    pub capabilities: Option<(u64, u64)>,
    /// Its devices; Linux does not log them since 5.3.
    pub scopes: Vec<LoggedScope>,
}

impl LoggedUnit {
    pub(super) fn at(address: u64) -> Self {
        Self { address, ..Self::default() }
    }
}

/// An RMRR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RmrrLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Its devices; Linux does not log them.
    pub scopes: Option<Vec<LoggedScope>>,
    /// Whether Xen leaves it out, because none of its devices exists.
    pub ignored: bool,
}

impl RmrrLine {
    pub(super) fn of(start: u64, end: u64) -> Self {
        Self { start, end, ..Self::default() }
    }
}

/// Memory of an IVMD block that Xen speaks of. Which devices it is for, its log tells only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenIvmd {
    /// The line of the input, from 1.
    pub line: usize,
    /// The block's type, if the log has it.
    pub kind: Option<IvmdKind>,
    /// Its flags, if the log has them.
    pub flags: Option<IvmdFlags>,
    /// Its device or first device, if the log has it.
    pub devid: Option<Devid>,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
}

/// A range of the memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLine {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Its type, as the log has it.
    pub kind: String,
}

/// A structure of the DMAR of which little is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    /// Root ports that translate addresses for devices.
    Atsr {
        /// Its flags.
        flags: u8,
    },
    /// The NUMA node of a unit.
    Rhsa {
        /// Address of the unit's registers.
        address: u64,
        /// The node, as ACPI counts them.
        domain: u32,
    },
    /// Devices within the chip that translate addresses.
    Satc {
        /// Its flags.
        flags: u8,
    },
    /// A device named by ACPI.
    Andd {
        /// The number that scopes name it by.
        number: u8,
        /// Its name.
        name: String,
    },
}

/// The line of such a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// What it says.
    pub what: Other,
}

/// What a line that is quoted is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// A complaint about firmware, or that something of it is not used.
    Firmware,
    /// That interrupts are remapped.
    Remapping,
    /// That interrupts are not remapped.
    NoRemapping,
    /// Memory of the graphics.
    Graphics,
    /// DMA that the IOMMU stopped.
    Fault,
}

/// A line to be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line of the input, from 1.
    pub line: usize,
    /// What it is about.
    pub kind: RemarkKind,
    /// The line.
    pub text: String,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// `__iommu_device_set_domain`, since 6.6: a direct region of any vendor's firmware.
    Direct,
    /// Intel's driver before 6.6: an RMRR.
    Rmrr,
    /// QEMU cannot give a group to its container; the kernel's log says why.
    Container,
    /// VFIO has no interrupt remapping to rely on.
    Interrupts,
    /// `VFIO_IOMMU_MAP_DMA` of a device that VFIO already has.
    Map {
        /// Where the guest's memory should appear, and how much.
        range: Option<(u64, u64)>,
        /// The error, positive.
        errno: Option<u16>,
    },
    /// The limit on locked memory, in bytes.
    Memlock(Option<u64>),
    /// An address that the IOMMU has too few bits for.
    Width(Option<u64>),
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line of the input, from 1.
    pub line: usize,
    /// The device, where the line names it.
    pub device: Option<Bdf>,
    /// What was refused.
    pub kind: RefusalKind,
}

/// A line that is cut or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// The field that cannot be read.
    pub field: &'static str,
}

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Whether Xen wrote it.
    pub xen: bool,
    /// The type of the IVHD blocks that Linux uses.
    pub ivhd_type: Option<u8>,
    /// The IOMMUs of AMD.
    pub iommus: Vec<LoggedIommu>,
    /// The IVMD blocks that Linux heeded, in the table's order.
    pub entries: Vec<IvmdLine>,
    /// The segments, in the log's order. Kernels before 6.0 name none.
    pub segments: Vec<LastBdf>,
    /// IVMD blocks that Xen speaks of.
    pub xen_ivmd: Vec<XenIvmd>,
    /// Width of the host's addresses, as the DMAR has it.
    pub width: Option<u64>,
    /// The units of Intel.
    pub units: Vec<LoggedUnit>,
    /// The RMRRs.
    pub rmrrs: Vec<RmrrLine>,
    /// Other structures of the DMAR.
    pub others: Vec<OtherLine>,
    /// The memory map, as far as a region lies in it.
    pub memory: Vec<MemoryLine>,
    /// Lines to be quoted, at most 64.
    pub remarks: Vec<Remark>,
    /// What was refused, at most 64.
    pub refusals: Vec<Refusal>,
    /// Lines that cannot be read.
    pub damaged: Vec<DamagedLine>,
    /// What a reader of the result should know about the input, a sentence each.
    pub notes: Vec<String>,
}

/// Lines of a kind that are kept: faults can fill a log.
pub(super) const REMARKS: usize = 64;
/// Characters of a line that are quoted.
pub(super) const QUOTED: usize = 300;

impl Log {
    /// Whether it has lines that only a boot with `amd_iommu_dump` writes.
    #[must_use]
    pub fn lists_ivrs(&self) -> bool {
        !self.iommus.is_empty() || !self.entries.is_empty() || !self.segments.is_empty()
    }

    /// Whether it has lines that list a DMAR.
    #[must_use]
    pub fn lists_dmar(&self) -> bool {
        !self.units.is_empty()
            || !self.rmrrs.is_empty()
            || !self.others.is_empty()
            || self.width.is_some()
    }

    pub(super) fn lists(&self) -> bool {
        self.lists_ivrs() || self.lists_dmar() || !self.xen_ivmd.is_empty()
    }

    /// Whether it lists no IOMMU, device entry or segment that `other` does not.
    fn units_within(&self, other: &Self) -> bool {
        let iommu = |new: &LoggedIommu| {
            other.iommus.iter().any(|old| {
                let known = |(_, entry): &(usize, LoggedEntry)| {
                    old.entries.iter().any(|(_, known)| known == entry)
                };
                (new.bdf, new.segment) == (old.bdf, old.segment)
                    && (new.mmio.is_none() || new.mmio == old.mmio)
                    && new.entries.iter().all(known)
            })
        };
        let unit = |new: &LoggedUnit| {
            other.units.iter().any(|old| {
                new.address == old.address
                    && (new.capabilities.is_none() || new.capabilities == old.capabilities)
            })
        };
        (self.width.is_none() || self.width == other.width)
            && self.iommus.iter().all(iommu)
            && self.segments.iter().all(|one| other.segments.contains(one))
            && self.units.iter().all(unit)
    }

    /// Whether it has some lines of `other` and no more. A boot lists all IOMMUs again.
    pub(super) fn quotes(&self, other: &Self) -> bool {
        let ivmd = |new: &IvmdLine| {
            other.entries.iter().any(|old| IvmdLine { line: new.line, ..*old } == *new)
        };
        let rmrr = |new: &RmrrLine| {
            other.rmrrs.iter().any(|old| (new.start, new.end) == (old.start, old.end))
        };
        self.units_within(other)
            && !other.units_within(self)
            && self.entries.iter().all(ivmd)
            && self.rmrrs.iter().all(rmrr)
    }

    /// Xen names every IVHD block, and reads those of one type: another of the same IOMMU is left out.
    pub(super) fn keep_blocks_that_xen_read(&mut self) {
        let read = |one: &LoggedIommu| one.mmio.is_some() || !one.entries.is_empty();
        let devid = |one: &LoggedIommu| one.bdf.map(|bdf| bdf.devid);
        let known: Vec<_> = self.iommus.iter().filter(|one| read(one)).filter_map(devid).collect();
        self.iommus.retain(|one| read(one) || !devid(one).is_some_and(|id| known.contains(&id)));
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.lists()
            && self.refusals.is_empty()
            && self.remarks.iter().all(|remark| remark.kind == RemarkKind::Remapping)
    }
}
