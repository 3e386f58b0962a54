//! What differs between two tables, or between two hosts with their tables.
//!
//! It says nothing of why. Blocks are recognised by what is in them, so a block that only moved is
//! told from one that went; two tables without a difference here are equal byte for byte. What is
//! printed came from firmware or sysfs and leaves here printable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::{CauseKind, DeviceVerdict, IvrsTable, Known, RequireDirect, Table, what_if::Judgement};
use crate::{
    escape::{printable, printable_bytes},
    firmware::{
        Ivhd, Ivmd, Ivrs, KernelView,
        acpi::OtherBlock,
        amd::ivrs::{HEADER_LENGTH, IVMD_LENGTH, IvmdKind},
    },
    host::{Group, Member, PciFunction, Reading, Snapshot},
    pci::Bdf,
    report::hex_bytes,
};

/// How much of two models is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The tables alone: one of the two is no more than that.
    Table,
    /// The hosts too.
    Host,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only the first has it.
    Went,
    /// Only the second has it.
    Came,
    /// Both have it, with other content.
    Changed,
    /// Both have it with the same content, at another place.
    Moved,
}

impl Kind {
    fn of(before: bool, after: bool, same_content: bool) -> Self {
        match (before, after) {
            (true, false) => Self::Went,
            (false, _) => Self::Came,
            (true, true) if same_content => Self::Moved,
            (true, true) => Self::Changed,
        }
    }
}

/// A value that is another one in the second. `None` where there is none, or where it is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// In the first.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

/// A block of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Block {
    /// Its number among the blocks of its sort, from 0.
    pub index: usize,
    /// Where it starts, bytes from the start of the table, in hex.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Its bytes, as many as the table has.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::HexBytes"))]
    pub bytes: String,
    /// What it is, in a few words.
    #[serde(skip)]
    pub title: String,
    #[serde(skip)]
    fields: Vec<(&'static str, String)>,
    /// Device entries, in an IVHD.
    #[serde(skip)]
    entries: Vec<String>,
    /// By what it is recognised where its bytes are others, the surest first.
    #[serde(skip)]
    keys: [String; 2],
}

/// A block that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BlockChange {
    /// What became of it.
    pub change: Kind,
    /// The block in the first table.
    pub before: Option<Block>,
    /// The block in the second table.
    pub after: Option<Block>,
    /// What is in it that differs, if it changed.
    pub fields: Vec<Field>,
}

/// A group of devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupSide {
    /// Its number.
    pub id: u32,
    /// Its members by name.
    pub members: Vec<String>,
    /// Type of its default domain.
    pub domain_type: Option<String>,
    /// Its reserved regions as the kernel writes them.
    pub regions: Option<Vec<String>>,
}

/// A group that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupChange {
    /// What became of it; `moved` if it only has another number.
    pub change: Kind,
    /// The group in the first host.
    pub before: Option<GroupSide>,
    /// The group in the second host.
    pub after: Option<GroupSide>,
}

/// A device on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceSide {
    /// Vendor and device id, `10de:2d04`.
    pub id: Option<String>,
    /// Its group.
    pub group: u32,
    /// What is said of it.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// A device of which something else is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceChange {
    /// The device.
    pub bdf: Bdf,
    /// What became of it; never `moved`.
    pub change: Kind,
    /// On the first host.
    pub before: Option<DeviceSide>,
    /// On the second host.
    pub after: Option<DeviceSide>,
}

impl DeviceChange {
    /// Whether the verdict itself is another.
    #[must_use]
    pub fn verdict_changed(&self) -> bool {
        matches!((&self.before, &self.after), (Some(old), Some(new))
            if old.judgement.verdict != new.judgement.verdict)
    }
}

/// All that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diff {
    /// What was compared.
    pub compared: Scope,
    /// Kernel, board and firmware.
    pub host: Vec<Field>,
    /// The table's header, and what the kernel makes of the table as a whole.
    pub table: Vec<Field>,
    /// The IVHD blocks.
    pub ivhd: Vec<BlockChange>,
    /// The IVMD blocks.
    pub ivmd: Vec<BlockChange>,
    /// The blocks of other types.
    pub unknown: Vec<BlockChange>,
    /// The groups.
    pub groups: Vec<GroupChange>,
    /// The devices that are in a group.
    pub devices: Vec<DeviceChange>,
    /// What could not be compared, a sentence each.
    pub notices: Vec<String>,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.host.is_empty()
            && self.table.is_empty()
            && self.ivhd.is_empty()
            && self.ivmd.is_empty()
            && self.unknown.is_empty()
            && self.groups.is_empty()
            && self.devices.is_empty()
    }
}

