//! The report for kernel developers, fit for a mailing list: what maintainers ask for first. The
//! system, every IVMD block with its flags and bytes, who is refused, each attempt call by call, how
//! all of it is known and what is missing, and the table itself for `acpixtract`.

use super::{
    input::{Case, Origin, Standing, TOLD, TOOL, Told},
    sections,
};
use crate::{
    facts::ProbeFact,
    firmware::{EntryId, Fact, amd::kernel::is_effective},
    host::Reading,
    model::{DeviceVerdict, Outcome, RequireDirect, Verdict},
    report::{
        Document,
        attempt::{asked, reasons::refused_by},
        cause::{numbers, range_text},
        devices::Table,
        document::{count, list},
        write::{COLUMNS, Format},
    },
    width::cut,
};

/// Attempts that are told call by call; of others, what came of them.
const WHOLE: usize = 3;

/// The report.
#[must_use]
pub fn kernel(case: &Case<'_>, format: Format) -> String {
    let mut letter = Document::default();
    if format == Format::Text {
        letter.lines(vec![format!("Subject: {}", subject(case))]);
    } else {
        letter.title(subject(case));
    }
    if let Some(summary) = summary(case) {
        letter.text(0, summary);
    }
    system(&mut letter, case);
    attempts(&mut letter, case);
    blocks(&mut letter, case);
    devices(&mut letter, case);
    sections::without_iommu(&mut letter, case);
    sections::regions(&mut letter, case);
    sections::not_remapped(&mut letter, case);
    findings(&mut letter, case);
    trace(&mut letter, case);
    sections::table(&mut letter, case);
    letter.write(format)
}

