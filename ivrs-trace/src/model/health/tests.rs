//! What is said of copied hosts, end to end: a tree on disk to text.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;
use crate::{
    firmware::{amd::builder::IvrsBuilder, intel::builder::DmarBuilder},
    host::Snapshot,
    model::{Model, RequireDirect, fixture},
    pci::Segment,
    probe_state::{Obstacle, ProbeState},
    report::{Style, doctor, valid::parsed, worded},
};

/// A host's tree: files, and links as `ls -l` shows them.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        let path = self.0.path().join(path);
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

    /// A function with its class, driver and group.
    fn function(self, bdf: &str, class: &str, driver: &str, group: u32) -> Self {
        let dir = format!("sys/devices/pci0000:00/{bdf}");
        let up = "../../../..";
        let host = self
            .file(&format!("{dir}/vendor"), "0x1022\n")
            .file(&format!("{dir}/device"), "0x1234\n")
            .file(&format!("{dir}/class"), class)
            .link(&format!("{dir}/iommu"), &format!("{up}/sys/class/iommu/ivhd0"))
            .link(&format!("{dir}/iommu_group"), &format!("../../../kernel/iommu_groups/{group}"))
            .link(&format!("sys/bus/pci/devices/{bdf}"), &format!("{up}/{dir}"))
            .link(&format!("sys/kernel/iommu_groups/{group}/devices/{bdf}"), "x")
            .file(
                &format!("sys/kernel/iommu_groups/{group}/reserved_regions"),
                "0x00000000fee00000 0x00000000feefffff msi\n",
            );
        if driver.is_empty() {
            return host;
        }
        host.link(&format!("{dir}/driver"), &format!("../../../bus/pci/drivers/{driver}"))
    }

    /// What is said of it, without the place of the tree.
    fn told(&self, asked: &[&str], tracing: &Tracing) -> (Health, String) {
        let model = Model::new(Snapshot::read(self.0.path()), RequireDirect::Present);
        let conditions = Conditions::read(self.0.path());
        let asked: Vec<Bdf> = asked.iter().map(|text| fixture::bdf(text)).collect();
        let health = health(&model, &model.verdicts(), &conditions, tracing, &asked);
        let mut health = worded(health);
        let root = format!("{}/", self.0.path().canonicalize().unwrap().display());
        for line in health.tracing.iter_mut().chain(&mut health.table).chain(&mut health.vfio) {
            for evidence in &mut line.evidence {
                *evidence = evidence.replace(&root, "/");
            }
        }
        parsed(&health);
        let text = doctor(&health, Style::default());
        (health, text)
    }
}

fn table(ivmds: &[&str]) -> Vec<u8> {
    let table: IvrsBuilder = fixture::table(ivmds);
    table.build().unwrap()
}

