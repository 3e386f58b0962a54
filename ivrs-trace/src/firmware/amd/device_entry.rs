//! Device entries of an IVHD block: their lengths, their raw walk, their meaning and their encoding.
//!
//! The length rule is the kernel's (`ivhd_entry_length`, drivers/iommu/amd/init.c, the same in 6.1
//! to 7.3), so that a walk here visits what the kernel visits. Whether the kernel uses the block that
//! an entry is in is not said here.

use std::ops::RangeInclusive;

use crate::{
    escape::printable_bytes,
    firmware::acpi::{array_at, u8_at, u16_at, u32_at},
    pci::Devid,
};

#[cfg(test)]
mod tests;

/// Filler between entries.
pub const PADDING: u8 = 0x00;

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

/// The data byte (byte 3) of an entry that names devices: which interrupts and messages of theirs
/// pass the IOMMU. It has nothing to do with unity maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub u8);

impl Settings {
    /// The `SysMgt` field, bits 4 and 5: how system management messages are treated.
    #[must_use]
    pub fn sys_mgt(self) -> u8 {
        self.0 >> 4 & 3
    }

    /// The names of the single bits that are set, the lowest first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const BITS: [(u8, &str); 5] =
            [(0x01, "INIT"), (0x02, "EINT"), (0x04, "NMI"), (0x40, "LINT0"), (0x80, "LINT1")];
        BITS.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| name)
    }
}

/// Bit 31 of the extended settings: the device's address translation services are to stay off.
const ATS_DISABLED: u32 = 1 << 31;

/// Devices that an entry hands to the IOMMU of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// First device.
    pub first: Devid,
    /// Last device, inclusive. Below `first` it names none.
    pub last: Devid,
    /// The devid that their requests carry, where it is not their own.
    pub source: Option<Devid>,
    /// The data byte.
    pub settings: Settings,
    /// The extended settings, of the types that have them.
    pub extended: Option<u32>,
}

impl Devices {
    /// Whether the extended settings forbid address translation services.
    #[must_use]
    pub fn ats_disabled(&self) -> bool {
        self.extended.is_some_and(|extended| extended & ATS_DISABLED != 0)
    }
}

/// The unique id of an ACPI-HID entry as a table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uid {
    /// Format 0: none.
    None,
    /// Format 1: a number. The specification gives it 8 bytes, real tables have 2 as well; whatever
    /// the length, the kernel takes the first byte for the number (`init_iommu_from_acpi`, 6.1).
    Integer {
        /// The number in all of its bytes.
        value: u64,
        /// How many bytes those are, 1 to 8.
        length: u8,
    },
    /// Format 2: text, made printable.
    Text(String),
    /// Another format, or a number of a length that no number has.
    Unknown {
        /// The format byte.
        format: u8,
    },
}

/// A device that has an ACPI name, and the devid under which the IOMMU sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiDevice {
    /// The devid.
    pub devid: Devid,
    /// The data byte.
    pub settings: Settings,
    /// Hardware id, made printable and without padding.
    pub hid: String,
    /// Compatible id, made printable and without padding; empty for none.
    pub cid: String,
    /// Unique id.
    pub uid: Uid,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Type 0x00: nothing.
    Padding,
    /// Type 0x01: every device of the segment.
    All(Settings),
    /// Types 0x02, 0x42, 0x46: one device. `first` and `last` are the same.
    Device(Devices),
    /// Types 0x03, 0x43, 0x47 with the 0x04 that belongs to them: a range.
    Range {
        /// The devices.
        devices: Devices,
        /// The entry of type 0x04.
        end: RangeEnd,
    },
    /// The start of a range that another start or the block's end cuts off. `last` is `first`, but
    /// the kernel hands over none.
    StartWithoutEnd(Devices),
    /// A 0x04 that follows no start. The kernel then counts from the last start that it met in the
    /// block, or from devid 0.
    EndWithoutStart {
        /// Last device, inclusive.
        last: Devid,
    },
    /// Type 0x48: an IO-APIC or HPET.
    Special {
        /// APIC id or HPET number.
        handle: u8,
        /// The devid that its requests carry.
        devid: Devid,
        /// What it is.
        kind: SpecialKind,
        /// The data byte.
        settings: Settings,
    },
    /// Type 0xf0: a device named by ACPI. The kernel heeds it in blocks of type 0x40 only.
    Acpi(AcpiDevice),
    /// A type that means nothing to the kernel, which steps over it.
    Reserved,
    /// The table ends inside the entry.
    Cut,
    /// A type for which the kernel computes no length, so that it never gets past the entry.
    NoLength,
}

