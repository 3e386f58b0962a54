//! What a decoded table looks like: tables built in the shapes that real ones have.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::{
    codes::Code,
    firmware::{
        Ivrs, KernelView,
        amd::{
            builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
            device_entry::{AcpiUid, DeviceEntry, SpecialKind},
            ivrs::{IvhdKind, IvmdFlags, IvmdKind},
        },
        dump::{self, Dump},
    },
    pci::{Devid, Segment},
    report::{
        Style,
        valid::{assert_wrong, parsed},
    },
};

fn ivmd(text: &str) -> IvmdSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn acpi(hid: [u8; 8], devid: u16, uid: AcpiUid) -> DeviceEntry {
    DeviceEntry::AcpiHid { devid: Devid(devid), settings: 0, hid, cid: [0; 8], uid }
}

/// The entries that an IOMMU of a desktop or laptop has.
fn usual() -> Vec<DeviceEntry> {
    let special = |handle, devid, kind, settings| DeviceEntry::Special {
        handle,
        devid: Devid(devid),
        kind,
        settings,
    };
    vec![
        DeviceEntry::Range { first: Devid(0x0003), last: Devid(0xfffe), settings: 0 },
        DeviceEntry::AliasRange {
            first: Devid(0xff00),
            last: Devid(0xffff),
            source: Devid(0x00a5),
            settings: 0,
        },
        special(0, 0x00a0, SpecialKind::Hpet, 0),
        special(0x21, 0x00a0, SpecialKind::IoApic, 0xd7),
        special(0x22, 0x0001, SpecialKind::IoApic, 0),
        DeviceEntry::Raw(vec![0; 4]),
        DeviceEntry::Raw(vec![0; 4]),
    ]
}

fn ivhd(kind: IvhdKind, entries: Vec<DeviceEntry>) -> IvhdSpec {
    let flags = if kind == IvhdKind::Type10 { 0xb0 } else { 0x30 };
    IvhdSpec {
        kind,
        flags,
        feature_info: 0x8004_8000,
        efr: 0x2465_77ef_a225_4afa,
        entries,
        ..IvhdSpec::default()
    }
}

/// Types 0x10 and 0x11, as every table since Zen has them.
fn stacked() -> IvrsBuilder {
    IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type10, usual())).ivhd(ivhd(IvhdKind::Type11, usual()))
}

fn uart() -> DeviceEntry {
    acpi(*b"AMDI0020", 0x00a5, AcpiUid::Text("\\_SB.FUR0".to_owned()))
}

/// Three exclusion ranges of a page each for the buses 0x00 to 0x0f.
fn desktop() -> IvrsBuilder {
    let range = |start: u64| IvmdSpec {
        start,
        ..ivmd("type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0,length=0x1000")
    };
    let mut entries = usual();
    entries.push(uart());
    [0x872d_9000, 0x872d_8000, 0x962f_6000]
        .into_iter()
        .fold(stacked().ivinfo(0x0020_3043), |builder, start| builder.ivmd(range(start)))
        .ivhd(ivhd(IvhdKind::Type40, entries))
}

/// One exclusion range for one device, and the reserved block that repeats it.
fn laptop() -> IvrsBuilder {
    let spec = ivmd("type=0x21,flags=0x08,devid=0x0300,start=0xccd42000,length=0x26000");
    let builder = stacked().ivinfo(0x0020_3043).ivmd(spec);
    let mut copy = Ivrs::parse(&builder.build().unwrap()).unwrap().ivmd[0].bytes.to_vec();
    copy[0] = 0x51;
    builder.ivhd(ivhd(IvhdKind::Type40, vec![usual().remove(0), uart()])).raw(copy)
}

/// A unity map for an ACPI device whose unique id has two bytes, and one for the sensor hub.
fn strix() -> IvrsBuilder {
    let mut short_uid = vec![0xf0, 0x60, 0x00, 0x40];
    short_uid.extend(b"MSFT0201");
    short_uid.extend([0; 8]);
    short_uid.extend([1, 2, 1, 0]);
    stacked()
        .ivinfo(0x0020_3043)
        .ivmd(ivmd("type=0x21,flags=0x07,devid=0x60,start=0x7d900000,length=0x100000"))
        .ivmd(ivmd("type=0x21,flags=0x08,devid=0xc407,start=0x75e00000,length=0x20000"))
        .ivhd(ivhd(IvhdKind::Type40, vec![usual().remove(0), DeviceEntry::Raw(short_uid)]))
}

