//! What the log of a kernel, or of Xen, tells of an IVRS or DMAR, and of a refusal.

mod lines;
mod linux;
mod told;
mod xen;

pub use self::told::{
    DamagedLine, IvmdLine, LastBdf, Log, LoggedEntry, LoggedIommu, LoggedScope, LoggedUnit,
    MemoryLine, Other, OtherLine, Refusal, RefusalKind, Remark, RemarkKind, RmrrLine, XenIvmd,
};
use self::{
    lines::{Logged, after, hex, logged},
    linux::Linux,
    told::{QUOTED, REMARKS},
    xen::Xen,
};
use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::Form,
};
use crate::{
    escape::printable,
    firmware::{
        amd::{
            device_entry::{Devices, Settings, SpecialKind},
            ivrs::{IvmdFlags, IvmdKind},
        },
        intel::dmar::ScopeKind,
    },
    pci::{Bdf, Devid, Segment},
};

/// What a reading of lines keeps from one to the next.
#[derive(Default)]
struct Reader {
    log: Log,
    /// The boot before, if it lists a table.
    before: Option<Log>,
    boots: usize,
    /// The structure of Xen's that scopes belong to.
    within: Option<Within>,
    scopes: Vec<LoggedScope>,
    /// Flags and device of the last block of the IVRS.
    block: Option<(u8, u8, Devid)>,
    memory: Vec<MemoryLine>,
    /// Where lines of a driver are.
    amd_at: Option<usize>,
    intel_at: Option<usize>,
}

/// What begins a boot: the first line of Linux or Xen, and what journalctl writes between boots.
const BOOTS: [&str; 4] = ["Linux version ", "Xen version ", "-- Boot ", "-- Reboot --"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Drhd,
    Rmrr,
    Other,
}

/// Reads the last boot in the log. `None` if `text` has nothing of an IOMMU.
pub(super) fn read(text: &str) -> Option<Result<Log, Fault>> {
    let mut reader = Reader::default();
    for logged in logged(text) {
        reader.line(&logged);
    }
    reader.finish()
}

impl Reader {
    fn line(&mut self, logged: &Logged<'_>) {
        let line = logged.line;
        match logged.read(linux::read) {
            Some(Ok(read)) => return self.linux(line, read),
            Some(Err(field)) => {
                self.log.damaged.push(DamagedLine { line, field });
                return;
            }
            None => {}
        }
        if let Some(Ok(read)) = logged.read(|text| xen::read(text).map(Ok)) {
            self.xen(line, read);
        }
        let text = logged.text();
        if BOOTS.iter().any(|begins| text.contains(begins)) {
            self.boot();
            self.log.remarks.clear();
        }
        self.log.xen |= text.contains("(XEN)");
        if text.contains("AMD-Vi: ") {
            self.amd_at.get_or_insert(line);
        }
        if text.contains("DMAR: ") || text.contains("[VT-D]") || text.contains("DMAR-IR: ") {
            self.intel_at.get_or_insert(line);
        }
        if let Some(kind) = refusal(&text).filter(|_| self.log.refusals.len() < REMARKS) {
            let device = device_before(&text);
            self.log.refusals.push(Refusal { line, device, kind });
        } else if let Some(kind) = remark(&text).filter(|_| self.log.remarks.len() < REMARKS) {
            let text = quoted(&logged.quotable());
            self.log.remarks.push(Remark { line, kind, text });
        }
    }

    /// Begins anew with a boot whose lines follow.
    fn boot(&mut self) {
        if self.log.lists() {
            let Log { xen, refusals, .. } = &self.log;
            let new = Log { xen: *xen, refusals: refusals.clone(), ..Log::default() };
            let ended = std::mem::replace(&mut self.log, new);
            self.end(ended);
        }
    }