/// The second entry of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeEnd {
    /// Where it starts, in bytes from the start of the table.
    pub offset: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A device entry and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it starts, in bytes from the start of the table.
    pub offset: usize,
    /// Its type byte; that of its start for a range.
    pub kind: u8,
    /// Its bytes; those of its start for a range.
    pub bytes: Vec<u8>,
    /// What it says.
    pub content: Content,
}

impl Entry {
    /// The devids that the entry hands to the IOMMU of its block, an end without a start left out.
    #[must_use]
    pub fn devids(&self) -> Option<RangeInclusive<Devid>> {
        match &self.content {
            Content::All(_) => Some(Devid(0)..=Devid(u16::MAX)),
            Content::Device(devices) | Content::Range { devices, .. } => {
                Some(devices.first..=devices.last)
            }
            Content::Special { devid, .. } | Content::Acpi(AcpiDevice { devid, .. }) => {
                Some(*devid..=*devid)
            }
            _ => None,
        }
    }
}

/// Decodes the entries of a walk, a range as one entry at the place of its start.
#[must_use]
pub fn decode(raw: RawEntries<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    // The start that waits for its end.
    let mut open: Option<usize> = None;
    for raw in raw {
        let content = content(&raw);
        match &content {
            Content::StartWithoutEnd(_) => open = Some(entries.len()),
            Content::EndWithoutStart { last } => {
                if let Some(start) = open.take().and_then(|index| entries.get_mut(index))
                    && let Content::StartWithoutEnd(devices) = &start.content
                {
                    let end = RangeEnd { offset: raw.offset, bytes: raw.bytes.to_vec() };
                    let devices = Devices { last: *last, ..devices.clone() };
                    start.content = Content::Range { devices, end };
                    continue;
                }
            }
            _ => {}
        }
        let RawEntry { offset, kind, bytes } = raw;
        entries.push(Entry { offset, kind, bytes: bytes.to_vec(), content });
    }
    entries
}

/// What one entry says by itself.
fn content(raw: &RawEntry<'_>) -> Content {
    match entry_length(raw.kind, raw.bytes) {
        None if raw.kind != ACPI_HID => return Content::NoLength,
        Some(length) if length == raw.bytes.len() => {}
        _ => return Content::Cut,
    }
    // All fields below lie within the length just checked.
    fields(raw).unwrap_or(Content::Cut)
}

fn fields(raw: &RawEntry<'_>) -> Option<Content> {
    let bytes = raw.bytes;
    let devid = raw.devid()?;
    let settings = Settings(u8_at(bytes, 3)?);
    let one = |source, extended| Devices { first: devid, last: devid, source, settings, extended };
    let target = || u16_at(bytes, 5).map(Devid);
    Some(match raw.kind {
        PADDING => Content::Padding,
        ALL => Content::All(settings),
        SELECT => Content::Device(one(None, None)),
        RANGE_START => Content::StartWithoutEnd(one(None, None)),
        RANGE_END => Content::EndWithoutStart { last: devid },
        ALIAS => Content::Device(one(Some(target()?), None)),
        ALIAS_RANGE_START => Content::StartWithoutEnd(one(Some(target()?), None)),
        EXT_SELECT => Content::Device(one(None, Some(u32_at(bytes, 4)?))),
        EXT_RANGE_START => Content::StartWithoutEnd(one(None, Some(u32_at(bytes, 4)?))),
        SPECIAL => Content::Special {
            handle: u8_at(bytes, 4)?,
            devid: target()?,
            kind: match u8_at(bytes, 7)? {
                1 => SpecialKind::IoApic,
                2 => SpecialKind::Hpet,
                other => SpecialKind::Other(other),
            },
            settings,
        },
        ACPI_HID => Content::Acpi(AcpiDevice {
            devid,
            settings,
            hid: name(array_at(bytes, 4)?),
            cid: name(array_at(bytes, 12)?),
            uid: uid(u8_at(bytes, 20)?, bytes.get(ACPI_HID_FIXED..)?),
        }),
        _ => Content::Reserved,
    })
}

fn name(bytes: [u8; 8]) -> String {
    printable_bytes(&bytes).trim_end_matches(' ').to_owned()
}

fn uid(format: u8, bytes: &[u8]) -> Uid {
    match (format, u8::try_from(bytes.len())) {
        (0, _) => Uid::None,
        (1, Ok(length @ 1..=8)) => {
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            Uid::Integer { value, length }
        }
        (2, _) => Uid::Text(printable_bytes(bytes)),
        _ => Uid::Unknown { format },
    }
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
