//! The report for kernel developers, fit for a mailing list: what maintainers ask for first. The
//! system, every IVMD block with its flags and bytes, who is refused, each attempt call by call, how
//! all of it is known and what is missing, and the table itself for `acpixtract`.

use super::{
    input::{self, Case, Origin, Standing, TOLD, TOOL, Told, count},
    markup::{COLUMNS, Format, Letter},
    sections,
};
use crate::{
    firmware::{
        Fact,
        amd::{ivrs::Ivmd, kernel::is_effective},
    },
    host::{Member, Reading, RegionKind},
    model::{DeviceVerdict, Evidence, Outcome, RequireDirect, Severity, Table, Verdict},
    recording::ProbeFact,
    report::{
        attempt::{coverage_text, kind_text, memory_text, owner_text, range_text},
        hex_bytes,
    },
    width::{cut, width},
};

/// Attempts that are told call by call; of others, what came of them.
const WHOLE: usize = 3;

/// The report.
#[must_use]
pub fn kernel(case: &Case<'_>, format: Format) -> String {
    let mut letter = Letter::default();
    if format == Format::Text {
        letter.lines(vec![format!("Subject: {}", subject(case))]);
    } else {
        letter.title(&subject(case));
    }
    letter.text(&summary(case));
    system(&mut letter, case);
    attempts(&mut letter, case);
    blocks(&mut letter, case);
    devices(&mut letter, case);
    regions(&mut letter, case);
    findings(&mut letter, case);
    trace(&mut letter, case);
    table(&mut letter, case);
    letter.write(format)
}

fn subject(case: &Case<'_>) -> String {
    let total = case.verdicts.devices.len();
    let held = case.held_devices().count();
    let culprits = case.culprits();
    let blocks: Vec<&Ivmd> = culprits.iter().map(|one| one.block).collect();
    let by = match (blocks.len(), case.is_amd()) {
        (0, _) => match sections::culprits(case).as_slice() {
            [] => "1:1 maps".to_owned(),
            [(rmrr, _)] => format!("RMRR {}", rmrr.index),
            many => format!("{} RMRRs", many.len()),
        },
        (1..=4, _) => input::numbered(&blocks),
        (many, _) => format!("{many} IVMD blocks"),
    };
    match case.standing() {
        Standing::Blocked if held == 0 => format!("VFIO: a device is refused for {by}"),
        Standing::Blocked => format!("VFIO: {held} of {total} PCI functions refused for {by}"),
        Standing::Later => {
            format!("VFIO: Linux 6.6 refuses {held} of {total} PCI functions for {by}")
        }
        Standing::Unknown => "VFIO: whether 1:1 maps keep PCI functions is open".to_owned(),
        Standing::Clear => "VFIO: no PCI function is refused for a 1:1 map".to_owned(),
        Standing::NoGroups => "VFIO: no IOMMU groups".to_owned(),
    }
}

/// How the kernel refuses from 6.6 on.
const BY_FLAG: &str = "the kernel sets dev_iommu.require_direct for a device with a direct region, \
                       and __iommu_device_set_domain() then answers a blocking domain with -EINVAL, \
                       which costs the whole group (drivers/iommu/iommu.c, since a48ce36e2786, 6.6)";
/// How Intel's driver refuses up to 6.5.
const BY_ITSELF: &str = "intel_iommu_attach_device() answers VFIO's domain with -EPERM for a device \
                         with an RMRR that is not relaxable (device_is_rmrr_locked, \
                         drivers/iommu/intel/iommu.c, up to 6.5), which costs the whole group";

