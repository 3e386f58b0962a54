//! Snapshots of made-up hosts.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    firmware::{Ivrs, amd::builder::IvrsBuilder},
    pci::Bdf,
};

/// A host's tree in a temporary folder.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(path), content).unwrap();
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.path(path)).unwrap();
        self
    }

    /// A PCI function as sysfs has it: the files under `sys/devices`, a link to them on the bus.
    fn function(
        self,
        bdf: &str,
        ids: [&str; 3],
        driver: Option<&str>,
        group: Option<&str>,
    ) -> Self {
        let dir = format!("sys/devices/pci0000:00/{bdf}");
        let [vendor, device, class] = ids.map(|id| format!("{id}\n"));
        let mut host = self
            .file(&format!("{dir}/vendor"), vendor)
            .file(&format!("{dir}/device"), device)
            .file(&format!("{dir}/class"), class)
            .link(&format!("sys/bus/pci/devices/{bdf}"), &format!("../../../../{dir}"));
        if let Some(driver) = driver {
            let target = format!("../../../bus/pci/drivers/{driver}");
            host = host.link(&format!("{dir}/driver"), &target);
        }
        if let Some(group) = group {
            let target = format!("../../../kernel/iommu_groups/{group}");
            host = host
                .link(&format!("{dir}/iommu_group"), &target)
                .link(&format!("{dir}/iommu"), "../0000:00:00.2/iommu/ivhd0")
                .link(
                    &format!("sys/kernel/iommu_groups/{group}/devices/{bdf}"),
                    &format!("../../../../devices/pci0000:00/{bdf}"),
                );
        }
        host
    }

    fn group(self, id: &str, regions: &str) -> Self {
        self.file(&format!("sys/kernel/iommu_groups/{id}/type"), "DMA-FQ\n")
            .file(&format!("sys/kernel/iommu_groups/{id}/reserved_regions"), regions)
    }

    /// Read from what was kept of it too: the same comes of that.
    fn read(&self) -> Snapshot {
        let (snapshot, files) = Snapshot::read_and_keep(self.root());
        assert_eq!(Snapshot::of_files(&files), snapshot);
        assert_eq!(Snapshot::read(self.root()), snapshot);
        snapshot
    }
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn read<T: Clone>(value: &Reading<T>) -> T {
    value.value().unwrap().clone()
}

const MSI: &str = "0x00000000fee00000 0x00000000feefffff msi\n";

/// A small host that has everything.
fn whole_host() -> Host {
    Host::new()
        .function("0000:00:01.1", ["0x1022", "0x14db", "0x060400"], Some("pcieport"), Some("2"))
        .function("0000:01:00.0", ["0x10de", "0x2d04", "0x030000"], None, Some("10"))
        .function("0000:00:00.0", ["0x1022", "0x14d8", "0x060000"], None, None)
        .group("10", &format!("0x0000000087000000 0x0000000087000fff direct\n{MSI}"))
        .group("2", MSI)
        .link(
            "sys/kernel/iommu_groups/2/devices/MSFT0201:00",
            "../../../../devices/platform/MSFT0201:00",
        )
        .link("sys/class/iommu/ivhd10", "../../devices/pci0000:00/0000:00:00.2/iommu/ivhd10")
        .link("sys/class/iommu/ivhd2", "../../devices/pci0000:00/0000:00:00.2/iommu/ivhd2")
        .file("sys/firmware/acpi/tables/IVRS", IvrsBuilder::new().build().unwrap())
        .file("sys/kernel/btf/vmlinux", "")
        .file("proc/sys/kernel/osrelease", "6.12.0-amd64\n")
        .file("proc/cmdline", "quiet iommu=pt\n")
        .file("sys/devices/virtual/dmi/id/board_name", "B650 Board  \n")
        .file("sys/devices/virtual/dmi/id/bios_version", "A.30\n")
        .link("sys/class/dmi/id", "../../devices/virtual/dmi/id")
        .file("proc/iomem", IOMEM)
        .file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
        .file("sys/firmware/memmap/1/start", "0x100000\n")
        .file("sys/firmware/memmap/1/end", "0x7fffffff\n")
        .file("sys/firmware/memmap/1/type", "System RAM\n")
        .file("sys/firmware/memmap/0/start", "0x0\n")
        .file("sys/firmware/memmap/0/end", "0x9fbff\n")
        .file("sys/firmware/memmap/0/type", "Reserved\n")
        .file("sys/devices/LNXSYSTM:00/MSFT0201:00/hid", "MSFT0201\n")
        .file("sys/devices/LNXSYSTM:00/MSFT0201:00/uid", "1\n")
        .file("sys/devices/LNXSYSTM:00/MSFT0201:00/path", "\\_SB_.MSFT\n")
        .link("sys/devices/LNXSYSTM:00/MSFT0201:00/physical_node", "../../platform/MSFT0201:00")
        .link("sys/bus/acpi/devices/MSFT0201:00", "../../../devices/LNXSYSTM:00/MSFT0201:00")
        .file("sys/devices/LNXSYSTM:00/device:00/path", "\\_SB_\n")
        .link("sys/bus/acpi/devices/device:00", "../../../devices/LNXSYSTM:00/device:00")
}

