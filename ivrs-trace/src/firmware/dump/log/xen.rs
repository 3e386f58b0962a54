//! Xen's lines: `iommu_acpi.c` of drivers/passthrough/amd with `iommu=debug`, `dmar.c` of
//! drivers/passthrough/vtd with `iommu=verbose`, and what both say of memory that is not reserved.

use super::{
    lines::{after, between, hex, leading},
    told::{LoggedScope, MemoryLine},
};
use crate::{
    escape::printable,
    firmware::{amd::ivrs::IvmdKind, intel::dmar::ScopeKind},
    pci::{Bdf, Devid, Segment},
};

/// A page.
const PAGE: u64 = 0x1000;

/// What a line of Xen's log is.
pub(super) enum Xen {
    /// A structure of the DMAR begins.
    Drhd,
    Rmrr,
    /// Another structure, whose scopes are of no use here.
    Other,
    Address(u64),
    IncludeAll,
    Scope(LoggedScope),
    RmrrRegion {
        start: u64,
        end: u64,
    },
    /// The devices of an RMRR do not exist, so Xen leaves it out.
    RmrrIgnored {
        start: u64,
        end: u64,
    },
    Memory(MemoryLine),
    /// A block of the IVRS.
    Block {
        kind: u8,
        flags: u8,
        devid: Devid,
    },
    /// The registers of the IOMMU whose block began.
    Registers {
        mmio: u64,
        cap: u16,
        segment: Segment,
        info: u16,
    },
    /// A device entry of an IVHD: type, devid, data byte.
    Entry {
        kind: u8,
        devid: Devid,
        settings: u8,
    },
    /// The range that the entry before it begins.
    Range {
        last: Devid,
        alias: Option<Devid>,
    },
    /// What requests of the device of the entry before it carry.
    Alias(Devid),
    Special {
        devid: Bdf,
        variety: u8,
        handle: u8,
    },
    /// Memory of an IVMD block.
    Ivmd {
        kind: Option<IvmdKind>,
        start: u64,
        end: u64,
    },
}

/// What `text` is, which has no white space.
pub(super) fn read(text: &str) -> Option<Xen> {
    structure(text).or_else(|| ivrs(text)).or_else(|| memory(text))
}

fn structure(text: &str) -> Option<Xen> {
    if let Some(name) = after(text, "foundACPI_DMAR_") {
        return Some(match name.trim_end_matches(':') {
            "DRHD" => Xen::Drhd,
            "RMRR" => Xen::Rmrr,
            _ => Xen::Other,
        });
    }
    if let Some(address) = after(text, "dmaru->address=") {
        return Some(Xen::Address(leading(address, 1, 16)?));
    }
    if text.contains("flags:INCLUDE_ALL") {
        return Some(Xen::IncludeAll);
    }
    let scopes = [
        ("endpoint:", ScopeKind::Endpoint),
        ("bridge:", ScopeKind::Bridge),
        ("MSIHPET:", ScopeKind::Hpet),
        ("IOAPIC:", ScopeKind::IoApic),
    ];
    for (name, kind) in scopes {
        if let Some(rest) = after(text, name) {
            return Some(Xen::Scope(LoggedScope { kind, bdf: bdf(rest)? }));
        }
    }
    if let Some(region) = after(text, "RMRRregion:base_addr") {
        let (start, end) = region.split_once("end_addr")?;
        return Some(Xen::RmrrRegion { start: hex(start)?, end: leading(end, 1, 16)? });
    }
    let ignored = after(text, "IgnoretheRMRR(").or_else(|| after(text, "IgnoreRMRR["))?;
    let (start, rest) = ignored.split_once(',')?;
    let end = rest.split_once([')', ']'])?.0;
    Some(Xen::RmrrIgnored { start: hex(start)?, end: hex(end)? })
}

/// A function at the start of `text`, in as many digits as that version of Xen writes.
fn bdf(text: &str) -> Option<Bdf> {
    let dot = text.find('.')?;
    text.get(..dot.checked_add(2)?)?.parse().ok()
}

