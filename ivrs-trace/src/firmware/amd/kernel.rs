//! What Linux makes of an IVRS table.
//!
//! The rules are those of drivers/iommu/amd/init.c (`init_memory_definitions`,
//! `init_unity_map_range`, `get_highest_supported_ivhd_type`, `find_last_devid_acpi`), which mean the
//! same from 6.1 to 7.3. They are followed to the letter, arithmetic that wraps included: a table
//! that is wrong is the case that matters.
//!
//! It knows the table only: whether a device exists, has an IOMMU, or is refused is not said here.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    device_entry::{self, Content, Devices, Entry},
    ivrs::{Ivhd, IvhdKind, Ivmd, IvmdFlags, IvmdKind, Ivrs},
    served::Served,
};
use crate::{
    firmware::acpi::{Truncation, u8_at, u16_at},
    pci::{Bdf, Devid, Segment},
};

/// The kernel's page size for unity maps, in bytes.
const PAGE: u64 = 4096;
/// `ACPI_IVHD_TYPE_MAX_SUPPORTED`: the search for the IVHD type ends at a block of a higher type.
const MAX_SUPPORTED_TYPE: u16 = 0x40;

/// `prot` of a unity map entry as the kernel keeps it: bit 0 read, bit 1 write. Higher bits are
/// leftovers of the flags byte and mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prot(pub u8);

impl Prot {
    /// `init_unity_map_range`: the flags shifted by one, or read and write for an exclusion range.
    #[must_use]
    pub fn of(flags: IvmdFlags) -> Self {
        if flags.exclusion() { Self(3) } else { Self(flags.0 >> 1) }
    }

    /// The devices may read.
    #[must_use]
    pub fn read(self) -> bool {
        self.0 & 1 != 0
    }

    /// The devices may write.
    #[must_use]
    pub fn write(self) -> bool {
        self.0 & 2 != 0
    }
}

/// One `struct unity_map_entry` of the kernel: an IVMD block that it heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnityEntry {
    /// The IVMD block's number in the table, [`Ivmd::index`].
    pub ivmd_index: usize,
    /// The segment whose list it is on.
    pub segment: Segment,
    /// Its position on that list from 0: what a walk of the running kernel's list counts.
    pub ordinal: usize,
    /// First devid.
    pub devid_start: Devid,
    /// Last devid, inclusive. Below `devid_start` it matches nothing.
    pub devid_end: Devid,
    /// First byte, rounded up to a page.
    pub start: u64,
    /// First byte after it. Wraps at 2^64 as in the kernel; equals `start` for a zero length, which
    /// is a region like any other to the kernel.
    pub end_exclusive: u64,
    /// Access.
    pub prot: Prot,
}

impl UnityEntry {
    /// Whether the entry applies to `bdf`. Only the device's own address counts, never a DMA alias.
    #[must_use]
    pub fn matches(&self, bdf: Bdf) -> bool {
        self.segment == bdf.segment && self.devid_start <= bdf.devid && bdf.devid <= self.devid_end
    }

    /// Length in bytes, as `amd_iommu_get_resv_regions` computes it.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end_exclusive.wrapping_sub(self.start)
    }

    /// Last byte, as `reserved_regions` in sysfs shows it: one below `start` for a zero length.
    #[must_use]
    pub fn end_inclusive(&self) -> u64 {
        self.end_exclusive.wrapping_sub(1)
    }

    /// Neither read nor write, and not empty: mapping it for a device that it matches fails, and
    /// with it the registration of the IOMMU. No device then has an IOMMU group.
    #[must_use]
    pub fn fails_iommu(&self) -> bool {
        !self.prot.read() && !self.prot.write() && self.length() != 0
    }
}

/// Why the kernel does not come through the table with a working AMD IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fatal {
    /// `early_amd_iommu_init` refuses the table.
    #[error("the table's checksum is wrong: the kernel does not initialise the AMD IOMMU")]
    BadChecksum,
    /// The kernel's walks do not get past the block.
    #[error(
        "the block of type {kind:#04x} at offset {offset:#x} has length 0: the kernel would stay \
         on it for ever"
    )]
    ZeroLengthBlock {
        /// Of the block, from the table's start.
        offset: usize,
        /// Its type.
        kind: u16,
    },
    /// The kernel's walk over the device entries of an IVHD in use does not get past the entry.
    #[error(
        "the device entry of type {kind:#04x} at offset {offset:#x} has no length: the kernel \
         would stay on it for ever"
    )]
    ZeroLengthEntry {
        /// Of the entry, from the table's start.
        offset: usize,
        /// Its type.
        kind: u16,
    },
    /// There is no block of the type that the kernel looks for, so no IOMMU.
    #[error("the table has no IVHD block: the kernel finds no IOMMU in it")]
    NoIvhd,
    /// The first block, or one that repeats its devid, is not an IVHD and was chosen as the type.
    #[error(
        "the kernel takes {kind:#04x} for the table's IVHD type, which it does not support, and \
         does not initialise the AMD IOMMU"
    )]
    UnsupportedIvhdType {
        /// The type chosen.
        kind: u16,
    },
    /// `find_last_devid_from_ivhd` fails, and with it `init_iommu_all`.
    #[error(
        "the IVHD block at offset {offset:#x} names no device: the kernel does not initialise the \
         AMD IOMMU"
    )]
    NoDevices {
        /// Of the block, from the table's start.
        offset: usize,
    },
}

