//! What `decode` says of a log: the table as Linux or Xen logged it, what they complained of, and
//! what was refused. What no log has, it says too: offsets, bytes, and what was ignored.

use super::{
    amd_json::{FlagsDocument, access_letters},
    amd_text::{device, devices, direct_region, named_flags, of_devices, with_settings},
    layout::{count, labelled, paragraph},
};
use crate::{
    firmware::{
        amd::{device_entry::SpecialKind, ivrs::IvmdKind, kernel::Prot},
        dump::{
            DamagedLine, IvmdLine, Log, LoggedEntry, LoggedIommu, LoggedScope, LoggedUnit,
            MemoryLine, Other, OtherLine, Refusal, RefusalKind, Remark, RemarkKind, RmrrLine,
            XenIvmd,
        },
    },
    hex::Hex,
    model::health::{NotRemapped, logged_causes},
    object::object,
    pci::{Bdf, Devid, Segment},
    report::{
        doctor::cure,
        page::{Page, Style},
        size,
    },
};

/// The document of a log.
#[must_use]
pub fn decode_log(log: &Log) -> DecodeLog {
    DecodeLog::of(log)
}

object! {
    /// What `decode --json` prints of the log of a kernel or of Xen.
    DecodeLog schema "ivrs-trace/decode-log/1" of (log: &Log) {
        /// The IVMD blocks that Linux used, in its order.
        ivmd: Vec<LoggedIvmd> = log.entries.iter().map(LoggedIvmd::of).collect(),
        /// Whether Xen wrote the log.
        #[serde(skip_serializing_if = "Option::is_none")]
        xen: Option<bool> = log.xen.then_some(true),
        /// Type of the IVHD blocks that Linux or Xen uses.
        #[serde(skip_serializing_if = "Option::is_none")]
        ivhd_type: Option<Hex<u8, 2>> = log.ivhd_type.map(Hex),
        /// The IOMMUs of AMD, in the log's order.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        iommus: Vec<LoggedIommuDocument> = log.iommus.iter().map(LoggedIommuDocument::of).collect(),
        /// IVMD blocks of which Xen says the memory.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        xen_ivmd: Vec<XenIvmdDocument> =
            log.xen_ivmd.iter().map(|one| XenIvmdDocument::of(one, log)).collect(),
        /// Width of the host's addresses in bits, as the DMAR has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        address_bits: Option<u64> = log.width,
        /// The DRHD structures.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        drhd: Vec<LoggedUnitDocument> = log.units.iter().map(LoggedUnitDocument::of).collect(),
        /// The RMRR structures.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rmrr: Vec<LoggedRmrr> = log.rmrrs.iter().map(|one| LoggedRmrr::of(one, log)).collect(),
        /// Other structures of the DMAR.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        other: Vec<OtherDocument> = log.others.iter().map(OtherDocument::of).collect(),
        /// Lines worth quoting.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        remarks: Vec<RemarkDocument> = log.remarks.iter().map(RemarkDocument::of).collect(),
        /// What was refused.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        refusals: Vec<RefusalDocument> = log.refusals.iter().map(RefusalDocument::of).collect(),
        /// Lines that are cut or damaged.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        damaged: Vec<DamagedDocument> = log.damaged.iter().map(DamagedDocument::of).collect(),
    }

    /// An IVMD block as the kernel logged it.
    LoggedIvmd of (entry: &IvmdLine) {
        /// The line of the input, from 1.
        line: usize = entry.line,
        /// Type byte.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(entry.kind.code()),
        /// Its flags.
        flags: FlagsDocument = FlagsDocument::of(entry.flags),
        /// PCI segment.
        segment: Segment = entry.segment,
        /// First device.
        devid_start: Devid = entry.devid_start,
        /// Last device, inclusive.
        devid_end: Devid = entry.devid_end,
        /// The region that the kernel made of it.
        kernel: LoggedRegion = LoggedRegion::of(entry),
    }

