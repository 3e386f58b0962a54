//! The devices view: a row a PCI function that is in a group, with its verdict.

use std::collections::BTreeSet;

use ratatui::text::{Line, Span};

use super::verdict;
use crate::{
    escape::printable,
    host::PciNames,
    model::{DeviceVerdict, RequireDirect, Verdict},
    pci::Bdf,
    report,
    tui::{
        Action, Role, Scene,
        app::numbered,
        detail::Text,
        filter_words::Words,
        list::List,
        pane::{Column, Look, Pane, Target},
    },
};

/// By what rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Address,
    Verdict,
    Driver,
    Causes,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Address => Self::Verdict,
            Self::Verdict => Self::Driver,
            Self::Driver => Self::Causes,
            Self::Causes => Self::Address,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Verdict => "verdict",
            Self::Driver => "driver",
            Self::Causes => "number of causes",
        }
    }
}

/// The devices view.
#[derive(Debug, Default)]
pub(in super::super) struct Devices {
    list: List,
    /// What the rows are, as indices into the verdicts.
    rows: Vec<usize>,
    /// Of which revision they are, if they are not to be made again.
    made: Option<u64>,
    order: Order,
    gathered: bool,
    only: Option<Verdict>,
    /// Only those that this IVMD block covers.
    covered: Option<usize>,
    filter: String,
}

impl Devices {
    fn device<'a>(&self, row: usize, scene: &Scene<'a>) -> Option<&'a DeviceVerdict> {
        scene.stage.verdicts.devices.get(*self.rows.get(row)?)
    }

    fn here<'a>(&self, scene: &Scene<'a>) -> Option<&'a DeviceVerdict> {
        self.device(self.list.chosen()?, scene)
    }

    /// Makes the rows again; the chosen device stays chosen.
    fn remake(&mut self, scene: &Scene<'_>) {
        let chosen = self.here(scene).map(|device| device.bdf);
        let words = Words::of(&self.filter);
        let covered: Option<BTreeSet<Bdf>> = self.covered.map(|ivmd| {
            scene.model.coverage(ivmd).map_or_else(BTreeSet::new, |coverage| {
                // Who shares a group with a covered device is blocked with it.
                let groups = coverage.groups;
                let devices = scene.stage.verdicts.devices.iter();
                devices.filter(|one| groups.contains(&one.group)).map(|one| one.bdf).collect()
            })
        });
        let devices = &scene.stage.verdicts.devices;
        let mut rows: Vec<(usize, &DeviceVerdict)> = devices
            .iter()
            .enumerate()
            .filter(|(_, device)| self.only.is_none_or(|only| device.verdict == only))
            .filter(|(_, device)| covered.as_ref().is_none_or(|some| some.contains(&device.bdf)))
            .filter(|(_, device)| words.are_in(|| text_of(device, scene)))
            .collect();
        match self.order {
            Order::Address => {}
            Order::Verdict => rows.sort_by_key(|(_, device)| device.verdict),
            Order::Driver => rows.sort_by(|(_, one), (_, other)| one.driver.cmp(&other.driver)),
            Order::Causes => {
                rows.sort_by_key(|(_, device)| std::cmp::Reverse(device.causes.len()));
            }
        }
        if self.gathered {
            rows.sort_by_key(|(_, device)| device.group);
        }
        self.rows = rows.into_iter().map(|(index, _)| index).collect();
        self.list.set_rows(self.rows.len());
        let same = chosen.and_then(|bdf| self.row_of(bdf, scene));
        if let Some(row) = same {
            self.list.choose(row);
        }
        self.made = Some(scene.stage.revision);
    }

    fn row_of(&self, bdf: Bdf, scene: &Scene<'_>) -> Option<usize> {
        (0..self.rows.len()).find(|row| self.device(*row, scene).is_some_and(|one| one.bdf == bdf))
    }
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
    format!("{} {word} group {} {driver} {name}", device.bdf, device.group)
}

const COLUMNS: &[Column] = &[
    Column { title: "device", width: 12, from: 0 },
    Column { title: "verdict", width: 8, from: 0 },
    Column { title: "group", width: 5, from: 28 },
    Column { title: "causes", width: 6, from: 60 },
    Column { title: "driver", width: 12, from: 42 },
    Column { title: "name", width: 0, from: 50 },
];

impl Pane for Devices {
    fn sync(&mut self, scene: &Scene<'_>) {
        if self.made != Some(scene.stage.revision) {
            self.remake(scene);
        }
    }

    fn list(&self) -> &List {
        &self.list
    }

    fn list_mut(&mut self) -> &mut List {
        &mut self.list
    }