    /// Keeps a boot that is over. What has only some lines of the one before is none: people quote.
    fn end(&mut self, mut log: Log) {
        if let Some(before) = self.before.as_mut().filter(|before| log.quotes(before)) {
            let known = before.remarks.clone();
            let new = |one: &Remark| known.iter().all(|other| other.text != one.text);
            log.remarks.retain(new);
            before.remarks.append(&mut log.remarks);
            before.damaged.append(&mut log.damaged);
        } else {
            self.boots = self.boots.saturating_add(1);
            self.before = Some(log);
        }
    }

    fn linux(&mut self, line: usize, read: Linux) {
        let log = &self.log;
        let again = match &read {
            Linux::Iommu { devid, .. } => log.iommus.iter().any(|one| one.bdf == Some(*devid)),
            Linux::LastBdf(new) => log.segments.iter().any(|one| one.segment == new.segment),
            Linux::Unit(new) => log.units.iter().any(|one| one.address == new.address),
            Linux::Width(_) => log.width.is_some(),
            _ => false,
        };
        if again {
            self.boot();
        }
        let log = &mut self.log;
        match read {
            Linux::Iommu { devid, cap, flags, info } => log.iommus.push(LoggedIommu {
                line,
                bdf: Some(devid),
                segment: devid.segment,
                flags: u8::try_from(flags).ok(),
                cap_info: u16::try_from(cap).ok().zip(u16::try_from(info).ok()),
                ..LoggedIommu::default()
            }),
            Linux::Mmio(address) => {
                let mmio = Some(address);
                if let Some(iommu) = log.iommus.last_mut().filter(|one| one.mmio.is_none()) {
                    iommu.mmio = mmio;
                } else {
                    log.iommus.push(LoggedIommu { line, mmio, ..LoggedIommu::default() });
                }
            }
            Linux::Entry(segment, entry) => self.entry(line, segment, entry),
            Linux::Ivmd(entry) => log.entries.push(IvmdLine { line, ..entry }),
            Linux::LastBdf(last) => log.segments.push(last),
            Linux::IvhdType(kind) => log.ivhd_type = u8::try_from(kind).ok(),
            Linux::Width(width) => log.width = Some(width),
            Linux::Unit(unit) => log.units.push(LoggedUnit { line, ..unit }),
            Linux::Rmrr(rmrr) => log.rmrrs.push(RmrrLine { line, ..rmrr }),
            Linux::Other(what) => log.others.push(OtherLine { line, what }),
            Linux::Identity { bdf, start, end } => {
                let of = log.rmrrs.iter_mut().find(|one| (one.start, one.end) == (start, end));
                let scopes = of.map(|of| of.scopes.get_or_insert_default());
                let scope = LoggedScope { kind: ScopeKind::Endpoint, bdf };
                if let Some(scopes) = scopes.filter(|scopes| !scopes.contains(&scope)) {
                    scopes.push(scope);
                }
            }
            Linux::Capabilities { address, cap, ecap } => {
                let at = log.units.iter().position(|unit| unit.address == address);
                let at = at.unwrap_or_else(|| {
                    log.units.push(LoggedUnit { line, ..LoggedUnit::at(address) });
                    log.units.len().saturating_sub(1)
                });
                if let Some(unit) = log.units.get_mut(at) {
                    unit.capabilities = Some((cap, ecap));
                }
            }
        }
    }

    /// A device entry of the IOMMU whose line came last. One of another segment is of an IOMMU whose
    /// line is missing.
    fn entry(&mut self, line: usize, segment: Option<Segment>, entry: LoggedEntry) {
        let iommus = &mut self.log.iommus;
        let same = |one: &LoggedIommu| segment.is_none_or(|segment| segment == one.segment);
        if !iommus.last().is_some_and(same) {
            let segment = segment.unwrap_or(Segment(0));
            iommus.push(LoggedIommu { line, segment, ..LoggedIommu::default() });
        }
        let Some(iommu) = iommus.last_mut() else { return };
        match (iommu.entries.last_mut(), &entry) {
            (Some((_, start)), LoggedEntry::RangeEnd(last))
                if matches!(start, LoggedEntry::RangeStart(_)) =>
            {
                if let LoggedEntry::RangeStart(devices) = start {
                    *start = LoggedEntry::Devices(Devices { last: *last, ..devices.clone() });
                }
            }
            _ => iommu.entries.push((line, entry)),
        }
    }

