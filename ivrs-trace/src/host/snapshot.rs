//! The snapshot itself: what is read, and how.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    conditions::Conditions,
    copied,
    membership::{self, Links},
    memory::{MapSource, MemoryMap, RegionClass},
    names::PciNames,
    region::{ParseRegionError, ReservedRegion},
    tree::{Dir, Files, Reading, Tree, exact},
    types::{AcpiDevice, Dmi, Group, HexBytes, Member, PciFunction, Skipped},
};
use crate::pci::Bdf;

/// Bytes of an attribute that are read at most; sysfs itself ends at a page.
const ATTRIBUTE_LIMIT: usize = 64 * 1024;
/// Bytes of an ACPI table that are read at most; real ones have a few hundred.
const TABLE_LIMIT: usize = 1024 * 1024;
/// Bytes of the kernel's BTF that are read at most; real ones have some five million.
const BTF_LIMIT: usize = 64 * 1024 * 1024;
/// What is kept of a host beyond what a snapshot needs: folder and file. People who read a report
/// ask for it, and a later version may have use for it. No serial numbers.
const ALSO_KEPT: [(&str, &str); 6] = [
    ("proc", "version"),
    ("etc", "os-release"),
    ("sys/class/dmi/id", "board_version"),
    ("sys/class/dmi/id", "bios_vendor"),
    ("sys/class/dmi/id", "bios_release"),
    ("sys/module/vfio_iommu_type1/parameters", "allow_unsafe_interrupts"),
];

/// A host as it stood when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel_release: Reading<String>,
    /// `/proc/cmdline`.
    pub command_line: Reading<String>,
    /// Whether the kernel describes its types in `/sys/kernel/btf/vmlinux`.
    pub has_btf: bool,
    /// The ACPI IVRS table; only root may read it. Absent on a host without AMD IOMMU, and on one
    /// whose firmware has it switched off.
    pub ivrs: Reading<HexBytes>,
    /// The ACPI DMAR table; only root may read it. Absent on a host without Intel IOMMU, and on one
    /// whose firmware has it switched off.
    #[serde(default)]
    pub dmar: Reading<HexBytes>,
    /// Board and firmware.
    pub dmi: Dmi,
    /// The IOMMU groups in the order of their numbers.
    pub groups: Reading<Vec<Group>>,
    /// The PCI functions in the order of their addresses: also those that are only named, by a group
    /// or an IOMMU.
    pub functions: Reading<Vec<PciFunction>>,
    /// Why `sys/bus/pci/devices` was not read: then there may be more functions than other files name.
    #[serde(default)]
    pub no_bus: Option<String>,
    /// The IOMMUs by name, such as `ivhd0` or `dmar1`.
    pub iommus: Reading<Vec<String>>,
    /// The names that the host's own `pci.ids` has for its functions.
    #[serde(default)]
    pub pci_names: Reading<PciNames>,
    /// `/proc/iomem`; without root the kernel hides its addresses.
    #[serde(default)]
    pub iomem: Reading<MemoryMap>,
    /// `/sys/firmware/memmap`, the e820 map; many kernels are built without it.
    #[serde(default)]
    pub firmware_memory: Reading<MemoryMap>,
    /// The ACPI devices that have a hardware id, by name.
    #[serde(default)]
    pub acpi_devices: Reading<Vec<AcpiDevice>>,
    /// How far the kernel is locked down: `none`, `integrity` or `confidentiality`; absent if it
    /// knows no lockdown or securityfs is not mounted.
    #[serde(default)]
    pub lockdown: Reading<String>,
    /// Whether it was read from a copy of a host, which may lack what the host has.
    #[serde(default)]
    pub copied: bool,
    /// What was found and has no place in the fields above.
    pub skipped: Vec<Skipped>,
}