fn subject(case: &Case<'_>) -> String {
    let total = case.total();
    let held = case.held_devices().count();
    let by = match numbers(&case.causes()) {
        Some((id, numbers)) if numbers.len() <= 4 => format!("{} {}", id.noun(), list(&numbers)),
        Some((EntryId::Ivmd(_), many)) => format!("{} IVMD blocks", many.len()),
        Some((EntryId::Rmrr(_), many)) => format!("{} RMRRs", many.len()),
        None => "1:1 maps".to_owned(),
    };
    match case.standing() {
        Standing::Blocked if held == 0 => format!("VFIO: a device is refused for {by}"),
        Standing::Blocked => format!("VFIO: {held} of {total} PCI functions refused for {by}"),
        Standing::Later => {
            format!("VFIO: Linux 6.6 refuses {held} of {total} PCI functions for {by}")
        }
        Standing::Unknown => {
            let open = case.of(Verdict::Unknown).count();
            format!("VFIO: facts are missing to judge {open} of {total} PCI functions")
        }
        Standing::Clear => format!("VFIO: none of {total} PCI functions is refused for a 1:1 map"),
        Standing::NoIommu => format!(
            "VFIO: no IOMMU serves {} of {} PCI functions",
            case.of(Verdict::NoIommu).count(),
            case.verdicts.devices.len()
        ),
        Standing::NoGroups => "VFIO: no IOMMU groups, so nothing to judge".to_owned(),
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

fn summary(case: &Case<'_>) -> Option<String> {
    let total = case.total();
    let held = case.held_devices().count();
    let refused = case.refused().count();
    let from = if case.culprits().is_empty() {
        "Firmware asks for 1:1 maps"
    } else {
        "The IVRS asks for 1:1 maps (IVMD blocks)"
    };
    Some(match case.standing() {
        Standing::Blocked => {
            let seen = match refused {
                0 => "No refusal was seen; this follows from the facts below.".to_owned(),
                1 => "One refusal was seen, and is below.".to_owned(),
                _ => format!("{refused} refusals were seen, and are below."),
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
        // The subject says it.
        Standing::Unknown | Standing::Clear | Standing::NoIommu | Standing::NoGroups => {
            return None;
        }
    })
}

fn system(letter: &mut Document, case: &Case<'_>) {
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
    letter.rows(case.host_rows());
    for (name, value) in [
        ("1:1 maps", refuses.to_owned()),
        ("cmdline", line),
        ("IOMMUs", units.join(", ")),
        ("lockdown", host.lockdown.value().map(|word| case.redact.text(word)).unwrap_or_default()),
        ("command", command),
        ("report by", TOOL.to_owned()),
    ] {
        letter.row(name, value);
    }
}

fn attempts(letter: &mut Document, case: &Case<'_>) {
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
    let rest = failures.iter().skip(WHOLE).take(TOLD).map(|told| {
        let alike = if told.count > 1 { format!(" ({} alike)", told.count) } else { String::new() };
        format!("{}{alike}", case.one_line(told.attempt))
    });
    if failures.len() > WHOLE {
        letter.text(0, "Further failures, without their calls:");
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
        letter.fact(0, format!("Besides, {}.", others.join("; ")));
    }
    let dropped = case.model.attempts_dropped();
    if dropped > 0 {
        letter.text(0, format!("{dropped} earlier attempts were dropped for want of room."));
    }
}

fn attempt(letter: &mut Document, case: &Case<'_>, told: &Told<'_>) {
    let attempt = told.attempt;
    let alike = match told.count {
        1 => String::new(),
        many => format!(" ({many} alike; this is the last.)"),
    };
    letter.subtitle(format!("{}{alike}", case.one_line(attempt)));
    let vm = attempt
        .process
        .vm
        .as_ref()
        .map(|vm| case.redact.private(vm).unwrap_or_else(|| "name removed".to_owned()));
    let mut rows = vec![
        ("asked for", asked(attempt)),
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
        let (by, unseen) = refused_by(rejection.evidence, attempt);
        rows.push(("evidence", format!("{by} (event {}){unseen}", rejection.event)));
        let causes = case.model.causes(rejection);
        for cause in &causes {
            let what = cause.entry.map_or_else(
                || "a direct region without an entry".to_owned(),
                |entry| entry.to_string(),
            );
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
        let facts: Vec<String> = attempt.facts.iter().map(|fact| case.redact.text(fact)).collect();
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
        letter.text(0, "Number of the event, seconds since the attempt began, call.");
    } else {
        letter.fact(0, "Its calls are not at hand.");
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

fn blocks(letter: &mut Document, case: &Case<'_>) {
    if case.model.is_intel_host() {
        letter.title("DMAR and its RMRRs");
        sections::rmrrs(letter, case);
        return;
    }
    letter.title("IVRS and its IVMD blocks");
    let Some(ivrs) = case.ivrs() else {
        letter.text(0, sections::no_table(case));
        return;
    };
    let header = &ivrs.header;
    let text =
        |bytes: &[u8]| case.redact.text(String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']));
    let used = ivrs.ivmd.iter().filter(|block| is_effective(block)).count();
    letter.rows([
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
        ("IVMD", format!("{}, {used} of them used by Linux", count(ivrs.ivmd.len(), "block"))),
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
        sections::entry(letter, case, block.place(), EntryId::Ivmd(block.index));
    }
    if let Some(more) = ivrs.ivmd.len().checked_sub(TOLD).filter(|more| *more > 0) {
        letter.fact(0, format!("{more} more blocks are in the table below."));
    }
}

fn devices(letter: &mut Document, case: &Case<'_>) {
    let devices = &case.verdicts.devices;
    if devices.is_empty() {
        return;
    }
    letter.title("PCI functions");
    let blocked: Vec<_> = case.of(Verdict::Blocked).collect();
    let unknown: Vec<_> = case.of(Verdict::Unknown).collect();
    let without: Vec<_> = case.of(Verdict::NoIommu).collect();
    let platform: Vec<_> = case.of(Verdict::Platform).collect();
    let (later, clear): (Vec<_>, Vec<_>) =
        case.of(Verdict::Clear).partition(|device| !device.causes.is_empty());
    let table = Table::of(case.model, case.verdicts, case.redact, true);
    let list = |letter: &mut Document, title: &str, of: &[&DeviceVerdict]| {
        if of.is_empty() {
            return;
        }
        letter.fact(0, format!("{title}: {} of {}", of.len(), devices.len()));
        let line = |device: &&DeviceVerdict| {
            let (line, name) = table.line(device);
            cut(format!("  {line}  {name}").trim_end(), COLUMNS)
        };
        letter.lines(of.iter().take(TOLD).map(line).collect());
        if let Some(more) = of.len().checked_sub(TOLD).filter(|more| *more > 0) {
            letter.fact(0, format!("and {more} more."));
        }
    };
    list(letter, "Refused", &blocked);
    let set = blocked
        .iter()
        .filter_map(|device| case.model.listing(&device.bdf.to_string()))
        .filter(|listing| listing.require_direct == Some(true))
        .count();
    if set > 0 {
        letter.text(
            0,
            format!("dev_iommu.require_direct was read from the kernel as set for {set} of them."),
        );
    }
    for (title, devices) in [
        ("Not known", &unknown),
        ("With 1:1 maps, not refused by this kernel", &later),
        ("Not refused for a 1:1 map", &clear),
        ("Served by no IOMMU", &without),
        ("IOMMUs and host bridges, which Linux gives no group", &platform),
    ] {
        list(letter, title, devices);
    }
    letter.items(case.missing());
}

fn findings(letter: &mut Document, case: &Case<'_>) {
    let mut findings: Vec<_> = case
        .verdicts
        .findings
        .iter()
        .filter(|one| one.code != crate::codes::Code::NotRemapped)
        .collect();
    if findings.is_empty() {
        return;
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    letter.title("Findings");
    let items = findings.iter().map(|finding| {
        let severity = finding.severity.as_str();
        let at = finding.place.map_or_else(String::new, |place| format!(" ({place})"));
        format!("{severity}, {}: {}{at}", finding.code, case.redact.text(&finding.message))
    });
    letter.items(items);
}

fn trace(letter: &mut Document, case: &Case<'_>) {
    letter.title("Sources, and what is missing");
    let symbol = |probe: &ProbeFact| match &probe.module {
        Some(module) => {
            format!("{} [{}]", case.redact.text(&probe.symbol), case.redact.text(module))
        }
        None => case.redact.text(&probe.symbol),
    };
    let of =
        |state: &'static str| case.probes.iter().filter(move |probe| probe.state.name() == state);
    let attached: Vec<String> = of("attached")
        .map(|probe| {
            let how = case.redact.text(&probe.how.join("+"));
            let fallback = probe
                .fallback
                .as_ref()
                .map_or_else(String::new, |why| format!(", as {}", case.redact.text(why)));
            format!("{} ({how}{fallback})", symbol(probe))
        })
        .collect();
    let waiting: Vec<String> = of("waiting").map(symbol).collect();
    let mut rows = Vec::new();
    if case.probes.is_empty() {
        rows.push(("probes", "none: the kernel was not traced".to_owned()));
    } else {
        rows.push(("probes on", attached.join(", ")));
        rows.push(("waiting", waiting.join(", ")));
    }
    for probe in of("missing") {
        let why = probe.state.reason().unwrap_or("no reason is given");
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
    for probe in of("left_out") {
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
    letter.items(case.notes.iter().map(|note| case.redact.text(note)));
}
