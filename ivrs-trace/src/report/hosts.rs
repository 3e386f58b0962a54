//! Whole hosts as `check` shows them, to people and to programs.
#![cfg(feature = "pci-names")]

use super::{Style, attempts, check, json, valid::parsed};
use crate::{
    event::Event,
    facts::Lost,
    firmware::{
        amd::{
            builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
            device_entry::{AcpiUid, DeviceEntry, SpecialKind},
            ivrs::IvhdKind,
        },
        intel::builder::{DmarBuilder, ScopeSpec},
    },
    host::{AcpiDevice, MemoryMap, MemoryRange, Reading, RegionKind, Snapshot, plant},
    model::{
        Model, RequireDirect, Verdict,
        fixture::{
            AM5, QEMU, add_ungrouped, bdf, host, intel_host, model_of, set_class, set_regions,
            table,
        },
    },
    pci::{Devid, Segment},
};

/// A function, its ids, class and driver (`-` for none).
type Card = (&'static str, u16, u16, u32, &'static str);

/// Makes the functions what they are on a real machine.
fn furnish(host: &mut Snapshot, cards: &[Card]) {
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for (address, vendor, device, class, driver) in cards {
        let function = functions.iter_mut().find(|one| one.bdf == bdf(address)).unwrap();
        function.vendor = Reading::Read(*vendor);
        function.device = Reading::Read(*device);
        function.class = Reading::Read(*class);
        function.driver = match *driver {
            "-" => Reading::Absent,
            name => Reading::Read(name.to_owned()),
        };
    }
}

fn board(host: &mut Snapshot, vendor: &str, name: &str, version: &str, date: &str) {
    let read = |text: &str| Reading::Read(text.to_owned());
    host.dmi.board_vendor = read(vendor);
    host.dmi.board_name = read(name);
    host.dmi.bios_version = read(version);
    host.dmi.bios_date = read(date);
}

fn memory(ranges: &[(u64, u64, &str)]) -> Reading<MemoryMap> {
    let range = |(start, end_inclusive, name): &(u64, u64, &str)| MemoryRange {
        start: *start,
        end_inclusive: *end_inclusive,
        depth: 0,
        name: (*name).to_owned(),
    };
    Reading::Read(MemoryMap { ranges: ranges.iter().map(range).collect(), bad: 0 })
}

fn add(table: IvrsBuilder, ivmds: &[&str]) -> IvrsBuilder {
    ivmds.iter().fold(table, |table, text| table.ivmd(text.parse::<IvmdSpec>().unwrap()))
}

pub(super) fn desktop() -> (Snapshot, Vec<Event>) {
    let groups = "0: 00:01.0*; 1: 00:02.1* 03:00.0 03:00.1; 14: 01:00.0; 15: 01:00.1; 16: 04:00.0; \
                  17: 05:00.0; 20: 12:00.0; 21: 12:00.3";
    let special =
        |handle, kind| DeviceEntry::Special { handle, devid: Devid(0x00a0), kind, settings: 0 };
    let ivhd = IvhdSpec {
        entries: vec![
            DeviceEntry::Range { first: Devid(0x0003), last: Devid(0xfffe), settings: 0 },
            special(33, SpecialKind::IoApic),
            special(0, SpecialKind::Hpet),
        ],
        ..IvhdSpec::default()
    };
    let table = add(IvrsBuilder::new().ivhd(ivhd), &AM5);
    let mut host = host(groups, &table.ivinfo(0x0020_3043));
    furnish(
        &mut host,
        &[
            ("00:01.0", 0x1022, 0x14db, 0x06_0400, "pcieport"),
            ("00:02.1", 0x1022, 0x14db, 0x06_0400, "pcieport"),
            ("01:00.0", 0x10de, 0x2684, 0x03_0000, "vfio-pci"),
            ("01:00.1", 0x10de, 0x22ba, 0x04_0300, "vfio-pci"),
            ("03:00.0", 0x1022, 0x43f5, 0x06_0400, "pcieport"),
            ("03:00.1", 0x1022, 0x43f6, 0x01_0601, "ahci"),
            ("04:00.0", 0x144d, 0xa80a, 0x01_0802, "nvme"),
            ("05:00.0", 0x8086, 0x15f3, 0x02_0000, "igc"),
            ("12:00.0", 0x1002, 0x164e, 0x03_0000, "amdgpu"),
            ("12:00.3", 0x1022, 0x15b6, 0x0c_0330, "xhci_hcd"),
        ],
    );
    board(
        &mut host,
        "Micro-Star International Co., Ltd.",
        "PRO B850M-A WIFI",
        "2.A30",
        "08/01/2025",
    );
    host.command_line = Reading::Read("BOOT_IMAGE=/vmlinuz quiet amd_iommu=on iommu=pt".to_owned());
    host.iomem =
        memory(&[(0x1000, 0x7a2d_7fff, "System RAM"), (0x7a2d_8000, 0x7bff_ffff, "Reserved")]);
    let events = QEMU.listings(&host, true);
    (host, events)
}

