//! Linux's own lines: `DUMP_printk` of drivers/iommu/amd/init.c, and drivers/iommu/intel/dmar.c.
//!
//! AMD's kernels before 6.0 write devices without a segment; up to 6.13 the prefix `AMD-Vi: ` is there
//! twice, and flags have no `0x`. What stands before a line's own text (time, host, prefix) is not
//! looked at.

use super::{
    lines::{after, between, decimal, hex, leading},
    told::{IvmdLine, LastBdf, LoggedEntry, LoggedUnit, Other, RmrrLine},
};
use crate::{
    escape::printable,
    firmware::amd::{
        device_entry::{Devices, Settings, SpecialKind},
        ivrs::{IvmdFlags, IvmdKind},
    },
    pci::{Bdf, Devid, Segment},
};

/// What a line of the log is. The line of the input is filled in by whoever reads it.
pub(super) enum Linux {
    /// The head of an IOMMU of AMD: segment, devid, and what else it has.
    Iommu {
        devid: Bdf,
        cap: u64,
        flags: u64,
        info: u64,
    },
    Mmio(u64),
    /// A device entry, and its segment where the kernel says it.
    Entry(Option<Segment>, LoggedEntry),
    Ivmd(IvmdLine),
    LastBdf(LastBdf),
    IvhdType(u64),
    Width(u64),
    Unit(LoggedUnit),
    /// Capabilities of the unit with these registers.
    Capabilities {
        address: u64,
        cap: u64,
        ecap: u64,
    },
    Rmrr(RmrrLine),
    Other(Other),
    /// Before 5.3: a device gets its 1:1 map of this memory.
    Identity {
        bdf: Bdf,
        start: u64,
        end: u64,
    },
}

/// The first of these that `text`, which has no white space, is; the error names the field that is
/// missing.
pub(super) fn read(text: &str) -> Option<Result<Linux, &'static str>> {
    if let Some(rest) = after(text, "IVMD_TYPE") {
        return Some(ivmd(rest).map(Linux::Ivmd));
    }
    if let Some(rest) = after(text, "DEV_") {
        // Names of other drivers have it too.
        return entry(rest);
    }
    if let Some(rest) = after(text, "device:").filter(|rest| rest.contains("cap:")) {
        return Some(iommu(rest));
    }
    if let Some(rest) = after(text, "mmio-addr:") {
        return Some(leading(rest, 16, 16).map(Linux::Mmio).ok_or("mmio-addr:"));
    }
    if let Some(rest) = after(text, "PCIsegment:0x") {
        let last = || {
            let (segment, devid) = rest.split_once(",lastbdf:0x")?;
            let segment = Segment(u16::try_from(hex(segment)?).ok()?);
            let devid = Devid(u16::try_from(leading(devid, 1, 4)?).ok()?);
            Some(Linux::LastBdf(LastBdf { segment, devid }))
        };
        return Some(last().ok_or("last bdf :"));
    }
    if let Some(rest) = after(text, "UsingIVHDtype0x") {
        return Some(leading(rest, 2, 2).map(Linux::IvhdType).ok_or("type"));
    }
    intel(text)
}

fn intel(text: &str) -> Option<Result<Linux, &'static str>> {
    if let Some(rest) = after(text, "DRHDbase:") {
        let unit = || {
            let (address, flags) = rest.split_once("flags:")?;
            // The kernel's `%#x` writes the prefix of 0 too.
            let flags = u8::try_from(leading(flags.strip_prefix("0x")?, 1, 2)?).ok()?;
            Some(Linux::Unit(LoggedUnit { flags: Some(flags), ..LoggedUnit::at(hex(address)?) }))
        };
        return Some(unit().ok_or("flags:"));
    }
    if let Some(rest) = after(text, "RMRRbase:") {
        let rmrr = || {
            let (start, end) = rest.split_once("end:")?;
            Some(Linux::Rmrr(RmrrLine::of(hex(start)?, leading(end, 14, 16)?)))
        };
        return Some(rmrr().ok_or("end:"));
    }
    if let Some(rest) = after(text, "reg_base_addr") {
        let read = || {
            let address = hex(rest.split_once("ver")?.0)?;
            let (cap, ecap) = after(rest, "cap")?.split_once("ecap")?;
            Some(Linux::Capabilities { address, cap: hex(cap)?, ecap: leading(ecap, 1, 16)? })
        };
        return Some(read().ok_or("ecap"));
    }
    if let Some(rest) = after(text, "Settingidentitymapfordevice") {
        let read = || {
            let (device, range) = rest.split_once("[0x")?;
            let (start, end) = range.split_once("-0x")?;
            let (bdf, end) = (device.parse().ok()?, hex(end.split_once(']')?.0)?);
            Some(Linux::Identity { bdf, start: hex(start)?, end })
        };
        // It also maps all memory for some devices, and says so in the same words.
        return read().map(Ok);
    }
    if let Some(other) = other(text) {
        return Some(other.map(Linux::Other));
    }
    let width = after(text, "Hostaddresswidth")?;
    Some(decimal(width).map(Linux::Width).ok_or("Host address width"))
}

