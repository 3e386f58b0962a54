//! Device entries of an IVHD block: their lengths, their raw walk and their encoding.
//!
//! The length rule is the kernel's (`ivhd_entry_length`, drivers/iommu/amd/init.c, the same in 6.1
//! to 7.3), so that a walk here visits what the kernel visits.

use super::bytes::{u8_at, u16_at};
use crate::pci::Devid;

/// Every device of the segment belongs to this IOMMU.
pub const ALL: u8 = 0x01;
/// One device.
pub const SELECT: u8 = 0x02;
/// First device of a range.
pub const RANGE_START: u8 = 0x03;
/// Last device of a range, of whichever kind the range is.
pub const RANGE_END: u8 = 0x04;
/// One device whose requests carry another devid.
pub const ALIAS: u8 = 0x42;
/// First device of a range whose requests carry another devid.
pub const ALIAS_RANGE_START: u8 = 0x43;
/// One device, with extended settings.
pub const EXT_SELECT: u8 = 0x46;
/// First device of a range, with extended settings.
pub const EXT_RANGE_START: u8 = 0x47;
/// An IO-APIC or HPET.
pub const SPECIAL: u8 = 0x48;
/// A device that has an ACPI name and no PCI function.
pub const ACPI_HID: u8 = 0xf0;

/// Bytes of an ACPI-HID entry before its unique id.
const ACPI_HID_FIXED: usize = 22;

/// The length in bytes of the entry of type `kind` at the start of `bytes`.
///
/// `None` where the kernel computes 0 and would stay on the entry for ever (types from 0x80 but
/// 0xf0), or where the length byte of an ACPI-HID entry is not within `bytes`.
#[must_use]
pub fn entry_length(kind: u8, bytes: &[u8]) -> Option<usize> {
    match kind {
        0x00..=0x3f => Some(4),
        0x40..=0x7f => Some(8),
        ACPI_HID => u8_at(bytes, ACPI_HID_FIXED - 1).map(|uid| ACPI_HID_FIXED + usize::from(uid)),
        _ => None,
    }
}

/// One device entry as it lies in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEntry<'a> {
    /// Where it starts, in bytes from the start of the table.
    pub offset: usize,
    /// Its type byte.
    pub kind: u8,
    /// Its bytes, the type byte included; fewer than its length where the table ends before.
    pub bytes: &'a [u8],
}

impl RawEntry<'_> {
    /// Bytes 1 and 2: the devid of the entry kinds that name a device there.
    #[must_use]
    pub fn devid(&self) -> Option<Devid> {
        u16_at(self.bytes, 1).map(Devid)
    }
}

/// The device entries between two table offsets, walked as the kernel walks them.
///
/// Like the kernel it looks only at where an entry starts, so the last one may reach past the end
/// of its block. It ends early at an entry without a length; [`stuck_at`](Self::stuck_at) tells.
#[derive(Clone, Debug)]
pub struct RawEntries<'a> {
    table: &'a [u8],
    next: usize,
    end: usize,
    stuck_at: Option<usize>,
}

impl<'a> RawEntries<'a> {
    /// Walks `table` from `start` to `end` (exclusive), both in bytes from the table's start.
    #[must_use]
    pub fn new(table: &'a [u8], start: usize, end: usize) -> Self {
        Self { table, next: start, end, stuck_at: None }
    }

    /// The offset of the entry that has no length, once the walk has come to it.
    #[must_use]
    pub fn stuck_at(&self) -> Option<usize> {
        self.stuck_at
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = RawEntry<'a>;

    fn next(&mut self) -> Option<RawEntry<'a>> {
        if self.next >= self.end {
            return None;
        }
        let offset = self.next;
        let rest = self.table.get(offset..)?;
        let kind = *rest.first()?;
        let Some(length) = entry_length(kind, rest) else {
            self.stuck_at = Some(offset);
            self.next = self.end;
            return Some(RawEntry { offset, kind, bytes: rest.get(..4).unwrap_or(rest) });
        };
        self.next = offset.saturating_add(length);
        Some(RawEntry { offset, kind, bytes: rest.get(..length).unwrap_or(rest) })
    }
}

/// What an IO-APIC-or-HPET entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    /// Variety 1.
    IoApic,
    /// Variety 2.
    Hpet,
    /// Any other variety byte.
    Other(u8),
}

/// The unique id of an ACPI-HID entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcpiUid {
    /// Format 0: none.
    None,
    /// Format 1: a number.
    Integer(u64),
    /// Format 2: text, at most 255 bytes.
    Text(String),
}

