//! The verdicts on a host in words: a summary, the devices that are blocked, then the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Document, Style,
    cause::{cause_block, gap_text, owner_text, range_text},
    devices::Table,
    document::{Kind, Part, Text, count, list},
    redact::Redactor,
};
use crate::{
    escape::printable,
    firmware::EntryId,
    host::Reading,
    model::{
        Cause, DeviceVerdict, Finding, Model, NoIommu, RequireDirect, Verdict, Verdicts,
        WITHOUT_IOMMU_GROUP,
    },
    pci::Bdf,
};

/// So many clear devices are still shown one a line.
const FEW: usize = 6;

/// The verdicts on a host, a summary first.
#[must_use]
pub fn check(model: &Model, verdicts: &Verdicts, style: Style) -> String {
    let mut document = Document::default();
    let devices = &verdicts.devices;
    if !devices.is_empty() {
        summary(&mut document, model, devices);
        let printed = Redactor::off();
        let table = Table::of(model, verdicts, &printed, false);
        let list = |document: &mut Document, title: &str, devices: &[&DeviceVerdict]| {
            section(document, model, verdicts, &table, (title, devices));
        };
        let addresses = |document: &mut Document, title: &str, devices: &[&DeviceVerdict]| {
            let Some(first) = devices.first() else { return };
            let all: Vec<String> = devices.iter().map(|device| device.bdf.to_string()).collect();
            let title = Text::of(Kind::Verdict(first.verdict), title);
            document.blank();
            document.fact(0, title.then(format!(": {}", all.join(", "))));
        };
        let held = |device: &&DeviceVerdict| !device.causes.is_empty();
        let of = |verdict| devices.iter().filter(move |device| device.verdict == verdict);
        list(&mut document, "Blocked", &of(Verdict::Blocked).collect::<Vec<_>>());
        without_iommu(&mut document, verdicts, &list);
        list(&mut document, "Unknown", &of(Verdict::Unknown).collect::<Vec<_>>());
        let missing: BTreeSet<&str> =
            devices.iter().filter_map(|device| device.missing.as_deref()).collect();
        for what in missing {
            document.headed(2, "Missing:", what);
        }
        let title = "Clear on this kernel, but from 6.6 on Linux would refuse";
        list(&mut document, title, &of(Verdict::Clear).filter(held).collect::<Vec<_>>());
        let free: Vec<_> = of(Verdict::Clear).filter(|device| !held(device)).collect();
        if free.len() <= FEW {
            list(&mut document, "Clear", &free);
        } else {
            addresses(&mut document, "Clear", &free);
        }
        for (why, title) in [
            (NoIommu::Inactive, "In no IOMMU group"),
            (NoIommu::Iommu, "IOMMU"),
            (NoIommu::HostBridge, "Host bridge without IOMMU"),
        ] {
            let alike = devices.iter().filter(|one| one.no_iommu.as_ref() == Some(&why));
            addresses(&mut document, title, &alike.collect::<Vec<_>>());
        }
        causes(&mut document, model, devices);
        elsewhere(&mut document, model, verdicts);
    }
    if !verdicts.findings.is_empty() {
        document.blank();
        let mut findings: Vec<&Finding> = verdicts.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in findings {
            document.text(0, finding_text(finding));
        }
        document.blank();
        document.text(
            0,
            "`ivrs-trace explain CODE` says what a finding means and what to do about it.",
        );
    }
    document.terminal(style)
}

fn summary(document: &mut Document, model: &Model, devices: &[DeviceVerdict]) {
    let part = |verdict, word: &str| {
        let count = devices.iter().filter(|device| device.verdict == verdict).count();
        let kind = if count == 0 { Kind::Plain } else { Kind::Verdict(verdict) };
        Text::of(kind, format!("{count} {word}"))
    };
    let mut text = part(Verdict::Blocked, "blocked")
        .then(", ")
        .then(part(Verdict::Clear, "clear"))
        .then(", ")
        .then(part(Verdict::Unknown, "unknown"));
    // Every host has the platform's own; only what could be passed is worth a number of its own.
    if devices.iter().any(|device| device.verdict == Verdict::NoIommu) {
        text = text.then(", ").then(part(Verdict::NoIommu, "without IOMMU"));
    }
    let others = devices.iter().filter(|device| device.verdict != Verdict::Platform).count();
    text = text.then(format!(" of {}", count(others, "device")));
    let platform: Vec<String> = [(NoIommu::Iommu, "IOMMU"), (NoIommu::HostBridge, "host bridge")]
        .into_iter()
        .map(|(why, word)| {
            let alike = devices.iter().filter(|one| one.no_iommu.as_ref() == Some(&why));
            (alike.count(), word)
        })
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| count(number, word))
        .collect();
    if !platform.is_empty() {
        text = text.then(format!(" (beside {})", list(&platform)));
    }
    document.fact(0, text);
    let release = model.host().kernel_release.value().map_or("of unknown release", String::as_str);
    let refuses = match model.refuses() {
        RequireDirect::Present => "refuses devices that firmware wants mapped 1:1",
        RequireDirect::Missing => "does not refuse devices that firmware wants mapped 1:1",
        RequireDirect::Unknown => "may refuse devices that firmware wants mapped 1:1",
    };
    // As wide as the widest of these names.
    document.row_at(2, "kernel ", format!("{}, {refuses}", printable(release)));
    document.row_at(2, "options", model.iommu_options().join(" "));
    let dmi = &model.host().dmi;
    let known = |parts: [&Reading<String>; 2], between: &str| {
        let known = parts.iter().filter_map(|one| one.value()).map(|text| printable(text));
        known.collect::<Vec<_>>().join(between)
    };
    let board = known([&dmi.board_vendor, &dmi.board_name], " ");
    let bios = known([&dmi.bios_version, &dmi.bios_date], " of ");
    let bios = if bios.is_empty() { bios } else { format!("BIOS {bios}") };
    let comma = if board.is_empty() || bios.is_empty() { "" } else { ", " };
    document.row_at(2, "board", format!("{board}{comma}{bios}"));
}

