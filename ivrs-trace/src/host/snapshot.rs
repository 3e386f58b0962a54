//! The snapshot itself: what is read, and how.

use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    region::{ParseRegionError, ReservedRegion},
    tree::{Dir, Reading},
};
use crate::pci::Bdf;

/// Bytes of an attribute that are read at most; sysfs itself ends at a page.
const ATTRIBUTE_LIMIT: usize = 64 * 1024;
/// Bytes of an ACPI table that are read at most; real ones have a few hundred.
const TABLE_LIMIT: usize = 1024 * 1024;

/// Bytes that are a hex string where they are written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HexBytes(pub Vec<u8>);

/// The text is not pairs of hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a string of bytes in hex: wrong at character {at}")]
pub struct ParseHexBytesError {
    /// Where, from 0.
    pub at: usize,
}

impl From<HexBytes> for String {
    fn from(bytes: HexBytes) -> Self {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
        bytes.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
    }
}

impl TryFrom<String> for HexBytes {
    type Error = ParseHexBytesError;

    fn try_from(text: String) -> Result<Self, ParseHexBytesError> {
        let digit = |(at, byte): (usize, &u8)| {
            let value = char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
            value.ok_or(ParseHexBytesError { at })
        };
        let digits: Vec<_> =
            text.as_bytes().iter().enumerate().map(digit).collect::<Result<_, _>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(ParseHexBytesError { at: text.len() });
        }
        Ok(Self(pairs.iter().map(|[high, low]| high << 4 | low).collect()))
    }
}

/// A host as it stood when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Board and firmware.
    pub dmi: Dmi,
    /// The IOMMU groups in the order of their numbers.
    pub groups: Reading<Vec<Group>>,
    /// The PCI functions in the order of their addresses.
    pub functions: Reading<Vec<PciFunction>>,
    /// The IOMMUs by name, such as `ivhd0` or `dmar1`.
    pub iommus: Reading<Vec<String>>,
    /// What was found and has no place in the fields above.
    pub skipped: Vec<Skipped>,
}

/// Something found that could not be placed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it is.
    pub path: String,
    /// Why it could not be placed.
    pub why: String,
}

/// Board and firmware, `/sys/class/dmi/id`; no serial numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmi {
    /// Maker of the machine.
    pub sys_vendor: Reading<String>,
    /// Name of the machine.
    pub product_name: Reading<String>,
    /// Maker of the board.
    pub board_vendor: Reading<String>,
    /// Name of the board.
    pub board_name: Reading<String>,
    /// Version of the firmware.
    pub bios_version: Reading<String>,
    /// Date of the firmware, as it writes it (mostly month/day/year).
    pub bios_date: Reading<String>,
}

/// An IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its number. The kernel uses a number again after a group is gone.
    pub id: u32,
    /// Type of its default domain: `DMA`, `DMA-FQ`, `identity` and so on.
    pub domain_type: Reading<String>,
    /// Its reserved regions, merged by the kernel over all members.
    pub regions: Reading<Vec<ReservedRegion>>,
    /// Lines of `reserved_regions` that are not regions. The kernel cuts the file at a page.
    pub bad_region_lines: Vec<ParseRegionError>,
    /// Its devices: PCI functions by address, then the others by name. The kernel's own order, in
    /// which it tries them, does not show in sysfs.
    pub members: Reading<Vec<Member>>,
}

/// A device of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// A PCI function.
    Pci(Bdf),
    /// Any other device, such as the ACPI device `MSFT0201:00`.
    Other(String),
}

/// A PCI function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFunction {
    /// Its address.
    pub bdf: Bdf,
    /// Vendor id.
    pub vendor: Reading<u16>,
    /// Device id.
    pub device: Reading<u16>,
    /// Class, subclass and programming interface in the low 24 bits.
    pub class: Reading<u32>,
    /// Name of the driver bound to it; absent if there is none.
    pub driver: Reading<String>,
    /// Number of its IOMMU group; absent if it has none.
    pub group: Reading<u32>,
    /// Name of the IOMMU that serves it, such as `ivhd0`; absent if none does.
    pub iommu: Reading<String>,
}

impl PciFunction {
    /// Whether it is a PCI-to-PCI bridge (classes 0x0604 and 0x0609), by its class.
    #[must_use]
    pub fn is_bridge(&self) -> Option<bool> {
        self.class.value().map(|class| matches!(class >> 8, 0x0604 | 0x0609))
    }
}