impl Snapshot {
    /// Reads the host below `root`.
    ///
    /// It does not fail: each part says whether it could be read. The `reserved_regions` of each
    /// group are read exactly once; on a live host each such read makes the kernel ask its IOMMU
    /// driver for the regions of every device of the group, which probes can watch.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self::of_tree(&Tree::disk(root))
    }

    /// The same, with everything that was read, from which [`Snapshot::of_files`] makes the same
    /// snapshot again.
    #[must_use]
    pub fn read_and_keep(root: &Path) -> (Self, Files) {
        let tree = Tree::keeping(root);
        let snapshot = Self::of_tree(&tree);
        // Asking is keeping.
        let _: Conditions = Conditions::of_tree(&tree);
        if let Reading::Read(top) = tree.top() {
            for (folder, name) in ALSO_KEPT {
                if let Reading::Read(dir) = top.dir(folder) {
                    let _: Reading<Vec<u8>> = dir.bytes(name, ATTRIBUTE_LIMIT);
                }
            }
        }
        (snapshot, tree.kept())
    }

    /// The snapshot of a host of which this was read once.
    #[must_use]
    pub fn of_files(files: &Files) -> Self {
        Self::of_tree(&Tree::files(files))
    }

    fn of_tree(tree: &Tree<'_>) -> Self {
        let is_copy = tree.is_copy();
        let root = tree.top();
        let at = |path: &str| root.clone().and_then(|root| root.dir(path));
        let mut skipped = Vec::new();
        let dmi = at("sys/class/dmi/id");
        let dmi = |name| dmi.clone().and_then(|dir| dir.text(name, ATTRIBUTE_LIMIT));
        let table = |name| {
            let tables = at("sys/firmware/acpi/tables");
            tables.and_then(|dir| dir.bytes(name, TABLE_LIMIT)).map(HexBytes)
        };
        // Every Linux has these directories, so a copy without them does not show the host.
        let must = |path: &str| match at(path) {
            Reading::Absent if is_copy => copied::missing(path),
            reading => reading,
        };
        let iommu_dir = must("sys/class/iommu");
        let mut groups = must("sys/kernel/iommu_groups")
            .and_then(|dir| read_groups(&dir, is_copy, &mut skipped));
        let links = Links::of(&groups, &iommu_dir);
        let bus = must("sys/bus/pci/devices");
        let mut no_bus = match &bus {
            Reading::Read(_) => None,
            Reading::Absent => Some("sys/bus/pci/devices: is not there".to_owned()),
            Reading::Unreadable(why) => Some(why.clone()),
        };
        let elsewhere = at("sys/devices").value().filter(|_| is_copy).map(membership::below);
        let (mut functions, names) = read_functions(
            &bus,
            elsewhere.unwrap_or_default(),
            is_copy.then_some(&links),
            &mut skipped,
        );
        if is_copy && names.is_empty() {
            no_bus.get_or_insert_with(|| "sys/bus/pci/devices: lists none in this copy".to_owned());
        }
        membership::add_named(&mut functions, names, &groups, &links);
        membership::add_members(&mut groups, &functions);
        let has_groups = groups.value().is_some_and(|groups| !groups.is_empty());
        let known = functions.value().map_or(&[][..], Vec::as_slice);
        let pci_names = root.clone().and_then(|root| PciNames::read(&root, known));
        let mut snapshot = Self {
            kernel_release: at("proc/sys/kernel").and_then(|dir| {
                not_empty(&dir, "osrelease", dir.text("osrelease", ATTRIBUTE_LIMIT))
            }),
            command_line: at("proc").and_then(|dir| dir.text("cmdline", ATTRIBUTE_LIMIT)),
            has_btf: at("sys/kernel/btf").value().is_some_and(|dir| dir.has("vmlinux")),
            ivrs: table("IVRS"),
            dmar: table("DMAR"),
            dmi: Dmi {
                sys_vendor: dmi("sys_vendor"),
                product_name: dmi("product_name"),
                board_vendor: dmi("board_vendor"),
                board_name: dmi("board_name"),
                bios_version: dmi("bios_version"),
                bios_date: dmi("bios_date"),
            },
            groups,
            functions,
            no_bus,
            iommus: iommu_dir.and_then(|dir| dir.names()).and_then(|mut names| {
                // Groups are an IOMMU's.
                if is_copy && names.is_empty() && has_groups {
                    let why = "sys/class/iommu: is empty in this copy of a host";
                    return Reading::Unreadable(why.to_owned());
                }
                names.sort_by_cached_key(|name| in_number_order(name));
                Reading::Read(names)
            }),
            pci_names,
            iomem: at("proc").and_then(|dir| MemoryMap::iomem(&dir)),
            firmware_memory: at("sys/firmware/memmap").and_then(|dir| MemoryMap::firmware(&dir)),
            acpi_devices: at("sys/bus/acpi/devices").and_then(|dir| acpi_devices(&dir)),
            lockdown: at("sys/kernel/security").and_then(|dir| lockdown(&dir)),
            copied: is_copy,
            skipped: Vec::new(),
        };
        if is_copy {
            let tables = at("sys/firmware/acpi/tables").and_then(|dir| dir.names());
            let any = tables.value().is_some_and(|names| !names.is_empty());
            snapshot.ivrs = copied::settle_table(snapshot.ivrs, "IVRS", any);
            snapshot.dmar = copied::settle_table(snapshot.dmar, "DMAR", any);
            copied::settle(&mut snapshot.groups, &mut snapshot.functions, &snapshot.iommus);
        }
        skipped.sort();
        let ivrs = snapshot.table_or_why(&snapshot.ivrs, "IVRS", "ivhd", "AMD");
        let dmar = snapshot.table_or_why(&snapshot.dmar, "DMAR", "dmar", "Intel");
        Self { ivrs, dmar, skipped, ..snapshot }
    }

    /// Takes from an earlier snapshot of the same boot what was read then and cannot be read now, for
    /// want of rights that were given up. Tables and maps stay as they are until the host starts anew.
    pub(crate) fn keep_from(&mut self, earlier: &Self) {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            kernel_release,
            command_line,
            ivrs,
            dmar,
            dmi: Dmi { sys_vendor, product_name, board_vendor, board_name, bios_version, bios_date },
            pci_names,
            iomem,
            firmware_memory,
            acpi_devices,
            lockdown,
            // These change while the host runs, and everybody may read them: what was is no answer.
            has_btf: _,
            groups: _,
            functions: _,
            no_bus: _,
            iommus: _,
            copied: _,
            skipped: _,
        } = self;
        kernel_release.keep(&earlier.kernel_release);
        command_line.keep(&earlier.command_line);
        ivrs.keep(&earlier.ivrs);
        dmar.keep(&earlier.dmar);
        sys_vendor.keep(&earlier.dmi.sys_vendor);
        product_name.keep(&earlier.dmi.product_name);
        board_vendor.keep(&earlier.dmi.board_vendor);
        board_name.keep(&earlier.dmi.board_name);
        bios_version.keep(&earlier.dmi.bios_version);
        bios_date.keep(&earlier.dmi.bios_date);
        pci_names.keep(&earlier.pci_names);
        iomem.keep(&earlier.iomem);
        firmware_memory.keep(&earlier.firmware_memory);
        acpi_devices.keep(&earlier.acpi_devices);
        lockdown.keep(&earlier.lockdown);
    }

    /// What the bytes of memory from `start` to `end_inclusive` are by `/proc/iomem`, or by the
    /// firmware's map where that was not read.
    ///
    /// The reading is that of `/proc/iomem` where neither was.
    pub(crate) fn region_class(&self, start: u64, end_inclusive: u64) -> Reading<RegionClass<'_>> {
        let (map, source) = match (&self.iomem, &self.firmware_memory) {
            (Reading::Read(map), _) => (map, MapSource::Iomem),
            (_, Reading::Read(map)) => (map, MapSource::Firmware),
            (Reading::Absent, _) => return Reading::Absent,
            (Reading::Unreadable(why), _) => return Reading::Unreadable(why.clone()),
        };
        Reading::Read(map.class(source, start, end_inclusive))
    }

    /// Makes the groups of these functions unreadable: the copy has lost them.
    pub(crate) fn lose_groups(&mut self, functions: &BTreeSet<Bdf>) {
        let all = if let Reading::Read(all) = &mut self.functions { &mut all[..] } else { &mut [] };
        all.iter_mut().filter(|one| functions.contains(&one.bdf)).for_each(copied::lost_group);
    }

    /// No IOMMU works without its table: where there is one, the table was only not copied.
    fn table_or_why(
        &self,
        table: &Reading<HexBytes>,
        name: &str,
        unit: &str,
        maker: &str,
    ) -> Reading<HexBytes> {
        match table {
            Reading::Absent if self.has_unit(unit) => Reading::Unreadable(format!(
                "sys/firmware/acpi/tables/{name}: is missing, though the kernel found an {maker} \
                 IOMMU through it"
            )),
            reading => reading.clone(),
        }
    }

    /// Whether one of the IOMMUs has a name that begins like this: `ivhd` AMD's
    /// (drivers/iommu/amd/init.c), `dmar` Intel's (drivers/iommu/intel/dmar.c), `smmu` ARM's
    /// (drivers/iommu/arm).
    pub(crate) fn has_unit(&self, begin: &str) -> bool {
        self.units().any(|unit| unit.starts_with(begin))
    }

    /// The names of the IOMMUs, by their class, or by the functions that they serve where that was
    /// not read.
    pub(crate) fn units(&self) -> impl Iterator<Item = &str> {
        let serving = self.functions.value().filter(|_| self.iommus.value().is_none());
        let serving = serving.into_iter().flatten().filter_map(|function| function.iommu.value());
        self.iommus.value().into_iter().flatten().chain(serving).map(String::as_str)
    }
}