/// `dmar_table_print_dmar_entry` and `dmar_parse_one_andd`.
fn other(text: &str) -> Option<Result<Other, &'static str>> {
    let byte = |text: &str| u8::try_from(leading(text.strip_prefix("0x")?, 1, 2)?).ok();
    if let Some(flags) = after(text, "ATSRflags:") {
        return Some(byte(flags).map(|flags| Other::Atsr { flags }).ok_or("flags:"));
    }
    if let Some(flags) = after(text, "SATCflags:") {
        return Some(byte(flags).map(|flags| Other::Satc { flags }).ok_or("flags:"));
    }
    if let Some(rest) = after(text, "RHSAbase:") {
        let read = || {
            let (address, domain) = rest.split_once("proximitydomain:")?;
            let domain = u32::try_from(leading(domain.strip_prefix("0x")?, 1, 8)?).ok()?;
            Some(Other::Rhsa { address: hex(address)?, domain })
        };
        return Some(read().ok_or("proximity domain:"));
    }
    let (number, name) = after(text, "ANDDdevice:")?.split_once("name:")?;
    let number = u8::try_from(hex(number)?).ok()?;
    Some(Ok(Other::Andd { number, name: printable(name) }))
}

/// A device at the start of `text`, its segment where there is one, and what follows.
pub(super) fn device(text: &str) -> Option<(Option<Segment>, Devid, &str)> {
    let with_segment = text.get(4..5) == Some(":");
    let length = if with_segment { 12 } else { 7 };
    let bdf: Bdf = text.get(..length)?.parse().ok()?;
    Some((with_segment.then_some(bdf.segment), bdf.devid, text.get(length..)?))
}

fn field<'a>(
    text: &'a str,
    name: &'static str,
) -> Result<(Option<Segment>, Devid, &'a str), &'static str> {
    after(text, name).and_then(device).ok_or(name)
}

/// `device: %02x:%02x.%01x cap: %04x seg: %d flags: %01x info %04x`, since 6.0 with the segment before
/// the devid.
fn iommu(text: &str) -> Result<Linux, &'static str> {
    let (segment, devid, rest) = device(text).ok_or("device:")?;
    let cap = after(rest, "cap:").and_then(|cap| leading(cap, 4, 4)).ok_or("cap:")?;
    let old = after(rest, "seg:").and_then(decimal).and_then(|seg| u16::try_from(seg).ok());
    let flags = between(rest, "flags:", "info").ok_or("flags:")?;
    let info = after(rest, "info").and_then(|info| leading(info, 4, 4)).ok_or("info")?;
    let segment = segment.or(old.map(Segment)).ok_or("seg:")?;
    Ok(Linux::Iommu { devid: Bdf::new(segment, devid), cap, flags, info })
}

/// A device entry, from behind `DEV_` on.
fn entry(text: &str) -> Option<Result<Linux, &'static str>> {
    let special = |name| text.strip_prefix(name).and_then(|rest| rest.split_once("])"));
    if let Some((what, rest)) = special("SPECIAL(") {
        return Some(special_entry(what, rest));
    }
    if let Some((what, rest)) = special("ACPI_HID(") {
        let (hid, uid) = what.split_once('[').unwrap_or((what, ""));
        return Some(field(rest, "devid:").map(|(segment, devid, _)| {
            let entry = LoggedEntry::Acpi { hid: printable(hid), uid: printable(uid), devid };
            Linux::Entry(segment, entry)
        }));
    }
    if let Some(rest) = text.strip_prefix("ALL") {
        let flags = after(rest, "setting:").or_else(|| after(rest, "flags:"));
        let flags = flags.and_then(settings).ok_or("flags:");
        return Some(flags.map(|settings| Linux::Entry(None, LoggedEntry::All(settings))));
    }
    // Longer names before those that they begin with.
    let names = [
        "SELECT_RANGE_START",
        "SELECT",
        "ALIAS_RANGE",
        "ALIAS",
        "EXT_SELECT_RANGE",
        "EXT_SELECT",
        "RANGE_END",
    ];
    let (name, rest) = names.iter().find_map(|name| Some((*name, text.strip_prefix(name)?)))?;
    Some(devices(name, rest))
}

