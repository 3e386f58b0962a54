//! The report for a forum: short, for somebody who has never heard of IVRS and for those who want to
//! help. What it is, what will not help, what may; no promise, and no advice to change the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    input::{self, Case, Origin, Standing, TOOL},
    sections,
};
use crate::{
    codes::Code,
    firmware::Ivmd,
    model::{Outcome, Reason, RequireDirect, Verdict},
    pci::Bdf,
    report::{
        Document, advice,
        attempt::reasons::why,
        document::{capital, count, list},
        write::Format,
    },
};

/// Addresses of devices that are told.
const ADDRESSES: usize = 12;

/// The report.
#[must_use]
pub fn forum(case: &Case<'_>, format: Format) -> String {
    let mut letter = Document::default();
    let standing = case.standing();
    let (held, total) = (case.held_devices().count(), case.total());
    letter.title(match standing {
        Standing::Blocked if case.refused().next().is_some() => {
            "Passthrough fails: the board's firmware is in the way".to_owned()
        }
        Standing::Blocked => {
            format!("Passthrough: firmware keeps {held} of {total} devices from virtual machines")
        }
        Standing::Later => format!(
            "Passthrough: Linux 6.6 and later keep {held} of {total} devices from virtual machines"
        ),
        Standing::Unknown => "Passthrough: whether firmware is in the way is not known".to_owned(),
        Standing::Clear => "Passthrough: firmware is not in the way".to_owned(),
        Standing::NoIommu => format!(
            "Passthrough: no IOMMU serves {} of {} devices",
            case.of(Verdict::NoIommu).count(),
            case.verdicts.devices.len()
        ),
        Standing::NoGroups => "Passthrough: no IOMMU is in use".to_owned(),
    });
    letter.rows(case.host_rows());
    letter.row("IOMMU options", case.options().join(" "));
    attempts(&mut letter, case);
    match standing {
        Standing::Blocked | Standing::Later => {
            what(&mut letter, case, standing);
            will_not(&mut letter, case);
            may(&mut letter, case);
        }
        Standing::Unknown => unknown(&mut letter, case),
        Standing::Clear => {
            letter.text(
                0,
                "The kernel refuses none of these devices because of a 1:1 map of firmware's. If a \
                 virtual machine does not start, the reason is another one: `ivrs-trace run -- \
                 COMMAND` with the command that fails names the call and the reason.",
            );
            let relaxed = case.verdicts.findings.iter().filter(|one| one.code == Code::RelaxUnity);
            letter.items(relaxed.map(|one| case.redact.text(&one.message)));
        }
        Standing::NoIommu => {
            letter.text(
                0,
                "A table of the firmware (IVRS on AMD, DMAR on Intel) lists the IOMMUs and the \
                 devices behind each. A device without an IOMMU cannot be passed through.",
            );
            letter.items(case.missing());
        }
        Standing::NoGroups => {
            letter.text(
                0,
            "Without IOMMU groups nothing can be passed through. Check that the IOMMU is switched \
             on in the BIOS (AMD-Vi, SVM and IOMMU) and not off on the kernel command line.",
            );
        }
    }
    sections::not_remapped(&mut letter, case);
    sections::without_iommu(&mut letter, case);
    let missing = if case.lost.any() || !case.notes.is_empty() {
        " Some events or facts are missing, so this may lack something."
    } else {
        ""
    };
    let redacted = if case.redact.is_on() {
        " Names, serial numbers and the command line were left out."
    } else {
        ""
    };
    letter.text(0, format!("Written by {TOOL}.{redacted}{missing}"));
    letter.write(format)
}

fn attempts(letter: &mut Document, case: &Case<'_>) {
    let failures = case.failures();
    letter.items(failures.iter().take(4).map(|told| {
        let times = if told.count > 1 { format!(" ({} times)", told.count) } else { String::new() };
        format!("{}{times}", case.one_line(told.attempt))
    }));
    let printed: BTreeSet<String> =
        failures.iter().flat_map(|told| told.attempt.qemu_prints()).take(4).collect();
    for words in printed {
        letter.text(0, format!("QEMU prints: \"{words}\""));
    }
    let mut reasons: Vec<String> = failures
        .iter()
        .map(|told| told.attempt)
        .filter(|attempt| attempt.outcome == Outcome::Failed)
        .map(|attempt| match attempt.reason {
            None | Some(Reason::Unknown | Reason::FirmwareDirectMap) => {
                "The calls that were seen do not tell why the other one failed.".to_owned()
            }
            Some(reason) => case.redact.text(&why(reason, attempt)),
        })
        .collect();
    reasons.dedup();
    reasons.truncate(4);
    for reason in reasons {
        letter.text(0, reason);
    }
}

