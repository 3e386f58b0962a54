//! The explanation of an attempt.

mod failures;
pub(crate) mod reasons;

use std::collections::BTreeMap;

pub use failures::{failures, failures_line};

use super::{
    Document, Style, advice,
    cause::{cause_block, entries},
    document::{Kind, Part, Text, head_of},
};
use crate::{
    errno::{self, Errno},
    facts::Lost,
    firmware::EntryId,
    model::{
        Attempt, Cause, CauseKind, Evidence, Model, Outcome, Reason, Rejection, RequireDirect,
        Verdict,
    },
};

/// One line that says what came of an attempt.
#[must_use]
pub fn one_line(attempt: &Attempt) -> String {
    headline(attempt).plain()
}

/// The same, of which the first word is a verdict.
fn headline(attempt: &Attempt) -> Text {
    let who = format!("{} (pid {})", attempt.process.comm, attempt.process.pid);
    let (what, call) = (subject(attempt), &attempt.call);
    let error = || attempt.errno.map_or_else(String::new, |errno| format!(" with {errno}"));
    let (verdict, word, rest) = match attempt.outcome {
        Outcome::Rejected => {
            let end = match attempt.errno {
                None => "was refused".to_owned(),
                Some(errno) => format!("failed with {errno}"),
            };
            (Verdict::Blocked, "BLOCKED", format!(" by firmware: {what}. {call} of {who} {end}."))
        }
        Outcome::Failed => {
            let not = if clear_of_direct_maps(attempt) { ", not for a 1:1 map" } else { "" };
            // That the group is not viable is an answer, not an error.
            let end = match (attempt.errno, failed_call(attempt)) {
                (None, _) => format!("{call} showed {who} that the group is not viable"),
                (_, Some((call, errno))) => format!("{call} of {who} failed with {errno}"),
                (_, None) => format!("{call} of {who} failed{}", error()),
            };
            (Verdict::Unknown, "FAILED", format!("{not}: {what}. {end}."))
        }
        Outcome::Claimed => (Verdict::Clear, "CLEAR", format!(": {who} claimed {what}.")),
        Outcome::Attached => (Verdict::Clear, "CLEAR", format!(": {who} attached {what}.")),
        Outcome::Unknown => {
            let rest = format!(": {who} tried to attach {what}; the end was not seen.");
            (Verdict::Unknown, "UNKNOWN", rest)
        }
    };
    Text::of(Kind::Verdict(verdict), word).then(rest)
}

