//! A snapshot as the tree of files that it is read from, for tests that take files away or damage them.

use std::{fmt::Display, fs, os::unix::fs::symlink, path::Path};

use super::{Group, Member, PciFunction, Reading, Snapshot};
use crate::pci::Bdf;

/// Writes below `root` what [`Snapshot::read`] reads. What the snapshot lacks is not there.
pub(crate) fn plant(host: &Snapshot, root: &Path) {
    let tree = Planted { root, host };
    tree.value("proc/sys/kernel/osrelease", &host.kernel_release);
    tree.value("proc/cmdline", &host.command_line);
    tree.value(
        "sys/kernel/security/lockdown",
        &host.lockdown.clone().map(|word| format!("[{word}]")),
    );
    if host.has_btf {
        tree.file("sys/kernel/btf/vmlinux", "");
    }
    for (name, table) in [("IVRS", &host.ivrs), ("DMAR", &host.dmar)] {
        if let Reading::Read(bytes) = table {
            tree.file(&format!("sys/firmware/acpi/tables/{name}"), &bytes.0);
        }
    }
    let dmi = &host.dmi;
    for (name, value) in [
        ("sys_vendor", &dmi.sys_vendor),
        ("product_name", &dmi.product_name),
        ("board_vendor", &dmi.board_vendor),
        ("board_name", &dmi.board_name),
        ("bios_version", &dmi.bios_version),
        ("bios_date", &dmi.bios_date),
    ] {
        tree.value(&format!("sys/class/dmi/id/{name}"), value);
    }
    tree.folder("sys/kernel/iommu_groups", &host.groups);
    host.groups.value().into_iter().flatten().for_each(|group| tree.group(group));
    tree.folder("sys/bus/pci/devices", &host.functions);
    host.functions.value().into_iter().flatten().for_each(|function| tree.function(function));
    tree.folder("sys/class/iommu", &host.iommus);
    for unit in host.iommus.value().into_iter().flatten() {
        let folder = format!("sys/devices/virtual/iommu/{unit}");
        fs::create_dir_all(root.join(&folder).join("devices")).unwrap();
        tree.link(
            &format!("sys/class/iommu/{unit}"),
            &format!("../../devices/virtual/iommu/{unit}"),
        );
        for function in host.functions.value().into_iter().flatten() {
            if function.iommu.value() == Some(unit) {
                let place = tree.place(function.bdf).replacen("sys/devices", "../../../..", 1);
                tree.link(&format!("{folder}/devices/{}", function.bdf), &place);
            }
        }
    }
    tree.memory();
    for device in host.acpi_devices.value().into_iter().flatten() {
        let folder = format!("sys/bus/acpi/devices/{}", device.name);
        tree.file(&format!("{folder}/hid"), &device.hid);
        tree.value(&format!("{folder}/uid"), &device.uid);
        tree.value(&format!("{folder}/path"), &device.path);
        if let Reading::Read(node) = &device.device {
            tree.link(&format!("{folder}/physical_node"), &format!("../../platform/{node}"));
        }
    }
}

struct Planted<'a> {
    root: &'a Path,
    host: &'a Snapshot,
}

