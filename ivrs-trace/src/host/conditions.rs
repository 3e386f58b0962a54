//! What else bears on tracing and on VFIO: the kernel's log and settings, modules, and what the
//! host's devices are in use for.
//!
//! It reads and writes down; what follows from it is [`crate::model::health`]'s business. Of the
//! network it keeps which interface has routes, no addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Component, Path},
};

use super::tree::{Dir, Files, Reading, Tree, exact};
use crate::pci::Bdf;

/// Bytes of a small file that are read at most.
const SMALL: usize = 64 * 1024;
/// Bytes of a file that grows with the host that are read at most.
const LARGE: usize = 16 * 1024 * 1024;
/// Where modprobe is configured, below the root.
const MODPROBE: [&str; 4] =
    ["etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The names of the ACPI tables.
    pub tables: Reading<Vec<String>>,
    /// The lines of the kernel's log that bear on tables, the IOMMU and lockdown.
    pub kernel_log: Reading<Vec<String>>,
    /// `/proc/sys/kernel/tainted`.
    pub tainted: Reading<u64>,
    /// The maker of the processor, as it says itself: `AuthenticAMD`.
    pub processor: Reading<String>,
    /// `/proc/sys/kernel/ftrace_enabled`.
    pub ftrace: Reading<String>,
    /// `/sys/kernel/debug/kprobes/enabled`; only root may read it.
    pub kprobes: Reading<String>,
    /// `/proc/sys/kernel/modules_disabled`.
    pub modules_disabled: Reading<String>,
    /// A line of `/proc/interrupts` whose interrupts are remapped; absent if there is none.
    pub remapped: Reading<String>,
    pub vfio_pci: bool,
    /// The modules of VFIO that the kernel has on disk.
    pub vfio_modules: Reading<Vec<String>>,
    /// What modprobe is told of modules of VFIO: file and line.
    pub modprobe: Vec<(String, String)>,
    /// `allow_unsafe_interrupts` of `vfio_iommu_type1`, if that is loaded.
    pub unsafe_interrupts: Reading<String>,
    pub disks: Reading<Vec<Disk>>,
    /// The mounted file systems that may lie on a block device.
    pub mounts: Reading<Vec<Mount>>,
    /// The paths of what is swapped to.
    pub swaps: Reading<Vec<String>>,
    pub interfaces: Reading<Vec<Interface>>,
    /// The drivers that `driver_override` names, by function.
    pub overrides: BTreeMap<Bdf, String>,
    /// The board's name in its device tree; a board with one may have no ACPI.
    pub device_tree: Reading<String>,
    /// The functions that the firmware's console was on.
    pub boot_vga: BTreeSet<Bdf>,
    /// Framebuffers and their functions.
    pub framebuffers: Vec<(String, Bdf)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub name: String,
    /// What device mapper calls it.
    pub mapped: Option<String>,
    /// Major and minor number, such as `259:2`.
    pub number: Reading<String>,
    /// The PCI functions through which it is reached.
    pub functions: Vec<Bdf>,
    /// The names of the block devices that it lies on.
    pub below: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number; `0:N` where it has no device of its own.
    pub number: String,
    pub place: String,
    pub kind: String,
    /// What is mounted, as it was named: often the path of a device.
    pub source: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub function: Option<Bdf>,
    /// The interfaces that it lies on: those of a bridge or a bond.
    pub below: Vec<String>,
    /// Whether the default route leads through it.
    pub default_route: bool,
    /// Whether it has an address, by its routes.
    pub addressed: bool,
}

