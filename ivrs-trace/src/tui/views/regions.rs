//! The regions view: a row a reserved region of the address space, with the devices and groups that
//! it applies to, and where it lies.

mod gather;
mod picture;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use ratatui::text::{Line, Span};

use self::gather::{Key, Region};
use super::firmware::list_devices;
use crate::{
    escape::printable,
    host::{Member, Reading, RegionKind},
    model::{RequireDirect, member_name},
    pci::Bdf,
    report,
    tui::{
        Action, Role, Scene,
        detail::Text,
        filter_words::Words,
        list::List,
        pane::{Column, Look, Pane, Target},
    },
};

/// Regions that are looked at. Real hosts have some ten; how many more there are is said in the title.
const ROWS: usize = 1 << 14;
/// IVMD blocks and other names that are listed one by one.
const NAMES: usize = 32;

/// By what rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Address,
    Size,
    Kind,
    Devices,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Address => Self::Size,
            Self::Size => Self::Kind,
            Self::Kind => Self::Devices,
            Self::Devices => Self::Address,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Size => "size",
            Self::Kind => "type",
            Self::Devices => "number of devices",
        }
    }
}

/// The regions view.
#[derive(Debug, Default)]
pub(in super::super) struct Regions {
    list: List,
    /// All regions by address.
    all: Vec<Region>,
    left_out: usize,
    memory: Vec<picture::Stretch>,
    /// Of which revision they are.
    made: Option<u64>,
    /// What the rows are, as indices into all.
    rows: Vec<usize>,
    order: Order,
    /// Only those of this group.
    group: Option<u32>,
    filter: String,
}

impl Regions {
    fn gather(&mut self, scene: &Scene<'_>) {
        let chosen = self.here().map(Region::key);
        self.all = gather::gather(scene.model);
        self.left_out = self.all.len().saturating_sub(ROWS);
        self.all.truncate(ROWS);
        self.memory = picture::memory(scene.model.host());
        self.made = Some(scene.stage.revision);
        self.arrange(chosen.as_ref());
    }

    /// Makes the rows again; the region of that key is chosen, if it is among them.
    fn arrange(&mut self, chosen: Option<&Key>) {
        let words = Words::of(&self.filter);
        let mut rows: Vec<(usize, &Region)> = self
            .all
            .iter()
            .enumerate()
            .filter(|(_, region)| self.group.is_none_or(|id| region.groups.contains(&id)))
            .filter(|(_, region)| words.are_in(|| text_of(region)))
            .collect();
        match self.order {
            Order::Address => {}
            Order::Size => rows.sort_by_key(|(_, region)| Reverse(region.length())),
            Order::Kind => rows.sort_by_cached_key(|(_, region)| region.kind.to_string()),
            Order::Devices => rows.sort_by_key(|(_, region)| {
                Reverse(region.devices.len().saturating_add(region.perhaps.len()))
            }),
        }
        self.rows = rows.into_iter().map(|(index, _)| index).collect();
        self.list.set_rows(self.rows.len());
        let is = |row: &usize, key: &Key| self.region(*row).is_some_and(|one| one.key() == *key);
        let row = chosen.and_then(|key| (0..self.rows.len()).find(|row| is(row, key)));
        if let Some(row) = row {
            self.list.choose(row);
        }
    }

    fn rearrange(&mut self) {
        let chosen = self.here().map(Region::key);
        self.arrange(chosen.as_ref());
    }

    fn region(&self, row: usize) -> Option<&Region> {
        self.all.get(*self.rows.get(row)?)
    }

    fn here(&self) -> Option<&Region> {
        self.region(self.list.chosen()?)
    }

