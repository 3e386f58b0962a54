//! The devices view: a row a PCI function, with its verdict.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, VecDeque},
    fmt::Write as _,
};

use super::{plain, verdict};
use crate::{
    escape::printable,
    firmware::EntryId,
    fmt::sentence,
    host::PciNames,
    model::{DeviceVerdict, RequireDirect, Verdict, WITHOUT_IOMMU_GROUP},
    pci::Bdf,
    report,
    tui::{
        Action, Role, Scene,
        detail::Text,
        pane::{Column, Piece, Rows, Target},
    },
};

/// Devices of this host that are listed one by one in a text.
const LISTED: usize = 64;

/// The devices view.
#[derive(Debug, Default)]
pub(super) struct Devices {
    gathered: bool,
    only: Option<Verdict>,
    /// Only those that this entry covers.
    covered: Option<EntryId>,
}

/// Name of the device, as far as there is one.
pub(super) fn name_of(bdf: Bdf, scene: &Scene<'_>) -> String {
    let Some(function) = scene.model.function(bdf) else { return String::new() };
    // Without names of the host's own there are those inside the program.
    let none = PciNames::default();
    let names = scene.model.host().pci_names.value().unwrap_or(&none);
    let device = function.device_name(names).or_else(|| function.class_name(names));
    let words = [function.vendor_name(names), device];
    printable(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

fn text_of(device: &DeviceVerdict, scene: &Scene<'_>) -> String {
    let driver = device.driver.as_deref().unwrap_or("no driver");
    let (_, word) = verdict(device.verdict);
    let name = name_of(device.bdf, scene);
    let group = device.group.map_or_else(String::new, |id| format!(" group {id}"));
    format!("{} {word}{group} {driver} {name}", device.bdf)
}

/// Devices of this host, a line each.
pub(super) fn list_devices(
    text: &mut Text,
    title: &str,
    devices: impl IntoIterator<Item = Bdf>,
    by_accident: &[Bdf],
    scene: &Scene<'_>,
) {
    let mut devices = devices.into_iter().peekable();
    if devices.peek().is_none() {
        return;
    }
    text.title(title);
    for bdf in devices.by_ref().take(LISTED) {
        let mut line = vec![plain(format!("{bdf}  "))];
        if let Some(device) = scene.device(bdf) {
            let (role, word) = verdict(device.verdict);
            line.push((role, format!("{word:<8}")));
            let group = device.group.map_or_else(String::new, |id| format!("group {id}"));
            line.push(plain(format!("{group:<10}")));
        } else {
            line.push((Role::Dim, format!("{:<18}", "in no group")));
        }
        if by_accident.contains(&bdf) {
            line.push((Role::Doubtful, "covered by accident  ".to_owned()));
        }
        line.push((Role::Dim, name_of(bdf, scene)));
        text.line(line);
    }
    match devices.count() {
        0 => {}
        more => text.paragraph(Role::Dim, "", &format!("and {more} more")),
    }
}

impl Rows for Devices {
    type Row = Bdf;

    const COLUMNS: &'static [Column] = &[
        Column { title: "device", width: 12, from: 0 },
        Column { title: "verdict", width: 8, from: 0 },
        Column { title: "group", width: 5, from: 28 },
        Column { title: "causes", width: 6, from: 60 },
        Column { title: "driver", width: 12, from: 42 },
        Column { title: "name", width: 0, from: 50 },
    ];
    const ORDERS: &'static [&'static str] = &["address", "verdict", "driver", "number of causes"];

    fn rows(&mut self, order: usize, scene: &Scene<'_>) -> Vec<Bdf> {
        let verdicts = &scene.stage.verdicts;
        // What shares a group with a covered device is blocked with it.
        let covered = self.covered.map(|entry| match entry {
            EntryId::Ivmd(index) => {
                let groups = scene.model.coverage(index).map(|one| one.groups);
                (groups.unwrap_or_default(), &[][..])
            }
            EntryId::Rmrr(index) => {
                let of = verdicts.rmrrs.iter().find(|one| one.rmrr == index);
                of.map_or((BTreeSet::new(), &[][..]), |one| (one.groups.clone(), &one.relaxable))
            }
        });
        let mut rows: Vec<&DeviceVerdict> = verdicts
            .devices
            .iter()
            .filter(|device| self.only.is_none_or(|only| device.verdict == only))
            .filter(|device| {
                covered.as_ref().is_none_or(|(groups, devices)| {
                    device.group.is_some_and(|id| groups.contains(&id))
                        || devices.contains(&device.bdf)
                })
            })
            .collect();
        match order {
            1 => rows.sort_by_key(|device| device.verdict),
            2 => rows.sort_by(|one, other| one.driver.cmp(&other.driver)),
            3 => rows.sort_by_key(|device| Reverse(device.causes.len())),
            _ => {}
        }
        // Nobody looks for the platform's own.
        rows.sort_by_key(|device| device.verdict == Verdict::Platform);
        if self.gathered {
            rows.sort_by_key(|device| device.group);
        }
        rows.into_iter().map(|device| device.bdf).collect()
    }

    fn text(&self, row: &Bdf, scene: &Scene<'_>) -> String {
        scene.device(*row).map_or_else(String::new, |device| text_of(device, scene))
    }

    fn cells(&self, row: &Bdf, above: Option<&Bdf>, scene: &Scene<'_>) -> Vec<Piece> {
        let Some(device) = scene.device(*row) else { return Vec::new() };
        let (role, word) = verdict(device.verdict);
        // A group is named once.
        let above = above.filter(|_| self.gathered).and_then(|above| scene.device(*above));
        let again = above.is_some_and(|above| above.group.is_some() && above.group == device.group);
        let group = match device.group {
            Some(_) if again => "  \u{2502}".to_owned(),
            Some(id) => id.to_string(),
            None => "-".to_owned(),
        };
        let causes = match device.causes.len() {
            0 => String::new(),
            some => some.to_string(),
        };
        vec![
            plain(device.bdf.to_string()),
            (role, word.to_owned()),
            plain(group),
            plain(causes),
            plain(device.driver.as_deref().unwrap_or("-")),
            plain(name_of(device.bdf, scene)),
        ]
    }

    fn title(&self, rows: &VecDeque<Bdf>, scene: &Scene<'_>) -> Vec<String> {
        let devices = || rows.iter().filter_map(|row| scene.device(*row));
        let count = |wanted| devices().filter(|one| one.verdict == wanted).count();
        let covered = self.covered.map_or_else(String::new, |one| format!(" covered by {one}"));
        let mut title = format!(
            "Devices{covered}: {} blocked, {} clear, {} unknown",
            count(Verdict::Blocked),
            count(Verdict::Clear),
            count(Verdict::Unknown)
        );
        for (verdict, words) in
            [(Verdict::NoIommu, "without IOMMU"), (Verdict::Platform, "of the platform")]
        {
            let count = count(verdict);
            if count > 0 {
                let _ = write!(title, ", {count} {words}");
            }
        }
        let mut parts = vec![title];
        parts.extend(self.gathered.then(|| "by group".to_owned()));
        parts
    }

    fn none(&self, scene: &Scene<'_>) -> Option<String> {
        scene.stage.verdicts.devices.is_empty().then(|| {
            let findings = scene.stage.verdicts.findings.iter();
            let why: Vec<String> = findings.map(|one| sentence(&one.message)).collect();
            format!("No PCI function is known. {}", why.join(" "))
        })
    }

    fn detail(&self, row: &Bdf, text: &mut Text, scene: &Scene<'_>) {
        let Some(device) = scene.device(*row) else { return };
        let (role, word) = verdict(device.verdict);
        text.line(vec![(Role::Title, format!("{} ", device.bdf)), (role, word.to_owned())]);
        let name = name_of(device.bdf, scene);
        if !name.is_empty() {
            text.text(&name);
        }
        text.blank();
        let group = device.group.and_then(|id| scene.model.group(id));
        let members = group.map_or(0, |group| group.members.value().map_or(0, Vec::len));
        let others = match members {
            0 | 1 => "only device in its group".to_owned(),
            _ => format!("{members} devices, assigned together or not at all"),
        };
        let group = device.group.map_or_else(|| "none".to_owned(), |id| format!("{id}: {others}"));
        text.row("group", &group);
        text.row("driver", device.driver.as_deref().unwrap_or("no driver bound"));
        let none = if device.no_iommu.is_some() { "none" } else { "not known" };
        text.row("IOMMU", device.iommu.as_deref().unwrap_or(none));
        if let Some(why) = &device.no_iommu {
            text.row("why", &why.why(&[*row]));
            if !why.is_platform() {
                text.painted_row("effect", Role::Bad, WITHOUT_IOMMU_GROUP);
            }
            why.may_help().into_iter().for_each(|help| text.row("may help", help));
        }
        if let Some(alias) = scene.model.alias(device.bdf) {
            text.row("alias", &format!("its requester ID is {alias}"));
        }
        if let Some(other) = &device.blocked_by {
            text.painted_row("blocked by", Role::Bad, &format!("{other}, a member of its group"));
        }
        if let Some(why) = &device.missing {
            text.painted_row("missing", Role::Doubtful, why);
        }
        if device.verdict == Verdict::Clear && !device.causes.is_empty() {
            text.blank();
            text.text(match scene.model.refuses() {
                RequireDirect::Missing => {
                    "This kernel assigns the device anyway; Linux 6.6 and later refuse it."
                }
                RequireDirect::Present | RequireDirect::Unknown => {
                    "The kernel does not refuse the device for these regions."
                }
            });
        }
        for cause in &device.causes {
            text.blank();
            let holder = device.blocked_by.as_deref().and_then(|name| name.parse().ok());
            let device = Some(holder.unwrap_or(device.bdf));
            text.document(&report::cause(scene.model, cause, device));
            for fact in &cause.evidence {
                text.paragraph(Role::Dim, "    ", &fact.to_string());
            }
        }
    }

    fn target(&self, row: &Bdf) -> Option<Target> {
        Some(Target::Device(*row))
    }

    fn narrow(&mut self, target: &Target) -> Option<String> {
        let Target::Covered(entry) = target else { return None };
        (self.only, self.covered) = (None, Some(*entry));
        Some(String::new())
    }

    fn widen(&mut self) {
        (self.only, self.covered) = (None, None);
    }

    fn link(&self, row: &Bdf, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let device = scene.device(*row)?;
        match action {
            Action::Open | Action::ToEntry => {
                let entry = device.causes.iter().find_map(|cause| cause.entry).map(Target::Entry);
                let group = || device.group.filter(|_| action == Action::Open).map(Target::Group);
                entry.or_else(group)
            }
            Action::ToRegions => device.group.map(Target::Group),
            Action::ToAttempt => {
                let mut attempts = scene.numbered().rev();
                let same = attempts.find(|(_, one)| {
                    one.requested == Some(device.bdf)
                        || one.requested.is_none()
                            && one.group.is_some()
                            && one.group == device.group
                });
                same.map(|(number, _)| Target::Attempt(number))
            }
            Action::ToEvents => Some(Target::Events(format!("device={}", device.bdf))),
            _ => None,
        }
    }

    fn act(&mut self, action: Action, _: Option<&Bdf>, _: &Scene<'_>) -> Option<String> {
        match action {
            Action::Gather => {
                self.gathered = !self.gathered;
                let word = if self.gathered { "grouped" } else { "not grouped" };
                Some(format!("{word} by IOMMU group"))
            }
            Action::Verdict => {
                self.only = match self.only {
                    None => Some(Verdict::Blocked),
                    Some(Verdict::Blocked) => Some(Verdict::Clear),
                    Some(Verdict::Clear) => Some(Verdict::Unknown),
                    Some(Verdict::Unknown) => Some(Verdict::NoIommu),
                    Some(Verdict::NoIommu | Verdict::Platform) => None,
                };
                let only = |only| format!("{} devices only", verdict(only).1);
                Some(self.only.map_or_else(|| "all devices".to_owned(), only))
            }
            _ => None,
        }
    }
}