impl Snapshot {
    /// Reads the host below `root`.
    ///
    /// It does not fail: each part says whether it could be read. The `reserved_regions` of each
    /// group are read exactly once; on a live host each such read makes the kernel ask its IOMMU
    /// driver for the regions of every device of the group, which probes can watch.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let canonical = root.canonicalize();
        // An absent root is a mistake of whoever named it, not a host without anything.
        let root = match &canonical {
            Ok(path) => Reading::Read(Dir::root(path)),
            Err(error) => Reading::Unreadable(format!("{}: {error}", root.display())),
        };
        let at = |path: &str| root.clone().and_then(|root| root.dir(path));
        let mut skipped = Vec::new();
        let dmi = at("sys/class/dmi/id");
        let dmi = |name| dmi.clone().and_then(|dir| dir.text(name, ATTRIBUTE_LIMIT));
        let snapshot = Self {
            kernel_release: at("proc/sys/kernel")
                .and_then(|dir| dir.text("osrelease", ATTRIBUTE_LIMIT)),
            command_line: at("proc").and_then(|dir| dir.text("cmdline", ATTRIBUTE_LIMIT)),
            has_btf: at("sys/kernel/btf").value().is_some_and(|dir| dir.has("vmlinux")),
            ivrs: at("sys/firmware/acpi/tables")
                .and_then(|dir| dir.bytes("IVRS", TABLE_LIMIT))
                .map(HexBytes),
            dmi: Dmi {
                sys_vendor: dmi("sys_vendor"),
                product_name: dmi("product_name"),
                board_vendor: dmi("board_vendor"),
                board_name: dmi("board_name"),
                bios_version: dmi("bios_version"),
                bios_date: dmi("bios_date"),
            },
            groups: at("sys/kernel/iommu_groups").and_then(|dir| groups(&dir, &mut skipped)),
            functions: at("sys/bus/pci/devices").and_then(|dir| functions(&dir, &mut skipped)),
            iommus: at("sys/class/iommu").and_then(|dir| dir.names()).map(|mut names| {
                names.sort_by_cached_key(|name| in_number_order(name));
                names
            }),
            skipped: Vec::new(),
        };
        skipped.sort();
        Self { skipped, ..snapshot }
    }
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

/// The key that is written just so: a copied tree may hold `7` and `07`.
fn exact<K: FromStr + fmt::Display>(name: &str) -> Option<K> {
    name.parse().ok().filter(|key: &K| key.to_string() == name)
}

fn groups(dir: &Dir<'_>, skipped: &mut Vec<Skipped>) -> Reading<Vec<Group>> {
    children(dir, "is not the number of an IOMMU group", skipped)
        .map(|groups| groups.iter().map(|(id, group)| read_group(*id, group)).collect())
}

fn read_group(id: u32, group: &Dir<'_>) -> Group {
    let mut bad_region_lines = Vec::new();
    let regions = group.text("reserved_regions", ATTRIBUTE_LIMIT).map(|text| {
        let lines = text.lines().map(str::parse::<ReservedRegion>);
        lines.filter_map(|line| line.map_err(|error| bad_region_lines.push(error)).ok()).collect()
    });
    let members = group.dir("devices").and_then(|devices| devices.names()).map(|names| {
        let member = |name: String| exact(&name).map_or(Member::Other(name), Member::Pci);
        let mut members: Vec<_> = names.into_iter().map(member).collect();
        members.sort();
        members
    });
    let domain_type = group.text("type", ATTRIBUTE_LIMIT);
    Group { id, domain_type, regions, bad_region_lines, members }
}

fn functions(dir: &Dir<'_>, skipped: &mut Vec<Skipped>) -> Reading<Vec<PciFunction>> {
    // Functions behind Intel VMD are in domains from 0x10000 on.
    children(dir, "is not an address in a 16-bit PCI segment", skipped).map(|functions| {
        functions.iter().map(|(bdf, function)| read_function(*bdf, function)).collect()
    })
}

fn read_function(bdf: Bdf, function: &Dir<'_>) -> PciFunction {
    PciFunction {
        bdf,
        vendor: hex(function, "vendor"),
        device: hex(function, "device"),
        class: hex(function, "class"),
        driver: function.link_name("driver"),
        group: function.link_name("iommu_group").and_then(|name| match name.parse() {
            Ok(id) => Reading::Read(id),
            Err(_) => wrong(function, "iommu_group", &name, "the number of an IOMMU group"),
        }),
        iommu: function.link_name("iommu"),
    }
}

fn hex<T: TryFrom<u32>>(dir: &Dir<'_>, name: &str) -> Reading<T> {
    dir.text(name, ATTRIBUTE_LIMIT).and_then(|text| {
        text.strip_prefix("0x")
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