fn summary(case: &Case<'_>) -> String {
    let total = case.verdicts.devices.len();
    let held = case.held_devices().count();
    let refused = case.refused().count();
    let from = if case.culprits().is_empty() {
        "Firmware asks for 1:1 maps"
    } else {
        "The IVRS asks for 1:1 maps (IVMD blocks)"
    };
    match case.standing() {
        Standing::Blocked => {
            let seen = match refused {
                0 => "No refusal was watched; this is what the facts below lead to.".to_owned(),
                1 => "One refusal was watched, and is below.".to_owned(),
                _ => format!("{refused} refusals were watched, and are below."),
            };
            let by_itself = case.model.is_intel_host();
            let how = match case.model.require_direct() {
                RequireDirect::Missing if by_itself => BY_ITSELF.to_owned(),
                RequireDirect::Unknown if by_itself => {
                    format!("{BY_FLAG}; or, where the kernel has no such flag, {BY_ITSELF}")
                }
                _ => BY_FLAG.to_owned(),
            };
            let whom = match held {
                0 => " that a device here cannot leave".to_owned(),
                _ => format!(
                    ", for which {held} of the {total} PCI functions in IOMMU groups here {} \
                     refused to VFIO",
                    if held == 1 { "is" } else { "are" }
                ),
            };
            format!("{from}{whom}: {how}. {seen}")
        }
        Standing::Later => format!(
            "{from} of {held} of the {total} PCI functions in IOMMU groups here. This kernel has \
             no dev_iommu.require_direct and hands them out; one with a48ce36e2786 (6.6) refuses \
             them."
        ),
        Standing::Unknown => format!(
            "Of the {total} PCI functions in IOMMU groups here, {} cannot be judged: what is \
             missing is said below.",
            case.of(Verdict::Unknown).count()
        ),
        Standing::Clear => format!(
            "None of the {total} PCI functions in IOMMU groups here is refused to VFIO for a 1:1 \
             map of firmware's."
        ),
        Standing::NoGroups => {
            "This host shows no IOMMU groups, so there is no function that VFIO could take, and \
             nothing to judge."
                .to_owned()
        }
    }
}

fn system(letter: &mut Letter, case: &Case<'_>) {
    let host = case.model.host();
    letter.title("System");
    let refuses = match case.model.require_direct() {
        RequireDirect::Present => "it has dev_iommu.require_direct, and refuses",
        RequireDirect::Missing if case.model.is_intel_host() => {
            "it has no dev_iommu.require_direct, but Intel's driver refuses by itself"
        }
        RequireDirect::Unknown if case.model.is_intel_host() => {
            "whether it has dev_iommu.require_direct is not known; without it Intel's driver \
             refuses by itself"
        }
        RequireDirect::Missing => "it has no dev_iommu.require_direct, and does not refuse",
        RequireDirect::Unknown => "whether it has dev_iommu.require_direct is not known",
    };
    let line = match &host.command_line {
        Reading::Read(line) => case.redact.private(line.trim()).unwrap_or_else(|| {
            let options = case.options();
            let kept = if options.is_empty() { "none".to_owned() } else { options.join(" ") };
            format!("removed; its options for IOMMU and VFIO: {kept}")
        }),
        Reading::Absent => "not there".to_owned(),
        Reading::Unreadable(why) => format!("not read: {}", case.redact.text(why)),
    };
    let units: Vec<String> =
        host.iommus.value().into_iter().flatten().map(|unit| case.redact.text(unit)).collect();
    let command = match case.origin {
        Origin::Recording { command, .. } if !command.is_empty() => {
            case.redact.private(&command.join(" ")).unwrap_or_else(|| "removed".to_owned())
        }
        _ => String::new(),
    };
    letter.rows(vec![
        ("kernel", case.release()),
        ("1:1 maps", refuses.to_owned()),
        ("cmdline", line),
        ("machine", case.machine().unwrap_or_default()),
        ("board", case.board().unwrap_or_else(|| "not known".to_owned())),
        ("BIOS", case.bios().unwrap_or_else(|| "not known".to_owned())),
        ("IOMMUs", units.join(", ")),
        ("lockdown", host.lockdown.value().map(|word| case.redact.text(word)).unwrap_or_default()),
        ("known from", case.origin_text()),
        ("command", command),
        ("report by", TOOL.to_owned()),
    ]);
}

fn attempts(letter: &mut Letter, case: &Case<'_>) {
    let all = case.model.attempts();
    if all.is_empty() {
        return;
    }
    letter.title("Attempts");
    let failures = case.failures();
    for (index, told) in failures.iter().enumerate() {
        if index < WHOLE {
            attempt(letter, case, told);
        }
    }
    let rest: Vec<String> = failures
        .iter()
        .skip(WHOLE)
        .take(TOLD)
        .map(|told| {
            let alike =
                if told.count > 1 { format!(" ({} alike)", told.count) } else { String::new() };
            format!("{}{alike}", case.one_line(told.attempt))
        })
        .collect();
    if !rest.is_empty() {
        letter.text("Further failures, not told call by call:");
        letter.items(rest);
    }
    let good = all
        .iter()
        .filter(|one| matches!(one.outcome, Outcome::Claimed | Outcome::Attached))
        .count();
    let open = all.iter().filter(|one| one.outcome == Outcome::Unknown).count();
    let mut others = Vec::new();
    if good > 0 {
        others.push(format!("{} succeeded", count(good, "attempt")));
    }
    if open > 0 {
        others.push(format!("of {} the end was not seen", count(open, "attempt")));
    }
    if !others.is_empty() {
        letter.text(&format!("Besides, {}.", others.join("; ")));
    }
    let dropped = case.model.attempts_dropped();
    if dropped > 0 {
        letter.text(&format!("{dropped} earlier attempts were dropped for want of room."));
    }
}