    fn xen(&mut self, line: usize, read: Xen) {
        self.log.xen |= !matches!(read, Xen::Memory(_));
        match read {
            Xen::Drhd => (self.within, self.scopes) = (Some(Within::Drhd), Vec::new()),
            Xen::Rmrr => (self.within, self.scopes) = (Some(Within::Rmrr), Vec::new()),
            Xen::Other => self.within = Some(Within::Other),
            Xen::Address(address) => {
                self.log.units.push(LoggedUnit { line, flags: Some(0), ..LoggedUnit::at(address) });
            }
            Xen::IncludeAll => {
                if let Some(unit) = self.log.units.last_mut() {
                    unit.flags = Some(1);
                }
            }
            Xen::Scope(scope) => match self.within {
                Some(Within::Drhd) => {
                    if let Some(unit) = self.log.units.last_mut() {
                        unit.scopes.push(scope);
                    }
                }
                Some(Within::Rmrr) => self.scopes.push(scope),
                _ => {}
            },
            Xen::RmrrRegion { start, end } => self.rmrr(line, start, end, false),
            Xen::RmrrIgnored { start, end } => self.rmrr(line, start, end, true),
            // More than any machine has.
            Xen::Memory(memory) => {
                if self.memory.len() < 4096 {
                    self.memory.push(memory);
                }
            }
            Xen::Block { kind, flags, devid } => {
                self.block = Some((kind, flags, devid));
                if IvmdKind::from_code(kind).is_none() {
                    let bdf = Some(Bdf::new(Segment(0), devid));
                    let flags = Some(flags);
                    self.log.iommus.push(LoggedIommu {
                        line,
                        bdf,
                        flags,
                        ..LoggedIommu::default()
                    });
                }
            }
            Xen::Registers { mmio, cap, segment, info } => {
                if let Some(iommu) = self.log.iommus.last_mut() {
                    (iommu.mmio, iommu.cap_info, iommu.segment) =
                        (Some(mmio), Some((cap, info)), segment);
                    iommu.bdf = iommu.bdf.map(|bdf| Bdf::new(segment, bdf.devid));
                }
            }
            Xen::Entry { kind, devid, settings } => {
                if let Some(entry) = xen_entry(kind, devid, Settings(settings)) {
                    self.entry(line, None, entry);
                }
            }
            Xen::Range { last, alias } => {
                let begun = self.log.iommus.last_mut().and_then(|one| one.entries.last_mut());
                if let Some((_, start @ LoggedEntry::RangeStart(_))) = begun
                    && let LoggedEntry::RangeStart(devices) = start
                {
                    *start =
                        LoggedEntry::Devices(Devices { last, source: alias, ..devices.clone() });
                }
            }
            Xen::Alias(source) => {
                let begun = self.log.iommus.last_mut().and_then(|one| one.entries.last_mut());
                if let Some((_, LoggedEntry::Devices(devices))) = begun {
                    devices.source = Some(source);
                }
            }
            Xen::Special { devid, variety, handle } => {
                let kind = match variety {
                    1 => SpecialKind::IoApic,
                    2 => SpecialKind::Hpet,
                    other => SpecialKind::Other(other),
                };
                let entry = LoggedEntry::Special { kind, handle, devid: devid.devid };
                self.entry(line, None, entry);
            }
            Xen::Ivmd { kind, start, end } => {
                let block = self.block.filter(|_| kind.is_some());
                let of = XenIvmd {
                    line,
                    kind,
                    flags: block.map(|(_, flags, _)| IvmdFlags(flags)),
                    devid: block.map(|(_, _, devid)| devid),
                    start,
                    end,
                };
                let page = |address: u64| address / 0x1000;
                let known =
                    |one: &XenIvmd| page(one.start) == page(start) && page(one.end) == page(end);
                if !self.log.xen_ivmd.iter().any(known) {
                    self.log.xen_ivmd.push(of);
                }
            }
        }
    }