/// A workstation that runs from an `NVMe` disk, swaps to LVM on a SATA controller, and has its network
/// through a bridge; the graphics card has the console, and audio in its group.
fn workstation() -> Host {
    let block = "../../devices/pci0000:00";
    Host::new()
        .function("0000:00:02.0", "0x010802\n", "nvme", 1)
        .function("0000:00:03.0", "0x020000\n", "igb", 2)
        .function("0000:00:04.0", "0x030000\n", "amdgpu", 3)
        .function("0000:00:04.1", "0x040300\n", "snd_hda_intel", 3)
        .function("0000:00:05.0", "0x010601\n", "ahci", 4)
        .function("0000:00:06.0", "0x0c0330\n", "", 5)
        .file("sys/class/iommu/ivhd0/devices/x", "")
        .file(
            "sys/firmware/acpi/tables/IVRS",
            table(&["type=0x21,flags=0x08,devid=0x0020,aux=0,start=0x7a2d9000,length=0x1000"]),
        )
        .file("sys/kernel/btf/vmlinux", "")
        .file("proc/sys/kernel/osrelease", "6.12.0\n")
        .file("proc/cmdline", "root=/dev/nvme0n1p2\n")
        .file("proc/interrupts", "  24:  1  IR-PCI-MSIX-0000:00:02.0  0-edge  nvme0q0\n")
        .file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\n")
        .file("lib/modules/6.12.0/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko.xz: a.ko\n")
        .file("dev/kmsg", "[    0.000000] Linux version 6.12.0\n[    1.0] secret\n")
        .file(
            "proc/self/mountinfo",
            "22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n\
             23 22 0:40 / /srv/my\\040data rw - btrfs /dev/mapper/vg-data rw\n\
             24 22 0:5 / /dev rw - devtmpfs udev rw\n",
        )
        .file("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 1 0 -2\n")
        .link(
            "sys/class/block/nvme0n1p2",
            &format!("{block}/0000:00:02.0/nvme/nvme0/nvme0n1/nvme0n1p2"),
        )
        .link("sys/class/block/sda", &format!("{block}/0000:00:05.0/ata1/host0/block/sda"))
        .link("sys/class/block/dm-0", "../../devices/virtual/block/dm-0")
        .link("sys/class/block/dm-1", "../../devices/virtual/block/dm-1")
        .file("sys/devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1/nvme0n1p2/dev", "259:2\n")
        .file("sys/devices/virtual/block/dm-0/dm/name", "vg-data\n")
        .file("sys/devices/virtual/block/dm-0/dev", "253:0\n")
        .file("sys/devices/virtual/block/dm-0/slaves/sda", "")
        .file("sys/devices/virtual/block/dm-1/dm/name", "vg-swap\n")
        .file("sys/devices/virtual/block/dm-1/dev", "253:1\n")
        .file("sys/devices/virtual/block/dm-1/slaves/sda", "")
        .link("sys/class/net/enp3s0", &format!("{block}/0000:00:03.0/net/enp3s0"))
        .link("sys/class/net/vmbr0", "../../devices/virtual/net/vmbr0")
        .file("sys/devices/virtual/net/vmbr0/lower_enp3s0", "")
        .file(
            "proc/net/route",
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
             vmbr0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0\n",
        )
        .file("sys/devices/pci0000:00/0000:00:04.0/boot_vga", "1\n")
        .link("sys/class/graphics/fb0", &format!("{block}/0000:00:04.0/drm/card0/graphics/fb0"))
}

#[test]
fn a_workstation_says_what_would_go_with_each_device() {
    let host = workstation();
    let (health, text) = host.told(&[], &Tracing::default());
    insta::assert_snapshot!("workstation", text);
    let found: Vec<_> = health.devices.iter().map(|device| device.bdf.to_string()).collect();
    assert_eq!(
        found,
        ["0000:00:02.0", "0000:00:03.0", "0000:00:04.0", "0000:00:04.1", "0000:00:05.0"]
    );
    let (health, text) = host.told(&["00:06.0"], &Tracing::default());
    assert_eq!(health.devices[0].lines.iter().map(|line| line.state).max(), Some(State::Ok));
    assert!(text.contains("nothing was found that it is in use for"), "{text}");
}

#[test]
fn each_way_of_an_override_is_told_apart() {
    let found = "ACPI: IVRS ACPI table found in initrd [kernel/firmware/acpi/ivrs.aml][0x118]";
    let version = "Linux version 6.12.0";
    for (log, state, words) in [
        (format!("{version}\n"), State::Ok, "is the firmware's own"),
        ("AMD-Vi: Interrupt remapping enabled\n".to_owned(), State::Unknown, "is not known"),
        (
            format!("{version}\n{found}\nACPI: Table Upgrade: override [IVRS-AMD   -AmdTable]\n"),
            State::Warning,
            "is not the firmware's own",
        ),
        (
            format!("{version}\n{found}\nACPI: kernel is locked down, ignoring table override\n"),
            State::No,
            "the kernel is locked down",
        ),
        (
            format!("{version}\n{found}\nACPI: Table Upgrade: install [IVRS-AMD   -Other   ]\n"),
            State::No,
            "put beside",
        ),
        (format!("{version}\n{found}\n"), State::No, "says no more of it"),
        (
            format!(
                "{version}\nACPI: ACPI OVERRIDE: Bad table checksum [kernel/firmware/acpi/ivrs.aml]\n"
            ),
            State::No,
            "could not use it",
        ),
    ] {
        let host = workstation().file("dev/kmsg", &log);
        let (health, _) = host.told(&[], &Tracing::default());
        let line = health.table.last().unwrap();
        assert_eq!((line.code, line.state), ("table-origin", state), "{log}");
        assert!(line.message.contains(words), "{log}: {}", line.message);
        assert!(!line.evidence.is_empty() && !line.evidence[0].contains("secret"));
    }
}

