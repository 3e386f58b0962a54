//! The verdicts on a host in words: a summary, the devices that are blocked, then the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    attempt::{cause_block, owner_text, plural, range_text},
    page::{Page, Style},
};
use crate::{
    escape::printable,
    host::PciNames,
    model::{Cause, DeviceVerdict, Finding, Model, RequireDirect, Verdict, Verdicts},
    pci::Bdf,
    width::{cut, pad, width},
};

/// Columns that a name needs to be worth showing.
const NAME: usize = 12;
/// So many clear devices are still shown one a line.
const FEW: usize = 6;

/// The verdicts on a host, a summary first.
#[must_use]
pub fn check(model: &Model, verdicts: &Verdicts, style: Style) -> String {
    let mut page = Page::new(style);
    let devices = &verdicts.devices;
    if !devices.is_empty() {
        summary(&mut page, model, devices);
        let held = |device: &&DeviceVerdict| !device.causes.is_empty();
        let of = |verdict| devices.iter().filter(move |device| device.verdict == verdict);
        let columns = Columns::of(model, verdicts);
        section(
            &mut page,
            model,
            verdicts,
            "Blocked",
            &of(Verdict::Blocked).collect::<Vec<_>>(),
            &columns,
        );
        section(
            &mut page,
            model,
            verdicts,
            "Unknown",
            &of(Verdict::Unknown).collect::<Vec<_>>(),
            &columns,
        );
        let missing: BTreeSet<&str> =
            devices.iter().filter_map(|device| device.missing.as_deref()).collect();
        for what in missing {
            page.text(2, &format!("Not known: {what}"));
        }
        let despite: Vec<_> = of(Verdict::Clear).filter(held).collect();
        let title = "Clear on this kernel, but from 6.6 on Linux would refuse";
        section(&mut page, model, verdicts, title, &despite, &columns);
        let free: Vec<_> = of(Verdict::Clear).filter(|device| !held(device)).collect();
        clear(&mut page, model, &free, &columns);
        causes(&mut page, model, devices);
        elsewhere(&mut page, model, verdicts);
    }
    if !verdicts.findings.is_empty() {
        page.blank();
        let mut findings: Vec<&Finding> = verdicts.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in findings {
            page.text(0, &finding_text(page.style(), finding));
        }
        page.blank();
        page.text(
            0,
            "`ivrs-trace explain CODE` says what a finding means and what to do about it.",
        );
    }
    page.finish()
}

fn summary(page: &mut Page, model: &Model, devices: &[DeviceVerdict]) {
    let style = page.style();
    let count = |verdict| devices.iter().filter(|device| device.verdict == verdict).count();
    let part = |verdict, word: &str| {
        let count = count(verdict);
        let text = format!("{count} {word}");
        if count == 0 { text } else { style.paint(verdict, &text) }
    };
    page.text(
        0,
        &format!(
            "{}, {}, {} of {} device{}",
            part(Verdict::Blocked, "blocked"),
            part(Verdict::Clear, "clear"),
            part(Verdict::Unknown, "unknown"),
            devices.len(),
            plural(devices.len()),
        ),
    );
    let release = model.host().kernel_release.value().map_or("of unknown release", String::as_str);
    let refuses = match model.refuses() {
        RequireDirect::Present => "refuses devices that firmware wants mapped 1:1",
        RequireDirect::Missing => "does not refuse devices that firmware wants mapped 1:1",
        RequireDirect::Unknown => "may refuse devices that firmware wants mapped 1:1",
    };
    let mut row = |name: &str, text: &str| {
        page.filled(&format!("  {name:<9}"), &" ".repeat(11), text);
    };
    row("kernel", &format!("{}, {refuses}", printable(release)));
    let options = model.iommu_options();
    if !options.is_empty() {
        row("options", &options.join(" "));
    }
    let dmi = &model.host().dmi;
    let known = [&dmi.board_vendor, &dmi.board_name];
    let board: Vec<String> =
        known.iter().filter_map(|one| one.value()).map(|text| printable(text)).collect();
    let bios: Vec<String> = [&dmi.bios_version, &dmi.bios_date]
        .iter()
        .filter_map(|one| one.value())
        .map(|text| printable(text))
        .collect();
    if !board.is_empty() || !bios.is_empty() {
        let bios =
            if bios.is_empty() { String::new() } else { format!("BIOS {}", bios.join(" of ")) };
        let parts: Vec<String> =
            [board.join(" "), bios].into_iter().filter(|part| !part.is_empty()).collect();
        row("board", &parts.join(", "));
    }
}