const IOMEM: &str = "\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
0009fc00-000fffff : Reserved
  000f0000-000fffff : System ROM
00100000-7ffdffff : System RAM
  01000000-02000d91 : Kernel code
7ffe0000-7ffe0fff : ACPI Tables
7ffe1000-7fffffff : Reserved
fee00000-fee00fff : Local APIC
";

#[test]
fn a_whole_host_is_read() {
    let snapshot = whole_host().read();
    assert_eq!(read(&snapshot.kernel_release), "6.12.0-amd64");
    assert_eq!(read(&snapshot.command_line), "quiet iommu=pt");
    assert!(snapshot.has_btf);
    assert!(Ivrs::parse(&read(&snapshot.ivrs).0).unwrap().header.checksum_ok);
    assert_eq!(read(&snapshot.dmi.board_name), "B650 Board");
    assert_eq!(read(&snapshot.dmi.bios_version), "A.30");
    assert_eq!(snapshot.dmi.bios_date, Reading::Absent);
    assert_eq!(read(&snapshot.iommus), ["ivhd2", "ivhd10"]);
    assert_eq!(snapshot.skipped, []);

    let groups = read(&snapshot.groups);
    assert_eq!(groups.iter().map(|group| group.id).collect::<Vec<_>>(), [2, 10]);
    assert_eq!(
        read(&groups[0].members),
        [Member::Pci(bdf("00:01.1")), Member::Other("MSFT0201:00".to_owned())]
    );
    assert_eq!(read(&groups[1].domain_type), "DMA-FQ");
    assert_eq!(groups[1].bad_region_lines, []);
    let regions = read(&groups[1].regions);
    assert_eq!(
        regions[0],
        ReservedRegion { start: 0x8700_0000, end_inclusive: 0x8700_0fff, kind: RegionKind::Direct }
    );
    assert_eq!(regions[1].kind, RegionKind::Msi);

    let functions = read(&snapshot.functions);
    let order: Vec<_> = functions.iter().map(|f| (f.bdf, f.is_bridge())).collect();
    assert_eq!(
        order,
        [
            (bdf("00:00.0"), Some(false)),
            (bdf("00:01.1"), Some(true)),
            (bdf("01:00.0"), Some(false))
        ]
    );
    assert_eq!(functions[0].group, Reading::Absent);
    assert_eq!(functions[0].iommu, Reading::Absent);
    assert_eq!(read(&functions[1].driver), "pcieport");
    let gpu = &functions[2];
    assert_eq!((read(&gpu.vendor), read(&gpu.device)), (0x10de, 0x2d04));
    assert_eq!((read(&gpu.group), read(&gpu.iommu)), (10, "ivhd0".to_owned()));
    assert_eq!((&gpu.driver, read(&gpu.class)), (&Reading::Absent, 0x03_0000));
}

#[test]
fn what_stands_beside_the_groups_is_read_too() {
    let host = whole_host()
        .file("sys/devices/pci0000:00/0000:01:00.0/subsystem_vendor", "0x1458\n")
        .file("sys/devices/pci0000:00/0000:01:00.0/subsystem_device", "0x4188\n")
        .file("sys/devices/pci0000:00/0000:01:00.0/revision", "0xa1\n")
        .file("usr/share/hwdata/pci.ids", "10de  Maker\n\t2d04  Card\n");
    let snapshot = host.read();
    assert_eq!(read(&snapshot.lockdown), "integrity");
    let devices = read(&snapshot.acpi_devices);
    assert_eq!(devices.len(), 1, "a device without a hardware id is only a place");
    assert_eq!((devices[0].name.as_str(), devices[0].hid.as_str()), ("MSFT0201:00", "MSFT0201"));
    assert_eq!(read(&devices[0].path), "\\_SB_.MSFT");
    assert_eq!(read(&devices[0].uid), "1");
    assert_eq!(read(&devices[0].device), "MSFT0201:00");
    let functions = read(&snapshot.functions);
    let gpu = &functions[2];
    assert_eq!((read(&gpu.subsystem_vendor), read(&gpu.subsystem_device)), (0x1458, 0x4188));
    assert_eq!(read(&gpu.revision), 0xa1);
    assert_eq!(gpu.physical_function, Reading::Absent);
    let names = read(&snapshot.pci_names);
    assert_eq!((gpu.vendor_name(&names), gpu.device_name(&names)), (Some("Maker"), Some("Card")));
}