    fn empty(&self, scene: &Scene<'_>) -> String {
        if scene.stage.verdicts.devices.is_empty() {
            let findings = scene.stage.verdicts.findings.iter();
            let why: Vec<&str> = findings.map(|finding| finding.message.as_str()).collect();
            return format!("No PCI function is in an IOMMU group. {}", why.join(" "));
        }
        "No device is so. F shows all.".to_owned()
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        let shown = || (0..self.rows.len()).filter_map(|row| self.device(row, scene));
        let count = |wanted| shown().filter(|one| one.verdict == wanted).count();
        let held = self.covered.map_or_else(String::new, |ivmd| format!(" held by IVMD {ivmd}"));
        let filter = if self.filter.is_empty() {
            String::new()
        } else {
            format!(", only {:?}", self.filter)
        };
        let mut parts = vec![format!(
            "Devices{held}{filter}: {} blocked, {} clear, {} unknown",
            count(Verdict::Blocked),
            count(Verdict::Clear),
            count(Verdict::Unknown)
        )];
        if self.gathered {
            parts.push("by group".to_owned());
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
        let Some(device) = self.device(row, scene) else { return Vec::new() };
        let (role, word) = verdict(device.verdict);
        let before = row.checked_sub(1).and_then(|before| self.device(before, scene));
        // A group is named once.
        let again = self.gathered && before.is_some_and(|before| before.group == device.group);
        let group = if again { "  \u{2502}".to_owned() } else { device.group.to_string() };
        let driver = device.driver.clone().unwrap_or_else(|| "-".to_owned());
        let causes = match device.causes.len() {
            0 => String::new(),
            some => some.to_string(),
        };
        vec![
            Line::from(device.bdf.to_string()),
            Line::from(Span::styled(word, look.style(role))),
            Line::from(group),
            Line::from(causes),
            Line::from(driver),
            Line::from(name_of(device.bdf, scene)),
        ]
    }

    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String {
        self.device(row, scene).map(|device| text_of(device, scene)).unwrap_or_default()
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        let Some(device) = self.here(scene) else { return text };
        let (role, word) = verdict(device.verdict);
        text.line(vec![(Role::Title, format!("{} ", device.bdf)), (role, word.to_owned())]);
        let name = name_of(device.bdf, scene);
        if !name.is_empty() {
            text.text(&name);
        }
        text.blank();
        let members = scene
            .model
            .group(device.group)
            .map_or(0, |group| group.members.value().map_or(0, Vec::len));
        let others = match members {
            0 | 1 => "it is alone in it".to_owned(),
            _ => format!("{members} devices, handed out together or not at all"),
        };
        text.row("group", &format!("{}: {others}", device.group));
        text.row("driver", device.driver.as_deref().unwrap_or("none"));
        text.row("IOMMU", device.iommu.as_deref().unwrap_or("not known"));
        if let Some(alias) = scene.model.alias(device.bdf) {
            text.row("alias", &format!("its requests carry {alias}"));
        }
        if let Some(other) = &device.blocked_by {
            text.painted_row("held by", Role::Bad, &format!("{other}, a member of its group"));
        }
        if let Some(why) = &device.missing {
            text.painted_row("missing", Role::Doubtful, why);
        }
        if device.verdict == Verdict::Clear && !device.causes.is_empty() {
            text.blank();
            text.text(match scene.model.refuses() {
                RequireDirect::Missing => {
                    "This kernel hands the device out all the same; kernels from 6.6 on refuse it."
                }
                RequireDirect::Present | RequireDirect::Unknown => {
                    "The kernel does not refuse the device for what follows."
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
        text
    }

    fn chosen(&self, scene: &Scene<'_>) -> Option<Target> {
        self.here(scene).map(|device| Target::Device(device.bdf))
    }

    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool {
        match target {
            Target::Device(bdf) => {
                if self.row_of(*bdf, scene).is_none() {
                    // It is there, but not among those that are shown.
                    (self.only, self.covered) = (None, None);
                    self.filter.clear();
                    self.remake(scene);
                }
                let row = self.row_of(*bdf, scene);
                row.inspect(|row| self.list.choose(*row)).is_some()
            }
            Target::Covered(ivmd) => {
                (self.only, self.covered) = (None, Some(*ivmd));
                self.filter.clear();
                self.remake(scene);
                self.list.choose(0);
                true
            }
            _ => false,
        }
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let device = self.here(scene)?;
        match action {
            Action::Open | Action::ToEntry => {
                let entry = device.ivmds().next().map(Target::Entry);
                entry.or_else(|| (action == Action::Open).then_some(Target::Group(device.group)))
            }
            Action::ToRegions => Some(Target::Group(device.group)),
            Action::ToAttempt => {
                let mut attempts = numbered(scene).rev();
                let same = attempts.find(|(_, one)| {
                    one.requested == Some(device.bdf)
                        || one.requested.is_none() && one.group == Some(device.group)
                });
                same.map(|(number, _)| Target::Attempt(number))
            }
            Action::ToEvents => Some(Target::Events(format!("device={}", device.bdf))),
            _ => None,
        }
    }

    fn act(&mut self, action: Action, scene: &Scene<'_>) -> Option<String> {
        let said = match action {
            Action::Sort => {
                self.order = self.order.next();
                format!("ordered by {}", self.order.name())
            }
            Action::Gather => {
                self.gathered = !self.gathered;
                let word = if self.gathered { "gathered" } else { "not gathered" };
                format!("{word} by IOMMU group")
            }
            Action::Verdict => {
                self.only = match self.only {
                    None => Some(Verdict::Blocked),
                    Some(Verdict::Blocked) => Some(Verdict::Clear),
                    Some(Verdict::Clear) => Some(Verdict::Unknown),
                    Some(Verdict::Unknown) => None,
                };
                self.only.map_or_else(
                    || "all devices".to_owned(),
                    |only| format!("only what is {}", verdict(only).1),
                )
            }
            _ => return None,
        };
        self.remake(scene);
        Some(said)
    }

    fn filter(&self) -> &str {
        &self.filter
    }

    fn set_filter(&mut self, text: &str, scene: &Scene<'_>) -> Result<(), String> {
        text.trim().clone_into(&mut self.filter);
        if text.is_empty() {
            (self.only, self.covered) = (None, None);
        }
        self.remake(scene);
        Ok(())
    }
}
