//! Parser of an ACPI DMAR table, Intel's counterpart of the IVRS: its IOMMUs (DRHD), the memory that
//! the firmware reserves for devices (RMRR), and whatever else is in it.
//!
//! It walks the table as the kernel does (`dmar_walk_remapping_entries`, drivers/iommu/intel/dmar.c,
//! 6.1 to 7.3): structures start at offset 48 and each says in two bytes how far the next one is.
//! Which PCI functions a device scope means depends on the host's bridges and is not said here; nor
//! is what the kernel makes of a structure.

#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

use crate::{
    firmware::acpi::{
        self, ACPI_HEADER, BlockHeader, Header, OtherBlock, TableError, Truncation, Whole, u8_at,
        u16_at, u64_at,
    },
    pci::Segment,
};

/// The table's signature.
pub const SIGNATURE: [u8; 4] = *b"DMAR";
/// Offset of the first structure: ACPI header (36), width (1), flags (1), reserved (10).
pub const HEADER_LENGTH: usize = 48;
/// Bytes of a DRHD before its device scopes (`struct acpi_dmar_hardware_unit`).
pub const DRHD_LENGTH: usize = 16;
/// Bytes of an RMRR before its device scopes (`struct acpi_dmar_reserved_memory`).
pub const RMRR_LENGTH: usize = 24;
/// Bytes of a device scope before its path (`struct acpi_dmar_device_scope`).
pub const SCOPE_LENGTH: usize = 6;

/// What a device scope names (`enum acpi_dmar_scope_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// 1: a PCI function.
    Endpoint,
    /// 2: a PCI bridge and everything below it.
    Bridge,
    /// 3: an I/O APIC.
    IoApic,
    /// 4: a timer that can signal by messages.
    Hpet,
    /// 5: a device of the ACPI name space.
    Namespace,
    /// Any other.
    Other(u8),
}

impl ScopeKind {
    /// The kind of a type byte.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Endpoint,
            2 => Self::Bridge,
            3 => Self::IoApic,
            4 => Self::Hpet,
            5 => Self::Namespace,
            other => Self::Other(other),
        }
    }

    /// The type byte.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Endpoint => 1,
            Self::Bridge => 2,
            Self::IoApic => 3,
            Self::Hpet => 4,
            Self::Namespace => 5,
            Self::Other(code) => code,
        }
    }

    /// Whether the kernel looks for a PCI function by it: it passes over all others of an RMRR
    /// (`dmar_insert_dev_scope`).
    #[must_use]
    pub fn names_a_function(self) -> bool {
        matches!(self, Self::Endpoint | Self::Bridge)
    }
}

impl fmt::Display for ScopeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("endpoint"),
            Self::Bridge => f.write_str("bridge"),
            Self::IoApic => f.write_str("I/O APIC"),
            Self::Hpet => f.write_str("HPET"),
            Self::Namespace => f.write_str("ACPI device"),
            Self::Other(code) => write!(f, "type {code}"),
        }
    }
}

/// A step of a device scope's path: a device on the bus that the steps before it lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Device number; more than 31 is nobody's.
    pub device: u8,
    /// Function number; more than 7 is nobody's.
    pub function: u8,
}

/// A device scope: whom a structure is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Where it starts, in bytes from the table's start.
    pub offset: usize,
    /// What it names.
    pub kind: ScopeKind,
    /// Its length field in bytes: 6 and 2 for each step.
    pub length: u8,
    /// Id of an I/O APIC, a timer or an ACPI device.
    pub enumeration_id: u8,
    /// The bus on which the path begins.
    pub bus: u8,
    /// The way from that bus over bridges to the function; the last step is the function itself.
    pub path: Vec<Step>,
    /// Its bytes, as many as lie within the table.
    pub bytes: Vec<u8>,
}

/// `endpoint 00:1c.4/00.2`: bus, then the steps.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02x}:", self.kind, self.bus)?;
        if self.path.is_empty() {
            f.write_str("(no path)")?;
        }
        for (index, step) in self.path.iter().enumerate() {
            let before = if index == 0 { "" } else { "/" };
            write!(f, "{before}{:02x}.{:x}", step.device, step.function)?;
        }
        Ok(())
    }
}