#[test]
fn what_memory_is_shows_entry_by_entry() {
    let snapshot = whole_host().read();
    let class = |start, end| read(&snapshot.region_class(start, end));
    let names = |start, end| class(start, end).names().join(", ");
    assert_eq!(names(0x7ffe_0000, 0x7ffe_0fff), "ACPI Tables");
    assert_eq!(names(0x7ffe_0000, 0x7ffe_1fff), "ACPI Tables, Reserved");
    assert_eq!(names(0x8000_0000, 0x8000_0fff), "");
    assert_eq!(class(0xf_0000, 0xf_ffff).ranges.len(), 2, "System ROM in Reserved");

    let reserved = |start, end| {
        let class = class(start, end);
        (class.reserved, class.touches_ram(), class.gap)
    };
    assert_eq!(reserved(0x7ffe_0000, 0x7fff_ffff), (true, false, false));
    assert_eq!(reserved(0x7ffd_ffff, 0x7ffe_0000), (false, true, false));
    assert_eq!(reserved(0x7fff_f000, 0x8000_0000), (false, false, true));
    assert_eq!(reserved(0x8000_0000, 0x8000_0fff), (false, false, true));
    assert_eq!(reserved(0, 0xfff), (true, false, false));
    assert_eq!(class(1, 0).ranges.len(), 0);
    assert_eq!(class(0, u64::MAX).ranges.len(), 9);

    // The firmware's map stands in where the kernel hides addresses.
    let hidden = "00000000-00000000 : Reserved\n  00000000-00000000 : System RAM\n";
    let snapshot = whole_host().file("proc/iomem", hidden).read();
    assert!(format!("{:?}", snapshot.iomem).contains("to root only"), "{:?}", snapshot.iomem);
    let class = read(&snapshot.region_class(0x7ffe_0000, 0x7ffe_0fff));
    assert_eq!((class.source, class.touches_ram()), (MapSource::Firmware, true));

    let odd = "junk\n2000-1fff : x\n+1-2 : x\n0-fff : Reserved\n";
    let map = read(&Host::new().file("proc/iomem", odd).read().iomem);
    assert_eq!((map.ranges.len(), map.bad), (1, 3));
    let empty = Host::new().read();
    assert_eq!(empty.region_class(0, 1), Reading::Absent);
}

#[test]
fn bridges_and_virtual_functions_show_in_the_tree() {
    let root = "sys/devices/pci0000:00";
    let bridge = format!("{root}/0000:00:01.1");
    let switch = format!("{bridge}/0000:01:00.0");
    let mut host = Host::new();
    for (path, bdf) in [
        (&bridge, "0000:00:01.1"),
        (&switch, "0000:01:00.0"),
        (&format!("{switch}/0000:02:00.0"), "0000:02:00.0"),
        (&format!("{switch}/0000:03:10.0"), "0000:03:10.0"),
        (&format!("{root}/0000:00:02.0"), "0000:00:02.0"),
    ] {
        host = host
            .file(&format!("{path}/class"), "0x060400\n")
            .link(&format!("sys/bus/pci/devices/{bdf}"), &format!("../../../../{path}"));
    }
    let snapshot = host
        .file(&format!("{bridge}/pci_bus/0000:01/x"), "")
        .file(&format!("{switch}/pci_bus/0000:02/x"), "")
        .link(&format!("{switch}/0000:03:10.0/physfn"), "../0000:02:00.0")
        .read();
    let functions = read(&snapshot.functions);
    let parents: Vec<_> = functions.iter().map(|f| f.parent.value().copied()).collect();
    let (one, two) = (Some(bdf("00:01.1")), Some(bdf("01:00.0")));
    assert_eq!(parents, [None, None, one, two, two]);
    assert_eq!(functions[0].parent, Reading::Absent, "on a root bus");
    let ways = Ways::of(&functions);
    assert_eq!(ways.buses_below(bdf("00:01.1")), Some((1, 3)));
    assert_eq!(ways.buses_below(bdf("01:00.0")), Some((2, 3)));
    assert_eq!(ways.buses_below(bdf("00:02.0")), None);
    assert_eq!(read(&functions[4].physical_function), bdf("02:00.0"));
}