impl Conditions {
    /// Reads those of the host below `root`. It does not fail: each part says whether it was read.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self::of_tree(&Tree::disk(root))
    }

    /// Those of a host of which this was read once.
    #[must_use]
    pub fn of_files(files: &Files) -> Self {
        Self::of_tree(&Tree::files(files))
    }

    pub(super) fn of_tree(tree: &Tree<'_>) -> Self {
        let root = tree.top();
        let at = |path: &str| root.clone().and_then(|root| root.dir(path));
        let small = |folder: &str, name: &str| at(folder).and_then(|dir| dir.text(name, SMALL));
        let (vfio_modules, modprobe) = modules(tree, &at);
        Self {
            tables: at("sys/firmware/acpi/tables")
                .and_then(|dir| dir.names())
                .or_not_copied(tree, "sys/firmware/acpi/tables"),
            kernel_log: at("dev").and_then(|dir| {
                dir.kernel_log("kmsg", LARGE).map(|text| text.lines().map(str::to_owned).collect())
            }),
            tainted: small("proc/sys/kernel", "tainted").and_then(|text| match text.parse() {
                Ok(mask) => Reading::Read(mask),
                Err(_) => Reading::Unreadable("proc/sys/kernel/tainted: is no number".to_owned()),
            }),
            processor: at("proc").and_then(|dir| {
                let line = lines(&dir, "cpuinfo", LARGE, |line| line.starts_with("vendor_id"), 1);
                first(line.map(|lines| {
                    let value = |line: &String| Some(line.split_once(':')?.1.trim().to_owned());
                    lines.iter().filter_map(value).collect()
                }))
            }),
            ftrace: small("proc/sys/kernel", "ftrace_enabled"),
            kprobes: small("sys/kernel/debug/kprobes", "enabled"),
            modules_disabled: small("proc/sys/kernel", "modules_disabled"),
            remapped: at("proc").or_missing("proc/interrupts").and_then(|dir| {
                let remapped = |line: &str| line.split_whitespace().any(|w| w.starts_with("IR-"));
                let lines = lines(&dir, "interrupts", LARGE, remapped, 1);
                first(lines.or_missing("proc/interrupts").map(|lines| {
                    // Without the counts.
                    let short = |line: &String| match line.find("IR-") {
                        Some(at) => line.get(at..).unwrap_or_default().to_owned(),
                        None => line.clone(),
                    };
                    lines.iter().map(short).collect()
                }))
            }),
            vfio_pci: at("sys/bus/pci/drivers/vfio-pci").value().is_some(),
            vfio_modules,
            modprobe,
            unsafe_interrupts: small(
                "sys/module/vfio_iommu_type1/parameters",
                "allow_unsafe_interrupts",
            ),
            disks: at("sys/class/block").and_then(|dir| disks(&dir, &at)),
            mounts: at("proc/self").and_then(|dir| mounts(&dir)),
            swaps: at("proc").and_then(|dir| {
                lines(&dir, "swaps", SMALL, |line| line.starts_with('/'), usize::MAX).map(|lines| {
                    let path = |line: &String| Some(line.split_whitespace().next()?.to_owned());
                    lines.iter().filter_map(path).collect()
                })
            }),
            interfaces: at("sys/class/net").and_then(|dir| interfaces(&dir, &at("proc/net"))),
            overrides: attributes(&at("sys/bus/pci/devices"), "driver_override")
                .into_iter()
                .filter(|(_, driver)| !driver.is_empty() && driver != "(null)")
                .collect(),
            device_tree: small("sys/firmware/devicetree/base", "model"),
            boot_vga: attributes(&at("sys/bus/pci/devices"), "boot_vga")
                .into_iter()
                .filter_map(|(bdf, text)| (text == "1").then_some(bdf))
                .collect(),
            framebuffers: framebuffers(&at("sys/class/graphics")),
        }
    }

    /// Takes from an earlier reading of the same boot what was read then and cannot be read now, for
    /// want of rights that were given up.
    pub fn keep_from(&mut self, earlier: &Self) {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            tables,
            kernel_log,
            processor,
            kprobes,
            vfio_modules,
            // These change while the host runs, and everybody may read them: what was is no answer.
            tainted: _,
            ftrace: _,
            modules_disabled: _,
            remapped: _,
            vfio_pci: _,
            modprobe: _,
            unsafe_interrupts: _,
            disks: _,
            mounts: _,
            swaps: _,
            interfaces: _,
            overrides: _,
            device_tree: _,
            boot_vga: _,
            framebuffers: _,
        } = self;
        tables.keep(&earlier.tables);
        kernel_log.keep(&earlier.kernel_log);
        processor.keep(&earlier.processor);
        kprobes.keep(&earlier.kprobes);
        vfio_modules.keep(&earlier.vfio_modules);
    }
}

/// The lines of a file that are wanted; a recording keeps no others.
fn lines(
    dir: &Dir<'_>,
    name: &str,
    limit: usize,
    wanted: impl Fn(&str) -> bool,
    at_most: usize,
) -> Reading<Vec<String>> {
    dir.text(name, limit).map(|text| {
        let lines: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| wanted(line))
            .take(at_most)
            .map(str::to_owned)
            .collect();
        dir.keep_only(name, || lines.join("\n"));
        lines
    })
}

impl<T> Reading<T> {
    /// That a file is not there says nothing of what would be in it.
    fn or_missing(self, path: &str) -> Self {
        match self {
            Self::Absent => Self::Unreadable(format!("{path}: is not there")),
            other => other,
        }
    }

    /// The same for a copy of a host, which may lack what the host has.
    fn or_not_copied(self, tree: &Tree<'_>, path: &str) -> Self {
        if tree.is_copy() { self.or_missing(path) } else { self }
    }
}

fn first(lines: Reading<Vec<String>>) -> Reading<String> {
    lines.and_then(|lines| match lines.into_iter().next() {
        Some(line) => Reading::Read(line),
        None => Reading::Absent,
    })
}

