//! Text of `diff`: a summary, then what differs, the table first.

use super::{
    Document, Style,
    document::{Kind as Look, Text, count},
};
use crate::model::{
    Verdict,
    diff::{BlockChange, DeviceChange, DeviceSide, Diff, Field, GroupChange, Kind, Scope},
};

/// What differs, for people.
#[must_use]
pub fn diff(diff: &Diff, style: Style) -> String {
    let mut document = Document::default();
    document.text(0, summary(diff));
    section(&mut document, "Kernel, board and firmware", diff.host.iter().map(field_text));
    section(&mut document, "Table", diff.table.iter().map(field_text));
    for (name, changes) in [
        ("IVMD", &diff.ivmd),
        ("RMRR", &diff.rmrr),
        ("IVHD", &diff.ivhd),
        ("DRHD", &diff.drhd),
        ("Other block", &diff.unknown),
    ] {
        for change in changes {
            block(&mut document, name, change);
        }
    }
    let told: Vec<&DeviceChange> = diff.devices.iter().filter(|device| is_told(device)).collect();
    let other = diff.devices.len() - told.len();
    let other = (other > 0).then(|| {
        let devices = count(other, "device");
        format!("{devices} with the same verdict for other reasons (--json names them)")
    });
    let devices = told.into_iter().map(device_text);
    section(&mut document, "Devices", devices.chain(other));
    let (renumbered, others): (Vec<&GroupChange>, Vec<&GroupChange>) =
        diff.groups.iter().partition(|group| group.change == Kind::Moved);
    let renumbered = (!renumbered.is_empty()).then(|| {
        let groups = count(renumbered.len(), "group");
        format!("{groups} with the same members and regions under another number")
    });
    section(&mut document, "Groups", others.into_iter().map(group_text).chain(renumbered));
    document.blank();
    for notice in &diff.notices {
        document.text(0, format!("Note: {notice}"));
    }
    document.terminal(style)
}

/// A title and what is below it, if there is anything.
fn section(document: &mut Document, title: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_some() {
        document.blank();
        document.fact(0, Text::of(Look::Strong, title));
    }
    for item in items {
        document.fact(2, item);
    }
}