    /// A region as the kernel logged it.
    LoggedRegion of (entry: &IvmdLine) {
        /// First byte.
        start: Hex<u64> = Hex(entry.start),
        /// Last byte; one below `start` where the region has no length.
        end: Hex<u64> = Hex(entry.end_exclusive.wrapping_sub(1)),
        /// Access: `rw`, `r`, `w` or empty.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["rw", "r", "w", ""])))]
        prot: &'static str = access_letters(Prot::of(entry.flags)),
        /// Type of the reserved region: always `direct`.
        #[serde(rename = "type")]
        #[cfg_attr(feature = "schema", schemars(extend("const" = "direct")))]
        kind: &'static str = "direct",
    }

    /// An IOMMU of AMD as it was logged.
    LoggedIommuDocument of (iommu: &LoggedIommu) {
        /// The line at which it begins, from 1.
        line: usize = iommu.line,
        /// Its function; null where the line that names it is not in the log.
        bdf: Option<Bdf> = iommu.bdf,
        /// PCI segment.
        segment: Segment = iommu.segment,
        /// Flags of the IVHD.
        flags: Option<Hex<u8, 2>> = iommu.flags.map(Hex),
        /// Address of its registers.
        mmio: Option<Hex<u64>> = iommu.mmio.map(Hex),
        /// Offset of its capability in configuration space.
        cap_offset: Option<Hex<u16>> = iommu.cap_info.map(|(cap, _)| Hex(cap)),
        /// MSI number and unit id.
        info: Option<Hex<u16, 4>> = iommu.cap_info.map(|(_, info)| Hex(info)),
        /// The device entries.
        entries: Vec<LoggedEntryDocument> =
            iommu.entries.iter().map(|(line, entry)| LoggedEntryDocument::of(*line, entry)).collect(),
    }

