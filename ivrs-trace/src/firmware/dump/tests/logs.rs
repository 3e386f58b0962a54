//! Logs as Linux of several ages and Xen write them of tables that the builders make, then as mailers,
//! terminals and loggers leave them.

use proptest::prelude::*;

use super::{super::*, prefixed, quoted_printable, read_log};
use crate::{
    firmware::{
        Ivrs, KernelView,
        amd::{
            builder::{IvhdSpec, IvrsBuilder},
            device_entry::{AcpiUid, Content, DeviceEntry, SpecialKind, Uid},
            ivrs::IvmdKind,
        },
        intel::dmar::ScopeKind,
    },
    pci::{Bdf, Devid, Segment},
};

/// How `DUMP_printk` of an age writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// Before 6.0: devices without a segment.
    V4,
    /// With segments, and the prefix twice.
    V6,
    /// Since 6.14: the prefix once, flags with `0x`.
    V6_14,
}

const AGES: [Age; 3] = [Age::V4, Age::V6, Age::V6_14];

fn table() -> Ivrs {
    let entries = vec![
        DeviceEntry::Select { devid: Devid(0x0010), settings: 0 },
        DeviceEntry::Range { first: Devid(8), last: Devid(0x3ffe), settings: 0xd7 },
        DeviceEntry::Alias { devid: Devid(0x0500), source: Devid(0x00a4), settings: 3 },
        DeviceEntry::AliasRange {
            first: Devid(0xff00),
            last: Devid(0xffff),
            source: Devid(0x00a4),
            settings: 0,
        },
        DeviceEntry::ExtSelect { devid: Devid(0x0600), settings: 1, extended: 0x8000_0000 },
        DeviceEntry::ExtRange {
            first: Devid(0x0700),
            last: Devid(0x07ff),
            settings: 0,
            extended: 0x1234_5678,
        },
        DeviceEntry::Special {
            handle: 0,
            devid: Devid(0x00a0),
            kind: SpecialKind::Hpet,
            settings: 0,
        },
        DeviceEntry::Special {
            handle: 241,
            devid: Devid(0x00a0),
            kind: SpecialKind::IoApic,
            settings: 0xd7,
        },
        DeviceEntry::AcpiHid {
            devid: Devid(0x00a5),
            settings: 0x40,
            hid: *b"AMDI0020",
            cid: [0; 8],
            uid: AcpiUid::Text("ID00".to_owned()),
        },
    ];
    let ivmd = |text: &str| text.parse().unwrap();
    let bytes = IvrsBuilder::new()
        .ivhd(IvhdSpec { entries, ..IvhdSpec::default() })
        .ivhd(IvhdSpec {
            devid: Devid(0x4002),
            mmio: 0xb480_0000,
            entries: vec![DeviceEntry::All { settings: 0xd7 }],
            ..IvhdSpec::default()
        })
        .ivmd(ivmd("type=0x22,flags=8,devid=0,aux=0x0fff,start=0x872d9000,length=0x1000"))
        .ivmd(ivmd("type=0x21,flags=7,devid=0x4200,start=0x9f58d000,length=0x8040000"))
        .build()
        .unwrap();
    Ivrs::parse(&bytes).unwrap()
}