fn attempt(letter: &mut Letter, case: &Case<'_>, told: &Told<'_>) {
    let attempt = told.attempt;
    let alike = match told.count {
        1 => String::new(),
        many => format!(" ({many} alike; this is the last.)"),
    };
    letter.subtitle(&format!("{}{alike}", case.one_line(attempt)));
    let group = attempt.group.map_or_else(|| "a group".to_owned(), |id| format!("group {id}"));
    let asked = match (attempt.requested, attempt.requested_from) {
        (Some(bdf), Some(from)) => format!("{bdf} of {group}, known from {from}"),
        (Some(bdf), None) => format!("{bdf} of {group}"),
        (None, _) => group,
    };
    let vm = attempt
        .process
        .vm
        .as_ref()
        .map(|vm| case.redact.private(vm).unwrap_or_else(|| "name removed".to_owned()));
    let mut rows = vec![
        ("asked for", asked),
        ("guest", vm.unwrap_or_default()),
        ("began at", format!("{} s (CLOCK_MONOTONIC)", seconds(attempt.time_ns))),
    ];
    rows.extend(attempt.qemu_prints().into_iter().map(|words| ("QEMU prints", words)));
    for rejection in &attempt.rejections {
        let driver = if rejection.driver.is_empty() {
            String::new()
        } else {
            format!(", driver {}", case.redact.text(&rejection.driver))
        };
        rows.push(("refused", format!("{}{driver}", case.redact.text(&rejection.device.name))));
        rows.push(("known from", known_from(rejection.evidence, rejection.event)));
        let causes = case.model.causes(rejection);
        for cause in &causes {
            let what = match (cause.ivmd(), cause.rmrr()) {
                (Some(ivmd), _) => format!("IVMD {ivmd}"),
                (None, Some(rmrr)) => format!("RMRR {rmrr}"),
                (None, None) => "a direct region without a block".to_owned(),
            };
            let evidence: Vec<String> = cause
                .evidence
                .iter()
                // Its bytes are told below.
                .filter(|fact| !matches!(fact, Fact::Entry { .. }))
                .map(|fact| case.redact.text(&fact.to_string()))
                .collect();
            let evidence = if evidence.is_empty() {
                "by the table alone".to_owned()
            } else {
                evidence.join("; ")
            };
            rows.push((
                "cause",
                format!("{what}, {}: {evidence}", range_text(cause.start, cause.end)),
            ));
        }
        let intel = case.model.is_intel_host();
        if causes.is_empty() || !rejection.complete && !intel {
            rows.push(("missing", "the kernel's unity map was not read whole for it".to_owned()));
        }
    }
    if attempt.outcome == Outcome::Rejected {
        let line = case.trail.message_of(attempt.process.pid, attempt.time_ns);
        rows.push((
            "kernel log",
            line.map_or_else(|| "its line was not seen".to_owned(), |line| case.redact.text(line)),
        ));
    }
    if attempt.outcome == Outcome::Failed {
        let facts: Vec<String> =
            attempt.facts.iter().map(|fact| case.redact.text(&fact.to_string())).collect();
        let reason = attempt.reason.and_then(|reason| serde_json::to_value(reason).ok());
        let reason = reason.as_ref().and_then(|value| value.as_str()).unwrap_or("unknown");
        rows.push(("reason", reason.replace('_', " ")));
        rows.push(("seen", facts.join("; ")));
        for held in &attempt.host_drivers {
            let (device, driver) = (case.redact.text(&held.bdf), case.redact.text(&held.driver));
            rows.push(("held by", format!("{device}: {driver}")));
        }
    }
    letter.rows(rows);
    let lines = case.trail.lines(case.model, attempt, case.redact);
    let any = !lines.is_empty();
    letter.lines(lines);
    if any {
        letter.text("Number of the event, seconds since the attempt began, call.");
    } else {
        letter.text("The single calls are not at hand.");
    }
}