    fn row_of_ivmd(&self, ivmd: usize) -> Option<usize> {
        let leads = |row: &usize| self.region(*row).is_some_and(|one| one.ivmds.contains(&ivmd));
        (0..self.rows.len()).find(leads)
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
fn blocks(region: &Region) -> String {
    let numbers: Vec<String> = region.ivmds.iter().take(NAMES).map(ToString::to_string).collect();
    let more = match region.ivmds.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", numbers.join(", "))
}

fn text_of(region: &Region) -> String {
    let Region { start, end, .. } = region;
    let kind = printable(&region.kind.to_string());
    let mut words = vec![format!("{start:#x} {end:#x} {kind} {}", size(region))];
    words.extend(region.ivmds.iter().map(|ivmd| format!("IVMD {ivmd}")));
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
            "must be mapped 1:1 at all times; Linux 6.6 and later refuse to hand its devices to VFIO",
        ),
        RegionKind::DirectRelaxable => {
            (Role::Text, "relaxable", "mapped 1:1 until the device is handed out; it blocks nobody")
        }
        RegionKind::Reserved => {
            (Role::Dim, "reserved", "nothing may be mapped there, so a guest has no memory there")
        }
        RegionKind::Msi => (Role::Dim, "msi", "interrupts are written there, nothing is mapped"),
        RegionKind::Other(_) => (Role::Doubtful, "other", "a type that is not known here"),
    }
}

const COLUMNS: &[Column] = &[
    Column { title: "start", width: 18, from: 0 },
    Column { title: "type", width: 9, from: 0 },
    Column { title: "size", width: 10, from: 39 },
    Column { title: "IVMD", width: 5, from: 45 },
    Column { title: "devices", width: 7, from: 53 },
    Column { title: "groups", width: 6, from: 60 },
    Column { title: "end", width: 18, from: 78 },
    Column { title: "", width: 0, from: 0 },
];

impl Pane for Regions {
    fn sync(&mut self, scene: &Scene<'_>) {
        if self.made != Some(scene.stage.revision) {
            self.gather(scene);
        }
    }

    fn list(&self) -> &List {
        &self.list
    }

    fn list_mut(&mut self) -> &mut List {
        &mut self.list
    }

    fn empty(&self, scene: &Scene<'_>) -> String {
        if !self.all.is_empty() {
            return match self.group.filter(|_| self.filter.is_empty()) {
                Some(id) => format!("Group {id} has no reserved region. F shows all."),
                None => "No region is so. F shows all.".to_owned(),
            };
        }
        match &scene.model.host().groups {
            Reading::Unreadable(why) => {
                format!("No reserved region is known. IOMMU groups: {}.", printable(why))
            }
            Reading::Read(groups) if !groups.is_empty() => {
                "No IOMMU group of this host shows a reserved region.".to_owned()
            }
            _ => "This host has no IOMMU groups, so no reserved regions: its IOMMU is absent or \
                  switched off."
                .to_owned(),
        }
    }