#[test]
fn why_there_is_no_iommu_is_told() {
    let bare = || {
        Host::new()
            .file("sys/class/iommu/.keep", "")
            .file("sys/kernel/iommu_groups/.keep", "")
            .file("sys/bus/pci/devices/.keep", "")
            .file("proc/sys/kernel/osrelease", "6.12.0\n")
    };
    // What is no IOMMU must not count as one.
    let clean = |host: &Host| {
        for folder in ["sys/class/iommu", "sys/kernel/iommu_groups", "sys/bus/pci/devices"] {
            fs::remove_file(Path::new(host.0.path()).join(folder).join(".keep")).unwrap();
        }
    };
    for (host, words) in [
        (bare().file("proc/cmdline", "quiet amd_iommu=off\n"), "take that option out"),
        (
            bare()
                .file("proc/cpuinfo", "vendor_id : AuthenticAMD\n")
                .file("sys/firmware/acpi/tables/FACP", ""),
            "switch the IOMMU (AMD-Vi) on",
        ),
        (bare().file("sys/firmware/acpi/tables/DMAR", ""), "intel_iommu=on"),
        (bare().file("sys/firmware/acpi/tables/IVRS", table(&[])), "the kernel did not take it"),
    ] {
        clean(&host);
        let (health, text) = host.told(&[], &Tracing::default());
        let line = &health.iommu[0];
        assert_eq!((line.code, line.state), ("iommu", State::No), "{text}");
        assert!(line.todo.as_ref().unwrap().contains(words), "{text}");
    }
}

#[test]
fn vfio_that_cannot_come_is_told() {
    for (path, content, state, words) in [
        ("proc/cmdline", "module_blacklist=nouveau,vfio-pci\n", State::No, "may not be loaded"),
        ("etc/modprobe.d/a.conf", "install vfio-pci /bin/false\n", State::No, "modprobe may not"),
        ("etc/modprobe.d/a.conf", "blacklist vfio-pci\n", State::Ok, "not loaded, but can be"),
        ("proc/sys/kernel/modules_disabled", "1\n", State::No, "no module can be"),
        ("lib/modules/6.12.0/modules.dep", "kernel/a.ko:\n", State::No, "has no module"),
    ] {
        let host = workstation().file(path, content);
        let (health, text) = host.told(&[], &Tracing::default());
        let line = &health.vfio[0];
        assert_eq!((line.code, line.state), ("vfio-pci", state), "{text}");
        assert!(line.message.contains(words), "{text}");
    }
    // What was not copied is not known.
    let bare = workstation();
    for file in ["proc/interrupts", "lib/modules/6.12.0/modules.dep", "proc/swaps"] {
        fs::remove_file(bare.0.path().join(file)).unwrap();
    }
    let (health, _) = bare.told(&["00:06.0"], &Tracing::default());
    let states: Vec<State> = health.vfio.iter().map(|line| line.state).collect();
    assert_eq!(states, [State::Unknown, State::Unknown]);
    assert_eq!(health.devices[0].lines.last().unwrap().state, State::Unknown);
    let host = workstation().file("proc/interrupts", " 24: 1 PCI-MSI 0-edge nvme0q0\n");
    let (health, _) = host.told(&[], &Tracing::default());
    assert_eq!(health.vfio[1].state, State::No);
    let host =
        host.file("etc/modprobe.d/a.conf", "options vfio_iommu_type1 allow_unsafe_interrupts=1\n");
    let (health, _) = host.told(&[], &Tracing::default());
    assert_eq!(health.vfio[1].state, State::Warning);
}