/// Revision 1, two IOMMUs in two segments, single devices, an entry for all devices.
fn server() -> IvrsBuilder {
    let one = |devid, settings| DeviceEntry::Select { devid: Devid(devid), settings };
    let second = IvhdSpec {
        devid: Devid(0x4002),
        mmio: 0xf260_0000,
        segment: Segment(1),
        ..ivhd(
            IvhdKind::Type10,
            vec![
                DeviceEntry::ExtRange {
                    first: Devid(0x4100),
                    last: Devid(0x41ff),
                    settings: 0,
                    extended: 0x8000_0000,
                },
                DeviceEntry::ExtSelect { devid: Devid(0x4200), settings: 0, extended: 1 },
            ],
        )
    };
    IvrsBuilder::new()
        .revision(1)
        .ivinfo(0x0020_3400)
        .ivhd(ivhd(
            IvhdKind::Type10,
            vec![
                one(0x0000, 0),
                one(0x0010, 0),
                one(0x00a0, 0xd7),
                DeviceEntry::Alias { devid: Devid(0x0508), source: Devid(0x0500), settings: 0 },
            ],
        ))
        .ivhd(second)
        .ivmd(ivmd("type=0x20,flags=0x03,start=0x7ffe0000,length=0x20000"))
        .ivmd(ivmd("type=0x22,flags=0x06,devid=0,aux=0xff,start=0x1000,length=1,segment=1"))
}

/// As much wrong as fits: text that is none, a page-0 entry, half a range, a block that is cut.
fn broken() -> IvrsBuilder {
    stacked()
        .oem_id(*b"\x1b[2J\xff ")
        .ivhd(ivhd(
            IvhdKind::Type40,
            vec![
                usual().remove(0),
                acpi(*b"EV\x1b[31mL", 0x60, AcpiUid::Text("\u{202e}drow\n".to_owned())),
                DeviceEntry::Raw(vec![0x05, 1, 2, 3]),
                DeviceEntry::Raw(vec![0x04, 9, 0, 0]),
                DeviceEntry::Raw(vec![0x03, 8, 0, 0]),
            ],
        ))
        .ivmd(ivmd("type=0x21,flags=0x0f,devid=0x08,start=0,length=1"))
        .ivmd(ivmd("type=0x22,flags=0x01,devid=0x20,aux=0x10,start=0x7ffe0800,length=0"))
        .raw(vec![0x21, 0x07, 0x20, 0x00, 0x08])
        .checksum(0)
}

fn seen(builder: &IvrsBuilder, detail: Detail) -> String {
    let table = Ivrs::parse(&builder.build().unwrap()).unwrap();
    text(&table, &KernelView::new(&table), detail, Style::default())
}

fn document(builder: &IvrsBuilder) -> Decode {
    let table = Ivrs::parse(&builder.build().unwrap()).unwrap();
    decode(&table, &KernelView::new(&table))
}

fn pretty(builder: &IvrsBuilder) -> String {
    let document = document(builder);
    parsed(&document);
    serde_json::to_string_pretty(&document).unwrap()
}

/// The text without what sets colours and weight, of which there must be some.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    let rest: Vec<&str> = parts.map(|part| part.split_once('m').unwrap().1).collect();
    assert!(!rest.is_empty(), "no colour in {text}");
    first + &rest.concat()
}

#[test]
fn a_terminal_gets_the_same_text_in_colours_and_as_wide_as_it_is() {
    let wide = "type=0x22,flags=0x08,devid=0x0000,aux=0x0fff,start=0x7a2d9000,length=0x1000";
    let bytes = stacked().ivhd(ivhd(IvhdKind::Type40, usual())).ivmd(ivmd(wide)).checksum(0);
    let table = Ivrs::parse(&bytes.build().unwrap()).unwrap();
    let of = |style| text(&table, &KernelView::new(&table), Detail::All, style);
    for width in [50, 80, 120] {
        let file = of(Style { width, colour: false });
        assert!(file.lines().all(|line| crate::width::width(line) <= width), "{width}: {file}");
        assert_eq!(plain(&of(Style { width, colour: true })), file);
    }
    let terminal = of(Style { width: 120, colour: true });
    for painted in
        ["\u{1b}[1;31merror\u{1b}[0m", "\u{1b}[1;33mwarning\u{1b}[0m", "\u{1b}[1mIVMD 0x22"]
    {
        assert!(terminal.contains(painted), "{painted:?} in {terminal}");
    }
    let known = Code::IvmdWide;
    let style = Style { width: 60, colour: true };
    let file = explanation(known, Style { colour: false, ..style });
    assert_eq!(plain(&explanation(known, style)), file);
}