    /// A device entry as it was logged. A member that its type does not have is left out.
    LoggedEntryDocument of (line: usize, entry: &LoggedEntry) using {
        let (mut first, mut last, mut of) = (None, None, None);
        let (mut handle, mut hid, mut uid) = (None, None, None);
        let mut settings = None;
        match entry {
            LoggedEntry::All(byte) => settings = Some(*byte),
            LoggedEntry::Devices(devices) => {
                (first, last, of) = (Some(devices.first), Some(devices.last), Some(devices));
            }
            LoggedEntry::RangeStart(devices) => (first, of) = (Some(devices.first), Some(devices)),
            LoggedEntry::RangeEnd(devid) => last = Some(*devid),
            LoggedEntry::Special { handle: id, devid, .. } => {
                (first, last, handle) = (Some(*devid), Some(*devid), Some(*id));
            }
            LoggedEntry::Acpi { hid: name, uid: id, devid } => {
                (first, last) = (Some(*devid), Some(*devid));
                (hid, uid) = (Some(name.clone()), Some(id.clone()));
            }
        }
    } {
        /// The line of the input, from 1.
        line: usize = line,
        /// What it is: `all`, `devices`, `start_without_end`, `end_without_start`, `ioapic`, `hpet`,
        /// `special`, `acpi`.
        name: &'static str = match entry {
            LoggedEntry::All(_) => "all",
            LoggedEntry::Devices(_) => "devices",
            LoggedEntry::RangeStart(_) => "start_without_end",
            LoggedEntry::RangeEnd(_) => "end_without_start",
            LoggedEntry::Special { kind: SpecialKind::IoApic, .. } => "ioapic",
            LoggedEntry::Special { kind: SpecialKind::Hpet, .. } => "hpet",
            LoggedEntry::Special { .. } => "special",
            LoggedEntry::Acpi { .. } => "acpi",
        },
        /// First device, or the device.
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<Devid> = first,
        /// Last device, inclusive.
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<Devid> = last,
        /// The devid that requests carry instead of the device's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Devid> = of.and_then(|of| of.source),
        /// The data byte.
        #[serde(skip_serializing_if = "Option::is_none")]
        settings: Option<Hex<u8, 2>> = settings.or(of.map(|of| of.settings)).map(|of| Hex(of.0)),
        /// The extended settings.
        #[serde(skip_serializing_if = "Option::is_none")]
        extended: Option<Hex<u32, 8>> = of.and_then(|of| of.extended).map(Hex),
        /// APIC id or HPET number.
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<Hex<u8, 2>> = handle.map(Hex),
        /// ACPI hardware id.
        #[serde(skip_serializing_if = "Option::is_none")]
        hid: Option<String> = hid,
        /// ACPI unique id.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<String> = uid,
    }

    /// An IVMD block of which Xen says the memory. What the log does not have is null.
    XenIvmdDocument of (one: &XenIvmd, log: &Log) {
        /// The line of the input, from 1.
        line: usize = one.line,
        /// Type byte.
        #[serde(rename = "type")]
        kind: Option<Hex<u8, 2>> = one.kind.map(|kind| Hex(kind.code())),
        /// Its flags.
        flags: Option<FlagsDocument> = one.flags.map(FlagsDocument::of),
        /// Its device, or the first.
        devid_start: Option<Devid> = one.devid,
        /// First byte of memory.
        start: Hex<u64> = Hex(one.start),
        /// Last byte of memory.
        end: Hex<u64> = Hex(one.end),
        /// Types of that memory in the memory map, where the log has it.
        memory: Vec<String> = memory_of(log, one.start, one.end).map(|one| one.kind.clone()).collect(),
    }

    /// A DRHD as it was logged.
    LoggedUnitDocument of (unit: &LoggedUnit) {
        /// The line at which it begins, from 1.
        line: usize = unit.line,
        /// Address of its registers.
        mmio: Hex<u64> = Hex(unit.address),
        /// Flags byte; null where the log does not have it.
        flags: Option<Hex<u8, 2>> = unit.flags.map(Hex),
        /// Its CAP register.
        capabilities: Option<Hex<u64>> = unit.capabilities.map(|(cap, _)| Hex(cap)),
        /// Its ECAP register.
        extended_capabilities: Option<Hex<u64>> = unit.capabilities.map(|(_, ecap)| Hex(ecap)),
        /// Its devices, which Xen logs.
        scopes: Vec<LoggedScopeDocument> = unit.scopes.iter().map(LoggedScopeDocument::of).collect(),
    }

    /// An RMRR as it was logged.
    LoggedRmrr of (rmrr: &RmrrLine, log: &Log) {
        /// The line of the input, from 1.
        line: usize = rmrr.line,
        /// First byte.
        start: Hex<u64> = Hex(rmrr.start),
        /// Last byte.
        end: Hex<u64> = Hex(rmrr.end),
        /// Its devices; null where the log does not have them, as Linux's since 5.3.
        scopes: Option<Vec<LoggedScopeDocument>> =
            rmrr.scopes.as_ref().map(|of| of.iter().map(LoggedScopeDocument::of).collect()),
        /// Whether Xen ignores it, because none of its devices exists.
        ignored: bool = rmrr.ignored,
        /// Types of that memory in the memory map, where the log has it.
        memory: Vec<String> = memory_of(log, rmrr.start, rmrr.end).map(|one| one.kind.clone()).collect(),
    }

    /// A device scope as Xen resolved it, or a device that Linux mapped the memory for.
    LoggedScopeDocument of (scope: &LoggedScope) {
        /// Type byte.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(scope.kind.code()),
        /// The function.
        bdf: Bdf = scope.bdf,
    }

    /// Another structure of the DMAR. A member that its type does not have is left out.
    OtherDocument of (one: &OtherLine) using {
        let (mut flags, mut mmio, mut domain, mut number, mut device) = (None, None, None, None, None);
        let name = match &one.what {
            Other::Atsr { flags: of } => {
                flags = Some(*of);
                "ATSR"
            }
            Other::Satc { flags: of } => {
                flags = Some(*of);
                "SATC"
            }
            Other::Rhsa { address, domain: of } => {
                (mmio, domain) = (Some(*address), Some(*of));
                "RHSA"
            }
            Other::Andd { number: of, name } => {
                (number, device) = (Some(*of), Some(name.clone()));
                "ANDD"
            }
        };
    } {
        /// The line of the input, from 1.
        line: usize = one.line,
        /// Its name in the specification.
        name: &'static str = name,
        /// Flags byte.
        #[serde(skip_serializing_if = "Option::is_none")]
        flags: Option<Hex<u8, 2>> = flags.map(Hex),
        /// Address of the IOMMU's registers.
        #[serde(skip_serializing_if = "Option::is_none")]
        mmio: Option<Hex<u64>> = mmio.map(Hex),
        /// The IOMMU's proximity domain.
        #[serde(skip_serializing_if = "Option::is_none")]
        proximity_domain: Option<u32> = domain,
        /// The number that device scopes name the device by.
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u8> = number,
        /// The device in ACPI's namespace.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String> = device,
    }

    /// A line worth quoting.
    RemarkDocument of (remark: &Remark) {
        /// The line of the input, from 1.
        line: usize = remark.line,
        /// `firmware`, `remapping`, `no_remapping`, `graphics` or `fault`.
        about: &'static str = match remark.kind {
            RemarkKind::Firmware => "firmware",
            RemarkKind::Remapping => "remapping",
            RemarkKind::NoRemapping => "no_remapping",
            RemarkKind::Graphics => "graphics",
            RemarkKind::Fault => "fault",
        },
        /// The line.
        text: String = remark.text.clone(),
    }

    /// A refusal.
    RefusalDocument of (refusal: &Refusal) using {
        let (mut address, mut length, mut errno) = (None, None, None);
        if let RefusalKind::Map { range, errno: number } = refusal.kind {
            (address, length) = range.unzip();
            errno = number;
        }
    } {
        /// The line of the input, from 1.
        line: usize = refusal.line,
        /// `direct`, `rmrr`, `container`, `interrupts`, `map_dma`, `memlock` or `address_width`.
        kind: &'static str = match refusal.kind {
            RefusalKind::Direct => "direct",
            RefusalKind::Rmrr => "rmrr",
            RefusalKind::Container => "container",
            RefusalKind::Interrupts => "interrupts",
            RefusalKind::Map { .. } => "map_dma",
            RefusalKind::Memlock(_) => "memlock",
            RefusalKind::Width(_) => "address_width",
        },
        /// The device, where the line names it.
        device: Option<Bdf> = refusal.device,
        /// The guest's address that could not be mapped.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<Hex<u64>> = address.map(Hex),
        /// How many bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        length: Option<Hex<u64>> = length.map(Hex),
        /// The error, positive.
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<u16> = errno,
    }

    /// A line that is cut or damaged.
    DamagedDocument of (damaged: &DamagedLine) {
        /// The line of the input, from 1.
        line: usize = damaged.line,
        /// The field that cannot be read, as the kernel names it.
        field: &'static str = damaged.field,
    }
}