/// What differs in `b` from `a`.
#[must_use]
pub fn compare(a: &Known, b: &Known, scope: Scope) -> Diff {
    let mut diff = Diff {
        compared: scope,
        host: Vec::new(),
        table: Vec::new(),
        ivhd: Vec::new(),
        ivmd: Vec::new(),
        unknown: Vec::new(),
        groups: Vec::new(),
        devices: Vec::new(),
        notices: Vec::new(),
    };
    match (&a.table, &b.table) {
        (Table::Read(one), Table::Read(other)) => {
            diff.table = fields(&header(&one.0, &one.1), &header(&other.0, &other.1));
            diff.ivhd = blocks(
                &numbered(&one.0.ivhd, |index, block| ivhd(&one.0, index, block)),
                &numbered(&other.0.ivhd, |index, block| ivhd(&other.0, index, block)),
            );
            diff.ivmd = blocks(
                &numbered(&one.0.ivmd, |_, block| ivmd(&one.0, block)),
                &numbered(&other.0.ivmd, |_, block| ivmd(&other.0, block)),
            );
            diff.unknown =
                blocks(&numbered(&one.0.unknown, unknown), &numbered(&other.0.unknown, unknown));
        }
        (one, other) => {
            diff.table = fields(&[("table", state(one))], &[("table", state(other))]);
            let sides = [("first", one), ("second", other)];
            diff.notices.extend(sides.iter().filter_map(|(side, table)| why(side, table)));
        }
    }
    if scope == Scope::Host {
        diff.host = fields(&host(a), &host(b));
        let sides = [("first", &a.host), ("second", &b.host)];
        diff.notices.extend(sides.iter().flat_map(|(side, host)| unreadable(side, host)));
        diff.groups = groups(a, b);
        diff.devices = devices(a, b);
    }
    diff
}

fn state(table: &IvrsTable) -> Option<String> {
    let word = match table {
        Table::Read(_) => "readable",
        Table::Absent => return None,
        Table::Unreadable(_) => "unreadable",
        Table::Malformed(_) => "malformed",
    };
    Some(word.to_owned())
}

fn why(side: &str, table: &IvrsTable) -> Option<String> {
    let why = match table {
        Table::Read(_) | Table::Absent => return None,
        Table::Unreadable(why) => printable(why),
        Table::Malformed(error) => error.to_string(),
    };
    Some(format!("The table of the {side} could not be compared: {why}."))
}

fn unreadable(side: &str, host: &Snapshot) -> Vec<String> {
    let parts = [
        ("IOMMU groups", failure(&host.groups)),
        ("PCI functions", failure(&host.functions)),
        ("kernel release", failure(&host.kernel_release)),
    ];
    let told = parts.iter().filter_map(|(what, why)| Some((what, (*why)?)));
    told.map(|(what, why)| format!("The {what} of the {side}: {}.", printable(why))).collect()
}

fn failure<T>(reading: &Reading<T>) -> Option<&str> {
    match reading {
        Reading::Unreadable(why) => Some(why),
        Reading::Read(_) | Reading::Absent => None,
    }
}