/// What lines of devices have in common: the widths of their columns, and what they look up.
struct Columns {
    group: usize,
    driver: usize,
    names: PciNames,
    /// Who has direct regions itself, whoever comes first in its group.
    blockers: BTreeSet<String>,
}

impl Columns {
    fn of(model: &Model, verdicts: &Verdicts) -> Self {
        let devices = &verdicts.devices;
        let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
        let drivers = &mut devices.iter().map(|device| width(driver(device)));
        Self {
            group: widest(&mut devices.iter().map(|device| device.group.to_string().len())),
            driver: widest(drivers).min(14),
            names: model.host().pci_names.value().cloned().unwrap_or_default(),
            blockers: verdicts.groups.iter().flat_map(|one| &one.blocked_by).cloned().collect(),
        }
    }
}

fn driver(device: &DeviceVerdict) -> &str {
    device.driver.as_deref().unwrap_or("-")
}

/// The devices of one verdict, by groups; of a group with several a line of its own.
fn section(
    page: &mut Page,
    model: &Model,
    verdicts: &Verdicts,
    title: &str,
    devices: &[&DeviceVerdict],
    columns: &Columns,
) {
    let Some(first) = devices.first() else { return };
    page.blank();
    page.text(0, &page.style().paint(first.verdict, title));
    let mut groups: Vec<u32> = Vec::new();
    for device in devices {
        if !groups.contains(&device.group) {
            groups.push(device.group);
        }
    }
    for id in groups {
        let several = model
            .group(id)
            .and_then(|group| group.members.value())
            .is_some_and(|members| members.len() > 1);
        if several {
            group_line(page, model, verdicts, id);
        }
        for device in devices.iter().filter(|device| device.group == id) {
            let indent = if several { "    " } else { "  " };
            device_line(page, model, device, indent, columns);
        }
    }
}

fn group_line(page: &mut Page, model: &Model, verdicts: &Verdicts, id: u32) {
    let members = model.group(id).and_then(|group| group.members.value()).map_or(0, Vec::len);
    let Some(group) = verdicts.groups.iter().find(|group| group.id == id) else { return };
    let verdict = match (group.verdict, group.blocked_by.as_slice()) {
        (Verdict::Blocked, []) => ": blocked; by which of them, does not show".to_owned(),
        (Verdict::Blocked, all) if all.len() == members => ": blocked by each of them".to_owned(),
        (Verdict::Blocked, some) => format!(": blocked by {}", some.join(", ")),
        (Verdict::Clear | Verdict::Unknown, _) => String::new(),
    };
    page.text(2, &format!("group {id}, {members} devices as one{verdict}"));
}

fn device_line(
    page: &mut Page,
    model: &Model,
    device: &DeviceVerdict,
    indent: &str,
    columns: &Columns,
) {
    let named: Vec<String> = device.ivmds().map(|ivmd| ivmd.to_string()).collect();
    let rmrrs: Vec<String> =
        device.causes.iter().filter_map(|cause| cause.rmrr()).map(|one| one.to_string()).collect();
    let cause = match (named.is_empty(), device.causes.is_empty()) {
        (false, _) => format!("IVMD {}", named.join(", ")),
        (true, false) if !rmrrs.is_empty() => format!("RMRR {}", rmrrs.join(", ")),
        (true, false) => "direct regions".to_owned(),
        (true, true) => String::new(),
    };
    let itself = columns.blockers.contains(&device.bdf.to_string());
    let cause = match device.blocked_by.as_ref().filter(|_| !itself) {
        Some(name) => format!("  {cause} through {name}"),
        None if cause.is_empty() => cause,
        None => format!("  {cause}"),
    };
    let mut line = format!(
        "{}  group {:<group$}  {}{cause}",
        device.bdf,
        device.group,
        pad(&cut(driver(device), columns.driver), columns.driver),
        group = columns.group,
    );
    if let Some(alias) = model.alias(device.bdf) {
        line.push_str(&format_args!("  seen as {alias}").to_string());
    }
    let used = indent.len() + width(&line) + 2;
    let left = page.style().width.saturating_sub(used);
    if let Some(name) = name(model, device.bdf, &columns.names).filter(|_| left >= NAME) {
        line.push_str("  ");
        line.push_str(&cut(&name, left));
    }
    page.filled(indent, &format!("{indent}  "), line.trim_end());
}