fn what(letter: &mut Document, case: &Case<'_>, standing: Standing) {
    letter.title("What it is");
    let held = case.culprits();
    let total = case.total();
    let blocked = case.held_devices().count();
    let table = if held.is_empty() { "The firmware" } else { "A table of the firmware (IVRS)" };
    let refusal = match (case.model.require_direct(), standing) {
        (RequireDirect::Missing, _) if case.model.is_intel_host() => {
            "Linux does not hand such a device to a virtual machine, because the map would be gone \
             then. It says \"Operation not permitted\", and in its log \"Device is ineligible for \
             IOMMU domain attach due to platform RMRR requirement\"."
        }
        (RequireDirect::Missing, Standing::Later) => {
            "This kernel hands such devices out all the same; from 6.6 on Linux refuses to."
        }
        _ => {
            "Linux (from 6.6 on) does not hand such a device to a virtual machine, because the map \
             would be gone then. It says \"Invalid argument\", and in its log \"Firmware has \
             requested this device have a 1:1 IOMMU mapping\"."
        }
    };
    letter.text(0, format!(
        "{table} asks for memory that devices must always reach at the same address (a 1:1 map). \
         {refusal}"
    ));
    let mut items = Vec::new();
    let mut ranges: BTreeMap<(Bdf, Bdf), Vec<&Ivmd>> = BTreeMap::new();
    for one in &held {
        let at = |devid| Bdf::new(one.entry.segment, devid);
        let range = (at(one.entry.devid_start), at(one.entry.devid_end));
        ranges.entry(range).or_default().push(one.block);
    }
    for ((first, last), blocks) in ranges {
        let whom = if first == last {
            format!("{first} alone")
        } else {
            format!("all devices from {first} to {}, whatever they are", last.devid)
        };
        let offsets: Vec<String> =
            blocks.iter().map(|block| format!("{:#x}", block.offset)).collect();
        let (numbers, offsets) = (input::numbered(&blocks), list(&offsets));
        items.push(format!("Entry {numbers} (at offset {offsets}): for {whom}."));
    }
    if blocked > 0 {
        let devices: Vec<String> =
            case.held_devices().take(ADDRESSES).map(|device| device.bdf.to_string()).collect();
        let more = match blocked.saturating_sub(ADDRESSES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        items.push(format!(
            "It concerns {blocked} of {total} devices here: {}{more}.{}",
            devices.join(", "),
            if blocked < total { " The others are not refused for it." } else { "" },
        ));
    }
    if held.is_empty() && case.ivrs().is_none() {
        items.push(sections::no_table(case));
    }
    letter.items(items);
}

fn will_not(letter: &mut Document, case: &Case<'_>) {
    letter.title(if case.standing() == Standing::Later {
        "What will not help with such a kernel"
    } else {
        "What will not help"
    });
    letter.items(sentences(advice::will_not(case.model, &case.causes(), itself(case))));
}

fn sentences(items: Vec<String>) -> impl Iterator<Item = String> {
    items.into_iter().map(|item| capital(&item) + ".")
}

/// Whether those that were asked for, or all that are held, are known to be held for themselves and
/// not only for another member of their group.
fn itself(case: &Case<'_>) -> bool {
    let known = |bdf: Bdf| {
        let name = bdf.to_string();
        let entries = case.culprits();
        case.verdicts.groups.iter().any(|group| group.blocked_by.contains(&name))
            || case.model.is_amd(bdf) && entries.iter().any(|one| one.entry.matches(bdf))
    };
    let mut refused = case.refused().peekable();
    if refused.peek().is_none() {
        let mut held = case.held_devices().peekable();
        return held.peek().is_some() && held.all(|device| known(device.bdf));
    }
    refused.all(|attempt| {
        attempt.requested.is_some_and(|bdf| {
            known(bdf) || attempt.rejections.iter().any(|one| one.device.bdf == Some(bdf))
        })
    })
}

/// A device that was asked for and is only held by another member of its group.
fn tied(case: &Case<'_>) -> Option<Bdf> {
    let asked = case.refused().find_map(|attempt| {
        attempt.requested.filter(|bdf| {
            attempt.rejections.iter().all(|one| one.device.bdf != Some(*bdf))
                && case.model.is_free(*bdf)
        })
    });
    asked.or_else(|| {
        let mut held = case.held_devices();
        held.find(|device| device.blocked_by.is_some() && case.model.is_free(device.bdf))
            .map(|device| device.bdf)
    })
}

fn may(letter: &mut Document, case: &Case<'_>) {
    letter.title("What may help");
    let held = case.culprits();
    let mut items = advice::may(case.model, &case.causes(), tied(case), true);
    let outside: Vec<Bdf> = case
        .of(Verdict::Clear)
        .filter(|device| device.causes.is_empty() && case.model.is_amd(device.bdf))
        .map(|device| device.bdf)
        .collect();
    let wide = held.iter().any(|one| one.entry.devid_start != one.entry.devid_end);
    if wide && !outside.is_empty() {
        let mut buses: Vec<String> =
            outside.iter().map(|bdf| format!("{:02x}", bdf.devid.bus())).collect();
        buses.dedup();
        items.push(format!(
            "another slot, if its bus lies outside the range: {} here {} not refused (bus {}). \
             Only a try or the manual tells which slot has which bus",
            count(outside.len(), "device"),
            if outside.len() == 1 { "is" } else { "are" },
            buses.join(", "),
        ));
    }
    letter.items(sentences(items));
}

fn unknown(letter: &mut Document, case: &Case<'_>) {
    letter.text(0, "Facts are missing, so nothing can be said yet:");
    letter.items(case.missing());
    letter.text(
        0,
        match case.origin {
            Origin::Tree => "A copy made as root (docs/copy-a-host.md) may say more.",
            Origin::Live { .. } | Origin::Recording { .. } => {
                "Run as root, `ivrs-trace report --for forum` may say more."
            }
        },
    );
}