/// What an attempt was after.
fn subject(attempt: &Attempt) -> String {
    match (attempt.requested, attempt.group) {
        (Some(bdf), _) => bdf.to_string(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "a group".to_owned(),
    }
}

/// The call whose error it was: the innermost that failed, and its error.
fn failed_call(attempt: &Attempt) -> Option<(&str, Errno)> {
    attempt.calls.iter().find_map(|call| Some((call.name.as_str(), errno::of_return(call.ret)?)))
}

/// Whether a 1:1 map is ruled out as the reason: another one is known, or the kernel had given the
/// ownership before something failed.
pub(crate) fn clear_of_direct_maps(attempt: &Attempt) -> bool {
    let further = attempt.also.iter().any(|one| one.reason == Reason::FirmwareDirectMap);
    // Where a reserved region is in the way, it may be one that firmware asked for.
    let open = matches!(attempt.reason, None | Some(Reason::Unknown));
    if further || attempt.reason == Some(Reason::ReservedRegionConflict) {
        return false;
    }
    !open
        || attempt.calls.iter().any(|call| call.name.ends_with("_claim_dma_owner") && call.ret == 0)
}

/// The explanation of every attempt.
#[must_use]
pub fn attempts(model: &Model, lost: Lost, style: Style) -> String {
    let mut document = Document::default();
    if model.attempts().is_empty() {
        document.text(0, "No attempt to attach a VFIO group or device was seen.");
    }
    let mut told = Told::default();
    for attempt in model.attempts() {
        document.blank();
        explain(&mut document, model, attempt, &mut told);
    }
    if lost.any() {
        document.blank();
        document.text(
            0,
            format!(
                "Events are missing (ring buffer full: {}, kernel memory not read: {}, not \
                 decoded: {}): what is said above may lack something.",
                lost.ring, lost.read, lost.queue
            ),
        );
    }
    document.terminal(style)
}

/// The explanation of one attempt.
#[must_use]
pub fn attempt(model: &Model, attempt: &Attempt) -> Document {
    let mut document = Document::default();
    explain(&mut document, model, attempt, &mut Told::default());
    document
}

/// The entries that were told of earlier attempts, each with the device that it was told of.
type Told = BTreeMap<EntryId, String>;

fn explain(document: &mut Document, model: &Model, attempt: &Attempt, told: &mut Told) {
    document.fact(0, headline(attempt));
    match attempt.outcome {
        Outcome::Rejected => rejected(document, model, attempt, told),
        Outcome::Failed => reasons::failed(document, model, attempt),
        Outcome::Claimed | Outcome::Attached => reasons::attached(document, attempt),
        Outcome::Unknown => {}
    }
}

fn rejected(document: &mut Document, model: &Model, attempt: &Attempt, told: &mut Told) {
    document.blank();
    document.headed(2, "Asked for:", asked(attempt) + ".");
    machine(document, attempt);
    for rejection in &attempt.rejections {
        blocker(document, attempt, rejection);
    }
    reasons::evidence(document, attempt);
    what_led_up(document, attempt);
    document.blank();
    document.text(2, why_refused(model, attempt));
    for rejection in &attempt.rejections {
        let causes = model.causes(rejection);
        let before: Option<Vec<&String>> =
            causes.iter().map(|cause| told.get(&cause.entry?)).collect();
        let device = before.and_then(|devices| devices.first().copied());
        if let (Some(device), Some(entries)) = (device, entries(&causes)) {
            document.headed(2, "Cause:", format!("{entries}, as above for {device}."));
        } else {
            if let Some(text) = exclusion_text(&causes) {
                document.text(2, text);
            }
            for cause in &causes {
                document.blank();
                cause_block(document, model, cause, rejection.device.bdf);
                if let Some(entry) = cause.entry {
                    told.entry(entry).or_insert_with(|| rejection.device.name.clone());
                }
            }
        }
        // What the kernel listed for the device before is whole in itself.
        let listed = matches!(rejection.evidence, Evidence::Log | Evidence::Inference)
            || model.is_intel_host();
        if causes.is_empty() || !rejection.complete && !listed {
            document.blank();
            document.fact(2, incomplete_text(model, rejection, causes.is_empty()));
        }
    }
    document.blank();
    if !advice(document, model, attempt) {
        document.fact(2, "What will not help and what may is the same as above.");
    }
}

fn why_refused(model: &Model, attempt: &Attempt) -> Text {
    // Without a unity map there is no AMD IOMMU, and the wish comes from elsewhere.
    let unnamed = attempt.rejections.is_empty() && model.table().view().is_some();
    let of_ivrs = unnamed
        || attempt.rejections.iter().any(|rejection| {
            !rejection.matches.is_empty()
                || rejection.device.bdf.is_some_and(|bdf| model.is_amd(bdf))
        });
    let source = if model.is_intel_host() {
        "the firmware's DMAR table"
    } else if of_ivrs {
        "the firmware's IVRS table"
    } else {
        "the firmware"
    };
    let old = match model.require_direct() {
        RequireDirect::Missing => model.is_intel_host(),
        // Which of the two it is, the error that came back tells.
        RequireDirect::Unknown => model.is_intel_host() && attempt.errno == Some(Errno::EPERM),
        RequireDirect::Present => false,
    };
    let refusal = if old {
        "Intel's driver of this kernel refuses to (device_is_rmrr_locked, so \
         intel_iommu_attach_device returns -EPERM; from 6.6 on Linux refuses for any vendor)"
    } else {
        "since 6.6 Linux refuses to (dev_iommu.require_direct is set, so \
         __iommu_device_set_domain returns -EINVAL)"
    };
    let why = format!(
        "{source} asks for memory that the device must reach at all times, at the same address (a \
         1:1 map). VFIO would take that map away, and {refusal}."
    );
    head_of("Why:", why)
}

/// What is missing where the causes of a refusal are not all known.
fn incomplete_text(model: &Model, rejection: &Rejection, none: bool) -> Text {
    let name = &rejection.device.name;
    let why = if rejection.device.bdf.is_none() {
        format!("{name} is no PCI function, and entries are not looked up for others")
    } else if model.is_intel_host() {
        format!("nothing is listed for {name}, and no RMRR that could be read is for it")
    } else if matches!(rejection.evidence, Evidence::Log | Evidence::Inference) {
        format!("the kernel's unity map was not read, and nothing is listed for {name}")
    } else if rejection.complete {
        format!("no entry of the kernel's unity map covers {name}")
    } else {
        "the kernel's unity map was not read whole".to_owned()
    };
    if none {
        head_of("Cause:", format!("unknown; {why}."))
    } else {
        format!("There may be further causes; {why}.").into()
    }
}

/// What was asked for, and whence that is known.
pub(super) fn asked(attempt: &Attempt) -> String {
    let group =
        attempt.group.map_or_else(|| "a group".to_owned(), |id| format!("IOMMU group {id}"));
    match (attempt.requested, attempt.requested_from) {
        (Some(bdf), Some(from)) => format!("{bdf} of {group} (from {from})"),
        (Some(bdf), None) => format!("{bdf} of {group}"),
        (None, _) => format!("{group}; the call does not tell the kernel which device of it"),
    }
}

/// What led up to the failure or the success: who gave the devices to vfio-pci, and then the claim and
/// the error that the process saw. Nothing where no such change was seen.
fn what_led_up(document: &mut Document, attempt: &Attempt) {
    if attempt.driver_changes.is_empty() {
        return;
    }
    document.blank();
    document.headed(2, "What led up to it,", "in seconds before the first call:");
    for change in &attempt.driver_changes {
        let before = attempt.time_ns.saturating_sub(change.time_ns) / 1_000_000;
        let (did, way) = if change.bound { ("bound", "to") } else { ("unbound", "from") };
        let (who, bdf, driver) = (change.who(), change.bdf, &change.driver);
        let time = format!("{}.{:03}", before / 1000, before % 1000);
        document.fact(4, format!("{time}  {who} {did} {bdf} {way} {driver}"));
    }
    // From the inside out: the error of one is that of the next, up to what the process sees.
    let errors = attempt.calls.iter().filter_map(|call| Some((call, errno::of_return(call.ret)?)));
    let mut failed: Vec<String> =
        errors.map(|(call, error)| format!("{} = {error}", call.name)).collect();
    failed.dedup();
    let end = if failed.is_empty() { attempt.call.clone() } else { failed.join(", ") };
    let (comm, pid) = (&attempt.process.comm, attempt.process.pid);
    document.fact(4, format!("0      {comm} (pid {pid}): {end}"));
}

/// The virtual machine, and what its QEMU prints of the failure.
fn machine(document: &mut Document, attempt: &Attempt) {
    if let Some(vm) = attempt.process.machine() {
        let hostdev = attempt.hostdev.as_ref().and_then(|one| one.id.as_ref());
        let hostdev = hostdev.map_or_else(String::new, |id| format!(", its device {id}"));
        document.headed(2, "Virtual machine:", format!("{vm}{hostdev}."));
    }
    let mut title = "QEMU prints:";
    for words in attempt.qemu_prints() {
        document.fact(2, title);
        // Not broken into lines: it is there to be searched for.
        document.lines(vec![format!("    {words}")]);
        title = "or, by its version:";
    }
}

fn blocker(document: &mut Document, attempt: &Attempt, rejection: &Rejection) {
    let (name, bdf) = (&rejection.device.name, rejection.device.bdf);
    let driver = match rejection.driver.as_str() {
        "" => "no driver bound".to_owned(),
        driver => format!("driver {driver}"),
    };
    let other = (bdf.is_none() || bdf != attempt.requested) && attempt.requested.is_some();
    let rest = if other {
        ", another device of the same group: a group is attached whole or not at all"
    } else {
        ""
    };
    document.headed(2, "Blocked by:", format!("{name} ({driver}){rest}."));
}

/// What the kernel does with exclusion ranges, if any of the causes is one
/// (`init_unity_map_range`, drivers/iommu/amd/init.c, 6.1 to 7.3).
fn exclusion_text(causes: &[Cause]) -> Option<String> {
    let count = causes.iter().filter(|cause| cause.kind == CauseKind::ExclusionRange).count();
    let (subject, verb) = match count {
        0 => return None,
        1 => ("One entry below is not a unity map but an exclusion range", "it"),
        _ => ("Entries below are not unity maps but exclusion ranges", "each of them"),
    };
    Some(format!(
        "{subject}: memory where the IOMMU is to let DMA pass. Linux does not use those; it turns \
         {verb} into a read/write direct map."
    ))
}

/// What will not help and what may; whether any of it was not said before.
fn advice(document: &mut Document, model: &Model, attempt: &Attempt) -> bool {
    let causes: Vec<Cause> =
        attempt.rejections.iter().flat_map(|rejection| model.causes(rejection)).collect();
    // Whoever is only tied to the device that blocks would be free of it in a group of its own.
    let tied = attempt.requested.filter(|bdf| {
        attempt.rejections.iter().all(|one| one.device.bdf != Some(*bdf)) && model.is_free(*bdf)
    });
    let will_not = advice::will_not(model, &causes, tied.is_none());
    let may = advice::may(model, &causes, tied, false);
    let mut new = false;
    for (head, items) in [("Will not help:", will_not), ("May help:", may)] {
        let items = Part::Items('-', items.into_iter().map(Text::from).collect());
        if !document.says(&items) {
            document.fact(2, Text::of(Kind::Strong, head));
            document.push(4, items);
            new = true;
        }
    }
    new
}