#[test]
fn texts_are_as_they_were() {
    assert_snapshot!("desktop_text", seen(&desktop(), Detail::Used));
    assert_snapshot!("laptop_text", seen(&laptop(), Detail::Used));
    assert_snapshot!("strix_text", seen(&strix(), Detail::All));
    assert_snapshot!("server_text", seen(&server(), Detail::Used));
    assert_snapshot!("broken_text", seen(&broken(), Detail::Used));
    assert_snapshot!("plain_text", seen(&stacked(), Detail::Used));
}

#[test]
fn documents_are_as_they_were() {
    assert_snapshot!("desktop_json", pretty(&desktop()));
    assert_snapshot!("laptop_json", pretty(&laptop()));
    assert_snapshot!("strix_json", pretty(&strix()));
    assert_snapshot!("server_json", pretty(&server()));
    assert_snapshot!("broken_json", pretty(&broken()));
}

#[test]
fn explanations_are_as_they_were() {
    assert_snapshot!("codes", codes(Style::default()));
    let known = Code::IvrsDmaProtection;
    assert_snapshot!("explained", explanation(known, Style::default()));
}

#[test]
fn the_names_that_others_build_on_are_there() {
    let json = serde_json::to_value(document(&desktop())).unwrap();
    let has = |value: &serde_json::Value, names: &[&str]| {
        for name in names {
            assert!(value.get(name).is_some(), "{name} in {value}");
        }
    };
    assert_eq!(json["schema"], "ivrs-trace/decode/1");
    has(&json["table"], &["signature", "revision", "length", "checksum_ok", "oem_id"]);
    has(&json["table"], &["oem_table_id", "oem_revision"]);
    has(&json["table"]["ivinfo"], &["raw", "dma_remap"]);
    has(&json["ivhd"][0], &["type", "offset", "flags", "devid", "segment", "mmio", "used"]);
    has(&json["ivhd"][0], &["entries"]);
    has(&json["ivmd"][0], &["index", "offset", "type", "segment", "devid_start", "devid_end"]);
    has(&json["ivmd"][0], &["start", "length", "bytes", "effective"]);
    has(&json["ivmd"][0]["flags"], &["raw", "unity", "read", "write", "exclusion"]);
    has(&json["ivmd"][0]["kernel"], &["start", "end", "prot", "type"]);
    has(&json["findings"][0], &["code", "severity", "message", "offset"]);
    let laptop = serde_json::to_value(document(&laptop())).unwrap();
    has(&laptop["unknown"][0], &["offset", "type", "length"]);
    assert_wrong(&laptop, "/unknown/0/offset", None);
    assert_wrong(&laptop, "/table/checksum", Some(7.into()));
    assert_wrong(&json, "/ivhd/0/entries/0/bytes", Some("0x03".into()));
    assert_wrong(&json, "/ivhd/0/devid", Some("00:00.2".into()));
    assert_wrong(&json, "/ivmd/0/kernel/prot", Some("rwx".into()));
    assert_wrong(&json, "/findings/0/severity", Some("bad".into()));
}

#[test]
fn a_log_fits_its_schema() {
    let log = "[    0.5] AMD-Vi: IVMD_TYPE_RANGE\t\t devid_start: 0000:00:00.0 devid_end: \
               0000:0f:1f.7 range_start: 000000007ffe0000 range_end: 000000007ffe1000 flags: 8\n";
    let found = dump::read(log.as_bytes()).unwrap();
    let [Dump::Log(log)] = found.as_slice() else { panic!("{found:?}") };
    let document = parsed(&decode_log(log));
    assert_wrong(&document, "/ivmd/0/line", None);
    assert_wrong(&document, "/ivmd/0/kernel/type", Some("msi".into()));
}