fn summary(diff: &Diff) -> String {
    let what = match diff.compared {
        Scope::Table => " between the tables",
        Scope::Host => "",
    };
    if diff.is_empty() {
        return format!("No difference{what}.");
    }
    let mut parts = Vec::new();
    for (name, changes) in [
        ("IVMD", &diff.ivmd),
        ("RMRR", &diff.rmrr),
        ("IVHD", &diff.ivhd),
        ("DRHD", &diff.drhd),
        ("other blocks", &diff.unknown),
    ] {
        let kinds: Vec<String> = [
            (Kind::Went, "removed"),
            (Kind::Came, "added"),
            (Kind::Changed, "changed"),
            (Kind::Moved, "moved"),
        ]
        .into_iter()
        .map(|(kind, word)| (changes.iter().filter(|one| one.change == kind).count(), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        if !kinds.is_empty() {
            parts.push(format!("{name}: {}", kinds.join(", ")));
        }
    }
    let verdicts: Vec<String> = [
        (Verdict::Clear, "now clear"),
        (Verdict::Blocked, "now blocked"),
        (Verdict::Unknown, "now unknown"),
        (Verdict::NoIommu, "now without IOMMU"),
    ]
    .into_iter()
    .map(|(verdict, words)| {
        let is = |device: &&DeviceChange| {
            device.verdict_changed()
                && device.after.as_ref().is_some_and(|side| side.judgement.verdict == verdict)
        };
        (diff.devices.iter().filter(is).count(), words)
    })
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("{count} {words}"))
    .collect();
    if !verdicts.is_empty() {
        parts.push(format!("devices: {}", verdicts.join(", ")));
    }
    if parts.is_empty() {
        // Neither blocks nor verdicts.
        return format!("Differences{what}, but none in blocks or verdicts.");
    }
    format!("Differences{what}. {}.", parts.join("; "))
}

fn field_text(field: &Field) -> String {
    let value = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".to_owned());
    format!("{}: {} -> {}", field.name, value(&field.before), value(&field.after))
}

fn block(document: &mut Document, name: &str, change: &BlockChange) {
    let place = |side: &Option<crate::model::diff::Block>| {
        let place = side.as_ref().map(|block| format!("{} at {}", block.index, block.offset));
        place.unwrap_or_default()
    };
    let (before, after) = (place(&change.before), place(&change.after));
    document.blank();
    match (change.change, change.before.as_ref().or(change.after.as_ref())) {
        (Kind::Went | Kind::Came, Some(block)) => {
            let gone = change.change == Kind::Went;
            let (place, word) = if gone { (before, "removed") } else { (after, "added") };
            document.fact(0, format!("{name} {place} {word}: {}", block.title));
            document.fact(4, &block.bytes);
        }
        (Kind::Moved, _) => document.fact(0, format!("{name} {before} moved to {after}")),
        (Kind::Changed, _) => {
            let now = if before == after { String::new() } else { format!(", now {after}") };
            document.fact(0, format!("{name} {before} changed{now}"));
            for field in &change.fields {
                document.fact(2, field_text(field));
            }
        }
        (Kind::Went | Kind::Came, None) => {}
    }
}

/// Whether the device came, went or has another verdict; the others are counted.
fn is_told(device: &DeviceChange) -> bool {
    device.change != Kind::Changed || device.verdict_changed()
}

fn device_text(device: &DeviceChange) -> String {
    let bdf = device.bdf;
    match (&device.before, &device.after) {
        (Some(old), Some(new)) => format!("{bdf}: {} -> {}", verdict(old), verdict(new)),
        (Some(old), None) => format!("{bdf} removed; was {}", verdict(old)),
        (None, Some(new)) => format!("{bdf} added: {}", verdict(new)),
        (None, None) => bdf.to_string(),
    }
}

fn verdict(side: &DeviceSide) -> String {
    let side = &side.judgement;
    let word = match side.verdict {
        Verdict::Blocked => "blocked",
        Verdict::Clear => "clear",
        Verdict::Unknown => "unknown",
        Verdict::NoIommu => "without IOMMU",
        Verdict::Platform => "of the platform",
    };
    let ivmd: Vec<String> = side.ivmd.iter().map(ToString::to_string).collect();
    // A kernel that does not refuse hands it out all the same.
    let by = if side.verdict == Verdict::Blocked { "by" } else { "despite" };
    let by =
        if ivmd.is_empty() { String::new() } else { format!(" {by} IVMD {}", ivmd.join(", ")) };
    let through =
        side.blocked_by.as_ref().map_or_else(String::new, |member| format!(" through {member}"));
    format!("{word}{by}{through}")
}

fn group_text(group: &GroupChange) -> String {
    let (old, new) = match (&group.before, &group.after) {
        (Some(old), Some(new)) => (old, new),
        (Some(old), None) => return format!("{} removed: {}", old.id, old.members.join(" ")),
        (None, Some(new)) => return format!("{} added: {}", new.id, new.members.join(" ")),
        (None, None) => return String::new(),
    };
    let mut differ = Vec::new();
    if old.members != new.members {
        differ.push(format!("{} -> {}", old.members.join(" "), new.members.join(" ")));
    }
    if old.domain_type != new.domain_type {
        let word = |side: &Option<String>| side.clone().unwrap_or_else(|| "unknown".to_owned());
        let (old, new) = (word(&old.domain_type), word(&new.domain_type));
        differ.push(format!("domain type {old} -> {new}"));
    }
    if old.regions != new.regions {
        let none = Vec::new();
        let (before, after) =
            (old.regions.as_ref().unwrap_or(&none), new.regions.as_ref().unwrap_or(&none));
        let lines = |these: &[String], those: &[String], sign: char| -> Vec<String> {
            let only = these.iter().filter(|line| !those.contains(line));
            only.map(|line| format!("{sign}{line}")).collect()
        };
        let all = [lines(before, after, '-'), lines(after, before, '+')].concat();
        if all.is_empty() {
            differ.push("regions in another order, or known on one side only".to_owned());
        } else {
            differ.push(format!("regions {}", all.join(", ")));
        }
    }
    let id =
        if old.id == new.id { old.id.to_string() } else { format!("{} -> {}", old.id, new.id) };
    format!("{id}: {}", differ.join("; "))
}
