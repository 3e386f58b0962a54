//! Whether memory that an entry asks for is kept from the operating system.

use crate::{
    escape::printable,
    firmware::{Fact, Finding},
    host::{MapSource, Reading},
    model::{bounds::MEMORY_LINES, known::Known},
};

/// How many blocks, and how many lines of a memory map, are evidence one by one.
pub(crate) const AT_MOST: usize = 32;

/// How a memory map lists memory that is not reserved, and its lines; `None` where it is, or where
/// that cannot be told.
pub(super) fn not_reserved(model: &Known, start: u64, end: u64) -> Option<(String, Vec<Fact>)> {
    let Reading::Read(class) = model.host().region_class(start, end) else { return None };
    let (name, map) = match class.source {
        MapSource::Iomem => ("/proc/iomem", &model.host().iomem),
        MapSource::Firmware => ("/sys/firmware/memmap", &model.host().firmware_memory),
    };
    // Where lines of the map are lost, what is not listed may have been.
    let whole = map.value().is_some_and(|map| map.bad == 0);
    let found = if class.reserved {
        return None;
    } else if class.touches_ram() {
        let names: Vec<String> = class.names().into_iter().take(AT_MOST).map(printable).collect();
        format!("lists as {}", names.join(" and "))
    } else if class.gap && whole {
        if class.ranges.is_empty() { "does not list" } else { "lists only in part" }.to_owned()
    } else {
        return None;
    };
    let lines = class.ranges.iter().take(AT_MOST).map(|range| Fact::Memory {
        map: name,
        start: range.start,
        end: range.end_inclusive,
        name: range.name.clone(),
    });
    Some((format!("{name} {found}"), lines.collect()))
}

/// What it is of which some is not held against the memory map.
pub(super) const NOT_COMPARED: &str = "regions of entries were not compared with the memory map";

/// How many of so many regions are held against the lines of the memory map.
pub(super) fn compared(model: &Known, regions: usize) -> usize {
    let host = model.host();
    let maps = [&host.iomem, &host.firmware_memory];
    let lines = maps.into_iter().find_map(Reading::value).map_or(0, |map| map.ranges.len());
    regions.min(MEMORY_LINES / lines.max(1))
}

/// The first of findings of one code, and how many more there are.
pub(super) fn at_most(findings: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let mut findings = findings.into_iter();
    let mut told: Vec<Finding> = findings.by_ref().take(AT_MOST).collect();
    if let (more @ 1.., Some(code)) = (findings.count(), told.last().map(|last| last.code)) {
        told.push(Finding::new(code, format!("There are {more} more of this kind.")));
    }
    told
}
