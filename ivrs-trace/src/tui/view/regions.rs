//! The regions view: a row a reserved region of the address space, with the devices and groups that
//! it applies to, and where it lies.

mod gather;
mod picture;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::VecDeque};

use self::gather::{Key, Region};
use super::{devices::list_devices, plain};
use crate::{
    escape::printable,
    host::{Member, Reading, RegionKind},
    model::{RequireDirect, member_name},
    pci::Bdf,
    report,
    tui::{
        Action, Role, Scene,
        detail::Text,
        pane::{Column, Piece, Rows, Target},
    },
};

/// Regions that are looked at. Real hosts have some ten; the title says how many more there are.
const ROWS: usize = 1 << 14;
/// Entries and other names that are listed one by one.
const NAMES: usize = 32;

/// The regions view. A row is what tells a region from others.
#[derive(Debug, Default)]
pub(super) struct Regions {
    /// All regions by address.
    all: Vec<Region>,
    left_out: usize,
    memory: Vec<picture::Stretch>,
    /// Only those of this group.
    group: Option<u32>,
}

impl Regions {
    fn place(&self, row: &Key) -> Option<usize> {
        self.all.binary_search_by(|one| one.key().cmp(row)).ok()
    }

    fn region(&self, row: &Key) -> Option<&Region> {
        self.all.get(self.place(row)?)
    }
}

/// The PCI functions among the members.
fn functions<'a>(members: impl IntoIterator<Item = &'a Member>) -> impl Iterator<Item = Bdf> {
    members.into_iter().filter_map(|member| match member {
        Member::Pci(bdf) => Some(*bdf),
        Member::Other(_) => None,
    })
}

/// The other devices among the members, printable.
fn others<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<String> {
    let names = members.into_iter().filter_map(|member| match member {
        Member::Pci(_) => None,
        Member::Other(name) => Some(printable(name)),
    });
    names.take(NAMES).collect()
}

fn size(region: &Region) -> String {
    if region.length() == 0 && region.end < region.start {
        "no length".to_owned()
    } else {
        report::size(region.length())
    }
}