fn memory_of(log: &Log, start: u64, end: u64) -> impl Iterator<Item = &MemoryLine> {
    log.memory.iter().filter(move |one| one.start <= end && start <= one.end)
}

/// The text of a log.
#[must_use]
pub fn log_text(log: &Log, style: Style) -> String {
    let mut page = Page::new(style);
    summary(&mut page, log);
    refusals(&mut page, log);
    for iommu in &log.iommus {
        iommu_text(&mut page, iommu);
    }
    for entry in &log.entries {
        ivmd_text(&mut page, entry);
    }
    for one in &log.xen_ivmd {
        xen_ivmd_text(&mut page, one, log);
    }
    for unit in &log.units {
        unit_text(&mut page, unit);
    }
    for rmrr in &log.rmrrs {
        rmrr_text(&mut page, rmrr, log);
    }
    if !log.others.is_empty() {
        title(&mut page, "Other structures of the DMAR");
        for one in &log.others {
            let (name, text) = other_text(&one.what);
            labelled(&mut page, 2, name, FIELD, &format!("{text} (line {})", one.line));
        }
    }
    if !log.remarks.is_empty() {
        page.blank();
        paragraph(&mut page, 0, &style.bold("The log says"));
        for remark in &log.remarks {
            labelled(&mut page, 2, &format!("line {}", remark.line), FIELD, &remark.text);
        }
    }
    missing(&mut page, log);
    page.finish()
}