/// The script in docs makes a copy that reads like the host itself.
#[test]
fn the_script_copies_a_whole_host() {
    let host = whole_host();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/copy-a-host.sh");
    let run = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"");
        output.stdout
    };
    let tar = run(std::process::Command::new("sh").arg(script).arg(host.root()));
    let copy = Host::new().file("host.tar", tar);
    run(std::process::Command::new("tar").current_dir(copy.root()).args(["-xf", "host.tar"]));
    assert_eq!(copy.read(), host.read());
    assert_eq!(kernel_btf(copy.root()), Reading::Read(Vec::new()));
}

#[test]
fn a_copy_without_links_or_with_tars_padding_is_understood() {
    let padded = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(4096, 0);
        bytes
    };
    let device = "sys/bus/pci/devices/0000:01:00.0";
    let host = Host::new()
        .file(&format!("{device}/vendor"), padded("0x10de\n"))
        .file(&format!("{device}/uevent"), padded("DRIVER=nvidia\nPCI_ID=10DE:2D04\n"))
        .file(&format!("{device}/driver/module/x"), "")
        .file(&format!("{device}/iommu_group/type"), "DMA\n")
        .file(&format!("{device}/iommu/devices/0000:01:00.0/x"), "")
        .file("sys/class/iommu/ivhd0/devices/0000:01:00.0/x", "")
        .file("sys/kernel/iommu_groups/7/devices/0000:01:00.0/x", "")
        .file("sys/kernel/iommu_groups/7/devices/0000:01:00.1/x", "")
        .file("sys/kernel/iommu_groups/7/reserved_regions", padded(MSI))
        .file("sys/kernel/iommu_groups/8/reserved_regions", "")
        .file("proc/sys/kernel/osrelease", "");
    let snapshot = host.read();
    let function = read(&snapshot.functions).remove(0);
    assert_eq!(read(&function.vendor), 0x10de);
    assert_eq!(read(&function.driver), "nvidia");
    assert_eq!(read(&function.group), 7);
    assert_eq!(read(&function.iommu), "ivhd0");
    assert!(matches!(function.parent, Reading::Unreadable(_)), "{:?}", function.parent);
    let groups = read(&snapshot.groups);
    assert_eq!(read(&groups[0].regions).len(), 1);
    assert_eq!(groups[0].bad_region_lines, []);
    assert!(matches!(groups[1].regions, Reading::Unreadable(_)), "nothing was copied");
    assert!(matches!(snapshot.kernel_release, Reading::Unreadable(_)));
    // An AMD IOMMU without its table, and a member of which nothing else is there.
    assert!(matches!(snapshot.ivrs, Reading::Unreadable(_)), "{:?}", snapshot.ivrs);
    let lost = read(&snapshot.functions).remove(1);
    assert_eq!((lost.bdf, read(&lost.group)), (bdf("01:00.1"), 7));
    assert!(format!("{:?}", lost.class).contains("is not in this copy"), "{:?}", lost.class);
}

#[test]
fn who_is_in_a_group_shows_in_its_folder_and_in_links() {
    let host = Host::new()
        .function("0000:00:03.0", ["0x1022", "0x14db", "0x020000"], None, Some("1"))
        .function("0000:00:04.0", ["0x1022", "0x14db", "0x020000"], None, Some("2"))
        .function("0000:00:05.0", ["0x1022", "0x14db", "0x020000"], None, Some("3"))
        .group("1", MSI)
        .group("2", MSI)
        .link("sys/kernel/iommu_groups/1/devices/0000:00:06.0", "x");
    for lost in ["2/devices", "3/devices"] {
        fs::remove_dir_all(host.path("sys/kernel/iommu_groups").join(lost)).unwrap();
    }
    fs::remove_dir(host.path("sys/kernel/iommu_groups/3")).unwrap();
    fs::remove_file(host.path("sys/bus/pci/devices/0000:00:05.0")).unwrap();
    // As git writes a link on Windows.
    let link = host.path("sys/devices/pci0000:00/0000:00:04.0/iommu_group");
    fs::remove_file(&link).unwrap();
    fs::write(link, "../../../kernel/iommu_groups/2").unwrap();
    let snapshot = host.read();
    let functions = read(&snapshot.functions);
    let groups: Vec<_> = functions.iter().map(|one| (one.bdf, read(&one.group))).collect();
    let [three, four, five, six] = ["00:03.0", "00:04.0", "00:05.0", "00:06.0"].map(bdf);
    assert_eq!(groups, [(three, 1), (four, 2), (five, 3), (six, 1)]);
    let groups = read(&snapshot.groups);
    let members: Vec<_> = groups.iter().map(|one| (one.id, read(&one.members).len())).collect();
    assert_eq!(members, [(1, 2), (2, 1), (3, 1)]);
    let listed: Vec<_> = groups.iter().map(Group::lists_members).collect();
    assert_eq!(listed, [true, false, false]);
}