/// `IVMD 0, 1`, no more than [`NAMES`] of them.
fn entries(region: &Region) -> String {
    let Some(first) = region.entries.first() else { return String::new() };
    let more = region.entries.iter().skip(1).take(NAMES - 1);
    let mut text = first.to_string();
    text.extend(more.map(|entry| format!(", {}", entry.index())));
    match region.entries.len().saturating_sub(NAMES) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn text_of(region: &Region) -> String {
    let Region { start, end, .. } = region;
    let kind = printable(&region.kind.to_string());
    let mut words = vec![format!("{start:#x} {end:#x} {kind} {}", size(region))];
    words.extend(region.entries.iter().map(ToString::to_string));
    words.extend(region.groups.iter().map(|group| format!("group {group}")));
    let members = region.devices.iter().chain(&region.perhaps);
    words.extend(members.map(|member| printable(&member_name(member))));
    words.join(" ")
}

/// What a kind of region is, and how it looks.
fn kind(kind: &RegionKind, scene: &Scene<'_>) -> (Role, &'static str, &'static str) {
    match kind {
        RegionKind::Direct => (
            match scene.model.refuses() {
                RequireDirect::Present => Role::Bad,
                RequireDirect::Missing | RequireDirect::Unknown => Role::Doubtful,
            },
            "direct",
            "must be mapped 1:1 at all times; Linux 6.6 and later do not assign its devices to VFIO",
        ),
        RegionKind::DirectRelaxable => (
            Role::Text,
            "relaxable",
            "mapped 1:1 until the device is assigned; it blocks no device",
        ),
        RegionKind::Reserved => {
            (Role::Dim, "reserved", "nothing may be mapped there; a guest has no memory there")
        }
        RegionKind::Msi => (Role::Dim, "msi", "interrupts are written there; nothing is mapped"),
        RegionKind::Other(_) => (Role::Doubtful, "other", "an unknown type"),
    }
}

impl Rows for Regions {
    type Row = Key;

    const COLUMNS: &'static [Column] = &[
        Column { title: "start", width: 18, from: 0 },
        Column { title: "type", width: 9, from: 0 },
        Column { title: "size", width: 10, from: 39 },
        Column { title: "entry", width: 7, from: 47 },
        Column { title: "devices", width: 7, from: 55 },
        Column { title: "groups", width: 6, from: 62 },
        Column { title: "end", width: 18, from: 78 },
        Column { title: "", width: 0, from: 0 },
    ];
    const ORDERS: &'static [&'static str] = &["address", "size", "type", "number of devices"];

    fn rows(&mut self, order: usize, scene: &Scene<'_>) -> Vec<Key> {
        self.all = gather::gather(scene.model);
        self.left_out = self.all.len().saturating_sub(ROWS);
        self.all.truncate(ROWS);
        self.memory = picture::memory(scene.model.host());
        let of_group = |one: &&Region| self.group.is_none_or(|id| one.groups.contains(&id));
        let mut rows: Vec<&Region> = self.all.iter().filter(of_group).collect();
        match order {
            1 => rows.sort_by_key(|region| Reverse(region.length())),
            2 => rows.sort_by_cached_key(|region| region.kind.to_string()),
            3 => rows.sort_by_key(|region| {
                Reverse(region.devices.len().saturating_add(region.perhaps.len()))
            }),
            _ => {}
        }
        rows.into_iter().map(Region::key).collect()
    }

    fn text(&self, row: &Key, _: &Scene<'_>) -> String {
        self.region(row).map_or_else(String::new, text_of)
    }

    fn cells(&self, row: &Key, _: Option<&Key>, scene: &Scene<'_>) -> Vec<Piece> {
        let Some(region) = self.region(row) else { return Vec::new() };
        let (role, word, _) = kind(&region.kind, scene);
        let mark = if region.conflicts.is_empty() { "" } else { " !" };
        let devices = match (region.devices.len(), region.perhaps.len()) {
            (sure, 0) => sure.to_string(),
            // Which of them it is does not show.
            (0, perhaps) => format!("of {perhaps}"),
            (sure, _) => format!("{sure}+"),
        };
        vec![
            plain(format!("{:#x}", region.start)),
            (role, format!("{word}{mark}")),
            plain(size(region)),
            plain(entries(region)),
            plain(devices),
            plain(region.groups.len().to_string()),
            plain(format!("{:#x}", region.end)),
            plain(""),
        ]
    }

    fn title(&self, _: &VecDeque<Key>, _: &Scene<'_>) -> Vec<String> {
        let count = |kind: &RegionKind| self.all.iter().filter(|one| one.kind == *kind).count();
        let mut parts = vec![format!("Regions: {} direct", count(&RegionKind::Direct))];
        for (kind, word) in [
            (RegionKind::DirectRelaxable, "relaxable"),
            (RegionKind::Reserved, "reserved"),
            (RegionKind::Msi, "msi"),
        ] {
            match count(&kind) {
                0 => {}
                some => parts.push(format!("{some} {word}")),
            }
        }
        if self.left_out > 0 {
            parts.push(format!("{} not shown", self.left_out));
        }
        if let Some(id) = self.group {
            parts.push(format!("only group {id}"));
        }
        parts
    }

    fn none(&self, scene: &Scene<'_>) -> Option<String> {
        if !self.all.is_empty() {
            let none = |id: &u32| self.all.iter().all(|one| !one.groups.contains(id));
            let id = self.group.filter(none)?;
            return Some(format!("Group {id} has no reserved region."));
        }
        Some(match &scene.model.host().groups {
            Reading::Unreadable(why) => {
                format!("No reserved region is known. IOMMU groups: {}.", printable(why))
            }
            Reading::Read(groups) if !groups.is_empty() => {
                let unread = groups.iter().filter(|group| group.regions.value().is_none()).count();
                match unread {
                    0 => "No IOMMU group of this host shows a reserved region.".to_owned(),
                    many => format!(
                        "No reserved region is known: of {many} of the {} IOMMU groups \
                         reserved_regions was not read.",
                        groups.len()
                    ),
                }
            }
            _ => "This host has no IOMMU groups, so no reserved regions: its IOMMU is absent or \
                  switched off."
                .to_owned(),
        })
    }

    fn detail(&self, row: &Key, text: &mut Text, scene: &Scene<'_>) {
        let Some(index) = self.place(row) else { return };
        let Some(region) = self.all.get(index) else { return };
        let (role, _, meaning) = kind(&region.kind, scene);
        let range = if region.length() == 0 && region.end < region.start {
            format!("{:#x}", region.start)
        } else {
            format!("{:#x} to {:#x}", region.start, region.end)
        };
        text.line(vec![
            (Role::Title, format!("{range}  ")),
            (role, printable(&region.kind.to_string())),
        ]);
        text.row("size", &size(region));
        text.row("type", meaning);
        let host = scene.model.host();
        let memory = report::letters::input::memory(host, region.start, region.end, printable);
        text.row(
            "memory",
            &match (memory, &host.iomem) {
                (Some(memory), _) => memory,
                (None, Reading::Unreadable(why)) => format!("not known: {}", printable(why)),
                (None, _) if region.end < region.start => {
                    "none: the region has no length".to_owned()
                }
                (None, _) => "not known: no memory map was read".to_owned(),
            },
        );
        let table = if scene.model.is_intel_host() { "DMAR" } else { "IVRS" };
        if !region.entries.is_empty() {
            text.row("firmware", &format!("{} of the {table}", entries(region)));
        }
        text.row(
            "source",
            &match (region.listed, region.shown) {
                (Some(event), true) => {
                    format!("the kernel's list for each device (event {event}), and sysfs")
                }
                (Some(event), false) => {
                    format!("the kernel's list for each device (event {event})")
                }
                (None, true) => "reserved_regions in sysfs, where the kernel merges and sorts the \
                             regions of all members of a group"
                    .to_owned(),
                (None, false) => format!("only the {table} table"),
            },
        );
        for conflict in &region.conflicts {
            text.painted_row("conflict", Role::Doubtful, conflict);
        }
        text.title("Address space");
        picture::draw(text, &self.all, index, &self.memory);
        let count = region.groups.len();
        let groups = if count == 1 { "group" } else { "groups" };
        let title = format!("Devices ({count} {groups})");
        list_devices(text, &title, functions(&region.devices), &[], scene);
        for name in others(&region.devices) {
            text.text(&name);
        }
        if !region.perhaps.is_empty() {
            let title = "Perhaps these devices; sysfs does not show which";
            list_devices(text, title, functions(&region.perhaps), &[], scene);
            for name in others(&region.perhaps) {
                text.text(&name);
            }
        }
    }

    fn target(&self, row: &Key) -> Option<Target> {
        self.region(row)?.entries.first().copied().map(Target::RegionOf)
    }

    fn shows(&self, row: &Key, target: &Target) -> bool {
        let Target::RegionOf(entry) = target else { return false };
        self.region(row).is_some_and(|region| region.entries.contains(entry))
    }

    fn narrow(&mut self, target: &Target) -> Option<String> {
        let Target::Group(id) = target else { return None };
        self.group = Some(*id);
        Some(String::new())
    }

    fn widen(&mut self) {
        self.group = None;
    }

    fn link(&self, row: &Key, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let region = self.region(row)?;
        let entry = || region.entries.first().copied().map(Target::Entry);
        let device = || {
            let shown = |bdf: &Bdf| scene.device(*bdf).is_some();
            // Those of the group that is looked at come first.
            let of_group = |bdf: &Bdf| scene.device(*bdf).and_then(|one| one.group) == self.group;
            let all = || functions(region.devices.iter().chain(&region.perhaps)).filter(shown);
            all().find(of_group).or_else(|| all().next()).map(Target::Device)
        };
        match action {
            Action::Open => entry().or_else(device),
            Action::ToEntry => entry(),
            Action::ToDevice => device(),
            _ => None,
        }
    }
}