/// The lines that Linux writes of the table, in its order.
fn written(table: &Ivrs, age: Age) -> Vec<String> {
    let at = |devid: Devid| match age {
        Age::V4 => devid.to_string(),
        _ => format!("0000:{devid}"),
    };
    let flags = |flags: u8| {
        if age == Age::V6_14 { format!("{flags:#02x}") } else { format!("{flags:02x}") }
    };
    let mut lines = Vec::new();
    for ivhd in &table.ivhd {
        let seg = if age == Age::V4 { "seg: 0 " } else { "" };
        lines.push(format!(
            "device: {} cap: {:04x} {seg}flags: {:x} info {:04x}",
            at(ivhd.devid),
            ivhd.cap_offset,
            ivhd.flags,
            ivhd.info
        ));
        lines.push(format!("       mmio-addr: {:016x}", ivhd.mmio));
        if age != Age::V4 && ivhd.devid == Devid(2) {
            lines.push("PCI segment : 0x0, last bdf : 0xffff".to_owned());
        }
        for entry in ivhd.entries(table) {
            let end = |last| format!("  DEV_RANGE_END\t\t devid: {}", at(last));
            let of = |name: &str, first, byte, more: String| {
                format!("  {name} devid: {} flags: {}{more}", at(first), flags(byte))
            };
            match &entry.content {
                Content::All(of) if age == Age::V6_14 => {
                    lines.push(format!("  DEV_ALL\t\t\tsetting: {:#02x}", of.0));
                }
                Content::All(of) => lines.push(format!("  DEV_ALL\t\t\tflags: {:02x}", of.0)),
                Content::Device(one) => {
                    let byte = one.settings.0;
                    lines.push(match (one.source, one.extended) {
                        // Without a segment in all ages.
                        (Some(to), _) => {
                            of("DEV_ALIAS\t\t\t", one.first, byte, format!(" devid_to: {to}"))
                        }
                        (_, Some(ext)) => {
                            of("DEV_EXT_SELECT\t\t", one.first, byte, format!(" ext: {ext:08x}"))
                        }
                        _ => of("DEV_SELECT\t\t\t", one.first, byte, String::new()),
                    });
                }
                Content::Range { devices: one, .. } => {
                    let byte = one.settings.0;
                    lines.push(match (one.source, one.extended) {
                        (Some(to), _) => of(
                            "DEV_ALIAS_RANGE\t\t",
                            one.first,
                            byte,
                            format!(" devid_to: {}", at(to)),
                        ),
                        (_, Some(ext)) => of(
                            "DEV_EXT_SELECT_RANGE\t",
                            one.first,
                            byte,
                            format!(" ext: {ext:08x}"),
                        ),
                        _ => of("DEV_SELECT_RANGE_START\t", one.first, byte, String::new()),
                    });
                    lines.push(end(one.last));
                }
                Content::Special { handle, devid, kind, settings } => {
                    let name = if *kind == SpecialKind::Hpet { "HPET" } else { "IOAPIC" };
                    let more = if age == Age::V6_14 {
                        format!(", flags: {:#02x}", settings.0)
                    } else {
                        String::new()
                    };
                    lines.push(format!(
                        "  DEV_SPECIAL({name}[{handle}])\t\tdevid: {}{more}",
                        at(*devid)
                    ));
                }
                Content::Acpi(one) => {
                    let Uid::Text(uid) = &one.uid else { panic!("{one:?}") };
                    lines.push(format!(
                        "  DEV_ACPI_HID({}[{uid}])\t\tdevid: {}",
                        one.hid,
                        at(one.devid)
                    ));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for entry in &KernelView::new(table).entries {
        let block = &table.ivmd[entry.ivmd_index];
        let name = match block.kind {
            IvmdKind::Device => "IVMD_TYPEi\t\t\t",
            IvmdKind::All => "IVMD_TYPE_ALL\t\t",
            IvmdKind::Range => "IVMD_TYPE_RANGE\t\t",
        };
        lines.push(format!(
            "{name} devid_start: {} devid_end: {} range_start: {:016x} range_end: {:016x} flags: {:x}",
            at(entry.devid_start), at(entry.devid_end), entry.start, entry.end_inclusive() + 1, block.flags.0
        ));
    }
    let prefix = if age == Age::V6_14 { "AMD-Vi: " } else { "AMD-Vi: AMD-Vi: " };
    lines.into_iter().map(|line| format!("{prefix}{line}")).collect()
}

/// What a reading of those lines should find: everything but lines.
fn expected(table: &Ivrs, age: Age) -> Log {
    let mut log = Log::default();
    for ivhd in &table.ivhd {
        let entry = |content| match content {
            Content::All(of) => LoggedEntry::All(of),
            Content::Device(of) | Content::Range { devices: of, .. } => LoggedEntry::Devices(of),
            Content::Special { handle, devid, kind, .. } => {
                LoggedEntry::Special { kind, handle, devid }
            }
            Content::Acpi(of) => {
                let Uid::Text(uid) = of.uid else { panic!("{of:?}") };
                LoggedEntry::Acpi { hid: of.hid, uid, devid: of.devid }
            }
            other => panic!("{other:?}"),
        };
        log.iommus.push(LoggedIommu {
            line: 0,
            bdf: Some(Bdf::new(ivhd.segment, ivhd.devid)),
            segment: ivhd.segment,
            flags: Some(ivhd.flags),
            cap_info: Some((ivhd.cap_offset, ivhd.info)),
            mmio: Some(ivhd.mmio),
            entries: ivhd.entries(table).into_iter().map(|one| (0, entry(one.content))).collect(),
        });
    }
    for entry in &KernelView::new(table).entries {
        let block = &table.ivmd[entry.ivmd_index];
        log.entries.push(IvmdLine {
            line: 0,
            kind: block.kind,
            segment: entry.segment,
            devid_start: entry.devid_start,
            devid_end: entry.devid_end,
            start: entry.start,
            end_exclusive: entry.end_inclusive() + 1,
            flags: block.flags,
        });
    }
    if age != Age::V4 {
        log.segments.push(LastBdf { segment: Segment(0), devid: Devid(0xffff) });
    }
    log
}

/// Without the numbers of lines.
fn unplaced(mut log: Log) -> Log {
    for iommu in &mut log.iommus {
        iommu.line = 0;
        iommu.entries.iter_mut().for_each(|(line, _)| *line = 0);
    }
    log.entries.iter_mut().for_each(|entry| entry.line = 0);
    log.units.iter_mut().for_each(|unit| unit.line = 0);
    log.rmrrs.iter_mut().for_each(|rmrr| rmrr.line = 0);
    log.remarks.iter_mut().for_each(|remark| remark.line = 0);
    log.others.iter_mut().for_each(|one| one.line = 0);
    log
}

/// Lines broken at `width` columns, at blanks as mailers do or anywhere as terminals do.
fn wrapped(text: &str, width: usize, anywhere: bool) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > width {
            let blank = rest.get(..width).and_then(|head| head.rfind(' ')).filter(|at| *at > 0);
            let at = if anywhere {
                width
            } else {
                blank
                    .or_else(|| rest.get(width..)?.find(' ').map(|at| at + width))
                    .unwrap_or(rest.len())
            };
            let (head, tail) = rest.split_at(at);
            out += &prefixed("", if anywhere { head } else { head.trim_end() });
            rest = if anywhere { tail } else { tail.trim_start() };
        }
        out += &prefixed("", rest);
    }
    out
}

fn as_html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('>', "&gt;").replace('"', "&quot;");
    text.replace("  ", "&nbsp; ")
}

/// As journalctl and dmesg write a message in JSON.
fn as_json(line: &str) -> String {
    let line = line.replace('\t', "\\t");
    format!("{{\"PRIORITY\":\"6\",\"MESSAGE\":\"{line}\"}}\n")
}

#[test]
fn every_line_of_the_dump_is_read_in_every_form() {
    let table = table();
    for age in AGES {
        let expected = expected(&table, age);
        let lines = written(&table, age);
        let plain = prefixed("", &lines.join("\n"));
        let timed: Vec<String> = (0..)
            .zip(&lines)
            .map(|(n, line)| format!("[    0.{:06}] {line}", 263_000 + n))
            .collect();
        let timed = timed.join("\n");
        let mut forms = vec![
            plain.clone(),
            plain.replace("AMD-Vi: ", ""),
            plain.replace('\t', " "),
            plain.replace('\t', "\\x09"),
            plain.replace('\t', "#011").replace('\n', "\r\n"),
            timed.clone(),
            prefixed("> > ", &timed),
            prefixed("<6>", &timed),
            prefixed("Mar 28 20:00:01 host kernel: ", &plain),
            prefixed("2026-03-28T20:00:01+0100 host kernel: ", &timed),
            prefixed("[Sat Mar 28 20:00:01 2026] ", &plain),
            prefixed("[  +0.000001] ", &plain),
            quoted_printable(&timed),
            quoted_printable(&plain),
            // Whatever stands before the time, and no time at all.
            prefixed("kern  :info  : ", &timed),
            prefixed("kern  :info  : [Sat Mar 28 20:00:01 2026] ", &plain),
            prefixed("[    0.263000][    T0] ", &plain),
            prefixed("<6>1 2026-03-28T20:00:01.123456+01:00 host kernel - - - ", &timed),
            prefixed("2026-03-28T20:00:01,263000+01:00 ", &plain),
            prefixed("Sat 2026-03-28 20:00:01 CET host kernel: ", &plain),
            prefixed("1774724401.263000 host kernel: ", &plain),
            prefixed("6.1.0-13-amd64 6,201,263000,-;", &plain),
            prefixed("dmesg.txt:813:", &timed),
            prefixed("813:", &plain),
            prefixed("  813\t", &timed),
            prefixed("JD> ", &timed),
            prefixed("| 813 | ", &timed),
            prefixed("\u{a0}\u{a0}", &timed.replace(' ', "\u{a0}")),
            as_html(&timed),
            as_html(&prefixed("> ", &timed)),
            format!("<pre><code>{}</code></pre>", as_html(&timed)),
            as_html(&timed).replace('\n', "<br>\n"),
            as_html(&timed).replace('\n', "<br />"),
            // Lines joined by a forum, then broken anywhere.
            timed.replace('\n', " "),
            wrapped(&timed.replace('\n', " "), 72, false),
            plain.lines().map(as_json).collect(),
        ];
        for width in 20..120 {
            forms.push(wrapped(&timed, width, false));
            forms.push(wrapped(&timed, width, true));
            forms.push(wrapped(&plain, width, false));
            forms.push(prefixed("> ", &wrapped(&timed, width, true)));
        }
        for text in forms {
            let log = read_log(&text);
            assert!(log.damaged.is_empty() && log.notes.is_empty(), "{age:?}: {log:?}\n{text}");
            assert_eq!(unplaced(log), expected, "{age:?}\n{text}");
        }
    }
}

#[test]
fn a_log_without_its_beginning_gives_what_is_left() {
    let table = table();
    for age in AGES {
        let lines = written(&table, age);
        let whole = expected(&table, age);
        for missing in 1..lines.len() {
            let log = read_log(&lines[missing..].join("\n"));
            assert!(whole.entries.ends_with(&unplaced(log.clone()).entries), "{missing}: {log:?}");
            let headless = log.iommus.iter().any(|iommu| iommu.bdf.is_none());
            let begins = lines[missing].contains("device:") || lines[missing].contains("IVMD");
            assert_eq!(headless, !begins, "{}", lines[missing]);
        }
    }
    // Entries of another segment are not those of the IOMMU before them.
    let text = "AMD-Vi: device: 0000:00:00.2 cap: 0040 flags: b0 info 0000\n\
                AMD-Vi:   DEV_SPECIAL(IOAPIC[251])\t\tdevid: 0002:80:00.1\n";
    let log = read_log(text);
    let seen: Vec<_> = log.iommus.iter().map(|one| (one.segment.0, one.entries.len())).collect();
    assert_eq!(seen, [(0, 0), (2, 1)]);
}

#[test]
fn a_damaged_line_costs_itself_alone() {
    let table = table();
    let lines = written(&table, Age::V6);
    for (at, line) in lines.iter().enumerate() {
        let mut cut: Vec<&str> = lines.iter().map(String::as_str).collect();
        cut[at] = &line[..line.len() * 2 / 3];
        let log = read_log(&prefixed("[    0.1] ", &cut.join("\n")));
        let known =
            log.iommus.iter().map(|one| one.entries.len()).sum::<usize>() + log.entries.len();
        assert!(known >= 9, "{line}: {log:?}");
        if let Some(damaged) = log.damaged.first() {
            assert_eq!((damaged.line, log.damaged.len()), (at + 1, 1), "{line}");
        }
    }
}

const INTEL: &str = "\
DMAR: Host address width 39
DMAR: DRHD base: 0x000000fed90000 flags: 0x0
DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap 1c0000c40660462 ecap 7e3ff0501e
DMAR: DRHD base: 0x000000fed91000 flags: 0x1
DMAR: dmar1: reg_base_addr fed91000 ver 1:0 cap d2008c40660462 ecap f050da
DMAR: RMRR base: 0x0000008a785000 end: 0x0000008a7a4fff
DMAR: RMRR base: 0x0000008b000000 end: 0x0000008f7fffff
DMAR: [Firmware Bug]: No firmware reserved region can cover this RMRR [0x000000008b000000-0x000000008f7fffff], contact BIOS vendor for fixes
DMAR: ATSR flags: 0x1
DMAR: RHSA base: 0x000000fed91000 proximity domain: 0x1
DMAR: SATC flags: 0x1
DMAR: ANDD device: 1 name: \\_SB.PCI0.UA00
DMAR-IR: IOAPIC id 2 under DRHD base  0xfed91000 IOMMU 1
DMAR-IR: x2apic is disabled because BIOS sets x2apic opt out bit.
DMAR-IR: Enabled IRQ remapping in xapic mode
";

#[test]
fn the_lines_of_intels_table_are_read() {
    let plain = read_log(INTEL);
    assert_eq!(plain.width, Some(39));
    let units: Vec<_> =
        plain.units.iter().map(|unit| (unit.address, unit.flags, unit.capabilities)).collect();
    assert_eq!(
        units,
        [
            (0xfed9_0000, Some(0), Some((0x01c0_000c_4066_0462, 0x7e_3ff0_501e))),
            (0xfed9_1000, Some(1), Some((0x00d2_008c_4066_0462, 0x00f0_50da))),
        ]
    );
    let rmrrs: Vec<_> =
        plain.rmrrs.iter().map(|one| (one.start, one.end, one.scopes.clone())).collect();
    assert_eq!(rmrrs, [(0x8a78_5000, 0x8a7a_4fff, None), (0x8b00_0000, 0x8f7f_ffff, None)]);
    let kinds: Vec<_> = plain.remarks.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [RemarkKind::Firmware, RemarkKind::Firmware, RemarkKind::Remapping]);
    let others: Vec<_> = plain.others.iter().map(|one| one.what.clone()).collect();
    assert_eq!(
        others,
        [
            Other::Atsr { flags: 1 },
            Other::Rhsa { address: 0xfed9_1000, domain: 1 },
            Other::Satc { flags: 1 },
            Other::Andd { number: 1, name: "\\_SB.PCI0.UA00".to_owned() },
        ]
    );
    let timed = prefixed("[    0.012345] ", INTEL);
    for text in [
        prefixed("> ", &timed),
        quoted_printable(&timed),
        prefixed("Nov 27 23:50:47 host kernel: ", INTEL),
        prefixed("kern  :info  : ", &timed),
        prefixed("  813\t", &timed),
        prefixed("| ", &timed),
        as_html(&timed),
    ] {
        assert_eq!(unplaced(read_log(&text)), unplaced(plain.clone()), "{text}");
    }
    for width in 16..100 {
        for (text, anywhere) in [(&timed, false), (&timed, true), (&INTEL.to_owned(), false)] {
            let text = wrapped(text, width, anywhere);
            let log = unplaced(read_log(&text));
            let plain = unplaced(plain.clone());
            assert_eq!((log.units, log.rmrrs), (plain.units, plain.rmrrs), "{width}\n{text}");
        }
    }
}