#[test]
fn a_number_with_fewer_digits_than_the_kernel_writes_is_cut() {
    let snapshot =
        Host::new().function("0000:00:03.0", ["0x1022", "0x14d", "0x0300"], None, None).read();
    let function = read(&snapshot.functions).remove(0);
    assert_eq!(read(&function.vendor), 0x1022);
    assert!(matches!(function.device, Reading::Unreadable(_)));
    assert!(matches!(function.class, Reading::Unreadable(_)), "no display device");
}

#[test]
fn a_last_word_without_its_end_may_be_the_begin_of_another() {
    let direct = "0x0000000000001000 0x0000000000001fff direct";
    for (text, regions, bad) in [
        (format!("{MSI}{direct}\n"), 2, 0),
        (format!("{MSI}{direct}"), 1, 1),
        (format!("{direct}\n{}", MSI.trim_end()), 2, 0),
        (format!("{direct}\n{}", MSI.trim_end().trim_end_matches('i')), 1, 1),
    ] {
        let group = read(&Host::new().group("0", &text).read().groups).remove(0);
        assert_eq!((read(&group.regions).len(), group.bad_region_lines.len()), (regions, bad));
    }
}

#[test]
fn an_iommu_is_not_served_by_itself() {
    let unit = "sys/devices/pci0000:00/0000:00:00.2";
    let snapshot = Host::new()
        .file(&format!("{unit}/iommu/ivhd0/x"), "")
        .link("sys/bus/pci/devices/0000:00:00.2", &format!("../../../../{unit}"))
        .read();
    assert_eq!(read(&snapshot.functions)[0].iommu, Reading::Absent);
}

#[test]
fn a_snapshot_of_an_older_version_is_read() {
    let mut json = serde_json::to_value(whole_host().read()).unwrap();
    let whole = json.as_object_mut().unwrap();
    for added in ["pci_names", "iomem", "firmware_memory", "acpi_devices", "lockdown"] {
        assert!(whole.remove(added).is_some(), "{added}");
    }
    let functions = whole["functions"]["read"].as_array_mut().unwrap();
    for function in functions {
        let function = function.as_object_mut().unwrap();
        for added in [
            "subsystem_vendor",
            "subsystem_device",
            "revision",
            "parent",
            "secondary_bus",
            "physical_function",
        ] {
            assert!(function.remove(added).is_some(), "{added}");
        }
    }
    let snapshot: Snapshot = serde_json::from_value(json).unwrap();
    assert!(format!("{:?}", snapshot.iomem).contains("without it"));
    assert_eq!(read(&snapshot.functions)[1].revision, Reading::default());
    assert_eq!(read(&snapshot.functions)[1].bdf, bdf("00:01.1"));
}

#[test]
fn a_snapshot_survives_being_written_down() {
    for snapshot in [whole_host().read(), Host::new().read()] {
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    }
    let table = IvrsBuilder::new().build().unwrap();
    let text = String::from(HexBytes(table.clone()));
    assert!(text.starts_with("4956525330000000"), "{text}");
    assert_eq!(HexBytes::try_from(text), Ok(HexBytes(table)));
    assert_eq!(HexBytes::try_from("00f".to_owned()), Err(types::ParseHexBytesError { at: 3 }));
    assert_eq!(HexBytes::try_from("0x".to_owned()), Err(types::ParseHexBytesError { at: 1 }));
}