fn devices(name: &'static str, text: &str) -> Result<Linux, &'static str> {
    let (segment, first, rest) = field(text, "devid:")?;
    if name == "RANGE_END" {
        return Ok(Linux::Entry(segment, LoggedEntry::RangeEnd(first)));
    }
    // What follows begins with a hexadecimal digit, so that the key has to end the number.
    let next = ["devid_to:", "ext:"].into_iter().find(|key| rest.contains(key));
    let flags = after(rest, "flags:").ok_or("flags:")?;
    let settings = match next {
        Some(next) => flags.split_once(next).and_then(|(flags, _)| settings(flags)),
        None => settings(flags),
    };
    let settings = settings.ok_or("flags:")?;
    let alias = name.starts_with("ALIAS");
    let source = if alias { Some(field(rest, "devid_to:")?.1) } else { None };
    let read = |ext: &str| leading(ext, 8, 8).and_then(|ext| u32::try_from(ext).ok());
    let extended = after(rest, "ext:").filter(|_| name.starts_with("EXT")).and_then(read);
    if name.starts_with("EXT") && extended.is_none() {
        return Err("ext:");
    }
    let devices = Devices { first, last: first, source, settings, extended };
    let range = name.contains("RANGE");
    let entry =
        if range { LoggedEntry::RangeStart(devices) } else { LoggedEntry::Devices(devices) };
    Ok(Linux::Entry(segment, entry))
}

/// `IOAPIC[%d` or `HPET[%d`, and what follows.
fn special_entry(what: &str, rest: &str) -> Result<Linux, &'static str> {
    let (kind, handle) = what.split_once('[').ok_or("DEV_SPECIAL")?;
    let kind = match kind {
        "IOAPIC" => SpecialKind::IoApic,
        "HPET" => SpecialKind::Hpet,
        // The kernel does not write the number of another variety.
        _ => SpecialKind::Other(0),
    };
    let handle = handle.parse().map_err(|_| "DEV_SPECIAL")?;
    let (segment, devid, _) = field(rest, "devid:")?;
    Ok(Linux::Entry(segment, LoggedEntry::Special { kind, handle, devid }))
}

/// The data byte: `%02x`, since 6.14 `%#02x`.
fn settings(text: &str) -> Option<Settings> {
    let least = if text.starts_with("0x") { 1 } else { 2 };
    u8::try_from(leading(text, least, 2)?).ok().map(Settings)
}

/// An IVMD block, from behind `IVMD_TYPE` on (`init_unity_map_range`).
fn ivmd(text: &str) -> Result<IvmdLine, &'static str> {
    let name = text.split("devid_start:").next().filter(|name| name.len() < text.len());
    let kind = match name {
        Some("i") => IvmdKind::Device,
        Some("_ALL") => IvmdKind::All,
        Some("_RANGE") => IvmdKind::Range,
        _ => return Err("IVMD_TYPE"),
    };
    let (segment, devid_start, rest) = field(text, "devid_start:")?;
    let (again, devid_end, rest) = field(rest, "devid_end:")?;
    if segment != again {
        return Err("devid_end:");
    }
    // Sixteen digits, so that a line that is cut within a number is not taken for a shorter one.
    let address = |name| after(rest, name).and_then(|text| leading(text, 16, 16)).ok_or(name);
    let flags = after(rest, "flags:").and_then(|flags| leading(flags, 1, 2)).ok_or("flags:")?;
    Ok(IvmdLine {
        line: 0,
        kind,
        segment: segment.unwrap_or(Segment(0)),
        devid_start,
        devid_end,
        start: address("range_start:")?,
        end_exclusive: address("range_end:")?,
        flags: IvmdFlags(u8::try_from(flags).map_err(|_| "flags:")?),
    })
}