#[test]
fn what_is_missing_to_trace_is_told_once_each() {
    let right = |name: &str, required, held| Right {
        name: name.to_owned(),
        required,
        held,
        purpose: "does something",
        without: "something is not told",
    };
    let probe = |symbol: &str, state: ProbeState| ProbeFact {
        symbol: symbol.to_owned(),
        module: None,
        explains: "who claims a group".to_owned(),
        required: true,
        how: vec!["fexit".to_owned()],
        fallback: None,
        state,
    };
    let missing = |reason: &str, obstacle| ProbeState::Missing {
        reason: reason.to_owned(),
        obstacles: vec![obstacle],
    };
    let tracing = Tracing {
        probes: vec![
            probe("iommu_group_claim_dma_owner", ProbeState::Attached),
            probe("_dev_warn", missing("Permission denied", Obstacle::KprobesDenied)),
            probe("console", missing("no such tracepoint", Obstacle::NoFunction)),
        ],
        error: None,
        rights: Some(Rights {
            wanted: vec![right("CAP_BPF", true, true), right("CAP_SYSLOG", false, false)],
            effective: "CAP_BPF".to_owned(),
            left: Some("none".to_owned()),
            paranoid: Some(3),
        }),
    };
    let host =
        workstation().file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    let (health, _) = host.told(&[], &tracing);
    let text = doctor(
        &Health { iommu: vec![], table: vec![], vfio: vec![], devices: vec![], ..health },
        Style::default(),
    );
    insta::assert_snapshot!("tracing", text);
    let locked =
        workstation().file("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
    let (health, _) =
        locked.told(&[], &Tracing { error: Some("EPERM".to_owned()), ..Tracing::default() });
    assert!(health.tracing.iter().filter(|line| line.state == State::No).count() == 2);
}

fn line<'h>(health: &'h Health, code: &str) -> Option<&'h Line> {
    health.lines().find(|line| line.code == code)
}

#[test]
fn a_driver_that_won_against_vfio_pci_is_told_with_what_asked_for_it() {
    let asks = "options vfio-pci disable_vga=1 ids=10de:1,1022:1234";
    for (path, content, state, words) in [
        ("etc/modprobe.d/vfio.conf", asks, State::No, "softdep nvme pre: vfio-pci"),
        ("proc/cmdline", "quiet vfio_pci.ids=1022:1234", State::No, "softdep nvme pre: vfio-pci"),
        ("proc/cmdline", "vfio-pci.ids=1022:1234:ffffffff:ffffffff:010802", State::No, "softdep"),
        // Another device, another class, no option of vfio-pci.
        (
            "proc/cmdline",
            "vfio-pci.ids=1022:1235,1022:1234:ffffffff:ffffffff:030000",
            State::Warning,
            "driverctl",
        ),
        ("proc/cmdline", "vfio-pci-ids=1022:1234", State::Warning, "driverctl"),
        (
            "etc/modprobe.d/vfio.conf",
            "options vfio-pci ids=1022:1234,\nsoftdep nvme pre: vfio-pci",
            State::No,
            "initramfs",
        ),
    ] {
        let (health, text) =
            workstation().file(path, content).told(&["00:02.0"], &Tracing::default());
        let line = line(&health, "device-driver").unwrap();
        assert_eq!(line.state, state, "{content}: {text}");
        assert!(line.message.starts_with("driver nvme has it, not vfio-pci"), "{text}");
        let todo = line.todo.as_ref().unwrap();
        assert!(todo.contains(words) && todo.contains("managed='yes'"), "{content}: {todo}");
        let quoted = line.evidence.iter().any(|one| one.contains("1022:1234"));
        assert_eq!(quoted, state == State::No, "{text}");
    }
    // Nobody asked for it, by no option and by no name.
    let (health, _) = workstation().told(&[], &Tracing::default());
    assert_eq!(line(&health, "device-driver"), None);
    // Half of the group is given already, whatever was asked for.
    let sibling = workstation().function("0000:00:04.2", "0x040300\n", "vfio-pci", 3);
    let (health, text) = sibling.told(&[], &Tracing::default());
    let told = health
        .devices
        .iter()
        .filter(|device| device.lines.iter().any(|line| line.code == "device-driver"));
    let told: Vec<String> = told.map(|device| device.bdf.to_string()).collect();
    assert_eq!(told, ["0000:00:04.0", "0000:00:04.1"], "{text}");
    let path = "sys/devices/pci0000:00/0000:00:06.0/driver_override";
    for (content, told) in [("vfio-pci\n", true), ("(null)\n", false), ("xhci_hcd\n", false)] {
        let (health, _) = workstation().file(path, content).told(&[], &Tracing::default());
        let line = line(&health, "device-driver");
        assert_eq!(line.is_some(), told, "{content}");
        assert!(line.is_none_or(|line| line.evidence[1].ends_with("driver_override: vfio-pci")));
    }
}