/// One block of a laptop, and the copy of it in a block that the kernel does not know.
pub(super) fn laptop() -> (Snapshot, Vec<Event>) {
    let block = "type=0x21,flags=0x08,devid=0x0200,aux=0,start=0x9a000000,length=0x26000";
    let mut copy = vec![0x51, 0x08, 0x20, 0x00, 0x00, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    copy.extend(0x9a00_0000_u64.to_le_bytes());
    copy.extend(0x2_6000_u64.to_le_bytes());
    let mut host = host(
        "3: 00:02.2*; 9: 01:00.0; 10: 02:00.0; 11: 03:00.0 03:00.1",
        &table(&[block]).raw(copy).ivinfo(0x0020_3043),
    );
    furnish(
        &mut host,
        &[
            ("00:02.2", 0x1022, 0x14ba, 0x06_0400, "pcieport"),
            ("01:00.0", 0x144d, 0xa80a, 0x01_0802, "nvme"),
            ("02:00.0", 0x14c3, 0x0616, 0x02_8000, "mt7921e"),
            ("03:00.0", 0x1002, 0x1681, 0x03_0000, "amdgpu"),
            ("03:00.1", 0x1002, 0x1640, 0x04_0300, "snd_hda_intel"),
        ],
    );
    host.iomem =
        memory(&[(0x9000_0000, 0x99ff_ffff, "System RAM"), (0x9a10_0000, 0x9a1f_ffff, "Reserved")]);
    (host, Vec::new())
}

/// A security processor that only ACPI names, and a sensor hub.
pub(super) fn strix() -> (Snapshot, Vec<Event>) {
    let ivhd = IvhdSpec {
        kind: IvhdKind::Type40,
        entries: vec![
            DeviceEntry::Range { first: Devid(0x0003), last: Devid(0xfffe), settings: 0 },
            DeviceEntry::Special {
                handle: 33,
                devid: Devid(0x00a0),
                kind: SpecialKind::IoApic,
                settings: 0,
            },
            DeviceEntry::AcpiHid {
                devid: Devid(0x0060),
                settings: 0,
                hid: *b"MSFT0201",
                cid: [0; 8],
                uid: AcpiUid::Integer(1),
            },
        ],
        ..IvhdSpec::default()
    };
    let table = add(
        IvrsBuilder::new().ivhd(ivhd).ivinfo(0x0020_3043),
        &[
            "type=0x21,flags=0x07,devid=0x0060,aux=0,start=0x94000000,length=0x100000",
            "type=0x21,flags=0x08,devid=0xc307,aux=0,start=0x94200000,length=0x1000",
        ],
    );
    let mut host =
        host("0: MSFT0201:00; 4: 00:08.1*; 20: c3:00.0; 21: c3:00.1; 27: c3:00.7", &table);
    furnish(
        &mut host,
        &[
            ("00:08.1", 0x1022, 0x150b, 0x06_0400, "pcieport"),
            ("c3:00.0", 0x1002, 0x1586, 0x03_0000, "amdgpu"),
            ("c3:00.1", 0x1002, 0x1640, 0x04_0300, "snd_hda_intel"),
            ("c3:00.7", 0x1022, 0x164a, 0x11_8000, "pcie_mp2_amd"),
        ],
    );
    host.acpi_devices = Reading::Read(vec![AcpiDevice {
        name: "MSFT0201:00".to_owned(),
        hid: "MSFT0201".to_owned(),
        uid: Reading::Read("1".to_owned()),
        path: Reading::Absent,
        device: Reading::Read("MSFT0201:00".to_owned()),
    }]);
    (host, Vec::new())
}

pub(super) fn two_segments() -> (Snapshot, Vec<Event>) {
    let all =
        |first, last| DeviceEntry::Range { first: Devid(first), last: Devid(last), settings: 0 };
    let unit = |segment, devid| IvhdSpec {
        segment: Segment(segment),
        devid: Devid(devid),
        entries: vec![all(0x0003, 0x7fff)],
        ..IvhdSpec::default()
    };
    let table = add(
        IvrsBuilder::new().ivhd(unit(0, 2)).ivhd(unit(1, 2)),
        &[
            "type=0x22,flags=0x07,devid=0x4000,aux=0x40ff,start=0x7a000000,length=0x1000,segment=1",
            "type=0x21,flags=0x07,devid=0x0100,aux=0,start=0x7a001000,length=0x1000",
        ],
    );
    let groups = "1: 40:00.0; 2: 0001:40:00.0 0001:40:00.1; 3: 0001:41:00.0";
    let mut host = host(groups, &table);
    set_iommus(&mut host, |address| if address.segment == Segment(0) { "ivhd0" } else { "ivhd1" });
    let events = QEMU.listings(&host, true);
    (host, events)
}

pub(super) fn several_iommus() -> (Snapshot, Vec<Event>) {
    let unit = |devid, first, last| IvhdSpec {
        devid: Devid(devid),
        entries: vec![DeviceEntry::Range { first: Devid(first), last: Devid(last), settings: 0 }],
        ..IvhdSpec::default()
    };
    let mut third = unit(0x4002, 0x4003, 0x5fff);
    let (devid, source) = (Devid(0x4101), Devid(0x4100));
    third.entries.push(DeviceEntry::Alias { devid, source, settings: 0 });
    let table = add(
        IvrsBuilder::new()
            .ivhd(unit(0x0002, 0x0003, 0x1fff))
            .ivhd(unit(0x2002, 0x2003, 0x3fff))
            .ivhd(third),
        &["type=0x20,flags=0x03,devid=0,aux=0,start=0x7a000000,length=0x2000"],
    );
    let mut host = host("1: 01:00.0; 2: 21:00.0; 3: 41:00.0 41:00.1", &table);
    set_iommus(&mut host, |address| match address.devid.bus() {
        0..0x20 => "ivhd0",
        0x20..0x40 => "ivhd1",
        _ => "ivhd2",
    });
    (host, Vec::new())
}

fn set_iommus(host: &mut Snapshot, unit: fn(crate::pci::Bdf) -> &'static str) {
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in functions.iter_mut() {
        function.iommu = Reading::Read(unit(function.bdf).to_owned());
    }
    let mut units: Vec<String> =
        functions.iter().filter_map(|function| function.iommu.value().cloned()).collect();
    units.sort();
    units.dedup();
    host.iommus = Reading::Read(units);
}

pub(super) fn no_ivmd() -> (Snapshot, Vec<Event>) {
    let groups = "0: 00:01.0*; 1: 01:00.0 01:00.1; 2: 02:00.0; 3: 03:00.0; 4: 04:00.0; 5: 05:00.0; \
                  6: 06:00.0; 7: 07:00.0";
    let host = host(groups, &table(&[]));
    let events = QEMU.listings(&host, true);
    (host, events)
}

pub(super) fn kernel_6_1() -> (Snapshot, Vec<Event>) {
    let (mut host, _) = desktop();
    host.kernel_release = Reading::Read("6.1.0-56-amd64".to_owned());
    let events = QEMU.listings(&host, false);
    (host, events)
}

pub(super) fn not_amd() -> (Snapshot, Vec<Event>) {
    let (mut host, _) = no_ivmd();
    host.ivrs = Reading::Absent;
    set_iommus(&mut host, |_| "dmar0");
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    let regions = &mut groups[1].regions;
    let msi = || "0x00000000fee00000 0x00000000feefffff msi".parse().unwrap();
    let direct = "0x000000007b800000 0x000000007fffffff direct".parse().unwrap();
    *regions = Reading::Read(vec![direct, msi()]);
    let relaxable = "0x000000007b000000 0x000000007b0fffff direct-relaxable".parse().unwrap();
    groups[2].regions = Reading::Read(vec![relaxable, msi()]);
    (host, Vec::new())
}

/// A server with Intel's IOMMU: an RMRR for a USB controller, one for the functions of a management
/// chip behind a port, and one for a card that is not there.
pub(super) fn intel() -> (Snapshot, Vec<Event>) {
    let at = |devid| ScopeSpec::function(Devid(devid));
    let dmar = DmarBuilder::new()
        .drhd(1, Segment(0), 0xfed9_0000, &[])
        .rmrr(Segment(0), 0x8a78_5000, 0x8a7a_4fff, &[at(0x00a0)])
        .rmrr(
            Segment(0),
            0xdf7d_f000,
            0xdf7e_4fff,
            &[at(0x00e4).below(0, 0), at(0x00e4).below(0, 2)],
        )
        .rmrr(Segment(0), 0xdf7e_6000, 0xdf7e_7fff, &[at(0x0008).below(0, 0)]);
    let groups = "0: 00:14.0; 1: 00:1c.4*; 2: 01:00.0 01:00.1 01:00.2; 3: 02:00.0; 4: 00:1f.0";
    let tree = "00:1c.4>01:00.0 00:1c.4>01:00.1 00:1c.4>01:00.2";
    let mut host = intel_host(groups, tree, &dmar);
    set_class(&mut host, "00:14.0", 0x0c_0330);
    set_class(&mut host, "00:1f.0", 0x06_0100);
    let msi = "0x00000000fee00000 0x00000000feefffff msi";
    set_regions(&mut host, 0, &["0x000000008a785000 0x000000008a7a4fff direct-relaxable", msi]);
    set_regions(&mut host, 2, &["0x00000000df7df000 0x00000000df7e4fff direct", msi]);
    set_regions(&mut host, 4, &["0x0000000000000000 0x0000000000ffffff direct-relaxable", msi]);
    (host, Vec::new())
}

/// A workstation of two dies, of whose IOMMUs the table has only one: a card is behind the other.
pub(super) fn half_table() -> (Snapshot, Vec<Event>) {
    let range = |first, last| (Devid(first), Devid(last));
    let ((first, last), (bridged, end)) = (range(0x0008, 0x3fff), range(0xff00, 0xffff));
    let source = Devid(0x00a4);
    let ivhd = IvhdSpec {
        entries: vec![
            DeviceEntry::Range { first, last, settings: 0 },
            DeviceEntry::AliasRange { first: bridged, last: end, source, settings: 0 },
        ],
        ..IvhdSpec::default()
    };
    let mut host = host("0: 00:01.1*; 1: 0a:00.0 0a:00.1", &IvrsBuilder::new().ivhd(ivhd));
    for (name, class) in [
        ("00:00.0", 0x06_0000),
        ("00:00.2", 0x08_0600),
        ("40:00.2", 0x08_0600),
        ("40:03.1", 0x06_0400),
        ("43:00.0", 0x03_0000),
        ("43:00.1", 0x04_0300),
    ] {
        add_ungrouped(&mut host, name, class);
    }
    furnish(
        &mut host,
        &[
            ("0a:00.0", 0x10de, 0x1b06, 0x03_0000, "nouveau"),
            ("0a:00.1", 0x10de, 0x10ef, 0x04_0300, "snd_hda_intel"),
            ("00:00.0", 0x1022, 0x1450, 0x06_0000, "-"),
            ("00:00.2", 0x1022, 0x1451, 0x08_0600, "-"),
            ("40:00.2", 0x1022, 0x1451, 0x08_0600, "-"),
            ("40:03.1", 0x1022, 0x1453, 0x06_0400, "pcieport"),
            ("43:00.0", 0x10de, 0x1b06, 0x03_0000, "nouveau"),
            ("43:00.1", 0x10de, 0x10ef, 0x04_0300, "snd_hda_intel"),
        ],
    );
    (host, Vec::new())
}

/// A server with ARM's IOMMU, of which a group has a direct region.
pub(super) fn arm() -> (Snapshot, Vec<Event>) {
    let (mut host, _) = no_ivmd();
    host.ivrs = Reading::Absent;
    set_iommus(&mut host, |_| "smmu3.0x000000002b400000");
    let region = "0x00000000fa000000 0x00000000fa0fffff direct";
    set_regions(&mut host, 2, &["0x0000000008000000 0x00000000080fffff msi", region]);
    (host, Vec::new())
}

/// The desktop under a kernel that follows `amd_iommu=relax_unity`.
pub(super) fn relaxed() -> (Snapshot, Vec<Event>) {
    let (mut host, _) = desktop();
    host.command_line = Reading::Read("quiet amd_iommu=pgtbl_v2,relax_unity".to_owned());
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    for region in groups.iter_mut().filter_map(|group| match &mut group.regions {
        Reading::Read(regions) => Some(regions),
        _ => None,
    }) {
        for one in region.iter_mut().filter(|one| one.kind == RegionKind::Direct) {
            one.kind = RegionKind::DirectRelaxable;
        }
    }
    (host, Vec::new())
}

/// A host with its name, its events and whether its kernel has the flag.
pub(crate) type Named = (&'static str, (Snapshot, Vec<Event>), RequireDirect);

/// Every host here.
pub(crate) fn all() -> Vec<Named> {
    let present = RequireDirect::Present;
    vec![
        ("desktop_0x22", desktop(), present),
        ("laptop_0x21_and_0x51", laptop(), present),
        ("strix_acpi_device", strix(), present),
        ("two_segments", two_segments(), present),
        ("several_iommus", several_iommus(), present),
        ("no_ivmd", no_ivmd(), present),
        ("kernel_6_1", kernel_6_1(), RequireDirect::Missing),
        ("not_amd", not_amd(), present),
        ("relax_unity", relaxed(), present),
        ("intel", intel(), present),
        ("intel_6_1", intel(), RequireDirect::Missing),
        ("arm", arm(), present),
        ("half_table", half_table(), present),
    ]
}

fn model((host, events): &(Snapshot, Vec<Event>), flag: RequireDirect) -> Model {
    model_of(host, flag, events)
}

#[test]
fn hosts_for_people_and_programs() {
    for (name, host, flag) in all() {
        let model = model(&host, flag);
        let verdicts = model.verdicts();
        insta::assert_snapshot!(format!("{name}.text"), check(&model, &verdicts, Style::default()));
        let document = json::check(&model, verdicts);
        parsed(&document);
        let document = serde_json::to_string_pretty(&document).unwrap();
        insta::assert_snapshot!(format!("{name}.json"), document);
    }
}

#[test]
fn a_host_is_read_from_files_as_it_was_made() {
    for (name, (host, events), flag) in all() {
        let folder = tempfile::tempdir().unwrap();
        plant(&host, folder.path());
        let told = |host: &Snapshot| {
            let verdicts = model_of(host, flag, &events).verdicts();
            verdicts
                .devices
                .into_iter()
                .map(|one| (one.bdf, one.verdict, one.causes.len()))
                .collect::<Vec<_>>()
        };
        let read = Snapshot::read(folder.path());
        assert_eq!(read.skipped, [], "{name}");
        assert_eq!(told(&read), told(&host), "{name}");
    }
}

#[test]
fn a_refusal_on_intel_is_explained_by_its_rmrr() {
    let (host, _) = intel();
    let line = "qemu-system-x86_64|-device|vfio-pci,host=0000:01:00.2";
    let events = QEMU.rejection(&host, line, 2, &[], "01:00.2");
    let model = model_of(&host, RequireDirect::Present, &events);
    let text = attempts(&model, Lost::default(), Style::default());
    insta::assert_snapshot!("intel_refused", text);
}

/// Without the colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').unwrap().1)
}

#[test]
fn every_width_keeps_its_lines_and_colours_change_no_word() {
    for host in [desktop(), strix(), two_segments(), relaxed(), not_amd()] {
        let model = model(&host, RequireDirect::Present);
        let verdicts = model.verdicts();
        for width in [40, 60, 80, 120] {
            let text = check(&model, &verdicts, Style { width, colour: false });
            for line in text.lines() {
                assert!(crate::width::width(line) <= width, "{width}: {line}");
            }
            let coloured = check(&model, &verdicts, Style { width, colour: true });
            assert_eq!(plain(&coloured), text);
            assert_ne!(coloured, text);
        }
    }
}

#[test]
fn colours_are_those_of_the_verdicts() {
    let (host, events) = desktop();
    let model = model_of(&host, RequireDirect::Present, &events);
    let text = check(&model, &model.verdicts(), Style { width: 80, colour: true });
    assert!(text.contains("\u{1b}[1;31m8 blocked\u{1b}[0m"), "{text}");
    assert!(text.contains("\u{1b}[1;32mClear\u{1b}[0m"), "{text}");
}

#[test]
fn an_unread_group_under_relax_unity_is_unknown() {
    let (mut host, _) = relaxed();
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    groups[2].regions = Reading::Absent;
    let model = model_of(&host, RequireDirect::Present, &[]);
    let verdicts = model.verdicts();
    let of = |address| verdicts.devices.iter().find(|one| one.bdf == bdf(address)).unwrap();
    assert_eq!(of("01:00.0").verdict, Verdict::Unknown);
    assert!(of("01:00.0").missing.as_ref().unwrap().contains("relax_unity"));
    assert_eq!(of("04:00.0").verdict, Verdict::Clear);
}

#[test]
fn findings_of_entries_need_what_they_speak_of() {
    let codes = |host: &Snapshot| -> Vec<&'static str> {
        let model = model_of(host, RequireDirect::Present, &[]);
        let findings = model.verdicts().findings;
        // What the table says by itself is not at stake here.
        let of_entries =
            findings.iter().filter(|finding| finding.code.as_str().starts_with("ivmd-"));
        of_entries.map(|finding| finding.code.as_str()).collect()
    };
    let (mut host, _) = laptop();
    assert_eq!(codes(&host), ["ivmd-not-reserved"]);
    host.iomem = Reading::Unreadable("proc/iomem: shows its addresses to root only".to_owned());
    assert_eq!(codes(&host), [""; 0]);
    host.firmware_memory = memory(&[(0x9a00_0000, 0x9a02_5fff, "System RAM")]);
    assert_eq!(codes(&host), ["ivmd-not-reserved"]);
    host.firmware_memory = memory(&[(0x9a00_0000, 0x9a02_5fff, "ACPI Tables")]);
    assert_eq!(codes(&host), [""; 0]);
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    functions.retain(|function| function.bdf != bdf("02:00.0"));
    assert_eq!(codes(&host), ["ivmd-absent-device"]);
    // Where functions cannot be read, none is known to be absent.
    host.functions = Reading::Unreadable("sys/bus/pci/devices: Permission denied".to_owned());
    assert_eq!(codes(&host), [""; 0]);
    // The security processor is no PCI function, but somebody.
    let (host, _) = strix();
    assert_eq!(codes(&host), [""; 0]);
}