fn known_from(evidence: Evidence, event: u64) -> String {
    match evidence {
        Evidence::Call => {
            format!("what __iommu_device_set_domain read and returned (event {event})")
        }
        Evidence::Warning => {
            format!("the kernel's _dev_warn (event {event}); the call was not seen")
        }
        Evidence::Log => {
            format!("the line in the kernel's log (event {event}); the call was not seen")
        }
        Evidence::Inference => {
            format!("inference from the error and what is known of the group (event {event})")
        }
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

fn blocks(letter: &mut Letter, case: &Case<'_>) {
    if case.model.is_intel_host() {
        letter.title("DMAR and its RMRRs");
        letter.text(&sections::in_words(case));
        sections::rows(letter, case);
        return;
    }
    letter.title("IVRS and its IVMD blocks");
    let Some(ivrs) = case.ivrs() else {
        letter.text(&no_table(case));
        return;
    };
    let header = &ivrs.header;
    let text =
        |bytes: &[u8]| case.redact.text(String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']));
    let heeded = ivrs.ivmd.iter().filter(|block| is_effective(block)).count();
    letter.rows(vec![
        (
            "table",
            format!(
                "revision {}, {} bytes, checksum {}, OEM \"{}\" \"{}\" revision {:#x}",
                header.revision,
                header.length,
                if header.checksum_ok { "right" } else { "WRONG" },
                text(&header.oem_id),
                text(&header.oem_table_id),
                header.oem_revision,
            ),
        ),
        (
            "IVinfo",
            format!(
                "{:#010x}, bit 1 (DMA remapping before boot) {}",
                ivrs.ivinfo.0,
                if ivrs.ivinfo.dma_remap() { "set" } else { "clear" }
            ),
        ),
        ("IVMD", format!("{}, {heeded} of them heeded by Linux", count(ivrs.ivmd.len(), "block"))),
        (
            "other",
            ivrs.unknown
                .iter()
                .map(|block| {
                    format!("type {:#04x} at {:#x} (Linux skips it)", block.kind, block.offset)
                })
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("walk", ivrs.truncation.map(|cut| cut.to_string()).unwrap_or_default()),
    ]);
    for block in ivrs.ivmd.iter().take(TOLD) {
        ivmd(letter, case, block);
    }
    if let Some(more) = ivrs.ivmd.len().checked_sub(TOLD).filter(|more| *more > 0) {
        letter.text(&format!("{more} more blocks are in the table below."));
    }
}

/// Why no block can be named.
pub(super) fn no_table(case: &Case<'_>) -> String {
    match case.model.table() {
        _ if case.model.is_intel_host() => sections::in_words(case),
        _ if case.model.host().has_unit("smmu") => {
            "This host's IOMMU is ARM's: direct regions come from RMR nodes of the IORT, or from \
             iommu-addresses in the device tree, which this program does not read."
                .to_owned()
        }
        Table::Absent if case.other_iommus().is_some() => format!(
            "This host's IOMMU is neither AMD's nor Intel's ({}): direct regions come from another \
             table than those that this program reads.",
            case.other_iommus().unwrap_or_default()
        ),
        Table::Absent => "This host has no IVRS that could be read.".to_owned(),
        Table::Unreadable(why) => format!("The IVRS was not read: {}.", case.redact.text(why)),
        Table::Malformed(error) => format!("The IVRS is malformed: {error}."),
        Table::Read(_) => String::new(),
    }
}

fn ivmd(letter: &mut Letter, case: &Case<'_>, block: &Ivmd) {
    letter.subtitle(&format!("IVMD {} at offset {:#x}", block.index, block.offset));
    let entry = case.model.entry(block.index);
    let (first, second) = block.bytes.split_at(block.bytes.len() / 2);
    let mut rows = vec![
        (
            "type",
            entry.map_or_else(
                || {
                    format!(
                        "{:#04x}, devid {:#06x}, aux {:#06x}, segment {}",
                        block.kind.code(),
                        block.devid.0,
                        block.aux,
                        block.segment
                    )
                },
                |entry| kind_text(block, entry),
            ),
        ),
        ("flags", input::flags(block.flags)),
        ("memory", memory_text(block)),
        ("bytes", hex_bytes(first)),
        (" ", hex_bytes(second)),
    ];
    if let Some(entry) = entry {
        let access = match (entry.prot.read(), entry.prot.write()) {
            (true, true) => "read/write",
            (true, false) => "read-only",
            (false, true) => "write-only",
            (false, false) => "neither read nor write",
        };
        let from = if block.flags.exclusion() {
            "; it maps exclusion ranges instead of excluding them"
        } else {
            ""
        };
        rows.push((
            "Linux",
            format!(
                "unity map entry {} of segment {}, {}, {access}{from}",
                entry.ordinal,
                entry.segment,
                range_text(entry.start, entry.end_inclusive()),
            ),
        ));
        rows.push(("kernel", walked(case, block.index)));
        rows.push((
            "memory is",
            case.memory(entry.start, entry.end_inclusive()).unwrap_or_default(),
        ));
        if let Some(coverage) = case.model.coverage(block.index) {
            let owners = case.model.owners(block.index);
            rows.push(("covers", coverage_text(&coverage, None)));
            rows.push(("owner", case.redact.text(&owner_text(block, &coverage, &owners))));
        }
    } else {
        rows.push(("Linux", "ignores it: neither Unity nor ExclusionRange is set".to_owned()));
    }
    letter.rows(rows);
}

/// What the kernel itself was seen to have made of a block.
fn walked(case: &Case<'_>, ivmd: usize) -> String {
    let Some(entry) = case.model.entry(ivmd) else { return String::new() };
    let Some(map) = case.model.unity_map(entry.segment) else { return String::new() };
    let same = map.entries.get(entry.ordinal).is_some_and(|row| {
        row.devid_start == entry.devid_start
            && row.devid_end == entry.devid_end
            && row.start == entry.start
            && row.end == entry.end_exclusive
    });
    if same {
        format!("its own unity map has the same entry (event {})", map.event)
    } else {
        format!("its own unity map DIFFERS there (event {})", map.event)
    }
}

fn devices(letter: &mut Letter, case: &Case<'_>) {
    let devices = &case.verdicts.devices;
    if devices.is_empty() {
        return;
    }
    letter.title("PCI functions");
    let blocked: Vec<_> = case.of(Verdict::Blocked).collect();
    let unknown: Vec<_> = case.of(Verdict::Unknown).collect();
    let (later, clear): (Vec<_>, Vec<_>) =
        case.of(Verdict::Clear).partition(|device| !device.causes.is_empty());
    let title = format!("Refused: {} of {}", blocked.len(), devices.len());
    device_list(letter, case, &title, &blocked);
    let set = blocked
        .iter()
        .filter_map(|device| case.model.listing(&device.bdf.to_string()))
        .filter(|listing| listing.require_direct == Some(true))
        .count();
    if set > 0 {
        letter.text(&format!(
            "dev_iommu.require_direct was read from the kernel as set for {set} of them."
        ));
    }
    let mut list = |title: &str, devices: &[&DeviceVerdict]| {
        device_list(letter, case, title, devices);
    };
    list(&format!("Not known: {} of {}", unknown.len(), devices.len()), &unknown);
    list(
        &format!("With 1:1 maps, not refused by this kernel: {} of {}", later.len(), devices.len()),
        &later,
    );
    list(&format!("Not refused for a 1:1 map: {} of {}", clear.len(), devices.len()), &clear);
    let mut missing: Vec<String> = unknown
        .iter()
        .filter_map(|device| device.missing.as_ref())
        .map(|what| case.redact.text(what))
        .collect();
    missing.sort();
    missing.dedup();
    letter.items(missing);
}

fn device_list(letter: &mut Letter, case: &Case<'_>, title: &str, devices: &[&DeviceVerdict]) {
    if devices.is_empty() {
        return;
    }
    letter.text(title);
    let names = case.model.host().pci_names.value().cloned().unwrap_or_default();
    let drivers = devices.iter().filter_map(|device| device.driver.as_ref());
    let column = drivers.map(|name| width(name)).max().unwrap_or(1).min(14);
    let line = |device: &&DeviceVerdict| {
        cut(&format!("  {}", case.device_line(device, column, &names)), COLUMNS)
    };
    letter.lines(devices.iter().take(TOLD).map(line).collect());
    if let Some(more) = devices.len().checked_sub(TOLD).filter(|more| *more > 0) {
        letter.text(&format!("and {more} more."));
    }
}

/// The direct regions that sysfs shows, by groups.
pub(super) fn regions(letter: &mut Letter, case: &Case<'_>) {
    let mut lines = Vec::new();
    for group in case.model.host().groups.value().into_iter().flatten() {
        let direct = group.regions.value().into_iter().flatten().filter(|region| {
            matches!(region.kind, RegionKind::Direct | RegionKind::DirectRelaxable)
        });
        for region in direct {
            lines.push(format!(
                "  group {:<3} {:#018x} {:#018x} {}",
                group.id, region.start, region.end_inclusive, region.kind
            ));
        }
    }
    if lines.is_empty() {
        return;
    }
    letter.title("Direct regions in sysfs");
    letter
        .text("/sys/kernel/iommu_groups/*/reserved_regions, merged by the kernel over each group:");
    let more = lines.len().saturating_sub(TOLD);
    lines.truncate(TOLD);
    letter.lines(lines);
    if more > 0 {
        letter.text(&format!("and {more} more."));
    }
    let others: Vec<String> = case
        .model
        .host()
        .groups
        .value()
        .into_iter()
        .flatten()
        .flat_map(|group| group.members.value().into_iter().flatten().map(|one| (group.id, one)))
        .filter_map(|(id, member)| match member {
            Member::Other(name) => Some(format!("{} (group {id})", case.redact.text(name))),
            Member::Pci(_) => None,
        })
        .take(TOLD)
        .collect();
    if !others.is_empty() {
        let others = others.join(", ");
        letter.items(vec![format!("members of groups that are no PCI functions: {others}")]);
    }
}

fn findings(letter: &mut Letter, case: &Case<'_>) {
    let mut findings: Vec<_> = case.verdicts.findings.iter().collect();
    if findings.is_empty() {
        return;
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    letter.title("Findings");
    let items = findings.iter().map(|finding| {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let at = finding.place.map_or_else(String::new, |place| format!(" ({place})"));
        format!("{severity}, {}: {}{at}", finding.code, case.redact.text(&finding.message))
    });
    letter.items(items.collect());
}

fn trace(letter: &mut Letter, case: &Case<'_>) {
    letter.title("How it was seen, and what is missing");
    let symbol = |probe: &ProbeFact| match &probe.module {
        Some(module) => {
            format!("{} [{}]", case.redact.text(&probe.symbol), case.redact.text(module))
        }
        None => case.redact.text(&probe.symbol),
    };
    let attached: Vec<String> = case
        .probes
        .iter()
        .filter(|probe| probe.state == "attached")
        .map(|probe| {
            let how = case.redact.text(&probe.how.join("+"));
            let fallback = probe
                .fallback
                .as_ref()
                .map_or_else(String::new, |why| format!(", as {}", case.redact.text(why)));
            format!("{} ({how}{fallback})", symbol(probe))
        })
        .collect();
    let waiting: Vec<String> =
        case.probes.iter().filter(|probe| probe.state == "waiting").map(symbol).collect();
    let mut rows = Vec::new();
    if case.probes.is_empty() {
        rows.push(("probes", "none: the kernel was not traced".to_owned()));
    } else {
        rows.push(("probes on", attached.join(", ")));
        rows.push(("waiting", waiting.join(", ")));
    }
    for probe in case.probes.iter().filter(|probe| probe.state == "missing") {
        let why = probe.reason.as_deref().unwrap_or("no reason is given");
        rows.push((
            "missing",
            format!(
                "{}, which would show {}: {}",
                symbol(probe),
                case.redact.text(&probe.explains),
                case.redact.text(why)
            ),
        ));
    }
    for probe in case.probes.iter().filter(|probe| probe.state == "left_out") {
        rows.push(("left out", symbol(probe)));
    }
    let lost = case.lost;
    rows.push((
        "lost",
        if lost.any() {
            format!(
                "{} events found the ring buffer full, {} reads of kernel memory failed, {} events \
                 could not be decoded or kept",
                lost.ring, lost.read, lost.queue
            )
        } else if case.probes.is_empty() {
            String::new()
        } else {
            "nothing".to_owned()
        },
    ));
    if case.trail.dropped() > 0 {
        rows.push(("left out", format!("{} events of early attempts", case.trail.dropped())));
    }
    letter.rows(rows);
    letter.items(case.notes.iter().map(|note| case.redact.text(note)).collect());
}

pub(super) fn table(letter: &mut Letter, case: &Case<'_>) {
    let (name, bytes) = match (case.ivrs(), case.model.dmar().dmar()) {
        (Some(ivrs), _) => ("IVRS", ivrs.bytes()),
        (None, Some(dmar)) => ("DMAR", dmar.bytes()),
        (None, None) => return,
    };
    letter.title("The table");
    letter.text(
        "As acpidump prints it: `acpixtract -a` takes it out of this report, `iasl -d` decodes it.",
    );
    letter.lines(input::acpidump(name, bytes));
}