    fn rmrr(&mut self, line: usize, start: u64, end: u64, ignored: bool) {
        let scopes = (self.within == Some(Within::Rmrr)).then(|| std::mem::take(&mut self.scopes));
        let known = self.log.rmrrs.iter_mut().find(|one| (one.start, one.end) == (start, end));
        match known {
            Some(one) => {
                one.ignored |= ignored;
                one.scopes = one.scopes.take().filter(|of| !of.is_empty()).or(scopes);
            }
            None => self.log.rmrrs.push(RmrrLine { line, start, end, scopes, ignored }),
        }
    }

    fn finish(mut self) -> Option<Result<Log, Fault>> {
        let last = std::mem::take(&mut self.log);
        let (refusals, lists) = (last.refusals.clone(), last.lists());
        if lists {
            self.end(last);
        } else {
            self.log = last;
        }
        if let Some(listed) = self.before.take() {
            self.log = Log { refusals, ..listed };
            if !lists {
                self.log.notes.push(
                    "the last boot in the log lists no table: the one before is used".to_owned(),
                );
            } else if self.boots > 1 {
                self.log
                    .notes
                    .push(format!("the log has {} boots: the last one is used", self.boots));
            }
        }
        let log = &mut self.log;
        if log.xen {
            log.keep_blocks_that_xen_read();
        }
        let regions: Vec<(u64, u64)> = (log.rmrrs.iter().map(|one| (one.start, one.end)))
            .chain(log.xen_ivmd.iter().map(|one| (one.start, one.end)))
            .collect();
        let within = |memory: &MemoryLine| {
            regions
                .iter()
                .take(REMARKS)
                .any(|(start, end)| memory.start <= *end && *start <= memory.end)
        };
        log.memory = self.memory.into_iter().filter(within).collect();
        if !log.is_empty() {
            return Some(Ok(self.log));
        }
        let fault = |line, problem, rank, progress| {
            let error = DumpError::Bad { form: Form::KernelLog, line: Some(line), problem };
            Some(Err(Fault { rank, progress, error }))
        };
        if let Some(DamagedLine { line, field }) = log.damaged.first().copied() {
            return fault(line, Problem::LogField { field }, Rank::Wanted, 0);
        }
        let problem = match (log.xen, self.amd_at.is_some()) {
            (true, _) => Problem::XenWithoutTable,
            (false, true) => Problem::LogWithoutDump,
            (false, false) => Problem::LogWithoutDmar,
        };
        fault(self.amd_at.or(self.intel_at)?, problem, Rank::Other, 0)
    }
}

/// A device entry of Xen's, of the types that name devices by themselves.
fn xen_entry(kind: u8, devid: Devid, settings: Settings) -> Option<LoggedEntry> {
    let devices = Devices { first: devid, last: devid, source: None, settings, extended: None };
    Some(match kind {
        0x01 => LoggedEntry::All(settings),
        0x02 | 0x42 | 0x46 => LoggedEntry::Devices(devices),
        0x03 | 0x43 | 0x47 => LoggedEntry::RangeStart(devices),
        _ => return None,
    })
}

/// A line without time and host, short enough to be quoted.
fn quoted(text: &str) -> String {
    let begins = ["(XEN)", "[Firmware", "AMD-Vi:", "DMAR", "[VT-D]", "Reserving Intel"];
    let at = begins.iter().filter_map(|words| text.find(words)).min().unwrap_or_default();
    printable(text.get(at..).unwrap_or(text)).chars().take(QUOTED).collect()
}