/// The kernel's BTF below `root`, whole.
pub(crate) fn kernel_btf(root: &Path) -> Reading<Vec<u8>> {
    let tree = Tree::disk(root);
    let btf = tree.top().and_then(|top| top.dir("sys/kernel/btf"));
    btf.and_then(|dir| dir.bytes("vmlinux", BTF_LIMIT))
}

/// The names that the host below `root` gives itself, for reports that leave them out.
pub(crate) fn node_names(root: &Path) -> Vec<String> {
    /// Bytes of a host's name that are read at most.
    const NAME: usize = 256;
    let tree = Tree::disk(root);
    [("etc", "hostname"), ("proc/sys/kernel", "hostname")]
        .into_iter()
        .filter_map(|(dir, file)| {
            let dir = tree.top().and_then(|top| top.dir(dir));
            dir.and_then(|dir| dir.text(file, NAME)).value().cloned()
        })
        .collect()
}

/// A file that the kernel never leaves empty: an empty copy comes of tools that trust the sizes
/// that procfs and sysfs give.
fn not_empty(dir: &Dir<'_>, name: &str, reading: Reading<String>) -> Reading<String> {
    reading.and_then(|text| {
        if text.is_empty() {
            let path = dir.path_of(name);
            return Reading::Unreadable(format!(
                "{}: is empty, which no kernel leaves it",
                path.display()
            ));
        }
        Reading::Read(text)
    })
}

