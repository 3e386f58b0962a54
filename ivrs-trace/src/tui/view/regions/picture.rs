//! A picture of the address space with the reserved regions in it, in plain characters.
//!
//! It is not to scale: what has 4 KiB is seen beside what has terabytes, for each part is as wide as
//! the logarithm of its length.

use std::collections::BTreeSet;

use super::gather::Region;
use crate::{
    escape::printable,
    host::{MemoryMap, MemoryUse, RegionKind, Snapshot},
    report,
    tui::{Role, detail::Text},
};

/// Parts of the picture that are named, on each side of the chosen region.
const NAMED: usize = 4;
/// Entries of a memory map that are looked at. Real maps have some hundred at the top.
const ENTRIES: usize = 4096;

/// Memory of one use. Addresses have 128 bits so that the end of everything is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    start: u128,
    /// Exclusive.
    end: u128,
    used_for: MemoryUse,
    /// By the map, if all of it has one name.
    name: Option<String>,
}

/// What there is between two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A region, by its place among those of the picture.
    Region(usize),
    /// Memory, by its place among the stretches.
    Memory(usize),
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    start: u128,
    end: u128,
    what: What,
}

impl Part {
    /// The length as what it counts in the picture: at least 1.
    fn weight(&self) -> u128 {
        u128::from((self.end - self.start).checked_ilog2().unwrap_or_default() + 1)
    }
}

/// The memory of a host, by the kernel's map or by the firmware's.
pub(super) fn memory(host: &Snapshot) -> Vec<Stretch> {
    let map = host.iomem.value().or(host.firmware_memory.value());
    map.map(stretches).unwrap_or_default()
}

fn stretches(map: &MemoryMap) -> Vec<Stretch> {
    let top = map.ranges.iter().filter(|range| range.depth == 0).take(ENTRIES);
    let mut ranges: Vec<_> = top.collect();
    ranges.sort_by_key(|range| range.start);
    let mut stretches: Vec<Stretch> = Vec::new();
    for range in ranges {
        let before = stretches.last().map_or(0, |last| last.end);
        let start = u128::from(range.start).max(before);
        let end = u128::from(range.end_inclusive) + 1;
        if end <= start {
            continue;
        }
        let used_for = range.used_for();
        match stretches.last_mut() {
            Some(last) if last.end == start && last.used_for == used_for => {
                last.end = end;
                last.name = last.name.take().filter(|name| *name == range.name);
            }
            _ => {
                stretches.push(Stretch { start, end, used_for, name: Some(range.name.clone()) });
            }
        }
    }
    stretches
}

/// Draws the address space around the region `chosen` of `all`, which are in the order of addresses.
pub(super) fn draw(text: &mut Text, all: &[Region], chosen: usize, memory: &[Stretch]) {
    let width = text.width();
    // A quarter of the columns is for regions, the nearest ones.
    let count = (width / 4).max(1);
    let first = chosen.saturating_sub(count / 2).min(all.len().saturating_sub(count));
    let regions = all.get(first..all.len().min(first.saturating_add(count))).unwrap_or_default();
    let Some(chosen) = chosen.checked_sub(first).filter(|at| *at < regions.len()) else { return };
    let parts = parts(regions, chosen, memory);
    let fitted = fitted(&parts, width, chosen);
    let mut bar: Vec<(Role, String)> = Vec::new();
    let mut below = String::new();
    for (part, columns) in &fitted {
        let here = part.what == What::Region(chosen);
        let (letter, role) = look(part.what, regions, memory);
        bar.push((if here { Role::Lit } else { role }, letter.to_string().repeat(*columns)));
        below.push_str(&(if here { "^" } else { " " }).repeat(*columns));
    }
    text.line(bar);
    text.line(vec![(Role::Text, below.trim_end().to_owned())]);
    let at = parts.iter().position(|part| part.what == What::Region(chosen)).unwrap_or_default();
    let named = parts.iter().skip(at.saturating_sub(NAMED)).take(2 * NAMED + 1);
    for part in named {
        let here = part.what == What::Region(chosen);
        let (letter, role) = look(part.what, regions, memory);
        let mark = if here { '>' } else { ' ' };
        let words = words(part, regions, memory);
        let (role, of) = if here { (Role::Lit, Role::Text) } else { (role, Role::Dim) };
        text.line(vec![
            (Role::Text, format!("{mark} {:>18} ", format!("{:#x}", part.start))),
            (role, letter.to_string()),
            (of, format!(" {words}")),
        ]);
    }
    let map =
        if memory.is_empty() { "" } else { "# RAM, = kept by firmware, - other, . nothing; " };
    let left_out = match all.len() - regions.len() {
        0 => String::new(),
        more => format!("; {more} more regions not shown"),
    };
    let legend = "D direct, d direct-relaxable, R reserved, M msi; not to scale";
    text.paragraph(Role::Dim, "", &format!("{map}{legend}{left_out}."));
}

/// First byte and end (exclusive) of a region; what has no length is seen as one byte.
fn span(region: &Region) -> (u128, u128) {
    let start = u128::from(region.start);
    (start, (u128::from(region.end) + 1).max(start + 1))
}