/// Where the text beside a name begins.
const FIELD: usize = 13;

fn summary(page: &mut Page, log: &Log) {
    let whose = if log.xen { "Xen's log" } else { "Kernel log" };
    let mut parts = Vec::new();
    if log.lists_ivrs() {
        if !log.iommus.is_empty() {
            parts.push(count(log.iommus.len(), "IOMMU"));
        }
        if !log.xen || !log.entries.is_empty() {
            parts.push(match log.entries.len() {
                0 => "no IVMD line".to_owned(),
                number => format!("{} used by Linux", count(number, "IVMD block")),
            });
        }
    }
    if !log.xen_ivmd.is_empty() {
        parts.push(count(log.xen_ivmd.len(), "IVMD block"));
    }
    if log.lists_dmar() {
        if !log.units.is_empty() {
            parts.push(count(log.units.len(), "IOMMU"));
        }
        parts.push(match log.rmrrs.len() {
            0 => "no RMRR".to_owned(),
            number => count(number, "RMRR"),
        });
    }
    if parts.is_empty() && log.refusals.is_empty() {
        parts.push("nothing of the table".to_owned());
    }
    if !parts.is_empty() {
        paragraph(page, 0, &format!("{whose} with {}.", parts.join(" and ")));
    }
    if !log.entries.is_empty() {
        paragraph(page, 2, "Linux 6.6 and later refuses the devices of an IVMD block to VFIO.");
    }
    if !log.rmrrs.is_empty() {
        let text = "Linux refuses the devices of an RMRR to VFIO; not USB controllers and display \
                    devices.";
        paragraph(page, 2, text);
    }
    if let Some(kind) = log.ivhd_type {
        let whose = if log.xen { "Xen" } else { "Linux" };
        paragraph(page, 2, &format!("{whose} uses the IVHD blocks of type {kind:#04x}."));
    }
    if let Some(width) = log.width {
        paragraph(page, 2, &format!("Addresses of the host have {width} bits."));
    }
    let remapping = |kind| log.remarks.iter().any(|one| one.kind == kind);
    if remapping(RemarkKind::NoRemapping) {
        let text = "Interrupt remapping is off: VFIO refuses every device then, unless \
                    allow_unsafe_interrupts is set, with which a guest can send any interrupt to \
                    the host.";
        paragraph(page, 2, text);
        for cure in causes(log).iter().map(cure) {
            labelled(page, 2, "cure", FIELD, &cure);
        }
    } else if remapping(RemarkKind::Remapping) {
        paragraph(page, 2, "Interrupt remapping is on.");
    }
}

/// Why interrupts are not remapped, as far as the log says it.
fn causes(log: &Log) -> Vec<NotRemapped> {
    let lines: Vec<&str> = log.remarks.iter().map(|remark| remark.text.as_str()).collect();
    let entries = log.iommus.iter().flat_map(|iommu| &iommu.entries);
    let places = entries.filter_map(|(_, entry)| match entry {
        LoggedEntry::Special { kind: SpecialKind::IoApic, devid, .. } => Some(*devid),
        _ => None,
    });
    logged_causes(&lines, places.collect(), Vec::new())
}

fn iommu_text(page: &mut Page, iommu: &LoggedIommu) {
    let name = iommu.bdf.map_or_else(
        || format!("of segment {}, whose own line is missing", iommu.segment),
        |bdf| device(bdf.segment, bdf.devid),
    );
    let mmio = iommu.mmio.map_or_else(String::new, |mmio| format!(", registers at {mmio:#x}"));
    title(page, &format!("IOMMU {name}{mmio} (line {})", iommu.line));
    if let Some(flags) = iommu.flags {
        let more = iommu.cap_info.map_or_else(String::new, |(cap, info)| {
            format!(", capability at {cap:#x}, info {info:#06x}")
        });
        labelled(page, 2, "flags", FIELD, &format!("{flags:#04x}{more}"));
    }
    for (_, entry) in &iommu.entries {
        let (name, text) = entry_text(entry, iommu.segment);
        labelled(page, 2, name, FIELD, &text);
    }
}