/// The directories in `dir` whose names are keys, in the order of the keys.
fn children<'a, K: FromStr + fmt::Display + Ord>(
    dir: &Dir<'a>,
    not_a_key: &str,
    skipped: &mut Vec<Skipped>,
) -> Reading<Vec<(K, Dir<'a>)>> {
    dir.names().map(|names| {
        let mut children = Vec::new();
        for name in names {
            let why = match (exact::<K>(&name), dir.dir(&name)) {
                (Some(key), Reading::Read(child)) => {
                    children.push((key, child));
                    continue;
                }
                (Some(_), Reading::Unreadable(why)) => why,
                (Some(_), Reading::Absent) => {
                    "went away while it was read, or is a link to nothing".to_owned()
                }
                (None, _) => not_a_key.to_owned(),
            };
            skipped.push(Skipped { path: dir.path_of(&name).to_string_lossy().into_owned(), why });
        }
        children.sort_by(|(one, _), (other, _)| one.cmp(other));
        children
    })
}

fn read_groups(dir: &Dir<'_>, copied: bool, skipped: &mut Vec<Skipped>) -> Reading<Vec<Group>> {
    children(dir, "is not the number of an IOMMU group", skipped)
        .map(|groups| groups.iter().map(|(id, group)| read_group(*id, group, copied)).collect())
}