#[test]
fn an_empty_tree_is_absent_and_a_missing_one_is_not() {
    let snapshot = Host::new().read();
    // Every kernel has these folders: without them the copy is not whole.
    for why in [
        format!("{:?}", snapshot.groups),
        format!("{:?}", snapshot.functions),
        format!("{:?}", snapshot.iommus),
    ] {
        assert!(why.contains("is not in this copy"), "{why}");
    }
    assert!(format!("{:?}", snapshot.ivrs).contains("is not in this copy"));
    assert_eq!(snapshot.dmi.board_name, Reading::Absent);
    assert!(!snapshot.has_btf);

    let host = Host::new();
    let Reading::Unreadable(why) = Snapshot::read(&host.root().join("nowhere")).groups else {
        panic!("a root that is not there must not look like a host without groups");
    };
    assert!(why.contains("nowhere: No such file"), "{why}");
}

#[test]
fn what_cannot_be_read_says_why() {
    let why = |reading: Reading<String>| match reading {
        Reading::Unreadable(why) => why,
        other => panic!("{other:?}"),
    };
    let secret = Host::new().file("secret", "x");
    let secret_path = secret.root().join("secret");
    let host = Host::new()
        .file("proc/cmdline", vec![b'x'; 64 * 1024 + 1])
        .link("proc/sys/kernel/osrelease", secret_path.to_str().unwrap())
        .file("sys/class/dmi/id/bios_date/x", "")
        .link("sys/class/dmi/id/board_name", "board_name")
        .file("sys/firmware/acpi/tables/IVRS", vec![0; 1024 * 1024 + 1])
        .function("0000:00:03.0", ["1022", "0x+1", "0x1060400zz"], None, Some("x1"))
        .file("sys/devices/pci0000:00/0000:00:03.0/driver/x", "")
        .group("1", MSI)
        .file("sys/kernel/iommu_groups/many/x", "")
        .file("sys/kernel/iommu_groups/7", "")
        .file("sys/kernel/iommu_groups/01/type", "DMA")
        .link("sys/bus/pci/devices/0000:00:04.0", "../nothing")
        .link("sys/bus/pci/devices/10000:e0:06.0", "../nothing");
    let snapshot = host.read();
    assert!(why(snapshot.command_line.clone()).ends_with("cmdline: has more than 65536 bytes"));
    assert!(why(snapshot.kernel_release.clone()).contains("leads out of the tree"));
    assert!(why(snapshot.dmi.bios_date.clone()).ends_with("bios_date: is not a regular file"));
    assert!(matches!(snapshot.dmi.board_name, Reading::Unreadable(_)), "a link to itself");
    assert!(matches!(snapshot.ivrs, Reading::Unreadable(_)));

    let function = read(&snapshot.functions).remove(0);
    assert!(
        matches!(&function.vendor, Reading::Unreadable(why) if why.contains("\"1022\" is not"))
    );
    assert!(matches!(function.device, Reading::Unreadable(_)));
    assert!(matches!(function.class, Reading::Unreadable(_)));
    assert_eq!(function.is_bridge(), None);
    assert!(matches!(function.group, Reading::Unreadable(_)));
    assert!(why(function.driver).ends_with("is not a link: the tree was copied without its links"));

    assert_eq!(read(&snapshot.groups).len(), 1);
    let skipped: Vec<_> = snapshot
        .skipped
        .iter()
        .map(|s| (s.path.rsplit('/').next().unwrap(), s.why.as_str()))
        .collect();
    assert_eq!(skipped.len(), 5, "{skipped:?}");
    assert!(skipped.contains(&("many", "is not the number of an IOMMU group")));
    assert!(skipped.contains(&("01", "is not the number of an IOMMU group")));
    assert!(skipped.contains(&("x1", "is not the number of an IOMMU group")));
    assert!(skipped.iter().any(|(name, why)| *name == "7" && why.ends_with("is not a directory")));
    assert!(skipped.contains(&("10000:e0:06.0", "is not an address in a 16-bit PCI segment")));
    // A link that leads nowhere names a function.
    assert_eq!(read(&snapshot.functions)[1].bdf, bdf("00:04.0"));
}

/// The text of a file that was read, by the path by which it was asked for.
fn kept_text(files: &Files, path: &str) -> Option<String> {
    let path = files.root.join(path);
    let folder = path.parent()?;
    let folder = match files.places.get(folder) {
        Some(Reading::Read(place)) => &place.real,
        _ => folder,
    };
    let content = files.contents.get(&folder.join(path.file_name()?))?.value()?;
    Some(String::from_utf8_lossy(content).into_owned())
}

