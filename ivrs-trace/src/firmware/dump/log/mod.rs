//! What the log of a kernel, or of Xen, tells of an IVRS or DMAR, and of a refusal.

mod lines;
mod linux;
mod xen;

use self::{
    lines::{Logged, after, hex, logged},
    linux::Linux,
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

/// An IVMD block that the kernel heeded, as its log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvmdLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// The block's type.
    pub kind: IvmdKind,
    /// PCI segment; 0 where the kernel is too old to say it.
    pub segment: Segment,
    /// First devid.
    pub devid_start: Devid,
    /// Last devid, inclusive. Below `devid_start` it matches nothing.
    pub devid_end: Devid,
    /// First byte of memory, rounded up to a page by the kernel.
    pub start: u64,
    /// First byte after it; equals `start` for a block of length 0.
    pub end_exclusive: u64,
    /// The block's flags as firmware gave them.
    pub flags: IvmdFlags,
}

/// The highest devid of a segment, which a block for all devices ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBdf {
    /// The segment.
    pub segment: Segment,
    /// Its highest devid.
    pub devid: Devid,
}

/// A device entry of an IVHD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedEntry {
    /// Every device of the segment.
    All(Settings),
    /// Devices, or one of them.
    Devices(Devices),
    /// The start of a range whose end is not in the log.
    RangeStart(Devices),
    /// The end of a range whose start is not in the log.
    RangeEnd(Devid),
    /// An IO-APIC or HPET.
    Special {
        /// What it is.
        kind: SpecialKind,
        /// APIC id or HPET number.
        handle: u8,
        /// The devid that its requests carry.
        devid: Devid,
    },
    /// A device named by ACPI.
    Acpi {
        /// Hardware id.
        hid: String,
        /// Unique id.
        uid: String,
        /// The devid.
        devid: Devid,
    },
}

/// An IOMMU of AMD and the devices that its IVHD gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedIommu {
    /// The line at which it begins.
    pub line: usize,
    /// Its function; none where the line that says it is missing.
    pub bdf: Option<Bdf>,
    /// The segment of its devices.
    pub segment: Segment,
    /// Flags of the IVHD.
    pub flags: Option<u8>,
    /// Offset of its capability, and the info field.
    pub cap_info: Option<(u16, u16)>,
    /// Address of its registers.
    pub mmio: Option<u64>,
    /// Line and content of the device entries, a range as one entry.
    pub entries: Vec<(usize, LoggedEntry)>,
}

/// A device scope as Xen resolved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedScope {
    /// What it names.
    pub kind: ScopeKind,
    /// The function.
    pub bdf: Bdf,
}

/// A remapping unit of Intel: a DRHD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedUnit {
    /// The line at which it begins.
    pub line: usize,
    /// Address of its registers.
    pub address: u64,
    /// Flags; bit 0 is set for a unit of all other devices.
    pub flags: Option<u8>,
    /// What the unit can do: its registers CAP and ECAP.
    pub capabilities: Option<(u64, u64)>,
    /// Its devices; Linux does not log them.
    pub scopes: Vec<LoggedScope>,
}

impl LoggedUnit {
    fn at(address: u64) -> Self {
        Self { address, ..Self::default() }
    }
}

/// An RMRR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RmrrLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Its devices; Linux does not log them.
    pub scopes: Option<Vec<LoggedScope>>,
    /// Whether Xen leaves it out, because none of its devices exists.
    pub ignored: bool,
}

impl RmrrLine {
    fn of(start: u64, end: u64) -> Self {
        Self { start, end, ..Self::default() }
    }
}

/// Memory of an IVMD block that Xen speaks of. Which devices it is for, its log tells only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenIvmd {
    /// The line of the input, from 1.
    pub line: usize,
    /// The block's type, if the log has it.
    pub kind: Option<IvmdKind>,
    /// Its flags, if the log has them.
    pub flags: Option<IvmdFlags>,
    /// Its device or first device, if the log has it.
    pub devid: Option<Devid>,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
}

/// A range of the memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLine {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Its type, as the log has it without white space.
    pub kind: String,
}

/// What a line that is quoted is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// A complaint about firmware, or that something of it is not used.
    Firmware,
    /// That interrupts are remapped.
    Remapping,
    /// That interrupts are not remapped.
    NoRemapping,
    /// Memory of the graphics.
    Graphics,
    /// DMA that the IOMMU stopped.
    Fault,
}

/// A line to be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line of the input, from 1.
    pub line: usize,
    /// What it is about.
    pub kind: RemarkKind,
    /// The line.
    pub text: String,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// `__iommu_device_set_domain`, since 6.6: a direct region of any vendor's firmware.
    Direct,
    /// Intel's driver before 6.6: an RMRR.
    Rmrr,
    /// QEMU cannot give a group to its container; the kernel's log says why.
    Container,
    /// VFIO has no interrupt remapping to rely on.
    Interrupts,
    /// `VFIO_IOMMU_MAP_DMA` of a device that VFIO already has.
    Map {
        /// Where the guest's memory should appear, and how much.
        range: Option<(u64, u64)>,
        /// The error, positive.
        errno: Option<u16>,
    },
    /// The limit on locked memory, in bytes.
    Memlock(Option<u64>),
    /// An address that the IOMMU has too few bits for.
    Width(Option<u64>),
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line of the input, from 1.
    pub line: usize,
    /// The device, where the line names it.
    pub device: Option<Bdf>,
    /// What was refused.
    pub kind: RefusalKind,
}