fn read_group(id: u32, group: &Dir<'_>, copied: bool) -> Group {
    let mut bad_region_lines = Vec::new();
    let mut ended = true;
    let mut text = group.bytes("reserved_regions", ATTRIBUTE_LIMIT).map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        // tar's padding is no part of it.
        let text = text.trim_matches('\0').to_owned();
        ended = text.ends_with('\n');
        text
    });
    // Some IOMMUs do without reserved regions, those of x86 never.
    if copied {
        text = not_empty(group, "reserved_regions", text);
    }
    let regions = text.map(|text| {
        let mut regions = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            match line.parse::<ReservedRegion>() {
                // Without its end the last word may be the begin of another: of `direct-relaxable`.
                Ok(region) if ended || lines.peek().is_some() || region.kind.is_whole_word() => {
                    regions.push(region);
                }
                Ok(_) => bad_region_lines.push(ParseRegionError { line: line.to_owned() }),
                Err(error) => bad_region_lines.push(error),
            }
        }
        regions
    });
    let members = group.dir("devices").and_then(|devices| devices.names()).map(|names| {
        let member = |name: String| exact(&name).map_or(Member::Other(name), Member::Pci);
        let mut members: Vec<_> = names.into_iter().map(member).collect();
        members.sort();
        members
    });
    let domain_type = group.text("type", ATTRIBUTE_LIMIT);
    Group { id, domain_type, regions, bad_region_lines, members, ..Group::default() }
}

/// The functions that have a folder, on the bus or `elsewhere`, and the names of all on the bus.
fn read_functions<'a>(
    bus: &Reading<Dir<'a>>,
    elsewhere: BTreeMap<Bdf, Dir<'a>>,
    links: Option<&Links>,
    skipped: &mut Vec<Skipped>,
) -> (Reading<Vec<PciFunction>>, BTreeSet<Bdf>) {
    let (mut named, mut folders) = (BTreeSet::new(), elsewhere);
    let listed = bus.clone().and_then(|dir| {
        dir.names().map(|names| {
            for name in names {
                let Some(bdf) = exact::<Bdf>(&name) else {
                    // Functions behind Intel VMD are in domains from 0x10000 on.
                    let path = dir.path_of(&name).to_string_lossy().into_owned();
                    let why = "is not an address in a 16-bit PCI segment".to_owned();
                    skipped.push(Skipped { path, why });
                    continue;
                };
                named.insert(bdf);
                if let Reading::Read(folder) = dir.dir(&name) {
                    folders.insert(bdf, folder);
                }
            }
        })
    });
    let functions: Vec<_> =
        folders.iter().map(|(bdf, folder)| read_function(*bdf, folder, links)).collect();
    let functions = match listed {
        Reading::Absent | Reading::Unreadable(_) if functions.is_empty() => {
            listed.map(|()| Vec::new())
        }
        _ => Reading::Read(functions),
    };
    (functions, named)
}

fn read_function(bdf: Bdf, function: &Dir<'_>, links: Option<&Links>) -> PciFunction {
    let mut driver = function.link_name("driver");
    let mut group = function.link_name("iommu_group").and_then(|name| match name.parse() {
        Ok(id) => Reading::Read(id),
        Err(_) => wrong(function, "iommu_group", &name, "the number of an IOMMU group"),
    });
    // The folder of an IOMMU's own function, in which its unit lies, is not the link to one.
    let is_unit = function.dir("iommu").value().is_some_and(|dir| !dir.has("devices"));
    let mut iommu = if is_unit { Reading::Absent } else { function.link_name("iommu") };
    if let Some(links) = links {
        // Where its other links were copied, so was this one.
        if driver == Reading::Absent && group == Reading::Absent && !function.has("uevent") {
            driver = copied::missing(&format!("sys/bus/pci/devices/{bdf}/driver"));
        }
        driver = driver.or_from(|| driver_of_uevent(function));
        group = group.or_from(|| links.groups.get(&bdf).copied());
        iommu = iommu.or_from(|| links.iommus.get(&bdf).cloned());
    }
    PciFunction {
        bdf,
        vendor: hex(function, "vendor", 4),
        device: hex(function, "device", 4),
        class: hex(function, "class", 6),
        driver,
        group,
        iommu,
        subsystem_vendor: hex(function, "subsystem_vendor", 4),
        subsystem_device: hex(function, "subsystem_device", 4),
        revision: hex(function, "revision", 2),
        parent: parent(function),
        secondary_bus: secondary_bus(function),
        physical_function: function.link_name("physfn").and_then(|name| match exact(&name) {
            Some(bdf) => Reading::Read(bdf),
            None => wrong(function, "physfn", &name, "a PCI address"),
        }),
    }
}