fn entry_text(entry: &LoggedEntry, segment: Segment) -> (&'static str, String) {
    match entry {
        LoggedEntry::All(settings) => {
            ("all", with_settings("every device of the segment".to_owned(), *settings))
        }
        LoggedEntry::Devices(of) => {
            (if of.source.is_some() { "alias" } else { "devices" }, of_devices(of, segment))
        }
        LoggedEntry::RangeStart(of) => (
            "devices",
            format!("from {}; the line with the end is missing", device(segment, of.first)),
        ),
        LoggedEntry::RangeEnd(last) => (
            "devices",
            format!("to {}; the line with the start is missing", device(segment, *last)),
        ),
        LoggedEntry::Special { kind, handle, devid } => {
            let at = device(segment, *devid);
            match kind {
                SpecialKind::IoApic => ("ioapic", format!("id {handle} ({handle:#04x}) at {at}")),
                SpecialKind::Hpet => ("hpet", format!("number {handle} at {at}")),
                SpecialKind::Other(_) => ("special", format!("handle {handle} at {at}")),
            }
        }
        LoggedEntry::Acpi { hid, uid, devid } => {
            ("acpi", format!("{hid} at {}, UID \"{uid}\"", device(segment, *devid)))
        }
    }
}

fn ivmd_text(page: &mut Page, entry: &IvmdLine) {
    let (kind, flags) = (entry.kind.code(), named_flags(entry.flags));
    title(page, &format!("IVMD type {kind:#04x}, flags {flags} (line {})", entry.line));
    let range = devices(entry.segment, entry.devid_start, entry.devid_end);
    labelled(page, 2, "devices", FIELD, &range);
    let length = entry.end_exclusive.wrapping_sub(entry.start);
    let region = direct_region(entry.start, length, Prot::of(entry.flags));
    labelled(page, 2, "kernel", FIELD, &region);
}

fn xen_ivmd_text(page: &mut Page, one: &XenIvmd, log: &Log) {
    let kind = one.kind.map_or_else(String::new, |kind| format!(" type {:#04x}", kind.code()));
    let flags = one.flags.map_or_else(String::new, |of| format!(", flags {}", named_flags(of)));
    title(page, &format!("IVMD{kind}{flags} (line {})", one.line));
    memory_text(page, log, one.start, one.end);
    let whom = match (one.kind, one.devid) {
        (Some(IvmdKind::All), _) => "all".to_owned(),
        (Some(IvmdKind::Range), Some(first)) => {
            format!("from {first}; Xen does not log the last")
        }
        (_, Some(devid)) => devid.to_string(),
        (_, None) => "not in the log".to_owned(),
    };
    labelled(page, 2, "devices", FIELD, &whom);
}

fn memory_text(page: &mut Page, log: &Log, start: u64, end: u64) {
    let length = end.wrapping_sub(start).wrapping_add(1);
    let memory = if start <= end {
        format!("{start:#x} to {end:#x} ({})", size(length))
    } else {
        format!("{start:#x} to {end:#x}, which ends before it begins")
    };
    labelled(page, 2, "memory", FIELD, &memory);
    for one in memory_of(log, start, end) {
        let text = format!("{} ({:#x} to {:#x})", one.kind, one.start, one.end);
        labelled(page, 2, "lies in", FIELD, &text);
    }
}

fn unit_text(page: &mut Page, unit: &LoggedUnit) {
    title(page, &format!("DRHD: IOMMU, registers at {:#x} (line {})", unit.address, unit.line));
    if let Some(flags) = unit.flags {
        let whom =
            if flags & 1 != 0 { "every other device" } else { "the devices named in the table" };
        labelled(page, 2, "flags", FIELD, &format!("{flags:#04x}: {whom}"));
    }
    if let Some((cap, ecap)) = unit.capabilities {
        labelled(page, 2, "registers", FIELD, &format!("CAP {cap:#x}, ECAP {ecap:#x}"));
    }
    scopes_text(page, &unit.scopes);
}

