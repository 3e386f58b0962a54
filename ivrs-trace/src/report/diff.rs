//! Text of `diff`: a summary, then what differs, the table first.

use super::{
    attempt::plural,
    page::{Page, Style},
};
use crate::model::{
    Verdict,
    diff::{BlockChange, DeviceChange, DeviceSide, Diff, Field, GroupChange, Kind, Scope},
};

/// What differs, for people.
#[must_use]
pub fn diff(diff: &Diff, style: Style) -> String {
    let mut page = Page::new(style);
    page.text(0, &summary(diff));
    section(&mut page, "Kernel, board and firmware", &diff.host, |page, field| {
        page.text(2, &field_text(field));
    });
    section(&mut page, "Table", &diff.table, |page, field| page.text(2, &field_text(field)));
    for (name, changes) in [
        ("IVMD", &diff.ivmd),
        ("RMRR", &diff.rmrr),
        ("IVHD", &diff.ivhd),
        ("DRHD", &diff.drhd),
        ("Other block", &diff.unknown),
    ] {
        for change in changes {
            page.blank();
            block(&mut page, name, change);
        }
    }
    let told: Vec<&DeviceChange> = diff.devices.iter().filter(|device| is_told(device)).collect();
    let mut devices: Vec<String> = told.iter().map(|device| device_text(device)).collect();
    let other = diff.devices.len() - told.len();
    if other > 0 {
        devices.push(format!(
            "{other} device{} with the same verdict for other reasons (--json names them)",
            plural(other)
        ));
    }
    section(&mut page, "Devices", &devices, |page, line| page.text(2, line));
    let (renumbered, others): (Vec<&GroupChange>, Vec<&GroupChange>) =
        diff.groups.iter().partition(|group| group.change == Kind::Moved);
    let mut groups: Vec<String> = others.into_iter().map(group_text).collect();
    if !renumbered.is_empty() {
        groups.push(format!(
            "{} group{} with the same members and regions under another number",
            renumbered.len(),
            plural(renumbered.len())
        ));
    }
    section(&mut page, "Groups", &groups, |page, line| page.text(2, line));
    if !diff.notices.is_empty() {
        page.blank();
    }
    for notice in &diff.notices {
        page.text(0, &format!("Note: {notice}"));
    }
    page.finish()
}

fn section<T>(page: &mut Page, title: &str, items: &[T], mut each: impl FnMut(&mut Page, &T)) {
    if items.is_empty() {
        return;
    }
    page.blank();
    page.line(title);
    for item in items {
        each(page, item);
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
            (Kind::Went, "went"),
            (Kind::Came, "came"),
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

fn block(page: &mut Page, name: &str, change: &BlockChange) {
    let (old, new) = (change.before.as_ref(), change.after.as_ref());
    let place = |side: Option<&crate::model::diff::Block>| {
        side.map_or_else(String::new, |block| format!("{} at {}", block.index, block.offset))
    };
    match change.change {
        Kind::Went | Kind::Came => {
            let Some(block) = old.or(new) else { return };
            let word = if change.change == Kind::Went { "went" } else { "came" };
            page.text(0, &format!("{name} {} {word}: {}", place(old.or(new)), block.title));
            page.text(4, &block.bytes);
        }
        Kind::Moved => {
            page.text(0, &format!("{name} {} moved, now {}", place(old), place(new)));
        }
        Kind::Changed => {
            let now = if place(old) == place(new) {
                String::new()
            } else {
                format!(", now {}", place(new))
            };
            page.text(0, &format!("{name} {} changed{now}", place(old)));
            for field in &change.fields {
                page.text(2, &field_text(field));
            }
        }
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
        (Some(old), None) => format!("{bdf} went; was {}", verdict(old)),
        (None, Some(new)) => format!("{bdf} came: {}", verdict(new)),
        (None, None) => bdf.to_string(),
    }
}

fn verdict(side: &DeviceSide) -> String {
    let side = &side.judgement;
    let word = match side.verdict {
        Verdict::Blocked => "blocked",
        Verdict::Clear => "clear",
        Verdict::Unknown => "unknown",
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
        (Some(old), None) => return format!("{} went: {}", old.id, old.members.join(" ")),
        (None, Some(new)) => return format!("{} came: {}", new.id, new.members.join(" ")),
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