/// A device entry to be encoded. `settings` is the entry's data byte (byte 3): INITPASS, NMI, LINT
/// and so on, which have nothing to do with unity maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEntry {
    /// Type 0x01.
    All {
        /// Byte 3.
        settings: u8,
    },
    /// Type 0x02.
    Select {
        /// The device.
        devid: Devid,
        /// Byte 3.
        settings: u8,
    },
    /// Types 0x03 and 0x04: both entries of an inclusive range.
    Range {
        /// First device.
        first: Devid,
        /// Last device, inclusive.
        last: Devid,
        /// Byte 3 of the first entry.
        settings: u8,
    },
    /// Type 0x42.
    Alias {
        /// The device.
        devid: Devid,
        /// The devid that its requests carry.
        source: Devid,
        /// Byte 3.
        settings: u8,
    },
    /// Types 0x43 and 0x04: both entries of an inclusive range.
    AliasRange {
        /// First device.
        first: Devid,
        /// Last device, inclusive.
        last: Devid,
        /// The devid that their requests carry.
        source: Devid,
        /// Byte 3 of the first entry.
        settings: u8,
    },
    /// Type 0x46.
    ExtSelect {
        /// The device.
        devid: Devid,
        /// Byte 3.
        settings: u8,
        /// Bytes 4 to 7.
        extended: u32,
    },
    /// Types 0x47 and 0x04: both entries of an inclusive range.
    ExtRange {
        /// First device.
        first: Devid,
        /// Last device, inclusive.
        last: Devid,
        /// Byte 3 of the first entry.
        settings: u8,
        /// Bytes 4 to 7 of the first entry.
        extended: u32,
    },
    /// Type 0x48.
    Special {
        /// APIC id or HPET number.
        handle: u8,
        /// The devid that its requests carry.
        devid: Devid,
        /// What it is.
        kind: SpecialKind,
        /// Byte 3.
        settings: u8,
    },
    /// Type 0xf0; the kernel knows it in IVHD blocks of type 0x40 only.
    AcpiHid {
        /// The devid given to the device.
        devid: Devid,
        /// Byte 3.
        settings: u8,
        /// Hardware id, such as `MSFT0201`, zero-padded.
        hid: [u8; 8],
        /// Compatible id, zero where there is none.
        cid: [u8; 8],
        /// Unique id.
        uid: AcpiUid,
    },
    /// Any bytes, as they are: padding, reserved types, broken entries.
    Raw(Vec<u8>),
}

/// A unique id longer than the length byte of an ACPI-HID entry can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ACPI unique id of {length} bytes does not fit: an entry holds at most 255")]
pub struct UidTooLong {
    /// Its length in bytes.
    pub length: usize,
}

impl DeviceEntry {
    /// Appends the entry's bytes to `out`.
    ///
    /// # Errors
    /// Where the unique id of an ACPI-HID entry is over 255 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), UidTooLong> {
        match self {
            Self::All { settings } => short(out, ALL, Devid(0), *settings),
            Self::Select { devid, settings } => short(out, SELECT, *devid, *settings),
            Self::Range { first, last, settings } => {
                short(out, RANGE_START, *first, *settings);
                short(out, RANGE_END, *last, 0);
            }
            Self::Alias { devid, source, settings } => {
                short(out, ALIAS, *devid, *settings);
                alias_source(out, *source);
            }
            Self::AliasRange { first, last, source, settings } => {
                short(out, ALIAS_RANGE_START, *first, *settings);
                alias_source(out, *source);
                short(out, RANGE_END, *last, 0);
            }
            Self::ExtSelect { devid, settings, extended } => {
                short(out, EXT_SELECT, *devid, *settings);
                out.extend(extended.to_le_bytes());
            }
            Self::ExtRange { first, last, settings, extended } => {
                short(out, EXT_RANGE_START, *first, *settings);
                out.extend(extended.to_le_bytes());
                short(out, RANGE_END, *last, 0);
            }
            Self::Special { handle, devid, kind, settings } => {
                short(out, SPECIAL, Devid(0), *settings);
                out.push(*handle);
                out.extend(devid.0.to_le_bytes());
                out.push(match kind {
                    SpecialKind::IoApic => 1,
                    SpecialKind::Hpet => 2,
                    SpecialKind::Other(other) => *other,
                });
            }
            Self::AcpiHid { devid, settings, hid, cid, uid } => {
                let number;
                let (format, uid) = match uid {
                    AcpiUid::None => (0, [].as_slice()),
                    AcpiUid::Integer(value) => {
                        number = value.to_le_bytes();
                        (1, number.as_slice())
                    }
                    AcpiUid::Text(text) => (2, text.as_bytes()),
                };
                let length =
                    u8::try_from(uid.len()).map_err(|_| UidTooLong { length: uid.len() })?;
                short(out, ACPI_HID, *devid, *settings);
                out.extend(hid);
                out.extend(cid);
                out.extend([format, length]);
                out.extend(uid);
            }
            Self::Raw(bytes) => out.extend(bytes),
        }
        Ok(())
    }
}

/// The four bytes with which every entry starts.
fn short(out: &mut Vec<u8>, kind: u8, devid: Devid, settings: u8) {
    let [low, high] = devid.0.to_le_bytes();
    out.extend([kind, low, high, settings]);
}

/// Bytes 4 to 7 of an alias entry.
fn alias_source(out: &mut Vec<u8>, source: Devid) {
    let [low, high] = source.0.to_le_bytes();
    out.extend([0, low, high, 0]);
}