fn rmrr_text(page: &mut Page, rmrr: &RmrrLine, log: &Log) {
    let ignored = if rmrr.ignored { ", ignored by Xen: no such device" } else { "" };
    title(page, &format!("RMRR (line {}){ignored}", rmrr.line));
    memory_text(page, log, rmrr.start, rmrr.end);
    match &rmrr.scopes {
        Some(scopes) if !scopes.is_empty() => scopes_text(page, scopes),
        _ => labelled(page, 2, "devices", FIELD, "not in the log"),
    }
}

fn other_text(other: &Other) -> (&'static str, String) {
    match other {
        Other::Atsr { flags } => ("ATSR", format!("flags {flags:#04x}")),
        Other::Satc { flags } => ("SATC", format!("flags {flags:#04x}")),
        Other::Rhsa { address, domain } => {
            ("RHSA", format!("IOMMU at {address:#x}: proximity domain {domain}"))
        }
        Other::Andd { number, name } => ("ANDD", format!("number {number}: {name}")),
    }
}

fn scopes_text(page: &mut Page, scopes: &[LoggedScope]) {
    for (number, scope) in scopes.iter().enumerate() {
        let label = if number == 0 { "devices" } else { "" };
        let text = format!("{} {}", scope.kind, device(scope.bdf.segment, scope.bdf.devid));
        labelled(page, 2, label, FIELD, &text);
    }
}

fn title(page: &mut Page, text: &str) {
    page.blank();
    let text = page.style().bold(text);
    paragraph(page, 0, &text);
}

/// What was refused, the same once.
fn refusals(page: &mut Page, log: &Log) {
    let mut told: Vec<(Option<Bdf>, RefusalKind)> = Vec::new();
    for refusal in &log.refusals {
        let key = (refusal.device, refusal.kind);
        let ranged = |of: &Refusal| matches!(of.kind, RefusalKind::Map { range: Some(_), .. });
        // QEMU writes a line with the range, and one without it.
        let again = matches!(refusal.kind, RefusalKind::Map { range: None, .. })
            && log.refusals.iter().any(ranged);
        if told.contains(&key) || again {
            continue;
        }
        told.push(key);
        let of = refusal.device.map_or_else(String::new, |bdf| format!(" {bdf}"));
        let (what, why) = refusal_text(refusal.kind, &of);
        title(page, &format!("{what} (line {})", refusal.line));
        paragraph(page, 2, &why);
    }
}

fn refusal_text(kind: RefusalKind, of: &str) -> (String, String) {
    const CHECK: &str = "on that host names the entry of the table and its memory.";
    match kind {
        RefusalKind::Direct => (
            format!("The kernel refused{of} to VFIO"),
            format!(
                "Firmware asks for a 1:1 map for the device (AMD: an IVMD block; Intel: an RMRR; ARM: \
                 an RMR node), and VFIO would remove it. `ivrs-trace check{of}` {CHECK}"
            ),
        ),
        RefusalKind::Rmrr => (
            format!("Intel's driver refused{of} to VFIO"),
            format!(
                "An RMRR of the DMAR reserves memory for the device (kernels before 6.6). \
                 `ivrs-trace check{of}` {CHECK}"
            ),
        ),
        RefusalKind::Container => (
            format!(
                "QEMU could not give the group of{} to VFIO",
                if of.is_empty() { " the device" } else { of }
            ),
            "A 1:1 map that firmware asks for is one cause of several: the kernel's log says \
             \"Firmware has requested this device have a 1:1 IOMMU mapping\" then. \
             `ivrs-trace run` names the cause."
                .to_owned(),
        ),
        RefusalKind::Interrupts => (
            "VFIO refused: interrupts are not remapped".to_owned(),
            "This is not about a 1:1 map. `ivrs-trace doctor` says why remapping is off."
                .to_owned(),
        ),
        RefusalKind::Map { range, errno } => map_text(range, errno, of),
        RefusalKind::Memlock(limit) => (
            "VFIO reached the limit on locked memory".to_owned(),
            format!(
                "{}This is not about a 1:1 map: VFIO has the device. It locks all memory of the guest; \
                 raise the limit (memlock in limits.conf or LimitMEMLOCK= of the service, <hard_limit> \
                 in libvirt).",
                limit.map_or_else(String::new, |limit| format!("The limit is {}. ", size(limit)))
            ),
        ),
        RefusalKind::Width(bits) => (
            "An address has more bits than the IOMMU".to_owned(),
            format!(
                "{}This is not about a 1:1 map: VFIO has the device. {NARROWER}",
                bits.map_or_else(String::new, |bits| format!(
                    "The IOMMU maps addresses of {bits} bits. "
                ))
            ),
        ),
    }
}