/// Devices whose requests carry another devid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    segment: Segment,
    first: Devid,
    /// Inclusive.
    last: Devid,
    source: Devid,
}

/// The table through the kernel's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// The unity map entries that the rules give, in table order. Where [`fatal`](Self::fatal) is
    /// set the kernel never gets to use them.
    pub entries: Vec<UnityEntry>,
    /// The IVHD type that the kernel uses; blocks of the other types are ignored completely.
    /// `None` in a table without blocks.
    pub target_ivhd_type: Option<u8>,
    /// Highest devid of each segment that has an IVHD in use: where a type 0x20 entry ends. In any
    /// other segment it is 0.
    pub last_bdf: BTreeMap<Segment, Devid>,
    /// The aliases that the IVHD blocks in use give, in table order.
    pub(crate) aliases: Vec<Alias>,
    /// The devids that they hand to an IOMMU.
    pub(crate) served: Served,
    /// Why the kernel has no working IOMMU from this table, the first reason it would meet first.
    pub fatal: Vec<Fatal>,
    /// Where the kernel reads on past the end of the table, into bytes that are not known here:
    /// what it makes of the rest cannot be told.
    pub reads_beyond: Option<Truncation>,
}

impl KernelView {
    /// The kernel's view of `table`.
    #[must_use]
    pub fn new(table: &Ivrs) -> Self {
        let mut fatal = Vec::new();
        if !table.header.checksum_ok {
            fatal.push(Fatal::BadChecksum);
        }
        let mut reads_beyond = None;
        match table.truncation {
            Some(Truncation::ZeroLength { offset, kind }) => {
                fatal.push(Fatal::ZeroLengthBlock { offset, kind });
            }
            other => reads_beyond = other,
        }
        let target_ivhd_type = target_ivhd_type(table);
        let mut last_bdf = BTreeMap::new();
        match target_ivhd_type.map(|code| (code, IvhdKind::from_code(code))) {
            None => fatal.push(Fatal::NoIvhd),
            Some((kind, None)) => fatal.push(Fatal::UnsupportedIvhdType { kind: kind.into() }),
            Some((_, Some(kind))) => {
                for ivhd in table.ivhd.iter().filter(|ivhd| ivhd.kind == kind) {
                    match last_devid(ivhd, table) {
                        Ok(devid) => {
                            let last = last_bdf.entry(ivhd.segment).or_default();
                            *last = devid.max(*last);
                        }
                        Err(reason) => fatal.push(reason),
                    }
                }
            }
        }
        let entries = unity_entries(table, &last_bdf);
        let used = || table.ivhd.iter().filter(|ivhd| Some(ivhd.kind.code()) == target_ivhd_type);
        let aliases = used().flat_map(|ivhd| aliases(ivhd, table)).collect();
        let served = Served::of(table, used(), &last_bdf);
        Self { entries, target_ivhd_type, last_bdf, aliases, served, fatal, reads_beyond }
    }

    /// Whether the kernel gets a working IOMMU from the table, as far as the table decides that.
    /// An entry that [fails the IOMMU](UnityEntry::fails_iommu) does so only where a device matches.
    #[must_use]
    pub fn initialises(&self) -> bool {
        self.fatal.is_empty()
    }

    /// Whether the kernel uses the IVHD block.
    #[must_use]
    pub fn uses(&self, ivhd: &Ivhd) -> bool {
        self.initialises() && self.target_ivhd_type == Some(ivhd.kind.code())
    }

    /// The `direct` regions that the kernel reports for `bdf`, in its order. None where the kernel
    /// does not initialise the IOMMU.
    pub fn regions_of(&self, bdf: Bdf) -> impl Iterator<Item = &UnityEntry> {
        self.entries.iter().filter(move |entry| self.initialises() && entry.matches(bdf))
    }