// A log of each driver, with what it complains of and a refusal.
const LOG_OF_AMD: &str = "AMD-Vi: Using IVHD type 0x11\n\
    AMD-Vi: device: 0000:00:00.2 cap: 0040 flags: b0 info 0000\n\
    AMD-Vi:        mmio-addr: 00000000fd200000\n\
    AMD-Vi: PCI segment : 0x0, last bdf : 0xffff\n\
    AMD-Vi:   DEV_SELECT_RANGE_START\t devid: 0000:00:00.3 flags: 0x00\n\
    AMD-Vi:   DEV_RANGE_END\t\t devid: 0000:ff:1f.6\n\
    AMD-Vi:   DEV_SPECIAL(IOAPIC[33])\t\tdevid: 0000:00:14.0, flags: 0xd7\n\
    AMD-Vi:   DEV_ACPI_HID(AMDI0020[\\_SB.FUR0])\t\tdevid: 0000:00:14.5, flags: 0x40\n\
    AMD-Vi: IVMD_TYPE_RANGE\t\t devid_start: 0000:00:00.0 devid_end: 0000:0f:1f.7 \
    range_start: 000000007ffe0000 range_end: 000000007ffe1000 flags: 8\n\
    [Firmware Bug]: AMD-Vi: IOAPIC[34] not in IVRS table\n\
    AMD-Vi: Disabling interrupt remapping\n\
    vfio-pci 0000:01:00.0: Firmware has requested this device have a 1:1 IOMMU mapping, \
    rejecting configuring the device without a 1:1 mapping. Contact your platform vendor.\n";

const LOG_OF_INTEL: &str = "DMAR: Host address width 46\n\
    DMAR: DRHD base: 0x000000fbffc000 flags: 0x1\n\
    DMAR: dmar0: reg_base_addr fbffc000 ver 1:0 cap 8d2078c106f0466 ecap f020df\n\
    DMAR: RMRR base: 0x0000008a785000 end: 0x0000008a7a4fff\n\
    DMAR: RMRR base: 0x0000008b000000 end: 0x0000008f7fffff\n\
    DMAR: ATSR flags: 0x0\n\
    DMAR: RHSA base: 0x000000fbffc000 proximity domain: 0x1\n\
    DMAR-IR: x2apic is disabled because BIOS sets x2apic opt out bit.\n\
    DMAR-IR: Enabled IRQ remapping in xapic mode\n\
    DMAR: Setting identity map for device 0000:00:14.0 [0x8a785000 - 0x8a7a4fff]\n\
    vfio-pci 0000:04:00.0: Device is ineligible for IOMMU domain attach due to platform \
    RMRR requirement.  Contact your platform vendor.\n";

const LOG_OF_XEN: &str = "(XEN)  [0000000044570000, 000000005077efff] (usable)\n\
    (XEN) AMD-Vi: Using IVHD type 0x11\n\
    (XEN) AMD-Vi: IVRS Block: type 0x11 flags 0x30 len 0x54 id 0x2\n\
    (XEN) AMD-Vi: IVHD: IOMMU @ 0xfd200000 cap @ 0x40 seg 0x0000 info 0 attr 0x80048f6e\n\
    (XEN) AMD-Vi: IVHD Device Entry: type 0x43 id 0xff00 flags 0\n\
    (XEN) AMD-Vi:  Dev_Id Range: 0xff00 -> 0xffff alias 0xa5\n\
    (XEN) AMD-Vi: IVRS Block: type 0x21 flags 0x8 len 0x20 id 0x200\n\
    (XEN) AMD-Vi: IVMD Block: type 0x21 phys 0x4f83f000 len 0x41000\n\
    (XEN) AMD-Vi: Warning: IVMD: [4f83f000,4f880000) is not (entirely) in reserved memory\n\
    (XEN) AMD-Vi: Error: IVMD: page at 4f83f000 can't be converted\n\
    (XEN) AMD-Vi: Error initialization\n";

#[test]
fn logs_are_told_as_they_were() {
    let told = |text: &str| {
        let found = dump::read(text.as_bytes()).unwrap();
        let [Dump::Log(log)] = found.as_slice() else { panic!("{found:?}") };
        log_text(log, Style::default())
    };
    assert_snapshot!("log_amd", told(LOG_OF_AMD));
    assert_snapshot!("log_intel", told(LOG_OF_INTEL));
    assert_snapshot!("log_xen", told(LOG_OF_XEN));
}

#[test]
fn used_blocks_and_heeded_entries_are_told_apart() {
    let json = document(&desktop());
    let used = json.ivhd.iter().map(|ivhd| (ivhd.kind.0, ivhd.used)).collect::<Vec<_>>();
    assert_eq!(used, [(0x10, false), (0x11, false), (0x40, true)]);
    assert!(json.ivmd.iter().all(|ivmd| ivmd.effective));
    let server = document(&server());
    assert_eq!(server.ivmd.iter().map(|ivmd| ivmd.effective).collect::<Vec<_>>(), [true, false]);
    assert_eq!(server.ivmd[0].devid_end, Devid(0x0508), "the segment's last");
    // The kernel never comes to the entries of a table whose checksum is wrong.
    let wrong = document(&desktop().checksum(0));
    assert!(wrong.ivmd.iter().all(|ivmd| !ivmd.effective && ivmd.kernel.is_none()));
    assert!(!wrong.kernel.initialises);
}