const NARROWER: &str = "Give the guest fewer address bits: `-cpu host,host-phys-bits-limit=39` (or \
                        guest-phys-bits), aw-bits= of a virtual IOMMU, or a smaller 64-bit MMIO window.";

fn map_text(range: Option<(u64, u64)>, errno: Option<u16>, of: &str) -> (String, String) {
    let name = match errno {
        Some(22) => " with EINVAL".to_owned(),
        Some(12) => " with ENOMEM".to_owned(),
        Some(other) => format!(" with errno {other}"),
        None => String::new(),
    };
    let range = range.map_or_else(String::new, |(start, length)| {
        let end = start.saturating_add(length.saturating_sub(1));
        let bits = u64::BITS.saturating_sub(end.leading_zeros());
        format!(" The range {start:#x} to {end:#x} needs {bits} address bits.")
    });
    let cause = match errno {
        Some(12) => {
            "ENOMEM is the limit on locked memory (memlock in limits.conf or LimitMEMLOCK=, \
             <hard_limit> in libvirt)."
                .to_owned()
        }
        _ => format!(
            "EINVAL is an address that the IOMMU has too few bits for (many client Intel parts have \
             39), or memory across a reserved region. {NARROWER}"
        ),
    };
    let device = if of.is_empty() { String::new() } else { format!(" for{of}") };
    let why = format!(
        "VFIO has the device, so no 1:1 map was in the way: the guest's memory could not be mapped \
         for it.{range} {cause}"
    );
    (format!("VFIO_IOMMU_MAP_DMA failed{name}{device}"), why)
}

/// What the log does not have.
fn missing(page: &mut Page, log: &Log) {
    let mut lines = Vec::new();
    for DamagedLine { line, field } in log.damaged.iter().take(8) {
        lines.push(format!("Line {line} is cut or damaged: it has no readable \"{field}\"."));
    }
    if log.iommus.iter().any(|iommu| iommu.bdf.is_none()) {
        lines.push(
            "The beginning is missing, or lines between: device entries have no line of their IOMMU \
             before them."
                .to_owned(),
        );
    }
    if log.lists_ivrs() && !log.xen {
        if log.entries.is_empty() {
            lines.push(
                "There is no IVMD line: Linux used no IVMD block, if the log is complete."
                    .to_owned(),
            );
        } else if log.iommus.is_empty() {
            lines.push("The lines of the IOMMUs and their devices are missing.".to_owned());
        }
        lines.push(
            "No log has the offsets and bytes of the blocks, nor those that Linux ignored: decode \
             /sys/firmware/acpi/tables/IVRS for them."
                .to_owned(),
        );
    }
    if log.xen && (log.lists_ivrs() || !log.xen_ivmd.is_empty()) {
        lines.push(
            "Xen does not log all of a block. Boot Linux without Xen and decode \
             /sys/firmware/acpi/tables/IVRS: it names the devices of each IVMD block."
                .to_owned(),
        );
    }
    if log.rmrrs.iter().any(|rmrr| rmrr.scopes.is_none()) {
        lines.push(
            "Which devices an RMRR is for is not logged: decode /sys/firmware/acpi/tables/DMAR, or run \
             `ivrs-trace check` on that host."
                .to_owned(),
        );
    }
    for (number, line) in lines.iter().enumerate() {
        if number == 0 {
            page.blank();
        }
        paragraph(page, 0, line);
    }
}