/// The modules of VFIO on disk, and what modprobe is told of them.
fn modules<'t>(
    tree: &Tree<'_>,
    at: &impl Fn(&str) -> Reading<Dir<'t>>,
) -> (Reading<Vec<String>>, Vec<(String, String)>) {
    let of_vfio = |line: &str| line.contains("vfio");
    let release = at("proc/sys/kernel").and_then(|dir| dir.text("osrelease", SMALL));
    let on_disk = release.and_then(|release| {
        if release.contains('/') {
            return Reading::Unreadable("the kernel's release is no name of a folder".to_owned());
        }
        at(&format!("lib/modules/{release}")).and_then(|dir| {
            let mut names = BTreeSet::new();
            let mut last = Reading::Absent;
            for file in ["modules.dep", "modules.builtin"] {
                match lines(&dir, file, LARGE, of_vfio, usize::MAX) {
                    Reading::Read(lines) => {
                        names.extend(lines.iter().filter_map(|line| module_name(line)));
                        last = Reading::Read(());
                    }
                    Reading::Absent => {}
                    Reading::Unreadable(why) => last = Reading::Unreadable(why),
                }
            }
            last.map(|()| names.into_iter().collect())
        })
    });
    let mut told = Vec::new();
    for folder in MODPROBE {
        let Reading::Read(dir) = at(folder) else { continue };
        let mut names: Vec<String> = dir.names().value().cloned().unwrap_or_default();
        names.sort();
        for name in
            names.iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "conf"))
        {
            let wanted = |line: &str| of_vfio(line) && !line.starts_with('#');
            let found = lines(&dir, name, SMALL, wanted, 64);
            let found = found.value().into_iter().flatten();
            told.extend(found.map(|line| (format!("{folder}/{name}"), line.clone())));
        }
    }
    // Many hosts have a link from lib to usr/lib.
    if !tree.is_copy() {
        let mut seen = BTreeSet::new();
        told.retain(|(file, line)| {
            let file = file.strip_prefix("usr/").unwrap_or(file).to_owned();
            seen.insert((file, line.clone()))
        });
    }
    (on_disk.or_not_copied(tree, "lib/modules"), told)
}

/// `vfio_pci` of `kernel/drivers/vfio/pci/vfio-pci.ko.xz: ...`
fn module_name(line: &str) -> Option<String> {
    let path = line.split(':').next()?;
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// The innermost PCI function on the way to a device.
fn function_of(target: &Path) -> Option<Bdf> {
    let names = target.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    names.filter_map(exact::<Bdf>).next_back()
}

fn disks<'t>(dir: &Dir<'_>, at: &impl Fn(&str) -> Reading<Dir<'t>>) -> Reading<Vec<Disk>> {
    dir.names().map(|mut names| {
        names.sort();
        let disk = |name: String| {
            let target = dir.link_target(&name).value().cloned().unwrap_or_default();
            let own = dir.dir(&name);
            let mut functions: Vec<Bdf> = function_of(&target).into_iter().collect();
            let mut below = Vec::new();
            if functions.is_empty() {
                let parts: Vec<String> =
                    target.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                // Of an NVMe disk with several controllers.
                if let Some(subsystem) = parts.iter().find(|part| part.starts_with("nvme-subsys"))
                    && let Reading::Read(subsystem) =
                        at(&format!("sys/class/nvme-subsystem/{subsystem}"))
                {
                    let names = subsystem.names().value().cloned().unwrap_or_default();
                    let targets = names.iter().map(|name| subsystem.link_target(name));
                    functions = targets.filter_map(|target| function_of(target.value()?)).collect();
                    functions.sort();
                    functions.dedup();
                }
                // Of a partition of a disk that lies on others.
                if let [.., parent, last] = parts.as_slice()
                    && *last == name
                    && parent != "block"
                    && functions.is_empty()
                {
                    below.push(parent.clone());
                }
                let slaves = own.clone().and_then(|own| own.dir("slaves"));
                below.extend(
                    slaves.and_then(|dir| dir.names()).value().cloned().unwrap_or_default(),
                );
                below.sort();
            }
            let mapped =
                own.clone().and_then(|own| own.dir("dm")).and_then(|dm| dm.text("name", SMALL));
            Disk {
                mapped: mapped.value().cloned(),
                number: own.and_then(|own| own.text("dev", SMALL)),
                name,
                functions,
                below,
            }
        };
        names.into_iter().map(disk).collect()
    })
}

/// Lines of `/proc/self/mountinfo` (`show_mountinfo` in `fs/proc_namespace.c`).
fn mounts(dir: &Dir<'_>) -> Reading<Vec<Mount>> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (number, place) = (before.next()?, before.nth(1)?);
        let mut after = after.split(' ');
        let (kind, source) = (after.next()?, after.next()?);
        Some(Mount {
            number: number.to_owned(),
            place: unescaped(place),
            kind: kind.to_owned(),
            source: unescaped(source),
        })
    };
    // What has neither a device nor the name of one is no disk's, but for ZFS, which hides them.
    let on_disk = |mount: &Mount| {
        !mount.number.starts_with("0:") || mount.source.starts_with('/') || mount.kind == "zfs"
    };
    let wanted = |line: &str| mount(line).is_some_and(|mount| on_disk(&mount));
    lines(dir, "mountinfo", LARGE, wanted, usize::MAX)
        .map(|lines| lines.iter().filter_map(|line| mount(line)).collect())
}