    /// The devid that the requests of `bdf` carry by the IVHD blocks in use, where it is another
    /// than its own (`alias_table`, filled by `init_iommu_from_acpi`). It explains which devices
    /// share a group; what an IVMD block matches is the device's own address.
    #[must_use]
    pub fn alias_of(&self, bdf: Bdf) -> Option<Devid> {
        let of = |alias: &&Alias| {
            alias.segment == bdf.segment && alias.first <= bdf.devid && bdf.devid <= alias.last
        };
        // A later entry overwrites an earlier one.
        let source = self.aliases.iter().rev().filter(|_| self.initialises()).find(of)?.source;
        (source != bdf.devid).then_some(source)
    }

    /// First and last devid (inclusive) that the kernel takes the block for, whether it heeds the
    /// block or not.
    #[must_use]
    pub fn devids_of(&self, ivmd: &Ivmd) -> (Devid, Devid) {
        devids_of(ivmd, &self.last_bdf)
    }

    /// The unity entry made of the IVMD block with that index, if the kernel makes one.
    #[must_use]
    pub fn entry_of(&self, ivmd_index: usize) -> Option<&UnityEntry> {
        let at = self.entries.binary_search_by_key(&ivmd_index, |entry| entry.ivmd_index);
        self.entries.get(at.ok()?)
    }
}

fn aliases(ivhd: &Ivhd, table: &Ivrs) -> Vec<Alias> {
    let of = |entry: Entry| match entry.content {
        Content::Device(Devices { first, last, source, .. })
        | Content::Range { devices: Devices { first, last, source, .. }, .. } => {
            Some(Alias { segment: ivhd.segment, first, last, source: source? })
        }
        _ => None,
    };
    ivhd.entries(table).into_iter().filter_map(of).collect()
}

/// Whether the kernel makes a unity map entry of the block.
#[must_use]
pub fn is_effective(ivmd: &Ivmd) -> bool {
    ivmd.flags.unity() || ivmd.flags.exclusion()
}

fn unity_entries(table: &Ivrs, last_bdf: &BTreeMap<Segment, Devid>) -> Vec<UnityEntry> {
    let mut ordinals: BTreeMap<Segment, usize> = BTreeMap::new();
    let mut entries = Vec::new();
    for ivmd in table.ivmd.iter().filter(|ivmd| is_effective(ivmd)) {
        let (devid_start, devid_end) = devids_of(ivmd, last_bdf);
        let ordinal = ordinals.entry(ivmd.segment).or_default();
        let start = page_align(ivmd.start);
        entries.push(UnityEntry {
            ivmd_index: ivmd.index,
            segment: ivmd.segment,
            ordinal: *ordinal,
            devid_start,
            devid_end,
            start,
            end_exclusive: start.wrapping_add(page_align(ivmd.length)),
            prot: Prot::of(ivmd.flags),
        });
        *ordinal += 1;
    }
    entries
}

fn devids_of(ivmd: &Ivmd, last_bdf: &BTreeMap<Segment, Devid>) -> (Devid, Devid) {
    match ivmd.kind {
        IvmdKind::All => (Devid(0), last_bdf.get(&ivmd.segment).copied().unwrap_or_default()),
        IvmdKind::Device => (ivmd.devid, ivmd.devid),
        IvmdKind::Range => (ivmd.devid, Devid(ivmd.aux)),
    }
}

/// `PAGE_ALIGN`: up, wrapping at 2^64.
fn page_align(value: u64) -> u64 {
    value.wrapping_add(PAGE - 1) & !(PAGE - 1)
}

/// `get_highest_supported_ivhd_type`: the type of the last block that has the first block's devid,
/// up to a block of a type above 0x40. It does not skip IVMD blocks.
fn target_ivhd_type(table: &Ivrs) -> Option<u8> {
    let devid_of = |offset: usize| u16_at(table.bytes(), offset.checked_add(4)?);
    let first = table.blocks.first()?;
    let devid = devid_of(first.offset);
    let last = table
        .blocks
        .iter()
        .take_while(|block| block.kind <= MAX_SUPPORTED_TYPE)
        .filter(|block| devid_of(block.offset) == devid)
        .last();
    u8::try_from(last.unwrap_or(first).kind).ok()
}

/// `find_last_devid_from_ivhd`: the highest devid that the block's entries name.
fn last_devid(ivhd: &Ivhd, table: &Ivrs) -> Result<Devid, Fatal> {
    let mut entries = ivhd.raw_entries(table);
    let mut last = None;
    for entry in entries.by_ref() {
        match entry.kind {
            device_entry::ALL => return Ok(Devid(0xffff)),
            device_entry::SELECT
            | device_entry::RANGE_END
            | device_entry::ALIAS
            | device_entry::EXT_SELECT => last = last.max(entry.devid()),
            _ => {}
        }
    }
    if let Some(offset) = entries.stuck_at() {
        let kind = u8_at(table.bytes(), offset).unwrap_or_default().into();
        return Err(Fatal::ZeroLengthEntry { offset, kind });
    }
    last.ok_or(Fatal::NoDevices { offset: ivhd.offset })
}
