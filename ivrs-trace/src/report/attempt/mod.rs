//! Text for people: the explanation of an attempt, and of a cause.

mod failures;
pub(crate) mod reasons;

use std::collections::{BTreeMap, BTreeSet};

pub use failures::{failures, failures_line};

use super::{
    Lost,
    decode::rmrr_memory_text,
    hex_bytes,
    page::{Page, Style},
    size,
};
use crate::{
    errno::{self, Errno},
    firmware::{
        Rmrr,
        amd::{
            ivrs::{Ivmd, IvmdFlags, IvmdKind},
            kernel::UnityEntry,
        },
    },
    model::{
        Attempt, Cause, CauseKind, Coverage, Evidence, Model, Outcome, Owner, OwnerKind, Reason,
        Rejection, RequireDirect, Verdict,
    },
    pci::Bdf,
};

/// Columns that a row of sixteen bytes takes.
const SIXTEEN_BYTES: usize = 60;

/// One line that says what came of an attempt.
#[must_use]
pub fn one_line(attempt: &Attempt) -> String {
    let who = format!("{} (pid {})", attempt.process.comm, attempt.process.pid);
    let what = subject(attempt);
    let error = || attempt.errno.map_or_else(String::new, |errno| format!(" with {errno}"));
    match attempt.outcome {
        Outcome::Rejected if attempt.errno.is_none() => {
            format!("BLOCKED by firmware: {what}. {} of {who} was refused.", attempt.call)
        }
        Outcome::Rejected => {
            format!("BLOCKED by firmware: {what}. {} of {who} failed{}.", attempt.call, error())
        }
        Outcome::Failed => {
            let failed =
                if clear_of_direct_maps(attempt) { "FAILED, not for a 1:1 map" } else { "FAILED" };
            // That the group is not viable is an answer, not an error.
            if attempt.errno.is_none() {
                return format!(
                    "{failed}: {what}. {} told {who} that it cannot be taken.",
                    attempt.call
                );
            }
            let call = failed_call(attempt).map_or_else(
                || format!("{} of {who} failed{}", attempt.call, error()),
                |(call, errno)| format!("{call} of {who} failed with {errno}"),
            );
            format!("{failed}: {what}. {call}.")
        }
        Outcome::Claimed => format!("CLEAR: {who} was given the ownership of {what}."),
        Outcome::Attached => format!("CLEAR: {who} has taken {what}."),
        Outcome::Unknown => format!("UNKNOWN: {who} tried to take {what}; the end was not seen."),
    }
}

/// The same, its first word in the colour of what it says.
fn painted(attempt: &Attempt, style: Style) -> String {
    let line = one_line(attempt);
    let verdict = match attempt.outcome {
        Outcome::Rejected => Verdict::Blocked,
        Outcome::Claimed | Outcome::Attached => Verdict::Clear,
        Outcome::Failed | Outcome::Unknown => Verdict::Unknown,
    };
    match line.find([' ', ':', ',']).and_then(|end| line.split_at_checked(end)) {
        Some((word, rest)) => format!("{}{rest}", style.paint(verdict, word)),
        None => line,
    }
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
    let mut page = Page::new(style);
    if model.attempts().is_empty() {
        page.text(0, "No attempt to take a VFIO group or device was seen.");
    }
    let mut told = Told::default();
    for (index, attempt) in model.attempts().iter().enumerate() {
        if index > 0 {
            page.blank();
        }
        explain(&mut page, model, attempt, &mut told);
    }
    if lost.any() {
        page.blank();
        page.text(
            0,
            &format!(
                "Events are missing (ring buffer full: {}, kernel memory not read: {}, not \
                 decoded: {}): what is said above may lack something.",
                lost.ring, lost.read, lost.queue
            ),
        );
    }
    page.finish()
}

/// The explanation of one attempt.
#[must_use]
pub fn attempt(model: &Model, attempt: &Attempt, style: Style) -> String {
    let mut page = Page::new(style);
    explain(&mut page, model, attempt, &mut Told::default());
    page.finish()
}