#[test]
fn what_people_ask_for_is_kept() {
    let host = whole_host()
        .file("etc/os-release", "ID=debian\n")
        .file("sys/devices/virtual/dmi/id/board_version", "1.0\n")
        .file("sys/devices/virtual/dmi/id/board_serial", "secret\n");
    let (_, files) = Snapshot::read_and_keep(host.root());
    assert_eq!(kept_text(&files, "etc/os-release").as_deref(), Some("ID=debian\n"));
    assert_eq!(kept_text(&files, "sys/class/dmi/id/board_version").as_deref(), Some("1.0\n"));
    assert_eq!(kept_text(&files, "sys/class/dmi/id/board_serial"), None);
    assert!(!format!("{files:?}").contains("secret"));
}

#[test]
fn what_was_never_asked_is_not_absent() {
    let (_, mut files) = Snapshot::read_and_keep(whole_host().root());
    files.contents.clear();
    let snapshot = Snapshot::of_files(&files);
    let Reading::Unreadable(why) = snapshot.ivrs else {
        panic!("a table that was not kept must not look like a host without one");
    };
    assert!(why.contains("is not in this recording"), "{why}");
    assert!(matches!(Snapshot::of_files(&Files::default()).groups, Reading::Unreadable(_)));
}

#[test]
fn this_host_is_read() {
    let snapshot = Snapshot::read(Path::new("/"));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(read(&snapshot.kernel_release), release.trim());
    for function in snapshot.functions.value().into_iter().flatten() {
        assert!(function.is_bridge().is_some(), "{function:?}");
    }
    for group in snapshot.groups.value().into_iter().flatten() {
        assert_eq!(group.bad_region_lines, [], "{group:?}");
    }
}

#[test]
fn a_pipe_in_place_of_a_name_is_passed_over() {
    let host = Host::new().file("proc/sys/kernel/hostname", "box\n").file("etc/x", "");
    let made = std::process::Command::new("mkfifo").arg(host.path("etc/hostname")).status();
    assert!(made.unwrap().success());
    assert_eq!(node_names(host.root()), ["box"]);
}

#[test]
fn a_pipe_in_a_copied_tree_does_not_stop_the_reader() {
    let host = Host::new();
    let made = std::process::Command::new("mkfifo").arg(host.path("proc/cmdline")).status();
    assert!(made.unwrap().success());
    assert!(matches!(host.read().command_line, Reading::Unreadable(_)));
}

#[test]
fn lines_of_regions_are_read_or_kept() {
    let host = Host::new().group(
        "0",
        "0x000000007ffe0000 0x000000007ffdffff direct\n\
         0x0000000000000000 0xffffffffffffffff reserved\n\
         0x0000000000001000 0x0000000000001fff direct-relaxable\n\
         0x0000000000001000 0x0000000000001fff novel\n\
         0x0000000000002000 0x0000000000001000 direct\n\
         0x1000 0x1fff\n\
         0x1000 0x1fff direct more\n\
         1000 1fff direct\n\
         0x+1 0x2 direct\n\
         0x00000000fee00000 0x000000",
    );
    let group = read(&host.read().groups).remove(0);
    let regions = read(&group.regions);
    let kinds: Vec<_> = regions.iter().map(|region| (&region.kind, region.length())).collect();
    assert_eq!(
        kinds,
        [
            (&RegionKind::Direct, 0),
            (&RegionKind::Reserved, 0),
            (&RegionKind::DirectRelaxable, 0x1000),
            (&RegionKind::Other("novel".to_owned()), 0x1000),
        ]
    );
    assert_eq!(group.bad_region_lines.len(), 6);
    assert_eq!(
        group.bad_region_lines[5].to_string(),
        "\"0x00000000fee00000 0x000000\" is not a reserved region (expected 0xSTART 0xEND TYPE)"
    );
}

proptest! {
    #[test]
    fn a_region_as_the_kernel_writes_it_is_read(start: u64, length in 0..=u64::MAX, msi: bool) {
        let end = start.saturating_add(length).wrapping_sub(1);
        let kind = if msi { RegionKind::Msi } else { RegionKind::Direct };
        let region: ReservedRegion = format!("0x{start:016x} 0x{end:016x} {kind}").parse().unwrap();
        prop_assert_eq!(region, ReservedRegion { start, end_inclusive: end, kind });
    }

    #[test]
    fn any_line_is_an_answer_not_a_panic(line in ".*") {
        let _ = line.parse::<ReservedRegion>();
    }
}