impl Planted<'_> {
    fn folder<T>(&self, path: &str, reading: &Reading<T>) {
        if reading.value().is_some() {
            fs::create_dir_all(self.root.join(path)).unwrap();
        }
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn value(&self, path: &str, value: &Reading<impl Display>) {
        if let Reading::Read(value) = value {
            self.file(path, format!("{value}\n"));
        }
    }

    /// Where a function's folder is: in that of the bridge above it, or of its root bus.
    fn place(&self, bdf: Bdf) -> String {
        let functions = self.host.functions.value().map_or(&[][..], Vec::as_slice);
        let parent = functions.iter().find(|one| one.bdf == bdf).and_then(|one| one.parent.value());
        let above = match parent {
            Some(parent) => self.place(*parent),
            None => format!("sys/devices/pci{}:{:02x}", bdf.segment, bdf.devid.bus()),
        };
        format!("{above}/{bdf}")
    }

    fn group(&self, group: &Group) {
        let folder = format!("sys/kernel/iommu_groups/{}", group.id);
        self.value(&format!("{folder}/type"), &group.domain_type);
        if let Reading::Read(regions) = &group.regions {
            let line = |region: &super::ReservedRegion| {
                let (start, end, kind) = (region.start, region.end_inclusive, &region.kind);
                format!("{start:#018x} {end:#018x} {kind}\n")
            };
            let bad = group.bad_region_lines.iter().map(|line| format!("{}\n", line.line));
            let lines: String = regions.iter().map(line).chain(bad).collect();
            self.file(&format!("{folder}/reserved_regions"), lines);
        }
        self.folder(&format!("{folder}/devices"), &group.members);
        for member in group.members.value().into_iter().flatten() {
            let (name, place) = match member {
                Member::Pci(bdf) => (bdf.to_string(), self.place(*bdf)),
                Member::Other(name) => (name.clone(), format!("sys/devices/platform/{name}")),
            };
            let target = place.replacen("sys", "../../../..", 1);
            self.link(&format!("{folder}/devices/{name}"), &target);
        }
    }

    fn function(&self, function: &PciFunction) {
        let bdf = function.bdf;
        let folder = self.place(bdf);
        fs::create_dir_all(self.root.join(&folder)).unwrap();
        self.link(&format!("sys/bus/pci/devices/{bdf}"), &folder.replacen("sys", "../../..", 1));
        let id = |id: Reading<u16>| id.map(|id| format!("{id:#06x}"));
        for (name, value) in [
            ("vendor", id(function.vendor.clone())),
            ("device", id(function.device.clone())),
            ("subsystem_vendor", id(function.subsystem_vendor.clone())),
            ("subsystem_device", id(function.subsystem_device.clone())),
            ("class", function.class.clone().map(|class| format!("{class:#08x}"))),
            ("revision", function.revision.clone().map(|revision| format!("{revision:#04x}"))),
        ] {
            self.value(&format!("{folder}/{name}"), &value);
        }
        for (name, target) in [
            ("driver", function.driver.clone()),
            ("iommu_group", function.group.clone().map(|id| id.to_string())),
            ("iommu", function.iommu.clone()),
            ("physfn", function.physical_function.clone().map(|bdf| bdf.to_string())),
        ] {
            if let Reading::Read(target) = target {
                self.link(&format!("{folder}/{name}"), &format!("../{name}s/{target}"));
            }
        }
        if let Reading::Read(driver) = &function.driver {
            self.file(&format!("{folder}/uevent"), format!("DRIVER={driver}\n"));
        } else if function.driver == Reading::Absent {
            self.file(&format!("{folder}/uevent"), format!("PCI_SLOT_NAME={bdf}\n"));
        }
        if let Reading::Read(bus) = function.secondary_bus {
            let bus = format!("{folder}/pci_bus/{}:{bus:02x}", bdf.segment);
            fs::create_dir_all(self.root.join(bus)).unwrap();
        }
    }

    fn memory(&self) {
        if let Reading::Read(map) = &self.host.iomem {
            let line = |range: &super::memory::MemoryRange| {
                let indent = "  ".repeat(usize::from(range.depth));
                format!(
                    "{indent}{:08x}-{:08x} : {}\n",
                    range.start, range.end_inclusive, range.name
                )
            };
            self.file("proc/iomem", map.ranges.iter().map(line).collect::<String>());
        }
        if let Reading::Read(map) = &self.host.firmware_memory {
            for (index, range) in map.ranges.iter().enumerate() {
                let folder = format!("sys/firmware/memmap/{index}");
                self.file(&format!("{folder}/start"), format!("{:#x}\n", range.start));
                self.file(&format!("{folder}/end"), format!("{:#x}\n", range.end_inclusive));
                self.file(&format!("{folder}/type"), format!("{}\n", range.name));
            }
        }
    }
}