/// What is wrong with the device scopes of a structure. None of it is checked by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScopeFault {
    /// The scope says that it has no bytes. The kernel would never get past it
    /// (`dmar_alloc_dev_scope`).
    #[error("the device scope at offset {offset:#x} has length 0")]
    ZeroLength {
        /// Of the scope, from the table's start.
        offset: usize,
    },
    /// The scope reaches past the end of its structure, or its fixed fields do.
    #[error("the device scope at offset {offset:#x} reaches past the end of its structure")]
    BeyondEnd {
        /// Of the scope, from the table's start.
        offset: usize,
    },
}

impl ScopeFault {
    /// Where the scope starts, in bytes from the table's start.
    #[must_use]
    pub fn offset(self) -> usize {
        match self {
            Self::ZeroLength { offset } | Self::BeyondEnd { offset } => offset,
        }
    }
}

/// A DRHD structure: one IOMMU and the devices behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drhd {
    /// Where it starts, in bytes from the table's start.
    pub offset: usize,
    /// Its length field in bytes.
    pub length: u16,
    /// Its flags byte.
    pub flags: u8,
    /// PCI segment of its devices.
    pub segment: Segment,
    /// Physical address of the IOMMU's registers.
    pub address: u64,
    /// The devices behind it.
    pub scopes: Vec<Scope>,
    /// Why the scopes end early.
    pub fault: Option<ScopeFault>,
}

impl Drhd {
    /// Flag bit 0: it serves every device of the segment that no other DRHD names.
    #[must_use]
    pub fn include_all(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// An RMRR structure: memory that the firmware reserves for devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rmrr {
    /// Its number among the table's RMRR structures, from 0.
    pub index: usize,
    /// Where it starts, in bytes from the table's start.
    pub offset: usize,
    /// Its length field in bytes.
    pub length: u16,
    /// PCI segment of its devices.
    pub segment: Segment,
    /// First byte of the memory.
    pub base: u64,
    /// Last byte of the memory, inclusive.
    pub limit: u64,
    /// The devices that it is for.
    pub scopes: Vec<Scope>,
    /// Why the scopes end early.
    pub fault: Option<ScopeFault>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Rmrr {
    /// Length of the memory in bytes as the kernel computes it (`intel_iommu_get_resv_regions`): it
    /// wraps where the limit is below the base.
    #[must_use]
    pub fn memory_length(&self) -> u64 {
        self.limit.wrapping_sub(self.base).wrapping_add(1)
    }
}

/// What structures of this type are called (`enum acpi_dmar_type`); `None` for a type without a
/// meaning.
#[must_use]
pub fn structure_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        2 => "ATSR",
        3 => "RHSA",
        4 => "ANDD",
        5 => "SATC",
        6 => "SIDP",
        _ => return None,
    })
}

/// A parsed DMAR table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmar {
    /// The ACPI header.
    pub header: Header,
    /// Width of the host's addresses in bits, less one, as it stands in the table.
    pub width: u8,
    /// Bit 0: interrupts can be remapped. Bit 1: x2APIC is to be left alone. Bit 2: firmware asks the
    /// system to keep DMA in check (DMA protection).
    pub flags: u8,
    /// Every structure in table order, those of unknown type and those of wrong length too.
    pub structures: Vec<BlockHeader>,
    /// The DRHD structures in table order.
    pub drhd: Vec<Drhd>,
    /// The RMRR structures in table order.
    pub rmrr: Vec<Rmrr>,
    /// The other structures in table order.
    pub others: Vec<OtherBlock>,
    /// Where and why the walk over the structures stopped early.
    pub truncation: Option<Truncation>,
    /// Bytes that followed the table in what was given.
    pub trailing: usize,
    bytes: Vec<u8>,
}

