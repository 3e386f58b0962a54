//! Text of `what-if`: a summary, then the devices that would fare otherwise.

use super::{
    attempt::plural,
    page::{Page, Style},
};
use crate::{
    firmware::EntryId,
    model::{
        Change, WhatIf,
        what_if::{DeviceEffect, Effect, Judgement},
    },
    width::{cut, pad},
};

/// What would be, for people.
#[must_use]
pub fn what_if(answer: &WhatIf, style: Style) -> String {
    let mut page = Page::new(style);
    let of = |effect| answer.devices.iter().filter(move |device| device.effect == effect);
    let count = |effect| of(effect).count();
    let changes: Vec<String> = answer.changes.iter().map(ToString::to_string).collect();
    let unknown = match count(Effect::Unknown) {
        0 => String::new(),
        count => format!(", {count} unknown"),
    };
    page.text(
        0,
        &format!(
            "{}: {} of {} device{} would become clear, {} would become blocked; {} would stay \
             blocked, {} clear{unknown}.",
            capital(&changes.join(", ")),
            count(Effect::BecomesClear),
            answer.devices.len(),
            plural(answer.devices.len()),
            count(Effect::BecomesBlocked),
            count(Effect::StaysBlocked),
            count(Effect::StaysClear),
        ),
    );
    for (effect, title) in [
        (Effect::BecomesClear, "Would become clear"),
        (Effect::BecomesBlocked, "Would become blocked"),
        (Effect::StaysBlocked, "Would stay blocked"),
        (Effect::Unknown, "Unknown"),
    ] {
        let mut devices = of(effect).peekable();
        if devices.peek().is_none() {
            continue;
        }
        page.blank();
        page.line(title);
        for device in devices {
            page.filled("  ", "    ", &device_line(device));
        }
    }
    page.blank();
    page.text(
        0,
        "Nothing was changed. Both sides are judged from the table alone, as by a kernel that follows it.",
    );
    if let Some(text) = at_stake(&answer.changes) {
        page.text(0, &text);
    }
    for notice in &answer.notices {
        page.text(0, &format!("Note: {notice}"));
    }
    page.finish()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

fn device_line(device: &DeviceEffect) -> String {
    let from = device.moved_from.map_or_else(String::new, |bdf| format!(" (now at {bdf})"));
    let driver = device.driver.as_deref().unwrap_or("-");
    let by = match device.effect {
        Effect::BecomesClear => format!("now blocked by {}", blocker(&device.before)),
        Effect::BecomesBlocked => format!("by {}", blocker(&device.after)),
        Effect::StaysBlocked if device.before == device.after => {
            format!("by {}", blocker(&device.after))
        }
        Effect::StaysBlocked => {
            format!("by {} (now {})", blocker(&device.after), blocker(&device.before))
        }
        Effect::StaysClear | Effect::Unknown => String::new(),
    };
    let driver = pad(&cut(driver, 14), 14);
    let line = format!("{}{from}  group {:<4} {driver} {by}", device.bdf, device.group);
    line.trim_end().to_owned()
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn blocker(side: &Judgement) -> String {
    let entries = [("IVMD", &side.ivmd), ("RMRR", &side.rmrr)];
    let mut what: Vec<String> = entries
        .into_iter()
        .filter(|(_, numbers)| !numbers.is_empty())
        .map(|(noun, numbers)| format!("{noun} {}", list(numbers)))
        .collect();
    if what.is_empty() || side.unnamed > 0 {
        what.push("direct regions that no entry explains".to_owned());
    }
    let what = what.join(" and ");
    match &side.blocked_by {
        Some(member) => format!("{what} through {member}"),
        None => what,
    }
}

/// What a change of the table would put at risk.
fn at_stake(changes: &[Change]) -> Option<String> {
    let entries: Vec<EntryId> = changes.iter().filter_map(|change| change.entry()).collect();
    let noun = entries.first()?.noun();
    let blocks: Vec<usize> = entries.iter().map(|entry| entry.index()).collect();
    let (asks, them) = if blocks.len() == 1 { ("asks", "it") } else { ("ask", "them") };
    Some(format!(
        "{noun} {} {asks} that DMA of the devices to that memory always works. Whether any of them needs \
         that only the maker of the board knows; if one does and loses it, its DMA fails or the \
         machine hangs, and that may show late. Ask the maker for firmware without {them}, with the \
         bytes that `ivrs-trace decode` prints.",
        list(&blocks),
    ))
}