/// The device's name, or what kind of device it is.
fn name(model: &Model, bdf: Bdf, names: &PciNames) -> Option<String> {
    let function = model.function(bdf)?;
    let name = function.device_name(names).or_else(|| function.class_name(names))?;
    Some(printable(name))
}

/// The clear devices: one a line where they are few, else their addresses.
fn clear(page: &mut Page, model: &Model, devices: &[&DeviceVerdict], columns: &Columns) {
    if devices.is_empty() {
        return;
    }
    page.blank();
    let title = page.style().paint(Verdict::Clear, "Clear");
    if devices.len() <= FEW {
        page.text(0, &title);
        for device in devices {
            device_line(page, model, device, "  ", columns);
        }
        return;
    }
    let addresses: Vec<String> = devices.iter().map(|device| device.bdf.to_string()).collect();
    page.text(0, &format!("{title}: {}", addresses.join(", ")));
}

/// What holds devices: each block once, then the regions without one.
fn causes(page: &mut Page, model: &Model, devices: &[DeviceVerdict]) {
    let blocks: BTreeMap<usize, &Cause> = devices
        .iter()
        .flat_map(|device| &device.causes)
        .filter_map(|cause| Some((cause.ivmd()?, cause)))
        .collect();
    for cause in blocks.into_values() {
        page.blank();
        cause_block(page, model, cause, None);
    }
    let rmrrs: BTreeMap<usize, &Cause> = devices
        .iter()
        .flat_map(|device| &device.causes)
        .filter_map(|cause| Some((cause.rmrr()?, cause)))
        .collect();
    for cause in rmrrs.into_values() {
        page.blank();
        cause_block(page, model, cause, None);
    }
    let mut unnamed: BTreeMap<(u64, u64), BTreeSet<u32>> = BTreeMap::new();
    for device in devices {
        for cause in device.causes.iter().filter(|one| one.entry.is_none()) {
            unnamed.entry((cause.start, cause.end)).or_default().insert(device.group);
        }
    }
    if !unnamed.is_empty() {
        page.blank();
    }
    for ((start, end), groups) in unnamed {
        let of: Vec<String> = groups.iter().map(u32::to_string).collect();
        let of = format!("group{} {}", plural(of.len()), of.join(", "));
        page.text(2, &format!("Direct region {} of {of}", range_text(start, end)));
    }
}

/// The entries that hold no PCI function of this host.
fn elsewhere(page: &mut Page, model: &Model, verdicts: &Verdicts) {
    let mut first = true;
    for entry in verdicts.entries.iter().filter(|entry| entry.coverage.devices.is_empty()) {
        let Some(block) = model.ivmd(entry.ivmd) else { continue };
        if std::mem::take(&mut first) {
            page.blank();
        }
        page.text(
            2,
            &format!(
                "IVMD {} at offset {:#x} covers no PCI function here; owner: {}",
                block.index,
                block.offset,
                owner_text(block, &entry.coverage, &entry.owners)
            ),
        );
    }
}

fn finding_text(style: Style, finding: &Finding) -> String {
    let severity = style.weigh(finding.severity, finding.severity.as_str());
    let at = finding.place.map_or_else(String::new, |place| format!(" ({place})"));
    format!("{severity} [{}]: {}{at}", finding.code, finding.message)
}