/// Type of a DRHD (`ACPI_DMAR_TYPE_HARDWARE_UNIT`).
pub(super) const DRHD: u16 = 0;
/// Type of an RMRR (`ACPI_DMAR_TYPE_RESERVED_MEMORY`).
pub(super) const RMRR: u16 = 1;

impl Dmar {
    /// Parses the table at the start of `data`.
    ///
    /// A bad checksum is a fact in the result. A structure that cannot be right ends the walk: what
    /// precedes it is returned, with [`truncation`](Self::truncation) set.
    ///
    /// # Errors
    /// Where `data` is not a DMAR table or holds only a part of one.
    pub fn parse(data: &[u8]) -> Result<Self, TableError> {
        let Whole { header, bytes, trailing } = acpi::whole(data, SIGNATURE, HEADER_LENGTH)?;
        let mut dmar = Self {
            header,
            width: u8_at(bytes, ACPI_HEADER).unwrap_or_default(),
            flags: u8_at(bytes, ACPI_HEADER + 1).unwrap_or_default(),
            structures: Vec::new(),
            drhd: Vec::new(),
            rmrr: Vec::new(),
            others: Vec::new(),
            truncation: None,
            trailing,
            bytes: bytes.to_vec(),
        };
        dmar.truncation = dmar.walk(bytes).err();
        Ok(dmar)
    }

    /// The table's bytes, as many as its header says.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Why the kernel has no IOMMU from this table, if it has none (`parse_dmar_table` and
    /// `dmar_walk_remapping_entries`, drivers/iommu/intel/dmar.c). A wrong checksum is no reason:
    /// the kernel's ACPI code only warns of one (`ACPI_CHECKSUM_ABORT` is false).
    #[must_use]
    pub fn fatal(&self) -> Option<Fatal> {
        match self.truncation {
            Some(Truncation::BeyondEnd { offset, .. } | Truncation::HeaderCut { offset, .. }) => {
                return Some(Fatal::BeyondEnd { offset });
            }
            Some(Truncation::ZeroLength { .. } | Truncation::FieldsBeyondEnd { .. }) | None => {}
        }
        let hang = |fault: Option<ScopeFault>| match fault {
            Some(ScopeFault::ZeroLength { offset }) => Some(Fatal::EmptyScope { offset }),
            _ => None,
        };
        if let Some(drhd) = self.drhd.iter().find(|drhd| drhd.address == 0) {
            return Some(Fatal::DrhdAtZero { offset: drhd.offset });
        }
        if self.width < 11 {
            return Some(Fatal::Width { width: self.width });
        }
        let faults = self.drhd.iter().map(|drhd| drhd.fault);
        let mut faults = faults.chain(self.rmrr.iter().map(|rmrr| rmrr.fault));
        faults.find_map(hang).or(self.drhd.is_empty().then_some(Fatal::NoDrhd))
    }

    fn walk(&mut self, table: &[u8]) -> Result<(), Truncation> {
        let place = |rest: &[u8]| Some((u16_at(rest, 0)?, u16_at(rest, 2)?));
        for block in acpi::blocks(table, HEADER_LENGTH, place) {
            let block = block?;
            let BlockHeader { offset, kind, length } = block.header;
            self.structures.push(block.header);
            if length == 0 {
                return Err(Truncation::ZeroLength { offset, kind });
            }
            if let Some(beyond) = block.beyond_end() {
                return Err(beyond);
            }
            match kind {
                DRHD => {
                    let drhd = read_drhd(offset, length, block.rest);
                    self.drhd.push(drhd.ok_or_else(|| block.fields_beyond(DRHD_LENGTH))?);
                }
                RMRR => {
                    let rmrr = read_rmrr(self.rmrr.len(), offset, length, block.rest, block.bytes);
                    self.rmrr.push(rmrr.ok_or_else(|| block.fields_beyond(RMRR_LENGTH))?);
                }
                _ => self.others.push(block.other()),
            }
        }
        Ok(())
    }
}