    fn title(&self, _: &Scene<'_>) -> String {
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
        if !self.filter.is_empty() {
            parts.push(format!("only {:?}", self.filter));
        }
        if self.order != Order::default() {
            parts.push(format!("by {}", self.order.name()));
        }
        parts.join(", ")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, row: usize, scene: &Scene<'_>, look: Look) -> Vec<Line<'static>> {
        let Some(region) = self.region(row) else { return Vec::new() };
        let (role, word, _) = kind(&region.kind, scene);
        let devices = match (region.devices.len(), region.perhaps.len()) {
            (sure, 0) => sure.to_string(),
            // Which of them it is does not show.
            (0, perhaps) => format!("of {perhaps}"),
            (sure, _) => format!("{sure}+"),
        };
        let mut of_kind = vec![Span::styled(word, look.style(role))];
        if !region.conflicts.is_empty() {
            of_kind.push(Span::styled(" !", look.style(Role::Doubtful)));
        }
        vec![
            Line::from(format!("{:#x}", region.start)),
            Line::from(of_kind),
            Line::from(size(region)),
            Line::from(blocks(region)),
            Line::from(devices),
            Line::from(region.groups.len().to_string()),
            Line::from(format!("{:#x}", region.end)),
            Line::default(),
        ]
    }

    fn row_text(&self, row: usize, _: &Scene<'_>) -> String {
        self.region(row).map(text_of).unwrap_or_default()
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        let Some(row) = self.list.chosen() else { return text };
        let (Some(region), Some(index)) = (self.region(row), self.rows.get(row)) else {
            return text;
        };
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
                (None, Reading::Unreadable(why)) => format!("not known; {}", printable(why)),
                (None, _) if region.end < region.start => "none, as it has no length".to_owned(),
                (None, _) => "not known; no map of memory was read".to_owned(),
            },
        );
        if !region.ivmds.is_empty() {
            text.row("firmware", &format!("IVMD {} of the IVRS", blocks(region)));
        }
        text.row(
            "known by",
            &match (region.listed, region.shown) {
                (Some(event), true) => {
                    format!("what the kernel lists for each device (event {event}), and sysfs")
                }
                (Some(event), false) => {
                    format!("what the kernel lists for each device (event {event})")
                }
                (None, true) => "reserved_regions in sysfs, where the kernel merges and sorts the \
                             regions of all members of a group"
                    .to_owned(),
                (None, false) => "the IVRS table alone".to_owned(),
            },
        );
        for conflict in &region.conflicts {
            text.painted_row("conflict", Role::Doubtful, conflict);
        }
        text.title("Where it lies");
        picture::draw(&mut text, &self.all, *index, &self.memory);
        let count = region.groups.len();
        let groups = if count == 1 { "group" } else { "groups" };
        let title = format!("Whose it is, in {count} {groups}");
        list_devices(&mut text, &title, functions(&region.devices), &[], scene);
        for name in others(&region.devices) {
            text.text(&name);
        }
        if !region.perhaps.is_empty() {
            let title = "Some or all of these have it; which, sysfs does not show";
            list_devices(&mut text, title, functions(&region.perhaps), &[], scene);
            for name in others(&region.perhaps) {
                text.text(&name);
            }
        }
        text
    }

    fn chosen(&self, _: &Scene<'_>) -> Option<Target> {
        self.here()?.ivmds.first().map(|ivmd| Target::RegionOf(*ivmd))
    }

    fn choose(&mut self, target: &Target, _: &Scene<'_>) -> bool {
        match target {
            Target::Group(id) => {
                self.group = Some(*id);
                self.filter.clear();
                self.arrange(None);
                self.list.choose(0);
                true
            }
            Target::RegionOf(ivmd) => {
                if self.row_of_ivmd(*ivmd).is_none() {
                    // It is there, but not among those that are shown.
                    self.group = None;
                    self.filter.clear();
                    self.arrange(None);
                }
                let row = self.row_of_ivmd(*ivmd);
                row.inspect(|row| self.list.choose(*row)).is_some()
            }
            _ => false,
        }
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let region = self.here()?;
        let entry = || region.ivmds.first().copied().map(Target::Entry);
        let device = || {
            let devices = &scene.stage.verdicts.devices;
            let shown = |bdf: &Bdf| devices.binary_search_by_key(bdf, |one| one.bdf).is_ok();
            // Those of the group that is looked at come first.
            let of_group = |bdf: &Bdf| {
                let at = devices.binary_search_by_key(bdf, |one| one.bdf).ok();
                at.and_then(|at| devices.get(at)).map(|one| one.group) == self.group
            };
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

    fn act(&mut self, action: Action, _: &Scene<'_>) -> Option<String> {
        if action != Action::Sort {
            return None;
        }
        self.order = self.order.next();
        self.rearrange();
        Some(format!("ordered by {}", self.order.name()))
    }

    fn filter(&self) -> &str {
        &self.filter
    }

    fn set_filter(&mut self, text: &str, _: &Scene<'_>) -> Result<(), String> {
        text.trim().clone_into(&mut self.filter);
        if text.is_empty() {
            self.group = None;
        }
        self.rearrange();
        Ok(())
    }
}
