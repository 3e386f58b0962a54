//! A host whose files are made anew, read as any other is.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use ivrs_trace::{
    firmware::amd::{
        builder::{BuildError, IvhdSpec, IvmdSpec, IvrsBuilder},
        device_entry::DeviceEntry,
    },
    host::Snapshot,
    pci::Devid,
};

/// A function's address, its group and its class; 0604 is a bridge.
pub type Function = (&'static str, &'static str, &'static str);

/// The functions of the host.
pub const FUNCTIONS: [Function; 6] = [
    ("0000:00:03.0", "1", "0x020000"),
    ("0000:00:07.0", "5", "0x030000"),
    ("0000:00:07.1", "5", "0x040300"),
    ("0000:02:00.0", "11", "0x060400"),
    ("0000:03:01.0", "11", "0x020000"),
    ("0000:21:00.0", "14", "0x010802"),
];

/// A table with these IVMD blocks, whose one IOMMU serves the buses up to 22.
#[must_use]
pub fn table(ivmd: &[IvmdSpec]) -> IvrsBuilder {
    let range = DeviceEntry::Range { first: Devid(0), last: Devid(0x22ff), settings: 0 };
    let base = IvrsBuilder::new().ivhd(IvhdSpec { entries: vec![range], ..IvhdSpec::default() });
    ivmd.iter().fold(base, |table, spec| table.ivmd(*spec))
}

/// Two ranges that cover the buses up to 0f, and one for 00:07.1 alone.
///
/// # Errors
/// If the table cannot be built, which is a mistake here.
pub fn ivrs() -> Result<Vec<u8>, BuildError> {
    let ivmd: Vec<IvmdSpec> = [
        "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7a2d9000,length=0x1000",
        "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7b2f6000,length=0x40000",
        "type=0x21,flags=0x07,devid=0x0039,start=0x7c000000,length=0x1000",
    ]
    .iter()
    .filter_map(|text| text.parse().ok())
    .collect();
    table(&ivmd).build()
}

/// The host with that table, as JSON. Where its files were for a moment is not in it.
///
/// # Errors
/// If its files cannot be written, or it cannot be written down.
pub fn json() -> io::Result<String> {
    let root = tempfile::tempdir()?;
    write(root.path(), &FUNCTIONS)?;
    let json = serde_json::to_string(&Snapshot::read(root.path()))?;
    Ok(json.replace(&*root.path().to_string_lossy(), ""))
}

/// The host with that table.
///
/// # Errors
/// See [`json`].
pub fn snapshot() -> io::Result<Snapshot> {
    Ok(serde_json::from_str(&json()?)?)
}

/// The text files, below the host's root, that the target `tree` writes.
pub const TEXT_FILES: [&str; 10] = [
    "proc/iomem",
    "sys/kernel/iommu_groups/1/reserved_regions",
    "usr/share/misc/pci.ids",
    "proc/cmdline",
    "proc/sys/kernel/osrelease",
    "sys/kernel/security/lockdown",
    "sys/bus/pci/devices/0000:00:03.0/class",
    "sys/bus/pci/devices/0000:00:03.0/uevent",
    "sys/class/dmi/id/board_name",
    "sys/kernel/iommu_groups/5/type",
];
/// The byte between two of them in an input: the record separator of ASCII.
pub const NEXT_FILE: u8 = 0x1e;

/// Writes the host's files below `root`; the text files are empty where they are not needed.
///
/// # Errors
/// If one cannot be written.
pub fn write(root: &Path, functions: &[Function]) -> io::Result<()> {
    let file = |path: PathBuf, content: &[u8]| {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, content)
    };
    for name in TEXT_FILES {
        file(root.join(name), b"")?;
    }
    file(root.join("proc/sys/kernel/osrelease"), b"6.12.1\n")?;
    file(root.join("proc/cmdline"), b"quiet iommu=pt\n")?;
    file(root.join("sys/kernel/btf/vmlinux"), b"")?;
    let ivrs = ivrs().map_err(io::Error::other)?;
    file(root.join("sys/firmware/acpi/tables/IVRS"), &ivrs)?;
    fs::create_dir_all(root.join("sys/class/iommu/ivhd0"))?;
    let groups = root.join("sys/kernel/iommu_groups");
    for (name, group, class) in functions {
        let group = groups.join(group);
        file(group.join("type"), b"DMA-FQ\n")?;
        let regions = "0x000000007a2d9000 0x000000007a2d9fff direct\n\
                       0x00000000fee00000 0x00000000feefffff msi\n";
        file(group.join("reserved_regions"), regions.as_bytes())?;
        let function = root.join("sys/bus/pci/devices").join(name);
        file(function.join("vendor"), b"0x1022\n")?;
        file(function.join("device"), b"0x14e9\n")?;
        file(function.join("class"), class.as_bytes())?;
        fs::create_dir_all(group.join("devices").join(name))?;
        symlink("../../drivers/vfio-pci", function.join("driver"))?;
        symlink(&group, function.join("iommu_group"))?;
        symlink("../../../class/iommu/ivhd0", function.join("iommu"))?;
    }
    Ok(())
}