#[test]
fn who_holds_the_memory_of_a_function_is_told_and_what_the_kernel_said() {
    let iomem = "00001000-0009ffff : System RAM\n\
                 e0000000-efffffff : PCI Bus 0000:00\n  \
                 e0000000-e7ffffff : 0000:00:04.0\n    e0000000-e02fffff : BOOTFB\n      \
                 e0000000-e02fffff : simpledrm\n  e8000000-e8003fff : 0000:00:02.0\n    \
                 e8000000-e8003fff : nvme\n";
    let host = || workstation().file("proc/iomem", iomem);
    let (health, text) = host().told(&["00:04.0"], &Tracing::default());
    let held = line(&health, "device-memory").unwrap();
    assert_eq!(held.state, State::Warning, "{text}");
    assert!(held.message.contains("(BOOTFB, simpledrm)"), "{text}");
    assert_eq!(
        held.evidence,
        ["/proc/iomem: BOOTFB, simpledrm in 0xe0000000-0xe7ffffff of 0000:00:04.0"]
    );
    let (health, _) = host().told(&["00:02.0"], &Tracing::default());
    assert_eq!(line(&health, "device-memory"), None);
    // Without a driver of the host nobody would let go of it.
    let free = host();
    fs::remove_file(free.path("sys/devices/pci0000:00/0000:00:04.0/driver")).unwrap();
    let (health, _) = free.told(&["00:04.0"], &Tracing::default());
    assert_eq!(line(&health, "device-memory").unwrap().state, State::No);
    for (log, state) in [
        (
            "vfio-pci 0000:00:04.0: BAR 0: can't reserve [mem 0xe0000000-0xe7ffffff]",
            Some(State::No),
        ),
        ("vfio-pci: probe of 0000:00:04.0 failed with error -22", Some(State::Warning)),
        (
            "vfio-pci 0000:00:04.0: probe with driver vfio-pci failed with error -22",
            Some(State::Warning),
        ),
        ("vfio-pci 0000:00:04.0: not ready 65535ms after FLR; giving up", Some(State::Warning)),
        ("vfio-pci 0000:00:02.0: probe with driver vfio-pci failed with error -22", None),
        ("vfio-pci 0000:00:04.0: enabling device (0000 -> 0003)", None),
    ] {
        let told = host().file("dev/kmsg", format!("[  1.0] {log}\n"));
        let (health, _) = told.told(&["00:04.0"], &Tracing::default());
        let line = line(&health, "device-errors");
        assert_eq!(line.map(|line| line.state), state, "{log}");
        assert!(line.is_none_or(|line| line.evidence == [format!("kernel log: {log}")]));
    }
}