/// Why the kernel does not come through the table with a working IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fatal {
    /// `dmar_walk_remapping_entries` refuses the table.
    #[error(
        "the structure at offset {offset:#x} reaches past the table's end: the kernel gives the \
         table up"
    )]
    BeyondEnd {
        /// Of the structure, from the table's start.
        offset: usize,
    },
    /// `dmar_alloc_dev_scope` does not get past it.
    #[error(
        "the device scope at offset {offset:#x} has length 0: the kernel would stay on it for ever"
    )]
    EmptyScope {
        /// Of the scope, from the table's start.
        offset: usize,
    },
    /// `dmar_validate_one_drhd` refuses it, and with it `detect_intel_iommu` the whole table.
    #[error("the DRHD at offset {offset:#x} has address 0: the kernel gives the table up")]
    DrhdAtZero {
        /// Of the structure, from the table's start.
        offset: usize,
    },
    /// `parse_dmar_table` refuses the table.
    #[error("addresses of {} bits are too narrow: the kernel gives the table up", u16::from(*width) + 1)]
    Width {
        /// Bits less one, as in the table.
        width: u8,
    },
    /// There is no IOMMU in the table.
    #[error("the table has no DRHD: the kernel finds no IOMMU in it")]
    NoDrhd,
}

/// `rest` runs from the structure to the table's end: the fixed fields count even where the
/// structure says that it is shorter.
fn read_drhd(offset: usize, length: u16, rest: &[u8]) -> Option<Drhd> {
    let (scopes, fault) = read_scopes(offset, DRHD_LENGTH, length, rest);
    Some(Drhd {
        offset,
        length,
        flags: u8_at(rest, 4)?,
        segment: Segment(u16_at(rest, 6)?),
        address: u64_at(rest, 8)?,
        scopes,
        fault,
    })
}

fn read_rmrr(index: usize, offset: usize, length: u16, rest: &[u8], bytes: &[u8]) -> Option<Rmrr> {
    let (scopes, fault) = read_scopes(offset, RMRR_LENGTH, length, rest);
    Some(Rmrr {
        index,
        offset,
        length,
        segment: Segment(u16_at(rest, 6)?),
        base: u64_at(rest, 8)?,
        limit: u64_at(rest, 16)?,
        scopes,
        fault,
        bytes: bytes.to_vec(),
    })
}

/// The device scopes of a structure, of which `rest` runs to the table's end. The kernel begins a
/// scope wherever the one before it ends, if that is still within the structure, and reads its path
/// without a look at the structure's end.
fn read_scopes(
    structure: usize,
    fixed: usize,
    length: u16,
    rest: &[u8],
) -> (Vec<Scope>, Option<ScopeFault>) {
    let end = usize::from(length);
    let mut scopes = Vec::new();
    let mut at = fixed;
    while at < end {
        let offset = structure.saturating_add(at);
        let Some(scope) = rest.get(at..).and_then(|rest| read_scope(offset, rest)) else {
            return (scopes, Some(ScopeFault::BeyondEnd { offset }));
        };
        let length = usize::from(scope.length);
        if length == 0 {
            return (scopes, Some(ScopeFault::ZeroLength { offset }));
        }
        scopes.push(scope);
        at = at.saturating_add(length);
        if at > end {
            return (scopes, Some(ScopeFault::BeyondEnd { offset }));
        }
    }
    (scopes, None)
}

fn read_scope(offset: usize, rest: &[u8]) -> Option<Scope> {
    let length = u8_at(rest, 1)?;
    let bytes = rest.get(..usize::from(length)).unwrap_or(rest);
    let steps = bytes.get(SCOPE_LENGTH..).unwrap_or_default();
    let (steps, _) = steps.as_chunks::<2>();
    Some(Scope {
        offset,
        kind: ScopeKind::from_code(u8_at(rest, 0)?),
        length,
        enumeration_id: u8_at(rest, 4)?,
        bus: u8_at(rest, 5)?,
        path: steps
            .iter()
            .map(|[device, function]| Step { device: *device, function: *function })
            .collect(),
        bytes: bytes.to_vec(),
    })
}