/// A cause of a verdict: the block, its bytes, what the kernel made of it, whom it covers. `device`
/// is the one that it holds.
#[must_use]
pub fn cause(model: &Model, cause: &Cause, device: Option<Bdf>, style: Style) -> String {
    let mut page = Page::new(style);
    cause_block(&mut page, model, cause, device);
    page.finish()
}

fn explain(page: &mut Page, model: &Model, attempt: &Attempt, told: &mut Told) {
    page.text(0, &painted(attempt, page.style()));
    match attempt.outcome {
        Outcome::Rejected => rejected(page, model, attempt, told),
        Outcome::Failed => reasons::failed(page, model, attempt),
        Outcome::Claimed | Outcome::Attached => reasons::taken(page, attempt),
        Outcome::Unknown => {}
    }
}

/// What has been told of earlier attempts, to be referred to instead of being told again.
#[derive(Default)]
struct Told {
    /// The IVMD blocks and RMRRs, each with the device that it was told of.
    blocks: BTreeMap<(&'static str, usize), String>,
    /// Whole paragraphs.
    paragraphs: BTreeSet<String>,
}

impl Told {
    /// What the causes are and their numbers, if every one of them is told, and the device that they
    /// were told of.
    fn all(&self, causes: &[Cause]) -> Option<(&'static str, Vec<String>, &str)> {
        let of = |cause: &Cause| self.blocks.get(&key(cause)?).map(String::as_str);
        let device = causes.first().and_then(of)?;
        let (kind, _) = causes.first().and_then(key)?;
        let numbers =
            causes.iter().map(|cause| of(cause).and(key(cause)).map(|(_, n)| n.to_string()));
        Some((kind, numbers.collect::<Option<_>>()?, device))
    }
}

/// What a cause is called, and its number; `None` for a region that no table explains.
fn key(cause: &Cause) -> Option<(&'static str, usize)> {
    cause.ivmd().map(|n| ("IVMD", n)).or(cause.rmrr().map(|n| ("RMRR", n)))
}

fn rejected(page: &mut Page, model: &Model, attempt: &Attempt, told: &mut Told) {
    page.blank();
    asked_for(page, attempt);
    for rejection in &attempt.rejections {
        blocker(page, attempt, rejection);
    }
    reasons::evidence(page, attempt);
    how_it_came(page, attempt);
    page.blank();
    let mut why = Page::new(page.style());
    explain_refusal(&mut why, model, attempt);
    if told.paragraphs.insert(why.finish()) {
        explain_refusal(page, model, attempt);
    }
    let mut named = false;
    for rejection in &attempt.rejections {
        let causes = model.causes(rejection);
        named |= causes.iter().any(|cause| cause.ivmd().is_some());
        if let Some((kind, numbers, device)) = told.all(&causes) {
            let table = if kind == "RMRR" { "DMAR" } else { "IVRS" };
            let (numbers, of) = (numbers.join(", "), format!("of the {table}, as told above of"));
            page.text(2, &format!("Cause: {kind} {numbers} {of} {device}."));
        } else {
            if let Some(text) = exclusion_text(&causes) {
                page.text(2, &text);
            }
            for cause in &causes {
                page.blank();
                cause_block(page, model, cause, rejection.device.bdf);
                let device = || rejection.device.name.clone();
                key(cause).map(|key| told.blocks.entry(key).or_insert_with(device));
            }
        }
        // What the kernel listed for the device before is whole in itself.
        let listed = matches!(rejection.evidence, Evidence::Log | Evidence::Inference)
            || model.is_intel_host();
        if causes.is_empty() || !rejection.complete && !listed {
            page.blank();
            page.text(2, &incomplete_text(model, rejection, causes.is_empty()));
        }
    }
    let mut help = Page::new(page.style());
    advice(&mut help, model, attempt, named);
    if told.paragraphs.insert(help.finish()) {
        page.blank();
        advice(page, model, attempt, named);
    } else {
        page.text(2, "What will not help, and what may, is the same.");
    }
}

fn explain_refusal(page: &mut Page, model: &Model, attempt: &Attempt) {
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
    let by_itself = "Intel's driver of this kernel refuses to (device_is_rmrr_locked, so \
                     intel_iommu_attach_device returns -EPERM; from 6.6 on the refusal is that of \
                     any vendor)";
    let by_flag = "since 6.6 Linux refuses to (dev_iommu.require_direct is set, so \
                   __iommu_device_set_domain returns -EINVAL)";
    let old = match model.require_direct() {
        RequireDirect::Missing => model.is_intel_host(),
        // Which of the two it is, the error that came back tells.
        RequireDirect::Unknown => model.is_intel_host() && attempt.errno == Some(Errno::EPERM),
        RequireDirect::Present => false,
    };
    page.text(
        2,
        &format!(
            "Why: {source} asks for memory that the device must reach at all times, at the same \
             address (a 1:1 map). VFIO would take that map away, and {}.",
            if old { by_itself } else { by_flag }
        ),
    );
}

/// What is missing where the causes of a refusal are not all known.
fn incomplete_text(model: &Model, rejection: &Rejection, none: bool) -> String {
    let name = &rejection.device.name;
    let subject = if none { "Cause: not known" } else { "There may be further causes" };
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
    format!("{subject}; {why}.")
}

fn asked_for(page: &mut Page, attempt: &Attempt) {
    let group =
        attempt.group.map_or_else(|| "a group".to_owned(), |id| format!("IOMMU group {id}"));
    let text = match (attempt.requested, attempt.requested_from) {
        (Some(bdf), Some(from)) => format!("Asked for: {bdf} of {group} (known from {from})."),
        (Some(bdf), None) => format!("Asked for: {bdf} of {group}."),
        (None, _) => format!("Asked for: {group}; which device of it, the kernel is not told."),
    };
    page.text(2, &text);
    machine(page, attempt);
}

/// How it came to the failure or the success: who gave the devices to vfio-pci, and then the claim and
/// the error that the process saw. Nothing where no such change was seen.
pub(crate) fn how_it_came(page: &mut Page, attempt: &Attempt) {
    if attempt.driver_changes.is_empty() {
        return;
    }
    page.blank();
    page.text(2, "How it came, in seconds before the first call:");
    for change in &attempt.driver_changes {
        let before = attempt.time_ns.saturating_sub(change.time_ns) / 1_000_000;
        let did = if change.bound { "took" } else { "let go of" };
        page.text(
            4,
            &format!(
                "{}.{:03}  {} {did} {}, asked by {}",
                before / 1000,
                before % 1000,
                change.driver,
                change.bdf,
                change.who()
            ),
        );
    }
    // From the inside out: the error of one is that of the next, up to what the process sees.
    let errors = attempt.calls.iter().filter_map(|call| Some((call, errno::of_return(call.ret)?)));
    let mut failed: Vec<String> =
        errors.map(|(call, error)| format!("{} = {error}", call.name)).collect();
    failed.dedup();
    let end = if failed.is_empty() { attempt.call.clone() } else { failed.join(", ") };
    let (comm, pid) = (&attempt.process.comm, attempt.process.pid);
    page.text(4, &format!("0      {comm} (pid {pid}): {end}"));
}

/// The virtual machine, and what its QEMU prints of the failure.
pub(crate) fn machine(page: &mut Page, attempt: &Attempt) {
    if let Some(vm) = attempt.process.machine() {
        let hostdev = attempt.hostdev.as_ref().and_then(|one| one.id.as_ref());
        let hostdev = hostdev.map_or_else(String::new, |id| format!(", its device {id}"));
        page.text(2, &format!("Virtual machine: {vm}{hostdev}."));
    }
    // Not broken into lines: it is there to be searched for.
    let mut title = "QEMU prints:";
    for words in attempt.qemu_prints() {
        page.line(&format!("  {title}"));
        page.line(&format!("    {words}"));
        title = "or, by its version:";
    }
}

fn blocker(page: &mut Page, attempt: &Attempt, rejection: &Rejection) {
    let driver = if rejection.driver.is_empty() {
        "no driver".to_owned()
    } else {
        format!("driver {}", rejection.driver)
    };
    let other = rejection.device.bdf.is_none() || rejection.device.bdf != attempt.requested;
    let text = if other && attempt.requested.is_some() {
        format!(
            "Blocked by: {} ({driver}), another device of the same group: a group is handed out \
             whole or not at all.",
            rejection.device.name
        )
    } else {
        format!("Blocked by: {} ({driver}).", rejection.device.name)
    };
    page.text(2, &text);
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

/// A cause: the block, its bytes, what the kernel made of it, whom it covers.
pub(crate) fn cause_block(page: &mut Page, model: &Model, cause: &Cause, device: Option<Bdf>) {
    if let Some(rmrr) = cause.rmrr().and_then(|index| model.rmrr(index)) {
        rmrr_block(page, model, cause, rmrr, device);
        return;
    }
    let block = cause.ivmd().and_then(|index| model.ivmd(index));
    let entry = cause.ivmd().and_then(|index| model.entry(index));
    let (Some(block), Some(entry)) = (block, entry) else {
        page.text(2, &format!("Cause: direct region {}", range_text(cause.start, cause.end)));
        for fact in &cause.evidence {
            page.text(4, &fact.to_string());
        }
        return;
    };
    page.text(
        2,
        &format!("Cause: IVMD {} of the IVRS, at offset {:#x}", block.index, block.offset),
    );
    let bytes_a_line = if page.style().width < SIXTEEN_BYTES { 8 } else { 16 };
    let mut row = |name: &str, text: &str| page.row(name, text);
    row("type", &kind_text(block, entry));
    row("flags", &flags_text(block.flags));
    row("memory", &memory_text(block));
    for (index, bytes) in block.bytes.chunks(bytes_a_line).enumerate() {
        row(if index == 0 { "bytes" } else { "" }, &hex_bytes(bytes));
    }
    row("kernel", &kernel_text(cause, block, entry));
    if let Some(coverage) = model.coverage(block.index) {
        row("covers", &coverage_text(&coverage, device));
        let owners = model.owners(block.index);
        row("owner", &owner_text(block, &coverage, &owners));
    }
}

/// An RMRR as a cause: its memory, bytes and device scopes, and whom it applies to.
fn rmrr_block(page: &mut Page, model: &Model, cause: &Cause, rmrr: &Rmrr, device: Option<Bdf>) {
    let (index, offset) = (rmrr.index, rmrr.offset);
    page.text(2, &format!("Cause: RMRR {index} of the DMAR, at offset {offset:#x}"));
    let mut row = |name: &str, text: &str| page.row(name, text);
    row("memory", &rmrr_memory_text(rmrr));
    for (number, line) in rmrr.bytes.chunks(16).enumerate() {
        row(if number == 0 { "bytes" } else { "" }, &hex_bytes(line));
    }
    if let Some(scope) = device.and(cause.scope.as_ref()) {
        let through = model.rmrrs_of(device.unwrap_or_default()).0;
        let found = through.iter().find(|found| found.rmrr.index == index);
        let text = match found.and_then(|found| found.through) {
            Some(bridge) => format!("{scope}: the bridge {bridge}, which the device is below"),
            None => format!("{scope}: the device itself"),
        };
        row("scope", &text);
    } else {
        for (number, scope) in rmrr.scopes.iter().enumerate() {
            row(if number == 0 { "scopes" } else { "" }, &scope.to_string());
        }
    }
    row("kernel", &format!("a read/write direct map of {}", range_text(rmrr.base, rmrr.limit)));
    if let Some(coverage) = model.rmrr_coverage(index) {
        let here = device.filter(|bdf| coverage.devices.contains(bdf));
        let count = coverage.devices.len();
        let subject = match (here, count) {
            (Some(bdf), 1) => format!("{bdf} alone"),
            (Some(bdf), _) => format!("{bdf} and {} more", count - 1),
            (None, _) => count.to_string(),
        };
        let relaxable = match coverage.relaxable.as_slice() {
            [] => String::new(),
            some => {
                let names: Vec<String> = some.iter().map(ToString::to_string).collect();
                format!("; also for {}, not refused as USB or display", names.join(", "))
            }
        };
        let text = format!(
            "{subject} of the {} device{} behind this host's Intel IOMMU, in {} group{}{relaxable}",
            coverage.of_devices,
            plural(coverage.of_devices),
            coverage.groups.len(),
            plural(coverage.groups.len()),
        );
        row("covers", &text);
    }
}

/// For whom the block is likely meant.
pub(crate) fn owner_text(block: &Ivmd, coverage: &Coverage, owners: &[Owner]) -> String {
    if let [Owner { kind: OwnerKind::Pci, .. }] = owners {
        return "likely the device itself, the only one that the entry is for".to_owned();
    }
    if owners.is_empty() {
        let range =
            if block.kind == IvmdKind::Device { "at that address" } else { "in that range" };
        return format!("does not show; the table names no ACPI device {range}");
    }
    let names: Vec<String> = owners.iter().take(6).map(owner_name).collect();
    let more = match owners.len().saturating_sub(6) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    // Almost every table names IO-APIC and timer, which need no memory of their own.
    let meant = match (owners.iter().any(|owner| owner.kind == OwnerKind::Acpi), owners.len()) {
        (true, 1) => "likely",
        (true, _) => "likely one of",
        (false, 1) => "perhaps",
        (false, _) => "perhaps one of",
    };
    let caught = coverage
        .devices
        .iter()
        .filter(|bdf| !owners.iter().any(|owner| owner.bdf == **bdf))
        .count();
    let rest = match caught {
        0 => String::new(),
        1 => "; the other device would then be merely caught".to_owned(),
        _ => format!("; the other {caught} devices would then be merely caught"),
    };
    let them = if owners.len() == 1 { "it" } else { "them" };
    format!("{meant} {}{more}, as the table names {them} there{rest}", names.join(", "))
}

fn owner_name(owner: &Owner) -> String {
    let at = owner.bdf.devid;
    match &owner.device {
        Some(device) => format!("{} at {at} (here {device})", owner.name),
        None => format!("{} at {at}", owner.name),
    }
}

/// A direct region, its end inclusive.
pub(crate) fn range_text(start: u64, end: u64) -> String {
    if end == start.wrapping_sub(1) {
        return format!("{start:#x}, no length");
    }
    format!("{start:#x} to {end:#x}")
}

pub(crate) fn kind_text(block: &Ivmd, entry: &UnityEntry) -> String {
    let segment = block.segment;
    match block.kind {
        IvmdKind::All => format!(
            "0x20, all devices: {} to {} (devid {:#06x}-{:#06x}), segment {segment}",
            entry.devid_start, entry.devid_end, entry.devid_start.0, entry.devid_end.0
        ),
        IvmdKind::Device => {
            format!(
                "0x21, one device: {} (devid {:#06x}), segment {segment}",
                block.devid, block.devid.0
            )
        }
        IvmdKind::Range => format!(
            "0x22, a range of devices: {} to {} (devid {:#06x}-{:#06x}), segment {segment}",
            entry.devid_start, entry.devid_end, entry.devid_start.0, entry.devid_end.0
        ),
    }
}

fn flags_text(flags: IvmdFlags) -> String {
    let names: Vec<&str> = [
        (flags.unity(), "unity map"),
        (flags.read(), "read"),
        (flags.write(), "write"),
        (flags.exclusion(), "exclusion range"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name)
    .collect();
    format!("{:#04x} ({})", flags.0, names.join(", "))
}

pub(crate) fn memory_text(block: &Ivmd) -> String {
    if block.length == 0 {
        return format!("{:#x}, no length", block.start);
    }
    let end = block.start.wrapping_add(block.length).wrapping_sub(1);
    format!("{:#x} to {end:#x} ({})", block.start, size(block.length))
}

/// What the kernel made of a block (`init_unity_map_range`, drivers/iommu/amd/init.c).
fn kernel_text(cause: &Cause, block: &Ivmd, entry: &UnityEntry) -> String {
    let access = match (entry.prot.read(), entry.prot.write()) {
        (true, true) => "read/write",
        (true, false) => "read-only",
        (false, true) => "write-only",
        (false, false) => "no-access",
    };
    let mut text = format!("a {access} direct map of {:#x} to {:#x}", cause.start, cause.end);
    if entry.length() == 0 {
        text = format!(
            "a {access} direct map at {:#x} of no length, which blocks all the same",
            cause.start
        );
    }
    if entry.start != block.start || entry.length() != block.length {
        text.push_str("; addresses are rounded up to whole pages");
    }
    text
}

pub(crate) fn coverage_text(coverage: &Coverage, device: Option<Bdf>) -> String {
    let here = device.filter(|bdf| coverage.devices.contains(bdf));
    let count = coverage.devices.len();
    let subject = match (here, count) {
        (Some(bdf), 1) => format!("{bdf} alone"),
        (Some(bdf), _) => format!("{bdf} and {} more", count - 1),
        (None, _) => count.to_string(),
    };
    format!(
        "{subject} of the {} device{} behind this host's AMD IOMMU, in {} group{}",
        coverage.of_devices,
        plural(coverage.of_devices),
        coverage.groups.len(),
        plural(coverage.groups.len()),
    )
}

pub(crate) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn advice(page: &mut Page, model: &Model, attempt: &Attempt, named: bool) {
    let tied = attempt.requested.filter(|bdf| {
        attempt.rejections.iter().all(|one| one.device.bdf != Some(*bdf)) && model.is_free(*bdf)
    });
    // Whoever is only tied to the device that blocks would be free of it in a group of its own.
    let vendor = if model.is_intel_host() { "intel" } else { "amd" };
    let acs = if tied.is_some() { "" } else { " ACS override," };
    page.text(
        2,
        &format!(
            "Will not help: iommu=pt or other iommu= and {vendor}_iommu= options,{acs} another \
             bootloader, Resizable BAR or Above 4G decoding, other QEMU or libvirt settings. The \
             kernel refuses before any of them matters."
        ),
    );
    if let Some(bdf) = tied {
        page.text(
            2,
            &format!(
                "May help: whatever gives {bdf} a group without the device that blocks, such as \
                 another slot (functions of one card may stay together). Firmware asks for no 1:1 \
                 map of {bdf} itself; only the group ties the two."
            ),
        );
    }
    if let Some(text) = slot_advice(model, attempt) {
        page.text(2, &text);
    }
    let mut may = "May help: firmware that does not ask for this, so a BIOS update or a BIOS \
                   setting; the board's vendor needs the entry and its bytes above."
        .to_owned();
    let protection = model.table().ivrs().is_some_and(|ivrs| {
        ivrs.ivinfo.dma_remap() && ivrs.ivmd.iter().any(|block| block.flags.exclusion())
    });
    if named && protection {
        may.push_str(
            " IVinfo bit 1 is set beside exclusion ranges, which is consistent with pre-boot DMA \
             protection: on some boards users report that switching off \"Kernel DMA Protection \
             Indicator\" or \"Pre-boot DMA Protection\" removed the entries. That weakens the \
             protection against DMA attacks before the system is up.",
        );
    }
    page.text(2, &may);
}

/// Whether another device or slot would do.
fn slot_advice(model: &Model, attempt: &Attempt) -> Option<String> {
    let blocks = attempt.rejections.iter().flat_map(|one| model.causes(one));
    let widest = blocks
        .filter_map(|cause| cause.ivmd())
        .filter_map(|ivmd| Some((model.coverage(ivmd)?, model.entry(ivmd)?)))
        .max_by_key(|(coverage, _)| coverage.devices.len())?;
    let (coverage, entry) = widest;
    let count = coverage.devices.len();
    if count < 2 {
        return None;
    }
    Some(if count == coverage.of_devices {
        format!(
            "Nor will another device: all {count} behind the IOMMU of this host are covered by \
             the same entry."
        )
    } else {
        format!(
            "Nor will another device in {} to {}: {count} of {} here are covered by the same \
             entry.",
            entry.devid_start, entry.devid_end, coverage.of_devices
        )
    })
}