/// A line that is cut or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedLine {
    /// The line of the input, from 1.
    pub line: usize,
    /// The field that cannot be read.
    pub field: &'static str,
}

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Whether Xen wrote it.
    pub xen: bool,
    /// The type of the IVHD blocks that Linux uses.
    pub ivhd_type: Option<u8>,
    /// The IOMMUs of AMD.
    pub iommus: Vec<LoggedIommu>,
    /// The IVMD blocks that Linux heeded, in the table's order.
    pub entries: Vec<IvmdLine>,
    /// The segments, in the log's order. Kernels before 6.0 name none.
    pub segments: Vec<LastBdf>,
    /// IVMD blocks that Xen speaks of.
    pub xen_ivmd: Vec<XenIvmd>,
    /// Width of the host's addresses, as the DMAR has it.
    pub width: Option<u64>,
    /// The units of Intel.
    pub units: Vec<LoggedUnit>,
    /// The RMRRs.
    pub rmrrs: Vec<RmrrLine>,
    /// The memory map, as far as a region lies in it.
    pub memory: Vec<MemoryLine>,
    /// Lines to be quoted, at most 64.
    pub remarks: Vec<Remark>,
    /// What was refused, at most 64.
    pub refusals: Vec<Refusal>,
    /// Lines that cannot be read.
    pub damaged: Vec<DamagedLine>,
    /// What a reader of the result should know about the input, a sentence each.
    pub notes: Vec<String>,
}

/// Lines of a kind that are kept: faults can fill a log.
const REMARKS: usize = 64;
/// Characters of a line that are quoted.
const QUOTED: usize = 300;

impl Log {
    /// Whether it has lines that only a boot with `amd_iommu_dump` writes.
    #[must_use]
    pub fn lists_ivrs(&self) -> bool {
        !self.iommus.is_empty() || !self.entries.is_empty() || !self.segments.is_empty()
    }

    /// Whether it has lines that list a DMAR.
    #[must_use]
    pub fn lists_dmar(&self) -> bool {
        !self.units.is_empty() || !self.rmrrs.is_empty() || self.width.is_some()
    }

    fn is_empty(&self) -> bool {
        let told = self.lists_ivrs() || self.lists_dmar() || !self.xen_ivmd.is_empty();
        !told
            && self.refusals.is_empty()
            && self.remarks.iter().all(|remark| remark.kind == RemarkKind::Remapping)
    }
}

/// What a reading of lines keeps from one to the next.
#[derive(Default)]
struct Reader {
    log: Log,
    boots: usize,
    /// Whether the next line of a table begins a boot.
    fresh: bool,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Drhd,
    Rmrr,
    Other,
}

/// Reads the last boot in the log. `None` if `text` has nothing of an IOMMU.
pub(super) fn read(text: &str) -> Option<Result<Log, Fault>> {
    let mut reader = Reader { fresh: true, ..Reader::default() };
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
        self.fresh |= text.contains("Linux version ") || text.contains("Xen version ");
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
            self.log.remarks.push(Remark { line, kind, text: quoted(&text) });
        }
    }

    /// Begins anew with a boot whose lines follow.
    fn boot(&mut self, again: bool) {
        if self.fresh || again {
            self.fresh = false;
            if self.log.lists_ivrs() || self.log.lists_dmar() {
                self.boots = self.boots.saturating_add(1);
            }
            let Log { xen, refusals, .. } = std::mem::take(&mut self.log);
            self.log = Log { xen, refusals, ..Log::default() };
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
        self.boot(again);
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
        let table = !matches!(read, Xen::Memory(_));
        self.log.xen |= table;
        if table {
            self.boot(false);
        }
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
        let log = &mut self.log;
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
            if self.boots > 0 {
                let boots = self.boots.saturating_add(1);
                log.notes.push(format!("the log has {boots} boots: the last one is used"));
            }
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
    let of_iommu = has(&["AMD-Vi", "DMAR", "VT-D", "VT-d", "IVRS", "IVMD", "RMRR", "IOMMU"]);
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
        "is incorrect!",
        "Disabling VT-d",
        "Error initialization",
        "AMD-Vi: Error",
        "AMD-Vi: Warning",
        "I/O virtualisation disabled",
        "is not IOMMU addressable",
        "No ATSR found",
        "Record passes table end",
    ];
    (of_iommu && has(&firmware) || text.contains("BUG at drivers/passthrough"))
        .then_some(RemarkKind::Firmware)
}
