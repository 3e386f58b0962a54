//! What physical memory is, by `/proc/iomem` and by the firmware's own map.
//!
//! It says which entries a range of memory lies in. What follows from that is for others to judge.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::tree::{Dir, Reading};

/// Bytes of `/proc/iomem` that are read at most; real ones have some ten thousand.
const IOMEM_LIMIT: usize = 4 * 1024 * 1024;
/// Bytes of an attribute of `/sys/firmware/memmap` that are read at most.
const ATTRIBUTE_LIMIT: usize = 4096;

/// Names of memory that the firmware keeps from the operating system, as the kernel writes them
/// (`e820_type_to_string`, arch/x86/kernel/e820.c, 6.12).
const RESERVED: [&str; 4] =
    ["Reserved", "ACPI Tables", "ACPI Non-volatile Storage", "Unusable memory"];
/// How the names of ordinary memory begin; newer kernels also have `System RAM (kernel)`.
const RAM: &str = "System RAM";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRange {
    pub start: u64,
    pub end_inclusive: u64,
    /// How many entries it lies in: 0 at the top.
    pub depth: u8,
    /// What it is, such as `Reserved` or `System RAM`, as it is written.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryUse {
    /// The operating system's own memory.
    Ram,
    Firmware,
    /// Anything else: registers of devices, buses, ROMs.
    Other,
}

impl MemoryRange {
    pub fn used_for(&self) -> MemoryUse {
        if self.name.starts_with(RAM) {
            MemoryUse::Ram
        } else if RESERVED.contains(&self.name.as_str()) {
            MemoryUse::Firmware
        } else {
            MemoryUse::Other
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryMap {
    /// Its entries: an outer one before those that lie in it.
    pub ranges: Vec<MemoryRange>,
    pub bad: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapSource {
    /// `/proc/iomem`: the kernel's view, with what drivers and buses have claimed.
    Iomem,
    /// `/sys/firmware/memmap`: what the firmware passed on (the e820 map).
    Firmware,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionClass<'a> {
    pub source: MapSource,
    /// The entries that the range touches, in the map's order.
    pub ranges: Vec<&'a MemoryRange>,
    /// Whether some byte of the range is in no entry.
    pub gap: bool,
    /// Whether every byte is in memory that the firmware keeps from the operating system.
    pub reserved: bool,
}

impl RegionClass<'_> {
    pub fn touches_ram(&self) -> bool {
        self.ranges.iter().any(|range| range.used_for() == MemoryUse::Ram)
    }

    /// The names of the entries at the top, each once; empty where there is none.
    pub fn names(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let top = self.ranges.iter().filter(|range| range.depth == 0);
        top.map(|range| range.name.as_str()).filter(|name| seen.insert(*name)).collect()
    }
}

impl MemoryMap {
    /// What the bytes from `start` to `end_inclusive` are; none of them where the end is first.
    pub fn class(&self, source: MapSource, start: u64, end_inclusive: u64) -> RegionClass<'_> {
        let touches = |range: &&MemoryRange| {
            start <= end_inclusive && range.start <= end_inclusive && range.end_inclusive >= start
        };
        let ranges: Vec<_> = self.ranges.iter().filter(touches).collect();
        let reserved = ranges.iter().filter(|range| range.used_for() == MemoryUse::Firmware);
        RegionClass {
            source,
            gap: !covered(ranges.iter(), start, end_inclusive),
            reserved: !ranges.is_empty() && covered(reserved, start, end_inclusive),
            ranges,
        }
    }

    /// Reads `/proc/iomem` in the directory `proc`.
    pub(super) fn iomem(proc: &Dir<'_>) -> Reading<Self> {
        proc.text("iomem", IOMEM_LIMIT).and_then(|text| {
            let mut map = Self::default();
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                match iomem_line(line) {
                    Some(range) => map.ranges.push(range),
                    None => map.bad += 1,
                }
            }
            // `r_show` (kernel/resource.c) gives zeros to those without CAP_SYS_ADMIN.
            if map.ranges.iter().all(|range| range.end_inclusive == 0) {
                let path = proc.path_of("iomem");
                let why = if map.ranges.is_empty() {
                    "has no entries"
                } else {
                    "shows its addresses to root only"
                };
                return Reading::Unreadable(format!("{}: {why}", path.display()));
            }
            Reading::Read(map)
        })
    }

    /// Reads the firmware's map from `/sys/firmware/memmap`.
    pub(super) fn firmware(memmap: &Dir<'_>) -> Reading<Self> {
        memmap.names().map(|names| {
            let mut map = Self::default();
            for name in names {
                match memmap.dir(&name).value().and_then(firmware_entry) {
                    Some(range) => map.ranges.push(range),
                    None => map.bad += 1,
                }
            }
            map.ranges.sort_by_key(|range| (range.start, range.end_inclusive));
            map
        })
    }
}

/// Whether the ranges together hold every byte from `start` to `end_inclusive`.
fn covered<'a>(
    ranges: impl Iterator<Item = &'a &'a MemoryRange>,
    start: u64,
    end_inclusive: u64,
) -> bool {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut next = start;
    for range in ranges {
        if range.start > next {
            return false;
        }
        if range.end_inclusive >= end_inclusive {
            return true;
        }
        next = next.max(range.end_inclusive.saturating_add(1));
    }
    next > end_inclusive
}

/// `  000f0000-000fffff : System ROM`, two spaces a level (`r_show`, kernel/resource.c).
fn iomem_line(line: &str) -> Option<MemoryRange> {
    let content = line.trim_start_matches(' ');
    let depth = u8::try_from((line.len() - content.len()) / 2).ok()?;
    let (range, name) = content.split_once(" : ")?;
    let (start, end) = range.split_once('-')?;
    let (start, end_inclusive) = (address(start)?, address(end)?);
    (start <= end_inclusive).then(|| MemoryRange {
        start,
        end_inclusive,
        depth,
        name: name.trim_end().to_owned(),
    })
}

/// `start`, `end` (inclusive) and `type` of an entry (drivers/firmware/memmap.c).
fn firmware_entry(entry: &Dir<'_>) -> Option<MemoryRange> {
    let text = |name| entry.text(name, ATTRIBUTE_LIMIT);
    let number = |name| address(text(name).value()?.strip_prefix("0x")?);
    let (start, end_inclusive) = (number("start")?, number("end")?);
    let name = text("type").value()?.clone();
    (start <= end_inclusive).then_some(MemoryRange { start, end_inclusive, depth: 0, name })
}

fn address(digits: &str) -> Option<u64> {
    // `from_str_radix` alone would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u64::from_str_radix(digits, 16).ok()
}