fn refusal(text: &str) -> Option<RefusalKind> {
    let has = |words: &str| text.contains(words);
    if has("Firmware has requested this device have a 1:1 IOMMU mapping") {
        return Some(RefusalKind::Direct);
    }
    if has("ineligible for IOMMU domain attach due to platform RMRR requirement") {
        return Some(RefusalKind::Rmrr);
    }
    if has("RLIMIT_MEMLOCK") {
        let limit = after(text, "RLIMIT_MEMLOCK (").and_then(lines::decimal);
        return Some(RefusalKind::Memlock(limit));
    }
    if has("is not sufficient for the mapped address") {
        return Some(RefusalKind::Width(after(text, "width (").and_then(lines::decimal)));
    }
    if has("VFIO_MAP_DMA") || has("vfio_dma_map(") || has("vfio_container_dma_map(") {
        let call = after(text, "dma_map(").map(|call| call.split([',', ')']).map(str::trim));
        let numbers: Vec<u64> = call.into_iter().flatten().take(3).filter_map(hex).collect();
        let range = numbers.get(1).copied().zip(numbers.get(2).copied());
        let errno =
            after(text, ") = -").and_then(lines::decimal).and_then(|n| u16::try_from(n).ok());
        let errno = errno.or(has("Invalid argument").then_some(22));
        let errno = errno.or(has("Cannot allocate memory").then_some(12));
        return Some(RefusalKind::Map { range, errno });
    }
    if has("No interrupt remapping") && has("allow_unsafe_interrupts") {
        return Some(RefusalKind::Interrupts);
    }
    (has("failed to setup container")
        || has("Failed to set group container")
        || has("failed to set iommu for container"))
    .then_some(RefusalKind::Container)
}

/// The last function that the line names before its message, or the first after `host=`.
fn device_before(text: &str) -> Option<Bdf> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '(' | ')'));
    words.map(|word| word.trim_end_matches(':')).filter(|word| word.len() >= 7).find_map(|word| {
        word.parse()
            .ok()
            .filter(|_| linux::device(word).is_some_and(|(_, _, rest)| rest.is_empty()))
    })
}

fn remark(text: &str) -> Option<RemarkKind> {
    let has = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let names = [
        "AMD-Vi",
        "DMAR",
        "VT-D",
        "VT-d",
        "IVRS",
        "IVHD",
        "IVMD",
        "RMRR",
        "IOMMU",
        "I/O virtualisation",
    ];
    let of_iommu = has(&names);
    if has(&["IO_PAGE_FAULT", "INVALID_DEVICE_REQUEST"])
        || has(&["DMAR"]) && has(&["fault addr", "Request device ["])
    {
        return Some(RemarkKind::Fault);
    }
    if has(&["Reserving Intel graphics memory"]) {
        return Some(RemarkKind::Graphics);
    }
    let off = [
        "Disabling interrupt remapping",
        "Interrupt remapping disabled",
        "Failed to enable irq remapping",
        "not setting up interrupt remapping",
        "Not enabling interrupt remapping",
        "Not enable interrupt remapping",
        "interrupt remapping will be disabled",
        "interrupt remapping is being disabled",
        "Not enabling x2apic",
    ];
    if has(&off) {
        return Some(RemarkKind::NoRemapping);
    }
    if has(&["Interrupt remapping enabled", "Enabled IRQ remapping"]) {
        return Some(RemarkKind::Remapping);
    }
    let firmware = [
        "[Firmware Bug]",
        "[Firmware Warn]",
        "BIOS is broken",
        "not in IVRS table",
        "southbridge IO",
        "(entirely) in reserved memory",
        "not in reserved memory",
        "can't be converted",
        "couldn't be reserved",
        "Non-existent device",
        "Ignore the RMRR",
        "Ignore RMRR",
        "Overlapping RMRR",
        "IVHD Error",
        "supported IVHD type",
        "is incorrect!",
        "Disabling VT-d",
        "Error initialization",
        "AMD-Vi: Error",
        "AMD-Vi: Warning",
        "I/O virtualisation disabled",
        "is not IOMMU addressable",
        "x2apic opt out bit",
        "Record passes table end",
    ];
    (of_iommu && has(&firmware) || text.contains("BUG at drivers/passthrough"))
        .then_some(RemarkKind::Firmware)
}