/// Of everything that a snapshot holds: a file that is added to it is kept without more ado, or this
/// fails.
#[test]
fn what_was_read_with_rights_stays_when_they_are_gone() {
    let host = whole_host().file("sys/firmware/acpi/tables/DMAR", [0; 48]);
    let whole = host.read();
    let mut blind = serde_json::to_value(&whole).unwrap();
    for (_, value) in blind.as_object_mut().unwrap().iter_mut() {
        let denied = serde_json::json!({"unreadable": "Permission denied"});
        match value {
            serde_json::Value::Object(reading) if reading.contains_key("read") => *value = denied,
            serde_json::Value::Object(parts) => {
                for (_, part) in parts.iter_mut().filter(|(_, part)| part.get("read").is_some()) {
                    *part = denied.clone();
                }
            }
            _ => {}
        }
    }
    let mut blind: Snapshot = serde_json::from_value(blind).unwrap();
    assert!(matches!(blind.dmar, Reading::Unreadable(_)) && blind.dmi != whole.dmi);
    blind.keep_from(&whole);
    // These change while the host runs, and everybody may read them.
    let Snapshot { groups, functions, iommus, .. } = whole.clone();
    blind = Snapshot { groups, functions, iommus, ..blind };
    assert_eq!(blind, whole);

    // What is gone is gone, and what is read again is taken.
    let mut other = Snapshot {
        ivrs: Reading::Absent,
        command_line: Reading::Read(String::new()),
        ..whole.clone()
    };
    other.keep_from(&whole);
    assert_eq!(other.ivrs, Reading::Absent);
    assert_eq!(other.command_line, Reading::Read(String::new()));
}

/// Each file and folder that any command reads of a host, as something that is no file.
#[test]
fn nothing_but_regular_files_inside_of_the_tree_is_read() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    const SECRET: &str = "0x5ec7";
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), SECRET).unwrap();
    let whole = whole_host();
    let (_, files) = Snapshot::read_and_keep(whole.root());
    let mut paths: Vec<PathBuf> = files.contents.keys().cloned().collect();
    paths.extend(["etc/hostname", "proc/sys/kernel/hostname"].map(|name| whole.path(name)));
    assert!(paths.len() > 40, "{}", paths.len());
    let make = |kind: FileType, path: &Path| {
        mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), rustix::fs::makedev(1, 5)).is_ok()
    };
    let kinds: [&dyn Fn(&Path) -> bool; 7] = [
        &|path| make(FileType::Fifo, path),
        &|path| make(FileType::Socket, path),
        // `/dev/zero`, which has no end; making one takes root.
        &|path| make(FileType::CharacterDevice, path),
        &|path| fs::create_dir(path).is_ok(),
        &|path| symlink(path.file_name().unwrap(), path).is_ok(),
        &|path| symlink(outside.path().join("file"), path).is_ok(),
        &|path| symlink("/dev/zero", path).is_ok(),
    ];
    for path in paths {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = fs::read(&path).ok();
        for put in kinds {
            let _: std::io::Result<()> = fs::remove_file(&path);
            if !put(&path) {
                continue;
            }
            let (snapshot, files) = Snapshot::read_and_keep(whole.root());
            let read = files.contents.get(&path);
            assert!(!matches!(read, Some(Reading::Read(_))), "{}: {read:?}", path.display());
            assert!(!format!("{snapshot:?}{:?}", node_names(whole.root())).contains(SECRET));
            if fs::remove_file(&path).is_err() {
                fs::remove_dir(&path).unwrap();
            }
        }
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
    }
}

/// What somebody puts in the place of a folder while a tree is read.
#[test]
fn a_link_that_comes_into_the_way_later_leads_nowhere() {
    let (host, outside) = (Host::new().file("a/b/file", "inside"), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("file"), "outside").unwrap();
    symlink("outside", outside.path().join("link")).unwrap();
    let root = host.root().canonicalize().unwrap();
    let (disk, folder) = (disk::Disk::below(&root), root.join("a/b"));
    let kind = fs::metadata(folder.join("file")).unwrap().file_type();
    assert_eq!(disk.read(&folder.join("file"), kind, 10).unwrap().unwrap(), b"inside");
    fs::rename(&folder, root.join("a/c")).unwrap();
    symlink(outside.path(), &folder).unwrap();
    assert!(disk.read(&folder.join("file"), kind, 10).is_err());
    assert!(disk.names(&folder).is_err());
    assert!(disk.target(&folder.join("link")).is_err());
    fs::remove_file(&folder).unwrap();
    symlink("c", &folder).unwrap();
    assert!(disk.read(&folder.join("file"), kind, 10).is_err(), "no link is followed");
}