/// The devices of one verdict, by groups; of a group with several a line of its own.
fn section(
    document: &mut Document,
    model: &Model,
    verdicts: &Verdicts,
    table: &Table<'_>,
    (title, devices): (&str, &[&DeviceVerdict]),
) {
    let Some(first) = devices.first() else { return };
    document.blank();
    document.fact(0, Text::of(Kind::Verdict(first.verdict), title));
    let mut groups: Vec<Option<u32>> = Vec::new();
    for device in devices {
        if !groups.contains(&device.group) {
            groups.push(device.group);
        }
    }
    for id in groups {
        let group = id.and_then(|id| model.group(id)).and_then(|group| group.members.value());
        let members = group.map_or(0, Vec::len);
        if let Some(id) = id.filter(|_| members > 1) {
            group_line(document, verdicts, id, members);
        }
        for device in devices.iter().filter(|device| device.group == id) {
            let (line, name) = table.line(device);
            document.push(if members > 1 { 4 } else { 2 }, Part::Tailed(line.into(), name));
        }
    }
}

/// The devices that no IOMMU serves, by the reason why none does.
fn without_iommu(
    document: &mut Document,
    verdicts: &Verdicts,
    list: &impl Fn(&mut Document, &str, &[&DeviceVerdict]),
) {
    let reasons = verdicts.unserved();
    for (why, devices) in &reasons {
        list(document, "No IOMMU serves them, so VFIO cannot claim them", devices);
        let functions: Vec<Bdf> = devices.iter().map(|device| device.bdf).collect();
        document.headed(2, "Why:", why.why(&functions));
    }
    if !reasons.is_empty() {
        document.headed(2, "Effect:", WITHOUT_IOMMU_GROUP);
    }
    let help: BTreeSet<&str> = reasons.keys().filter_map(|why| why.may_help()).collect();
    for item in help {
        document.headed(2, "May help:", item);
    }
}

fn group_line(document: &mut Document, verdicts: &Verdicts, id: u32, members: usize) {
    let Some(group) = verdicts.groups.iter().find(|group| group.id == id) else { return };
    let verdict = match (group.verdict, group.blocked_by.as_slice()) {
        (Verdict::Blocked, []) => ": blocked, by which of them is unknown".to_owned(),
        (Verdict::Blocked, all) if all.len() == members => ": blocked by each".to_owned(),
        (Verdict::Blocked, some) => format!(": blocked by {}", some.join(", ")),
        _ => String::new(),
    };
    document.fact(2, format!("group {id}, {members} devices as one{verdict}"));
}

/// What holds devices: each entry once, then the regions without one.
fn causes(document: &mut Document, model: &Model, devices: &[DeviceVerdict]) {
    let all =
        || devices.iter().flat_map(|device| device.causes.iter().map(move |one| (device, one)));
    let entries: BTreeMap<EntryId, &Cause> =
        all().filter_map(|(_, cause)| Some((cause.entry?, cause))).collect();
    for cause in entries.into_values() {
        document.blank();
        cause_block(document, model, cause, None);
    }
    let mut unnamed: BTreeMap<(u64, u64), BTreeSet<u32>> = BTreeMap::new();
    for (device, cause) in all().filter(|(_, cause)| cause.entry.is_none()) {
        unnamed.entry((cause.start, cause.end)).or_default().extend(device.group);
    }
    document.blank();
    for ((start, end), groups) in unnamed {
        let of: Vec<String> = groups.iter().map(u32::to_string).collect();
        let (range, s) = (range_text(start, end), if of.len() == 1 { "" } else { "s" });
        document.fact(2, format!("Direct region {range} of group{s} {}", of.join(", ")));
    }
}

/// The entries that hold no PCI function of this host.
fn elsewhere(document: &mut Document, model: &Model, verdicts: &Verdicts) {
    document.blank();
    for entry in verdicts.entries.iter().filter(|entry| entry.coverage.devices.is_empty()) {
        let Some(block) = model.ivmd(entry.ivmd) else { continue };
        let owner = owner_text(block, &entry.coverage, &entry.owners);
        let (index, offset) = (block.index, block.offset);
        let covers = match &entry.coverage.gap {
            None => "covers no PCI function here".to_owned(),
            Some(gap) => format!("may cover PCI functions here ({})", gap_text(gap)),
        };
        document.fact(2, format!("IVMD {index} at offset {offset:#x} {covers}; owner: {owner}"));
    }
}

fn finding_text(finding: &Finding) -> Text {
    let severity = Kind::Severity(finding.severity);
    let at = finding.place.map_or_else(String::new, |place| format!(" ({place})"));
    Text::of(severity, finding.severity.as_str())
        .then(format!(" [{}]: {}{at}", finding.code, finding.message))
}