#[test]
fn why_interrupts_are_not_remapped_is_told_with_its_cure_and_price() {
    let off = |log: &str| {
        workstation().file("proc/interrupts", "  24:  1  PCI-MSI  nvme0q0\n").file("dev/kmsg", log)
    };
    let sabertooth = "\
        [0.1] AMD-Vi:   DEV_SPECIAL(IOAPIC[0])         devid: 00:14.0\n\
        [0.1] AMD-Vi:   DEV_SPECIAL(HPET[0])           devid: 00:14.0\n\
        [0.1] AMD-Vi:   DEV_SPECIAL(IOAPIC[255])               devid: 00:00.1\n\
        [0.2] [Firmware Bug]: AMD-Vi: IOAPIC[7] not in IVRS table\n\
        [0.2] [Firmware Bug]: AMD-Vi: IOAPIC[8] not in IVRS table\n\
        [0.2] [Firmware Bug]: AMD-Vi: No southbridge IOAPIC found in IVRS table\n\
        [0.2] AMD-Vi: Disabling interrupt remapping due to BIOS Bug(s)\n";
    let one = "AMD-Vi: [Firmware Bug]: : IOAPIC[32] not in IVRS table\n\
               AMD-Vi: [Firmware Bug]: : No southbridge IOAPIC found\n\
               AMD-Vi: Disabling interrupt remapping\n";
    let two = "AMD-Vi: [Firmware Bug]: : IOAPIC[4] not in IVRS table\n\
               AMD-Vi: [Firmware Bug]: : IOAPIC[5] not in IVRS table\n\
               AMD-Vi: [Firmware Bug]: : No southbridge IOAPIC found\n";
    let north = "AMD-Vi:   DEV_SPECIAL(IOAPIC[9])\t\tdevid: 0000:00:14.0, flags: 00\n\
                 AMD-Vi:   DEV_SPECIAL(IOAPIC[1])\t\tdevid: 0000:00:00.1, flags: 00\n\
                 AMD-Vi: [Firmware Bug]: : IOAPIC[130] not in IVRS table\n";
    for (log, words) in [
        (sabertooth, "add ivrs_ioapic[7]=00:14.0 ivrs_ioapic[8]=00:00.1 to the kernel's"),
        (one, "add ivrs_ioapic[32]=00:14.0 to the kernel's"),
        (two, "ivrs_ioapic[4]=00:14.0 ivrs_ioapic[5]=BUS:DEV.FN (BUS:DEV.FN is the requester ID"),
        (north, "add ivrs_ioapic[130]=00:00.1 to"),
        (
            "DMAR-IR: [Firmware Bug]: ioapic 2 has no mapping iommu, interrupt remapping will be disabled\n",
            "no unit for IO-APIC 2",
        ),
        ("on a chipset that contains an erratum making that\n", "has an erratum"),
    ] {
        let (health, text) = off(log).told(&[], &Tracing::default());
        let line = line(&health, "interrupt-remapping").unwrap();
        assert_eq!(line.state, State::No, "{text}");
        assert!(line.message.contains("VFIO_SET_IOMMU fails with EPERM"), "{text}");
        let todo = line.todo.as_ref().unwrap();
        assert!(todo.contains(words), "{log}: {todo}");
        assert!(todo.contains("allow_unsafe_interrupts=1") && todo.contains("any interrupt"));
        assert!(!todo.contains("not switched off"), "{todo}");
    }
    let (health, _) = off(sabertooth).told(&[], &Tracing::default());
    let told = line(&health, "interrupt-remapping").unwrap();
    assert!(told.evidence.iter().any(|one| one.ends_with("IOAPIC[7] not in IVRS table")));
    for option in ["intremap=off", "nointremap", "noapic", "intremap=nosid,off"] {
        let host = off("").file("proc/cmdline", format!("quiet {option}\n"));
        let (health, _) = host.told(&[], &Tracing::default());
        let line = line(&health, "interrupt-remapping").unwrap();
        assert!(line.todo.as_ref().unwrap().starts_with(&format!("take {option} out")));
        assert!(line.evidence.contains(&format!("/proc/cmdline: {option}")));
    }
    // Given already, with the wrong numbers.
    let host = off(one).file("proc/cmdline", "ivrs_ioapic[7]=00:14.0\n");
    let (health, _) = host.told(&[], &Tracing::default());
    let told = line(&health, "interrupt-remapping").unwrap();
    assert!(told.evidence.contains(&"/proc/cmdline: ivrs_ioapic[7]=00:14.0".to_owned()));
    assert!(told.todo.as_ref().unwrap().contains("in place of what is given"));
    // Where the log alone was copied, it is believed.
    let host = workstation().file("dev/kmsg", "AMD-Vi: Disabling interrupt remapping\n");
    fs::remove_file(host.path("proc/interrupts")).unwrap();
    let (health, _) = host.told(&[], &Tracing::default());
    assert_eq!(line(&health, "interrupt-remapping").unwrap().state, State::No);
}

