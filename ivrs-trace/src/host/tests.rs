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
    firmware::{Ivrs, builder::IvrsBuilder},
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

    fn read(&self) -> Snapshot {
        Snapshot::read(self.root())
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
        .file("sys/kernel/iommu_groups/2/devices/MSFT0201:00", "")
        .file("sys/class/iommu/ivhd10/x", "")
        .file("sys/class/iommu/ivhd2/x", "")
        .file("sys/firmware/acpi/tables/IVRS", IvrsBuilder::new().build().unwrap())
        .file("sys/kernel/btf/vmlinux", "")
        .file("proc/sys/kernel/osrelease", "6.12.0-amd64\n")
        .file("proc/cmdline", "quiet iommu=pt\n")
        .file("sys/devices/virtual/dmi/id/board_name", "B650 Board  \n")
        .file("sys/devices/virtual/dmi/id/bios_version", "A.30\n")
        .link("sys/class/dmi/id", "../../devices/virtual/dmi/id")
}

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
fn a_snapshot_survives_being_written_down() {
    for snapshot in [whole_host().read(), Host::new().read()] {
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    }
    let table = IvrsBuilder::new().build().unwrap();
    let text = String::from(HexBytes(table.clone()));
    assert!(text.starts_with("4956525330000000"), "{text}");
    assert_eq!(HexBytes::try_from(text), Ok(HexBytes(table)));
    assert_eq!(HexBytes::try_from("00f".to_owned()), Err(ParseHexBytesError { at: 3 }));
    assert_eq!(HexBytes::try_from("0x".to_owned()), Err(ParseHexBytesError { at: 1 }));
}

#[test]
fn an_empty_tree_is_absent_and_a_missing_one_is_not() {
    let snapshot = Host::new().read();
    assert_eq!(snapshot.groups, Reading::Absent);
    assert_eq!(snapshot.functions, Reading::Absent);
    assert_eq!(snapshot.ivrs, Reading::Absent);
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
    assert_eq!(skipped.len(), 6, "{skipped:?}");
    assert!(skipped.contains(&("many", "is not the number of an IOMMU group")));
    assert!(skipped.contains(&("01", "is not the number of an IOMMU group")));
    assert!(skipped.contains(&("x1", "is not the number of an IOMMU group")));
    assert!(skipped.iter().any(|(name, why)| *name == "7" && why.ends_with("is not a directory")));
    assert!(skipped.contains(&("10000:e0:06.0", "is not an address in a 16-bit PCI segment")));
    assert!(skipped.iter().any(|(name, _)| *name == "0000:00:04.0"));
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