/// Kernels up to 3.x name no driver before some lines, and up to 5.2 say whom an RMRR is mapped for.
#[test]
fn old_kernels_name_the_devices_of_an_rmrr() {
    let log = read_log(
        "[    0.02] dmar: Host address width 36\n\
         [    0.02] dmar: DRHD base: 0x000000fed91000 flags: 0x1\n\
         [    0.02] dmar: IOMMU 0: reg_base_addr fed91000 ver 1:0 cap c9008020660262 ecap f0105a\n\
         [    0.02] dmar: RMRR base: 0x000000df7ec000 end: 0x000000df7fffff\n\
         [    0.02] [Firmware Bug]: ioapic 2 has no mapping iommu, interrupt remapping will be disabled\n\
         [    0.02] Not enable interrupt remapping\n\
         [    0.77] IOMMU: Setting RMRR:\n\
         [    0.77] IOMMU: Setting identity map for device 0000:00:1d.0 [0xdf7ec000 - 0xdf7fffff]\n\
         [    0.77] IOMMU: Setting identity map for device 0000:00:1a.0 [0xdf7ec000 - 0xdf7fffff]\n\
         [    0.77] IOMMU: Prepare 0-16MiB unity mapping for LPC\n\
         [    0.77] IOMMU: Setting identity map for device 0000:00:1f.0 [0x0 - 0xffffff]\n",
    );
    assert_eq!((log.width, log.units.len()), (Some(36), 1));
    let [rmrr] = log.rmrrs.as_slice() else { panic!("{log:?}") };
    let bdfs = rmrr.scopes.iter().flatten().map(|one| one.bdf.to_string()).collect::<Vec<_>>();
    assert_eq!(bdfs, ["0000:00:1d.0", "0000:00:1a.0"]);
    let kinds: Vec<_> = log.remarks.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [RemarkKind::NoRemapping; 2]);
}

