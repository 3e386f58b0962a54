//! Text of `what-if`: a summary, then the devices that would fare otherwise.

use super::{
    Document, Style,
    devices::column,
    document::{Kind, Text, capital, count, list},
};
use crate::{
    firmware::EntryId,
    model::{
        Change, WhatIf,
        what_if::{DeviceEffect, Effect, Judgement},
    },
};

/// What would be, for people.
#[must_use]
pub fn what_if(answer: &WhatIf, style: Style) -> String {
    let mut document = Document::default();
    let of = |effect| answer.devices.iter().filter(move |device| device.effect == effect);
    let number = |effect| of(effect).count();
    let changes: Vec<String> = answer.changes.iter().map(ToString::to_string).collect();
    let unknown = match number(Effect::Unknown) {
        0 => String::new(),
        number => format!(", {number} unknown"),
    };
    document.text(
        0,
        format!(
            "{}: {} of {} would become clear, {} would become blocked; {} would stay blocked, {} \
             clear{unknown}.",
            capital(&changes.join(", ")),
            number(Effect::BecomesClear),
            count(answer.devices.len(), "device"),
            number(Effect::BecomesBlocked),
            number(Effect::StaysBlocked),
            number(Effect::StaysClear),
        ),
    );
    for (effect, title) in [
        (Effect::BecomesClear, "Would become clear"),
        (Effect::BecomesBlocked, "Would become blocked"),
        (Effect::StaysBlocked, "Would stay blocked"),
        (Effect::Unknown, "Unknown"),
    ] {
        let devices: Vec<&DeviceEffect> = of(effect).collect();
        if devices.is_empty() {
            continue;
        }
        document.blank();
        document.fact(0, Text::of(Kind::Strong, title));
        for device in devices {
            document.fact(2, device_line(device));
        }
    }
    document.blank();
    document.text(
        0,
        "Nothing was changed. Both sides are judged from the table alone, as by a kernel that follows it.",
    );
    if let Some(text) = at_stake(&answer.changes) {
        document.text(0, text);
    }
    for notice in &answer.notices {
        document.text(0, format!("Note: {notice}"));
    }
    document.terminal(style)
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
    let driver = column(driver, 14);
    let group = device.group.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let line = format!("{}{from}  group {group:<4} {driver} {by}", device.bdf);
    line.trim_end().to_owned()
}

fn listed(numbers: &[usize]) -> String {
    list(&numbers.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn blocker(side: &Judgement) -> String {
    let entries = [("IVMD", &side.ivmd), ("RMRR", &side.rmrr)];
    let mut what: Vec<String> = entries
        .into_iter()
        .filter(|(_, numbers)| !numbers.is_empty())
        .map(|(noun, numbers)| format!("{noun} {}", listed(numbers)))
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
        "{noun} {} {asks} that DMA of the devices to that memory always works. Only the board's vendor \
         knows whether a device needs it; one that does and loses it fails its DMA or hangs the \
         machine, perhaps late. Ask the vendor for firmware without {them}, with the bytes that \
         `ivrs-trace decode` prints.",
        listed(&blocks),
    ))
}