fn ivrs(text: &str) -> Option<Xen> {
    let byte = |value: u64| u8::try_from(value).ok();
    let word = |value: u64| u16::try_from(value).ok();
    let devid = |value: u64| word(value).map(Devid);
    if let Some(rest) = after(text, "IVRSBlock:type") {
        let kind = byte(hex(rest.split_once("flags")?.0)?)?;
        let flags = byte(between(rest, "flags", "len")?)?;
        let block = devid(leading(after(rest, "id")?, 1, 4)?)?;
        return Some(Xen::Block { kind, flags, devid: block });
    }
    if let Some(rest) = after(text, "IVHD:IOMMU@") {
        return Some(Xen::Registers {
            mmio: hex(rest.split_once("cap@")?.0)?,
            cap: word(between(rest, "cap@", "seg")?)?,
            segment: Segment(word(between(rest, "seg", "info")?)?),
            info: word(between(rest, "info", "attr")?)?,
        });
    }
    if let Some(rest) = after(text, "IVHDDeviceEntry:type") {
        let kind = byte(hex(rest.split_once("id")?.0)?)?;
        let id = devid(between(rest, "id", "flags")?)?;
        let settings = byte(leading(after(rest, "flags")?, 1, 2)?)?;
        return Some(Xen::Entry { kind, devid: id, settings });
    }
    if let Some((_, last)) = after(text, "Dev_IdRange:").and_then(|rest| rest.split_once("->")) {
        let (last, alias) = last
            .split_once("alias")
            .map_or((last, None), |(last, alias)| (last, leading(alias, 1, 4).and_then(devid)));
        return Some(Xen::Range { last: devid(leading(last, 1, 4)?)?, alias });
    }
    if let Some(alias) = after(text, "Dev_IdAlias:") {
        return Some(Xen::Alias(devid(leading(alias, 1, 4)?)?));
    }
    if let Some(rest) = after(text, "IVHDSpecial:") {
        let variety = byte(between(rest, "variety", "handle")?)?;
        let handle = byte(leading(after(rest, "handle")?, 1, 2)?)?;
        return Some(Xen::Special { devid: bdf(rest)?, variety, handle });
    }
    if let Some(rest) = after(text, "IVMDBlock:type") {
        let kind = IvmdKind::from_code(byte(hex(rest.split_once("phys")?.0)?)?);
        let start = between(rest, "phys", "len")?;
        let length = leading(after(rest, "len")?, 1, 16)?;
        return Some(Xen::Ivmd { kind, start, end: start.checked_add(length)?.checked_sub(1)? });
    }
    None
}

fn memory(text: &str) -> Option<Xen> {
    // A complaint has frames in one version, addresses of first and last page in others, and an end that
    // is not within in the oldest. What `acpi_parse_one_rmrr` lists has the first and the last byte.
    for name in ["IVMD:[", "RMRR:["] {
        let Some((start, rest)) = after(text, name).and_then(|rest| rest.split_once(',')) else {
            continue;
        };
        let (end, exclusive) = match (rest.split_once(']'), rest.split_once(')')) {
            (Some((end, _)), _) if !end.contains(')') => (hex(end)?, false),
            (_, Some((end, _))) => (hex(end)?, true),
            _ => return None,
        };
        let start = hex(start)?;
        if name == "RMRR:[" && !rest.contains("reservedmemory") {
            return Some(Xen::RmrrRegion { start, end });
        }
        let frames = !exclusive && (start % PAGE != 0 || end % PAGE != 0);
        let (start, end) =
            if frames { (start.checked_mul(PAGE)?, end.checked_mul(PAGE)?) } else { (start, end) };
        let end = if exclusive { end.checked_sub(1)? } else { end.checked_add(PAGE - 1)? };
        return Some(match name {
            "IVMD:[" => Xen::Ivmd { kind: None, start, end },
            _ => Xen::RmrrRegion { start, end },
        });
    }
    let rest = after(text, "(XEN)")?;
    // A time may stand first.
    let (range, kind) = rest.rsplit_once("](")?;
    let (start, end) = range.rsplit_once('[')?.1.split_once(',')?;
    let kind = printable(kind.split_once(')')?.0).replace("ACPI", "ACPI ");
    Some(Xen::Memory(MemoryLine { start: hex(start)?, end: hex(end)?, kind }))
}