/// The fields of both in order, where they differ. Both have the same names.
fn fields(
    before: &[(&'static str, Option<String>)],
    after: &[(&'static str, Option<String>)],
) -> Vec<Field> {
    let differ = before.iter().zip(after).filter(|((_, old), (_, new))| old != new);
    differ
        .map(|((name, old), (_, new))| Field { name, before: old.clone(), after: new.clone() })
        .collect()
}

/// Things of two lists that belong together: the n-th of a key with the n-th of the same key, by the
/// first key that both still have free. Then those that are left.
fn pairs<'a, T>(
    before: &'a [T],
    after: &'a [T],
    keys: &[&dyn Fn(&T) -> String],
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let mut pairs = Vec::new();
    let mut before: Vec<&T> = before.iter().collect();
    let mut after: Vec<Option<&T>> = after.iter().map(Some).collect();
    for key in keys {
        let mut free: BTreeMap<String, VecDeque<&mut Option<&'a T>>> = BTreeMap::new();
        for slot in &mut after {
            if let Some(item) = *slot {
                free.entry(key(item)).or_default().push_back(slot);
            }
        }
        before.retain(|old| match free.get_mut(&key(old)).and_then(VecDeque::pop_front) {
            Some(slot) => {
                pairs.push((Some(*old), slot.take()));
                false
            }
            None => true,
        });
    }
    pairs.extend(before.into_iter().map(|old| (Some(old), None)));
    pairs.extend(after.into_iter().flatten().map(|new| (None, Some(new))));
    pairs
}

fn numbered<T>(blocks: &[T], make: impl Fn(usize, &T) -> Block) -> Vec<Block> {
    blocks.iter().enumerate().map(|(index, block)| make(index, block)).collect()
}

/// The changes by their place in the second table, those that went by the one they had.
fn blocks(before: &[Block], after: &[Block]) -> Vec<BlockChange> {
    let pairs = pairs(
        before,
        after,
        &[
            &|block| block.bytes.clone(),
            &|Block { keys: [first, _], .. }| first.clone(),
            &|Block { keys: [_, second], .. }| second.clone(),
        ],
    );
    let mut changes: Vec<BlockChange> = pairs
        .into_iter()
        .filter(|(old, new)| old != new)
        .map(|(old, new)| {
            let same = old.map(|block| &block.bytes) == new.map(|block| &block.bytes);
            BlockChange {
                change: Kind::of(old.is_some(), new.is_some(), same),
                fields: old.zip(new).map(|(old, new)| block_fields(old, new)).unwrap_or_default(),
                before: old.cloned(),
                after: new.cloned(),
            }
        })
        .collect();
    changes.sort_by_key(|change| {
        let place = change.after.as_ref().or(change.before.as_ref());
        (place.map(|block| block.index), change.change)
    });
    changes
}

fn block_fields(before: &Block, after: &Block) -> Vec<Field> {
    let mut names: Vec<&'static str> = before.fields.iter().map(|(name, _)| *name).collect();
    let new = after.fields.iter().map(|(name, _)| *name);
    names.extend(new.filter(|name| !before.fields.iter().any(|(other, _)| other == name)));
    let value = |block: &Block, name| {
        let field = block.fields.iter().find(|(other, _)| *other == name);
        field.map(|(_, value)| value.clone())
    };
    let mut differ: Vec<Field> = names
        .into_iter()
        .map(|name| Field { name, before: value(before, name), after: value(after, name) })
        .filter(|field| field.before != field.after)
        .collect();
    if before.entries == after.entries {
        // What no field tells, such as bytes that the walk over device entries does not get to.
        if differ.is_empty() && before.bytes != after.bytes {
            let (before, after) = (Some(before.bytes.clone()), Some(after.bytes.clone()));
            differ.push(Field { name: "bytes", before, after });
        }
        return differ;
    }
    let found = differ.len();
    differ.extend(
        pairs(&before.entries, &after.entries, &[&String::clone]).into_iter().filter_map(
            |(old, new)| {
                let (before, after) = (old.cloned(), new.cloned());
                (before != after).then_some(Field { name: "device_entry", before, after })
            },
        ),
    );
    if differ.len() == found {
        // The same entries in another order, which can matter: a later one overrules an earlier.
        let all = |block: &Block| Some(block.entries.join("; "));
        let (before, after) = (all(before), all(after));
        differ.push(Field { name: "device_entries", before, after });
    }
    differ
}

/// The header, and what the table is as a whole. With the blocks these are all of its bytes.
fn header(ivrs: &Ivrs, view: &KernelView) -> Vec<(&'static str, Option<String>)> {
    let header = &ivrs.header;
    let id = |bytes: &[u8]| {
        // Blanks and zeros at the end are told apart by the second part.
        let name = printable_bytes(bytes);
        Some(format!("\"{}\" ({})", name.trim_end(), hex_bytes(bytes)))
    };
    let fatal: Vec<String> = view.fatal.iter().map(ToString::to_string).collect();
    let cut = ivrs.truncation.map(|stop| stop.offset());
    let rest = cut.and_then(|offset| ivrs.bytes().get(offset..)).map(hex_bytes);
    vec![
        ("oem_id", id(&header.oem_id)),
        ("oem_table_id", id(&header.oem_table_id)),
        ("oem_revision", Some(format!("{:#x}", header.oem_revision))),
        ("creator_id", id(&header.creator_id)),
        ("creator_revision", Some(format!("{:#x}", header.creator_revision))),
        ("revision", Some(header.revision.to_string())),
        ("length", Some(header.length.to_string())),
        ("checksum", Some(format!("{:#04x}", header.checksum))),
        ("checksum_ok", Some(header.checksum_ok.to_string())),
        ("ivinfo", Some(format!("{:#010x}", ivrs.ivinfo.0))),
        ("reserved", ivrs.bytes().get(40..HEADER_LENGTH).map(hex_bytes)),
        ("stops", ivrs.truncation.map(|stop| stop.to_string())),
        ("rest", rest),
        ("ivhd_type", view.target_ivhd_type.map(|code| format!("{code:#04x}"))),
        ("fatal", (!fatal.is_empty()).then(|| fatal.join("; "))),
    ]
}

/// The bytes of a block, as many as the table has.
fn bytes_of(ivrs: &Ivrs, offset: usize, length: usize) -> &[u8] {
    let rest = ivrs.bytes().get(offset..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

fn ivhd(ivrs: &Ivrs, index: usize, block: &Ivhd) -> Block {
    let kind = block.kind.code();
    let mut fields = vec![
        ("type", format!("{kind:#04x}")),
        ("flags", format!("{:#04x}", block.flags)),
        ("block_length", block.length.to_string()),
        ("devid", String::from(block.devid)),
        ("cap_offset", format!("{:#x}", block.cap_offset)),
        ("mmio", format!("{:#x}", block.mmio)),
        ("segment", String::from(block.segment)),
        ("info", format!("{:#06x}", block.info)),
        ("feature_info", format!("{:#010x}", block.feature_info)),
    ];
    fields.extend(block.efr.map(|efr| ("efr", format!("{efr:#x}"))));
    fields.extend(block.efr2.map(|efr2| ("efr2", format!("{efr2:#x}"))));
    let unit = Bdf::new(block.segment, block.devid);
    let bytes = bytes_of(ivrs, block.offset, usize::from(block.length));
    Block {
        index,
        offset: format!("{:#x}", block.offset),
        bytes: hex_bytes(bytes),
        title: format!("type {kind:#04x}, the IOMMU {unit}, registers at {:#x}", block.mmio),
        fields,
        entries: block.raw_entries(ivrs).map(|entry| hex_bytes(entry.bytes)).collect(),
        keys: [format!("{kind} {unit}"), format!("{kind} {:#x}", block.mmio)],
    }
}

fn ivmd(ivrs: &Ivrs, block: &Ivmd) -> Block {
    let kind = block.kind.code();
    let devids = match block.kind {
        IvmdKind::All => "all devices".to_owned(),
        IvmdKind::Device => block.devid.to_string(),
        IvmdKind::Range => format!("{} to {}", block.devid, crate::pci::Devid(block.aux)),
    };
    let length = usize::from(block.block_length).max(IVMD_LENGTH);
    let bytes = bytes_of(ivrs, block.offset, length);
    let memory = format!("{:#x}, {}", block.start, crate::report::size(block.length));
    Block {
        index: block.index,
        offset: format!("{:#x}", block.offset),
        bytes: hex_bytes(bytes),
        title: format!(
            "type {kind:#04x}, flags {:#04x}, {devids} of segment {}, memory at {memory}",
            block.flags.0, block.segment
        ),
        fields: vec![
            ("type", format!("{kind:#04x}")),
            ("flags", format!("{:#04x}", block.flags.0)),
            ("block_length", block.block_length.to_string()),
            ("devid", String::from(block.devid)),
            ("aux", format!("{:#06x}", block.aux)),
            ("segment", String::from(block.segment)),
            ("reserved", bytes.get(10..16).map(hex_bytes).unwrap_or_default()),
            ("start", format!("{:#x}", block.start)),
            ("length", format!("{:#x}", block.length)),
            ("extra", bytes.get(IVMD_LENGTH..).map(hex_bytes).unwrap_or_default()),
        ],
        entries: Vec::new(),
        keys: [
            format!("{:#x} {:#x}", block.start, block.length),
            format!("{kind} {} {} {:#x}", block.segment, block.devid, block.aux),
        ],
    }
}

fn unknown(index: usize, block: &OtherBlock) -> Block {
    let kind = format!("{:#04x}", block.kind);
    Block {
        index,
        offset: format!("{:#x}", block.offset),
        bytes: hex_bytes(&block.bytes),
        title: format!("type {kind}, {} bytes", block.length),
        fields: vec![
            ("block_length", block.length.to_string()),
            ("bytes", hex_bytes(&block.bytes)),
        ],
        entries: Vec::new(),
        keys: [kind.clone(), kind],
    }
}

fn text(reading: &Reading<String>) -> Option<String> {
    reading.value().map(|text| printable(text))
}

fn host(model: &Known) -> Vec<(&'static str, Option<String>)> {
    let (host, dmi) = (&model.host, &model.host.dmi);
    let refuses = match model.require_direct() {
        RequireDirect::Present => Some("true".to_owned()),
        RequireDirect::Missing => Some("false".to_owned()),
        RequireDirect::Unknown => None,
    };
    let iommus = host.iommus.value().map(|names| printable(&names.join(", ")));
    vec![
        ("bios_version", text(&dmi.bios_version)),
        ("bios_date", text(&dmi.bios_date)),
        ("kernel_release", text(&host.kernel_release)),
        ("require_direct", refuses),
        ("command_line", text(&host.command_line)),
        ("sys_vendor", text(&dmi.sys_vendor)),
        ("product_name", text(&dmi.product_name)),
        ("board_vendor", text(&dmi.board_vendor)),
        ("board_name", text(&dmi.board_name)),
        ("iommus", iommus),
    ]
}

fn group_side(group: &Group) -> GroupSide {
    let name = |member: &Member| match member {
        Member::Pci(bdf) => bdf.to_string(),
        Member::Other(name) => printable(name),
    };
    let regions = group.regions.value().map(|regions| {
        let line = |region: &crate::host::ReservedRegion| {
            let kind = printable(&region.kind.to_string());
            format!("{:#x} {:#x} {kind}", region.start, region.end_inclusive)
        };
        regions.iter().map(line).collect()
    });
    GroupSide {
        id: group.id,
        members: group.members.value().into_iter().flatten().map(name).collect(),
        domain_type: text(&group.domain_type),
        regions,
    }
}

fn groups(a: &Known, b: &Known) -> Vec<GroupChange> {
    let sides = |model: &Known| model.groups().map(group_side).collect::<Vec<_>>();
    let (before, after) = (sides(a), sides(b));
    let pairs =
        pairs(&before, &after, &[&|group| group.members.join(" "), &|group| group.id.to_string()]);
    let mut changes: Vec<GroupChange> = pairs
        .into_iter()
        .filter(|(old, new)| old != new)
        .map(|(old, new)| {
            let content =
                |side: Option<&GroupSide>| side.map(|side| GroupSide { id: 0, ..side.clone() });
            GroupChange {
                change: Kind::of(old.is_some(), new.is_some(), content(old) == content(new)),
                before: old.cloned(),
                after: new.cloned(),
            }
        })
        .collect();
    changes.sort_by_key(|change| {
        let place = change.after.as_ref().or(change.before.as_ref());
        (place.map(|group| group.id), change.change)
    });
    changes
}

fn devices(a: &Known, b: &Known) -> Vec<DeviceChange> {
    let verdicts = |model: &Known| -> BTreeMap<Bdf, DeviceVerdict> {
        model.verdicts().devices.into_iter().map(|device| (device.bdf, device)).collect()
    };
    let (before, after) = (verdicts(a), verdicts(b));
    let all: BTreeSet<Bdf> = before.keys().chain(after.keys()).copied().collect();
    all.into_iter()
        .filter_map(|bdf| {
            let (old, new) = (before.get(&bdf), after.get(&bdf));
            let (one, other) = (side(a, old), side(b, new));
            let key = |side: &Option<DeviceSide>, device: Option<&DeviceVerdict>| {
                let side = side.clone()?;
                Some((side.id, side.judgement.verdict, side.judgement.blocked_by, causes(device?)))
            };
            (key(&one, old) != key(&other, new)).then(|| DeviceChange {
                bdf,
                change: Kind::of(old.is_some(), new.is_some(), false),
                before: one,
                after: other,
            })
        })
        .collect()
}

/// What holds a device, whichever block it comes from.
fn causes(device: &DeviceVerdict) -> BTreeSet<(CauseKind, u64, u64)> {
    device.causes.iter().map(|cause| (cause.kind, cause.start, cause.end)).collect()
}

fn side(model: &Known, device: Option<&DeviceVerdict>) -> Option<DeviceSide> {
    let device = device?;
    let id = |function: &PciFunction| {
        let (vendor, device) = (function.vendor.value()?, function.device.value()?);
        Some(format!("{vendor:04x}:{device:04x}"))
    };
    Some(DeviceSide {
        id: model.function(device.bdf).and_then(id),
        group: device.group,
        judgement: Judgement::from(device),
    })
}

#[cfg(test)]
mod tests;