/// The address space from 0 to the last thing in it, cut wherever something else begins.
fn parts(regions: &[Region], chosen: usize, memory: &[Stretch]) -> Vec<Part> {
    let mut cuts = BTreeSet::from([0]);
    cuts.extend(regions.iter().map(span).flat_map(|(start, end)| [start, end]));
    cuts.extend(memory.iter().flat_map(|stretch| [stretch.start, stretch.end]));
    let cuts: Vec<u128> = cuts.into_iter().collect();
    let mut parts: Vec<Part> = Vec::new();
    for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
        let within = |region: &Region| {
            let (from, to) = span(region);
            from <= *start && start < &to
        };
        // Where regions lie over each other, the chosen one is seen, then what blocks.
        let top = (0..regions.len())
            .filter(|at| regions.get(*at).is_some_and(within))
            .min_by_key(|at| (*at != chosen, regions.get(*at).map(|one| rank(&one.kind))));
        let what = top.map(What::Region).or_else(|| {
            let behind = memory.partition_point(|stretch| stretch.start <= *start);
            let at = behind.checked_sub(1)?;
            memory.get(at).filter(|stretch| *start < stretch.end).map(|_| What::Memory(at))
        });
        let what = what.unwrap_or(What::Nothing);
        match parts.last_mut() {
            Some(last) if last.what == what => last.end = *end,
            _ => parts.push(Part { start: *start, end: *end, what }),
        }
    }
    parts
}

/// As many parts as there are columns, each with its columns. The smallest ones without a region are
/// left out.
fn fitted(parts: &[Part], width: usize, chosen: usize) -> Vec<(Part, usize)> {
    // What must stay comes first, then what is long.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|at| {
        let part = parts.get(*at);
        let rank = part.map(|part| match part.what {
            What::Region(at) if at == chosen => 0,
            What::Region(_) => 1,
            What::Memory(_) | What::Nothing => 2,
        });
        (rank, std::cmp::Reverse(part.map(Part::weight)))
    });
    order.truncate(width);
    order.sort_unstable();
    let kept: Vec<Part> = order.into_iter().filter_map(|at| parts.get(at).copied()).collect();
    let total: u128 = kept.iter().map(Part::weight).sum();
    let spare = u128::try_from(width - kept.len()).unwrap_or_default();
    let mut sum = 0;
    let mut before = 0;
    kept.into_iter()
        .map(|part| {
            sum += part.weight();
            let upto = (sum * spare).checked_div(total).unwrap_or_default();
            let columns = 1 + usize::try_from(upto - before).unwrap_or_default();
            before = upto;
            (part, columns)
        })
        .collect()
}

fn rank(kind: &RegionKind) -> u8 {
    match kind {
        RegionKind::Direct => 0,
        RegionKind::DirectRelaxable => 1,
        RegionKind::Reserved => 2,
        RegionKind::Msi => 3,
        RegionKind::Other(_) => 4,
    }
}

fn look(what: What, regions: &[Region], memory: &[Stretch]) -> (char, Role) {
    match what {
        What::Region(at) => match regions.get(at).map(|region| &region.kind) {
            Some(RegionKind::Direct) => ('D', Role::Bad),
            Some(RegionKind::DirectRelaxable) => ('d', Role::Doubtful),
            Some(RegionKind::Reserved) => ('R', Role::Key),
            Some(RegionKind::Msi) => ('M', Role::Key),
            Some(RegionKind::Other(_)) | None => ('?', Role::Doubtful),
        },
        What::Memory(at) => match memory.get(at).map(|stretch| stretch.used_for) {
            Some(MemoryUse::Ram) => ('#', Role::Text),
            Some(MemoryUse::Firmware) => ('=', Role::Dim),
            Some(MemoryUse::Other) | None => ('-', Role::Dim),
        },
        What::Nothing => ('.', Role::Dim),
    }
}

fn words(part: &Part, regions: &[Region], memory: &[Stretch]) -> String {
    let size = u64::try_from(part.end - part.start).map_or_else(|_| "all".to_owned(), rough);
    match part.what {
        What::Region(at) => {
            let Some(region) = regions.get(at) else { return size };
            let kind = printable(&region.kind.to_string());
            let entries: Vec<String> =
                region.entries.iter().take(4).map(|entry| format!(", {entry}")).collect();
            let size = if region.length() == 0 { "no length".to_owned() } else { size };
            format!("{kind}, {size}{}", entries.concat())
        }
        What::Memory(at) => {
            let name = memory.get(at).map(|stretch| match (&stretch.name, stretch.used_for) {
                (Some(name), _) => printable(name),
                (None, MemoryUse::Ram) => "RAM".to_owned(),
                (None, MemoryUse::Firmware) => "kept by firmware".to_owned(),
                (None, MemoryUse::Other) => "registers, buses and the like".to_owned(),
            });
            format!("{}, {size}", name.unwrap_or_default())
        }
        What::Nothing if memory.is_empty() => format!("no region, {size}"),
        What::Nothing => format!("nothing, {size}"),
    }
}

/// A number of bytes: exact where that is short, or to a tenth of a unit.
fn rough(bytes: u64) -> String {
    const SHORT: usize = 4;
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = report::size(bytes);
    if exact.find(' ').is_some_and(|digits| digits <= SHORT) {
        return exact;
    }
    let unit = UNITS.into_iter().find(|(shift, _)| bytes >> shift > 0);
    unit.map_or(exact, |(shift, name)| {
        let tenths = (u128::from(bytes) * 10) >> shift;
        format!("~{}.{} {name}", tenths / 10, tenths % 10)
    })
}