#[test]
fn xens_lines_of_either_table_are_read() {
    let log = read_log(
        "(XEN) [VT-D]Host address width 39\n\
         (XEN) [VT-D]found ACPI_DMAR_DRHD:\n\
         (XEN) [VT-D]  dmaru->address = fed90000\n\
         (XEN) [VT-D] endpoint: 0000:00:02.0\n\
         (XEN) [VT-D]found ACPI_DMAR_DRHD:\n\
         (XEN) [VT-D]  dmaru->address = fed91000\n\
         (XEN) [VT-D] IOAPIC: 0000:f0:1f.0\n\
         (XEN) [VT-D]  flags: INCLUDE_ALL\n\
         (XEN) [VT-D]found ACPI_DMAR_RMRR:\n\
         (XEN) [VT-D] endpoint: 0000:04:00.0\n\
         (XEN) [VT-D] endpoint: 0000:04:00.1\n\
         (XEN) [VT-D]dmar.c:608:   RMRR region: base_addr 8a785000 end_addr 8a7a4fff\n\
         (XEN) [VT-D]found ACPI_DMAR_RMRR:\n\
         (XEN) [VT-D] bridge: 0000:00:1c.0 start=0 sec=1 sub=2\n\
         (XEN) [VT-D]dmar.c:596:   Ignore the RMRR (8b000000, 8b000fff) due to\n\
         devices under its scope are not PCI discoverable!\n",
    );
    assert!(log.xen && log.width == Some(39));
    let flags: Vec<_> = log.units.iter().map(|unit| (unit.flags, unit.scopes.len())).collect();
    assert_eq!(flags, [(Some(0), 1), (Some(1), 1)]);
    let scopes = |at: usize| {
        let scopes = log.rmrrs[at].scopes.as_deref().unwrap();
        scopes.iter().map(|scope| (scope.kind, scope.bdf.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(
        scopes(0),
        [
            (ScopeKind::Endpoint, "0000:04:00.0".to_owned()),
            (ScopeKind::Endpoint, "0000:04:00.1".to_owned())
        ]
    );
    assert_eq!(scopes(1), [(ScopeKind::Bridge, "0000:00:1c.0".to_owned())]);
    assert_eq!((log.rmrrs[0].ignored, log.rmrrs[1].ignored), (false, true));

    // Addresses with an end beyond, addresses of pages, and frames.
    for line in [
        "AMD-Vi: Warning: IVMD: [c9f1c000,c9f42000) is not (entirely) in reserved memory",
        "AMD-Vi: Warning: IVMD: [0xc9f1c000, 0xc9f41000] is not (entirely) in reserved memory",
        "AMD-Vi: Warning: IVMD: [0xc9f1c ,0xc9f41] is not (entirely) in reserved memory",
    ] {
        let text =
            format!("(XEN)  [00000000c8f58000, 00000000c9f57fff] (ACPI NVS)\n(XEN) {line}\n");
        let log = read_log(&text);
        let [one] = log.xen_ivmd.as_slice() else { panic!("{log:?}") };
        assert_eq!((one.start, one.end, one.devid), (0xc9f1_c000, 0xc9f4_1fff, None), "{line}");
        assert_eq!(
            log.memory.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(),
            ["ACPI NVS"]
        );
    }
    // Since 4.16 it lists first and last byte.
    let log = read_log(
        "(XEN) [VT-D]found ACPI_DMAR_RMRR:\n\
         (XEN) [VT-D] endpoint: 0000:00:14.0\n\
         (XEN) [VT-D]drivers/passthrough/vtd/dmar.c:611:  RMRR: [8a785000,8a7a4fff]\n\
         (XEN) [VT-D]found ACPI_DMAR_RMRR:\n\
         (XEN) [VT-D] endpoint: 0000:00:16.7\n\
         (XEN) [VT-D]drivers/passthrough/vtd/dmar.c:595:  Ignore RMRR [8b000000,8b000fff] as no device \
         under its scope is PCI discoverable!\n",
    );
    let ranges: Vec<_> = log.rmrrs.iter().map(|one| (one.start, one.end, one.ignored)).collect();
    assert_eq!(ranges, [(0x8a78_5000, 0x8a7a_4fff, false), (0x8b00_0000, 0x8b00_0fff, true)]);
    assert!(log.rmrrs.iter().all(|one| one.scopes.as_ref().is_some_and(|of| of.len() == 1)));
    // A refusal of Xen's own.
    let log = read_log(
        "(XEN) IVHD Error: no information for IO-APIC 0x82\n\
         (XEN) AMD-Vi: Error initialization\n(XEN) I/O virtualisation disabled\n",
    );
    assert_eq!(log.remarks.iter().map(|one| one.line).collect::<Vec<_>>(), [1, 2, 3]);

    let log = read_log(
        "(XEN) AMD-Vi: Using IVHD type 0x11\n\
         (XEN) AMD-Vi: IVRS Block: type 0x10 flags 0xb0 len 0x44 id 0x2\n\
         (XEN) AMD-Vi: IVRS Block: type 0x11 flags 0x30 len 0x54 id 0x2\n\
         (XEN) AMD-Vi: IVHD: IOMMU @ 0xfd200000 cap @ 0x40 seg 0x0000 info 0 attr 0x80048f6e\n\
         (XEN) AMD-Vi: IVHD Device Entry: type 0x3 id 0x98 flags 0\n\
         (XEN) AMD-Vi:  Dev_Id Range: 0x98 -> 0x9a\n\
         (XEN) AMD-Vi: IVHD Device Entry: type 0x43 id 0x600 flags 0\n\
         (XEN) AMD-Vi:  Dev_Id Range: 0x600 -> 0x6ff alias 0xa4\n\
         (XEN) AMD-Vi: IVHD Device Entry: type 0x42 id 0x500 flags 0\n\
         (XEN) AMD-Vi:  Dev_Id Alias: 0xa4\n\
         (XEN) AMD-Vi: IVHD Special: 0000:00:00.1 variety 0x1 handle 0x8\n\
         (XEN) AMD-Vi: IVRS Block: type 0x21 flags 0x8 len 0x20 id 0x4200\n\
         (XEN) AMD-Vi: IVMD Block: type 0x21 phys 0x9f58d000 len 0x8040000\n",
    );
    let [iommu] = log.iommus.as_slice() else { panic!("{log:?}") };
    assert_eq!((iommu.bdf, iommu.entries.len()), (Some(Bdf::new(Segment(0), Devid(2))), 4));
    assert_eq!((iommu.mmio, iommu.cap_info), (Some(0xfd20_0000), Some((0x40, 0))));
    let sources: Vec<_> = (iommu.entries.iter())
        .filter_map(|(_, entry)| match entry {
            LoggedEntry::Devices(devices) => Some(devices.source),
            _ => None,
        })
        .collect();
    assert_eq!(sources, [None, Some(Devid(0xa4)), Some(Devid(0xa4))]);
    let [ivmd] = log.xen_ivmd.as_slice() else { panic!("{log:?}") };
    assert_eq!((ivmd.kind, ivmd.devid), (Some(IvmdKind::Device), Some(Devid(0x4200))));
    assert_eq!((ivmd.start, ivmd.end), (0x9f58_d000, 0xa75c_cfff));
}

#[test]
fn refusals_alone_are_recognised() {
    let device = Some("0000:01:00.0".parse().unwrap());
    let errno = Some(22);
    let range = Some((0x3800_1000_0000, 0x0200_0000));
    for (text, kind, device) in [
        (
            "vfio-pci 0000:01:00.0: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting \
          configuring the device without a 1:1 mapping. Contact your platform vendor.",
            RefusalKind::Direct,
            device,
        ),
        (
            "vfio-pci 0000:01:00.0: Device is ineligible for IOMMU domain attach due to platform RMRR \
          requirement.  Contact your platform vendor.",
            RefusalKind::Rmrr,
            device,
        ),
        (
            "vfio 0000:01:00.0: failed to setup container for group 14: Failed to set group container: \
          Invalid argument",
            RefusalKind::Container,
            device,
        ),
        (
            "kvm: vfio_dma_map(0x5e043daea2f0, 0x380010000000, 0x2000000, 0x771a6ce00000) = -22 (Invalid \
          argument)",
            RefusalKind::Map { range, errno },
            None,
        ),
        (
            "-device vfio-pci,host=0000:01:00.0,id=hostdev0: VFIO_MAP_DMA failed: Cannot allocate memory",
            RefusalKind::Map { range: None, errno: Some(12) },
            device,
        ),
        (
            "[  +0.001779] vfio_pin_pages_remote: RLIMIT_MEMLOCK (65536) exceeded",
            RefusalKind::Memlock(Some(65_536)),
            None,
        ),
        (
            "[429200.7] intel_iommu_map: iommu width (39) is not sufficient for the mapped address (8800001000)",
            RefusalKind::Width(Some(39)),
            None,
        ),
    ] {
        for text in [text.to_owned(), prefixed("> ", text), wrapped(text, 72, false)] {
            let log = read_log(&text);
            assert_eq!(log.refusals, [Refusal { line: 1, device, kind }], "{text}");
        }
    }
}

#[test]
fn a_log_that_lists_nothing_says_whose_it_is() {
    for (text, expected) in [
        ("AMD-Vi: Found IOMMU cap 0x40\n", Problem::LogWithoutDump),
        ("DMAR: IOMMU enabled\n", Problem::LogWithoutDmar),
        ("(XEN) AMD-Vi: IOMMU 0 Enabled.\n", Problem::XenWithoutTable),
    ] {
        let (form, line, problem) = super::bad(text);
        assert_eq!((form, line, problem), (Form::KernelLog, Some(1), expected), "{text}");
    }
}

proptest! {
    #[test]
    fn any_words_of_a_log_are_an_answer(
        words in prop::collection::vec(prop::sample::select(vec![
            "AMD-Vi:", "DEV_SELECT", "DEV_RANGE_END", "devid:", "00:01.0", "0000:00:14.0", "flags:", "00",
            "\n", "IVMD_TYPE_RANGE", "devid_start:", "range_start:", "0000000000001000", "(XEN)", "RMRR base:",
            "0x00000000001000", "end:", "[VT-D]", "endpoint:", "found ACPI_DMAR_RMRR:", "IVMD: [", "]", ",", "[0.1]",
            "device:", "cap: 0040", "info 0000", "é", "DEV_SPECIAL(", "IOAPIC[300])", "Dev_Id Range: 0x1 -> 0x2",
        ]), 0..60),
    ) {
        for gap in ["", " "] {
            if let Err(error) = read(words.join(gap).as_bytes()) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