/// `DRIVER=e1000e` (`dev_uevent`, drivers/base/core.c).
fn driver_of_uevent(function: &Dir<'_>) -> Option<String> {
    let text = function.text("uevent", ATTRIBUTE_LIMIT);
    text.value()?.lines().find_map(|line| line.strip_prefix("DRIVER=")).map(str::to_owned)
}

/// The directory of a function lies in that of the bridge above it, or of the root bus, such as
/// `pci0000:00`.
fn parent(function: &Dir<'_>) -> Reading<Bdf> {
    let name = function.parent_name().unwrap_or_default();
    if let Some(bdf) = exact(&name) {
        return Reading::Read(bdf);
    }
    if name.strip_prefix("pci").is_some_and(|rest| rest.contains(':')) {
        return Reading::Absent;
    }
    let path = function.path_of("..");
    Reading::Unreadable(format!(
        "{}: is neither a bridge nor a root bus: the tree was copied without its links",
        path.display()
    ))
}

/// By the name of the bus, such as `pci_bus/0000:01`: the attributes that give the numbers read
/// configuration space, and newer kernels wake the bridge for that (`secondary_bus_number_show`,
/// drivers/pci/pci-sysfs.c).
fn secondary_bus(function: &Dir<'_>) -> Reading<u8> {
    function.dir("pci_bus").and_then(|dir| {
        dir.names().and_then(|names| {
            let bus = |name: &String| {
                let (_, bus) = name.rsplit_once(':')?;
                let hex = bus.len() == 2 && bus.bytes().all(|byte| byte.is_ascii_hexdigit());
                hex.then(|| u8::from_str_radix(bus, 16).ok()).flatten()
            };
            names.iter().find_map(bus).map_or(Reading::Absent, Reading::Read)
        })
    })
}

fn acpi_devices(dir: &Dir<'_>) -> Reading<Vec<AcpiDevice>> {
    dir.names().map(|mut names| {
        names.sort();
        let device = |name: String| {
            let device = dir.dir(&name).value().cloned()?;
            Some(AcpiDevice {
                // Devices without a hardware id are named by their place alone.
                hid: device.text("hid", ATTRIBUTE_LIMIT).value()?.clone(),
                uid: device.text("uid", ATTRIBUTE_LIMIT),
                path: device.text("path", ATTRIBUTE_LIMIT),
                device: device.link_name("physical_node"),
                name,
            })
        };
        names.into_iter().filter_map(device).collect()
    })
}

/// The word in brackets of `none [integrity] confidentiality`.
fn lockdown(dir: &Dir<'_>) -> Reading<String> {
    dir.text("lockdown", ATTRIBUTE_LIMIT).and_then(|text| {
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        match chosen {
            Some((word, _)) => Reading::Read(word.to_owned()),
            None => wrong(dir, "lockdown", &text, "a choice in brackets"),
        }
    })
}

/// A number as the kernel writes it, always in so many digits: with fewer the file is cut
/// (`pci_config_attr` and `class_show`, drivers/pci/pci-sysfs.c).
fn hex<T: TryFrom<u32>>(dir: &Dir<'_>, name: &str, digits: usize) -> Reading<T> {
    dir.text(name, ATTRIBUTE_LIMIT).and_then(|text| {
        text.strip_prefix("0x")
            .filter(|number| number.len() == digits)
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(|number| T::try_from(number).ok())
            .map_or_else(|| wrong(dir, name, &text, "a hex number of its size"), Reading::Read)
    })
}

/// A file whose content is not what it should be; long content is cut in the message.
fn wrong<T>(dir: &Dir<'_>, name: &str, content: &str, expected: &str) -> Reading<T> {
    let start: String = content.chars().take(64).collect();
    let path = dir.path_of(name);
    Reading::Unreadable(format!("{}: {start:?} is not {expected}", path.display()))
}

/// `ivhd2` before `ivhd10`.
fn in_number_order(name: &str) -> (String, Option<u64>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.strip_prefix(stem).and_then(|digits| digits.parse().ok());
    (stem.to_owned(), number)
}