proptest! {
    #[test]
    fn any_entries_give_plain_lines_that_fit(
        entries in prop::collection::vec(any::<(u8, [u8; 7])>(), 0..12),
        ivmds in prop::collection::vec(any::<(u8, u8, u16, u16, u16, u64, u64)>(), 0..5),
        oem_id: [u8; 6],
        checksum in prop::option::of(any::<u8>()),
    ) {
        let entries = entries.into_iter().map(|(kind, rest)| {
            let mut bytes = vec![kind];
            bytes.extend(rest);
            DeviceEntry::Raw(bytes)
        });
        let mut builder = stacked().oem_id(oem_id).ivhd(ivhd(IvhdKind::Type40, entries.collect()));
        for (kind, flags, devid, aux, segment, start, length) in ivmds {
            let kind = [IvmdKind::All, IvmdKind::Device, IvmdKind::Range][usize::from(kind % 3)];
            let (devid, flags, segment) = (Devid(devid), IvmdFlags(flags), Segment(segment));
            builder = builder.ivmd(IvmdSpec { kind, flags, devid, aux, segment, start, length });
        }
        if let Some(checksum) = checksum {
            builder = builder.checksum(checksum);
        }
        for detail in [Detail::Used, Detail::All] {
            for line in seen(&builder, detail).lines() {
                prop_assert!(crate::width::width(line) <= 80, "{}", line);
                prop_assert!(!line.contains(char::is_control), "{:?}", line);
                prop_assert_eq!(line.trim_end(), line);
            }
        }
        let document = document(&builder);
        parsed(&document);
        for found in &document.findings {
            prop_assert!(Code::named(found.code).is_some(), "{}", found.code);
        }
    }
}

mod of_dmar {
    use super::*;
    use crate::firmware::{
        Dmar,
        intel::{
            builder::{DmarBuilder, ScopeSpec},
            dmar::ScopeKind,
        },
    };

    fn function(devid: u16) -> ScopeSpec {
        ScopeSpec::function(Devid(devid))
    }

    /// In the shape of a server's: two IOMMUs, memory for a USB controller, for functions behind a
    /// port, for a bridge, and some of what is wrong.
    fn server() -> Dmar {
        let builder = DmarBuilder::new()
            .drhd(0, Segment(0), 0xfed9_0000, &[function(0x0010)])
            .drhd(1, Segment(0), 0xfed9_1000, &[function(0xf0f8).of_kind(ScopeKind::IoApic)])
            .rmrr(Segment(0), 0x8a78_5000, 0x8a7a_4fff, &[function(0x00a0)])
            .rmrr(
                Segment(0),
                0xdf7d_f000,
                0xdf7e_4fff,
                &[function(0x00e4).below(0, 2), function(0x00e0).of_kind(ScopeKind::Bridge)],
            )
            .rmrr(Segment(0), 0, 0, &[function(0x00e8)])
            .rmrr(Segment(0), 0x2000, 0xfff, &[function(0x00e8).of_kind(ScopeKind::Namespace)])
            .raw(vec![2, 0, 8, 0, 1, 0, 0, 0])
            .raw(vec![0x63, 0, 4, 0]);
        let mut bytes = builder.build().unwrap();
        bytes[9] ^= 0x40;
        Dmar::parse(&bytes).unwrap()
    }

    #[test]
    fn a_dmar_in_words() {
        let text = dmar_text(&server(), Detail::Used, Style::default());
        assert_snapshot!("dmar_server", text);
        let all = dmar_text(&server(), Detail::All, Style::default());
        assert!(all.contains("endpoint 00:02.0") && all.contains("02 00 08 00"), "{all}");
    }

    #[test]
    fn a_dmar_as_a_document() {
        let document = parsed(&decode_dmar(&server()));
        assert_eq!(document["table"]["signature"], "DMAR");
        assert_eq!(document["rmrr"][1]["scopes"][0]["path"], serde_json::json!(["1c.4", "00.2"]));
        assert_eq!(document["rmrr"][1]["end"], "0xdf7e4fff");
        assert_eq!(document["others"][0]["name"], "ATSR");
        assert!(!document["findings"].as_array().unwrap().is_empty());
    }
}