/// `dmar_x2apic_optout` leaves remapping on, in xapic mode.
#[test]
fn a_dmar_that_keeps_x2apic_off_is_named() {
    let host = |cmdline: &str| {
        let mut dmar = DmarBuilder::new().drhd(1, Segment(0), 0xfed9_1000, &[]).build().unwrap();
        dmar[37] = 3;
        dmar[9] = dmar[9].wrapping_sub(2);
        Host::new()
            .function("0000:01:00.0", "0x030000\n", "", 1)
            .file("sys/class/iommu/dmar0/devices/x", "")
            .file("sys/firmware/acpi/tables/DMAR", dmar)
            .file("proc/interrupts", "  24:  1  IR-PCI-MSIX-0000:00:02.0  0-edge  nvme0q0\n")
            .file("proc/cmdline", cmdline)
    };
    for (cmdline, expected) in [("quiet\n", true), ("intremap=no_x2apic_optout\n", false)] {
        let (health, text) = host(cmdline).told(&[], &Tracing::default());
        let line = line(&health, "interrupt-remapping").unwrap();
        let named = line.evidence.iter().any(|one| one.contains("X2APIC_OPT_OUT"));
        assert_eq!((line.state, named), (State::Ok, expected), "{text}");
    }
}

#[test]
fn a_board_without_acpi_gets_advice_that_fits_it() {
    let host = Host::new()
        .file("sys/class/iommu/.keep", "")
        .file("sys/kernel/iommu_groups/.keep", "")
        .file("sys/bus/pci/devices/.keep", "")
        .file("sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0")
        .file("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\n");
    for folder in ["sys/class/iommu", "sys/kernel/iommu_groups", "sys/bus/pci/devices"] {
        fs::remove_file(host.path(folder).join(".keep")).unwrap();
    }
    let (health, text) = host.told(&[], &Tracing::default());
    let line = &health.iommu[0];
    assert!(line.evidence.iter().any(|one| one.contains("Raspberry Pi 5")), "{text}");
    assert!(line.todo.as_ref().unwrap().contains("device tree"), "{text}");
    assert!(!text.contains("set-up") && !text.contains("ACPI"), "{text}");
}

#[test]
fn an_option_that_the_kernel_repeats_is_no_iommu_and_neither_is_a_folder_without_groups() {
    let host = Host::new()
        .file("sys/kernel/iommu_groups/.keep", "")
        .function("0000:01:00.0", "0x030000\n", "nouveau", 1)
        .file("proc/cmdline", "intel_iommu=on quiet\n")
        .file("dev/kmsg", "[    0.019620] DMAR: IOMMU enabled\n");
    for folder in ["sys/kernel/iommu_groups/1", "sys/class/iommu"] {
        let _: std::io::Result<()> = fs::remove_dir_all(host.0.path().join(folder));
    }
    for link in ["iommu", "iommu_group"] {
        fs::remove_file(host.path(&format!("sys/devices/pci0000:00/0000:01:00.0/{link}"))).unwrap();
    }
    fs::remove_file(host.path("sys/kernel/iommu_groups/.keep")).unwrap();
    let (health, text) = host.told(&[], &Tracing::default());
    let line = &health.iommu[0];
    assert_eq!((line.code, line.state), ("iommu", State::No), "{text}");
    assert_eq!(line.evidence[0], "/sys/kernel/iommu_groups: empty");
    let echo = line.evidence.iter().find(|one| one.contains("DMAR: IOMMU enabled")).unwrap();
    assert!(echo.ends_with("proves nothing)"), "{echo}");
    assert!(line.todo.as_ref().unwrap().contains("switch the IOMMU on"), "{text}");
}