/// `\040` and the like as the characters that they stand for.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if *first == b'\\' => {
                bytes.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn interfaces(dir: &Dir<'_>, net: &Reading<Dir<'_>>) -> Reading<Vec<Interface>> {
    let names_of = match net.clone().and_then(|dir| routed(&dir)) {
        // Every Linux with a network has the file.
        Reading::Absent => Reading::Unreadable("proc/net/route: is not there".to_owned()),
        read => read,
    };
    dir.names().and_then(|mut names| {
        let (default, addressed) = match names_of {
            Reading::Read(found) => found,
            Reading::Absent => return Reading::Absent,
            Reading::Unreadable(why) => return Reading::Unreadable(why),
        };
        names.sort();
        let interface = |name: String| {
            let below = dir.dir(&name).and_then(|own| own.names());
            let below = below.value().into_iter().flatten();
            let mut below: Vec<String> =
                below.filter_map(|link| Some(link.strip_prefix("lower_")?.to_owned())).collect();
            below.sort();
            Interface {
                function: dir.link_target(&name).value().and_then(|target| function_of(target)),
                default_route: default.contains(&name),
                addressed: addressed.contains(&name),
                below,
                name,
            }
        };
        Reading::Read(names.into_iter().map(interface).collect())
    })
}

type Names = BTreeSet<String>;

/// The interfaces with a default route, and those with any route, of IPv4 and IPv6. A recording keeps
/// only that, no addresses.
fn routed(dir: &Dir<'_>) -> Reading<(Names, Names)> {
    let mut found = (Names::new(), Names::new());
    let mut take = |name: &str, is_default: bool| {
        found.1.insert(name.to_owned());
        if is_default {
            found.0.insert(name.to_owned());
        }
        if is_default { "0" } else { "1" }
    };
    // Interface, destination, gateway, flags, three numbers, mask (`fib_route_seq_show`,
    // net/ipv4/fib_trie.c), below a line of titles.
    let four = dir.text("route", LARGE).map(|text| {
        let mut kept = String::from("Iface Destination\n");
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [name, destination, _, _, _, _, _, mask, ..] = fields.as_slice() {
                let bit = take(name, zero(destination) && zero(mask));
                // Writing to a string does not fail.
                let _: std::fmt::Result = writeln!(kept, "{name} {bit} 0 0 0 0 0 {bit}");
            }
        }
        dir.keep_only("route", || kept);
    });
    // Destination, its prefix, and at the end the interface (`ipv6_route_native_seq_show`,
    // net/ipv6/ip6_fib.c). A kernel without IPv6 does not have it.
    if let Reading::Read(text) = dir.text("ipv6_route", LARGE) {
        let mut kept = String::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [destination, prefix, .., name] = fields.as_slice() {
                // Every interface has routes to fe80 and ff00, addresses or none.
                let own = destination.starts_with("fe8") || destination.starts_with("ff");
                if own || *name == "lo" {
                    continue;
                }
                let bit = take(name, zero(destination) && zero(prefix));
                let _: std::fmt::Result = writeln!(kept, "{bit} {bit} {name}");
            }
        }
        dir.keep_only("ipv6_route", || kept);
    }
    four.map(|()| found)
}

fn zero(digits: &str) -> bool {
    digits.bytes().all(|byte| byte == b'0')
}

/// An attribute of the functions that have it.
fn attributes(dir: &Reading<Dir<'_>>, name: &str) -> Vec<(Bdf, String)> {
    let Reading::Read(dir) = dir else { return Vec::new() };
    let functions = dir.names().value().cloned().unwrap_or_default();
    let of_function = |function: &String| {
        let bdf = exact::<Bdf>(function)?;
        let text = dir.dir(function).and_then(|function| function.text(name, SMALL));
        Some((bdf, text.value()?.clone()))
    };
    functions.iter().filter_map(of_function).collect()
}

fn framebuffers(dir: &Reading<Dir<'_>>) -> Vec<(String, Bdf)> {
    let Reading::Read(dir) = dir else { return Vec::new() };
    let mut names = dir.names().value().cloned().unwrap_or_default();
    names.sort();
    let found = |name: String| {
        let number = name.strip_prefix("fb")?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        let bdf = function_of(dir.link_target(&name).value()?)?;
        Some((name, bdf))
    };
    names.into_iter().filter_map(found).collect()
}
