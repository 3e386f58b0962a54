//! Names of PCI vendors, devices and classes.
//!
//! The host's own `pci.ids` comes first; of that only the names of the host's functions are kept. A
//! copy inside the program (feature `pci-names`) stands in for what it lacks. Names are as they are
//! written there: who prints them makes them printable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    tree::{Dir, Reading},
    types::PciFunction,
};

/// Where distributions keep the file, below the root.
const FILES: [(&str, &str); 2] = [("usr/share/hwdata", "pci.ids"), ("usr/share/misc", "pci.ids")];
/// Bytes of the file that are read at most; it has 1.5 million.
const FILE_LIMIT: usize = 8 * 1024 * 1024;
/// Characters of a name that are kept.
const NAME_LIMIT: usize = 200;

/// A name and the names of its parts: a vendor and its devices, a class and its subclasses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Named<K: Ord> {
    name: String,
    parts: BTreeMap<K, String>,
}

/// The names that the host's `pci.ids` has for its functions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciNames {
    vendors: BTreeMap<u16, Named<u16>>,
    classes: BTreeMap<u8, Named<u8>>,
}

impl PciNames {
    /// Reads the first file that there is below `root`.
    pub(super) fn read(root: &Dir<'_>, functions: &[PciFunction]) -> Reading<Self> {
        let mut last = Reading::Absent;
        for (folder, file) in FILES {
            let names = root.dir(folder).and_then(|folder| {
                let text = folder.text(file, FILE_LIMIT);
                text.map(|text| {
                    let names = Self::parse(&text, functions);
                    folder.keep_only(file, || names.to_text());
                    names
                })
            });
            match names {
                Reading::Read(names) => return Reading::Read(names),
                Reading::Absent => {}
                Reading::Unreadable(why) => last = Reading::Unreadable(why),
            }
        }
        last
    }

    /// Keeps of a `pci.ids` what names `functions`. Lines of other kinds are passed over.
    fn parse(text: &str, functions: &[PciFunction]) -> Self {
        /// What the indented lines belong to.
        enum Section {
            Vendor(u16),
            Class(u8),
            Other,
        }
        let mut names = Self::wanted(functions);
        let mut section = Section::Other;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let subsystem = line.starts_with("\t\t");
            if let Some(part) = line.strip_prefix('\t').filter(|_| !subsystem) {
                match section {
                    Section::Vendor(id) => take_part(names.vendors.get_mut(&id), entry(part, 4)),
                    Section::Class(id) => take_part(
                        names.classes.get_mut(&id),
                        entry(part, 2).and_then(|(id, name)| Some((u8::try_from(id).ok()?, name))),
                    ),
                    Section::Other => {}
                }
            } else if !subsystem {
                section = Section::Other;
                if let Some((id, name)) = line.strip_prefix("C ").and_then(|line| entry(line, 2)) {
                    if let Ok(id) = u8::try_from(id) {
                        section = Section::Class(id);
                        names.classes.entry(id).and_modify(|class| class.name = cut(name));
                    }
                } else if let Some((id, name)) = entry(line, 4) {
                    section = Section::Vendor(id);
                    names.vendors.entry(id).and_modify(|vendor| vendor.name = cut(name));
                }
            }
        }
        for vendor in names.vendors.values_mut() {
            vendor.parts.retain(|_, name| !name.is_empty());
        }
        for class in names.classes.values_mut() {
            class.parts.retain(|_, name| !name.is_empty());
        }
        names.vendors.retain(|_, vendor| !vendor.name.is_empty());
        names.classes.retain(|_, class| !class.name.is_empty());
        names
    }

    fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for (id, vendor) in &self.vendors {
            lines.push(format!("{id:04x}  {}\n", vendor.name));
            lines.extend(vendor.parts.iter().map(|(id, name)| format!("\t{id:04x}  {name}\n")));
        }
        for (id, class) in &self.classes {
            lines.push(format!("C {id:02x}  {}\n", class.name));
            lines.extend(class.parts.iter().map(|(id, name)| format!("\t{id:02x}  {name}\n")));
        }
        lines.concat()
    }

    /// The ids of `functions`, all without a name.
    fn wanted(functions: &[PciFunction]) -> Self {
        let mut names = Self::default();
        for function in functions {
            if let Some(vendor) = function.vendor.value() {
                let vendor = names.vendors.entry(*vendor).or_default();
                if let Some(device) = function.device.value() {
                    vendor.parts.insert(*device, String::new());
                }
            }
            if let Some((class, subclass)) = class_of(function) {
                let class = names.classes.entry(class).or_default();
                class.parts.insert(subclass, String::new());
            }
        }
        names
    }

    fn vendor(&self, id: u16) -> Option<&str> {
        self.vendors.get(&id).map(|vendor| vendor.name.as_str()).or_else(|| embedded::vendor(id))
    }

    fn device(&self, vendor: u16, id: u16) -> Option<&str> {
        self.vendors
            .get(&vendor)
            .and_then(|vendor| vendor.parts.get(&id))
            .map(String::as_str)
            .or_else(|| embedded::device(vendor, id))
    }

    fn class(&self, id: u8, subclass: u8) -> Option<&str> {
        let class = self.classes.get(&id);
        class
            .and_then(|class| class.parts.get(&subclass))
            .map(String::as_str)
            .or_else(|| embedded::subclass(id, subclass))
            .or_else(|| class.map(|class| class.name.as_str()))
            .or_else(|| embedded::class(id))
    }
}

impl PciFunction {
    pub fn vendor_name<'a>(&self, names: &'a PciNames) -> Option<&'a str> {
        names.vendor(*self.vendor.value()?)
    }

    pub fn device_name<'a>(&self, names: &'a PciNames) -> Option<&'a str> {
        names.device(*self.vendor.value()?, *self.device.value()?)
    }

    /// The name of its subclass, such as `VGA compatible controller`; of its class, if the subclass
    /// has none.
    pub fn class_name<'a>(&self, names: &'a PciNames) -> Option<&'a str> {
        let (class, subclass) = class_of(self)?;
        names.class(class, subclass)
    }
}

fn class_of(function: &PciFunction) -> Option<(u8, u8)> {
    let [_, class, subclass, _] = function.class.value()?.to_be_bytes();
    Some((class, subclass))
}

/// `10de  NVIDIA Corporation`, with that many digits.
fn entry(line: &str, digits: usize) -> Option<(u16, &str)> {
    let (id, name) = line.split_once("  ")?;
    let hex = id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then_some(())?;
    Some((u16::from_str_radix(id, 16).ok()?, name.trim()))
}

fn take_part<K: Ord>(whole: Option<&mut Named<K>>, part: Option<(K, &str)>) {
    if let (Some(whole), Some((id, name))) = (whole, part) {
        whole.parts.entry(id).and_modify(|known| *known = cut(name));
    }
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_LIMIT).collect()
}

#[cfg(feature = "pci-names")]
mod embedded {
    use std::{collections::HashMap, sync::LazyLock};

    use ruzstd::{decoding::StreamingDecoder, io::Read as _};

    use super::entry;

    /// Made by build.rs: as `pci.ids` is, without subsystems.
    static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pci.ids.zst"));

    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = Vec::new();
        if let Ok(mut decoder) = StreamingDecoder::new(PACKED) {
            // The test says that it is whole.
            _ = decoder.read_to_end(&mut text);
        }
        String::from_utf8(text).unwrap_or_default()
    });

    /// A vendor or class by its id, a device or subclass by both.
    #[derive(Default)]
    struct Names {
        vendors: HashMap<(u16, Option<u16>), &'static str>,
        classes: HashMap<(u16, Option<u16>), &'static str>,
    }

    static NAMES: LazyLock<Names> = LazyLock::new(|| {
        let mut names = Names::default();
        let (mut whole, mut is_class) = (0, false);
        for line in TEXT.lines() {
            let (part, line) = line.strip_prefix('\t').map_or((false, line), |line| (true, line));
            if !part {
                is_class = line.starts_with("C ");
            }
            let line = line.strip_prefix("C ").unwrap_or(line);
            let Some((id, name)) = entry(line, if is_class { 2 } else { 4 }) else { continue };
            if !part {
                whole = id;
            }
            let all = if is_class { &mut names.classes } else { &mut names.vendors };
            all.insert(if part { (whole, Some(id)) } else { (id, None) }, name);
        }
        names
    });

    pub(super) fn vendor(id: u16) -> Option<&'static str> {
        NAMES.vendors.get(&(id, None)).copied()
    }

    pub(super) fn device(vendor: u16, id: u16) -> Option<&'static str> {
        NAMES.vendors.get(&(vendor, Some(id))).copied()
    }

    pub(super) fn class(id: u8) -> Option<&'static str> {
        NAMES.classes.get(&(id.into(), None)).copied()
    }

    pub(super) fn subclass(class: u8, id: u8) -> Option<&'static str> {
        NAMES.classes.get(&(class.into(), Some(id.into()))).copied()
    }

    #[test]
    fn the_names_in_the_program_are_whole() {
        assert_eq!(vendor(0x10de), Some("NVIDIA Corporation"));
        assert!(device(0x1022, 0x1450).is_some_and(|name| name.contains("Root Complex")));
        assert_eq!(class(0x03), Some("Display controller"));
        assert_eq!(subclass(0x03, 0x00), Some("VGA compatible controller"));
        assert_eq!((vendor(0xfff0), device(0x10de, 0)), (None, None));
        assert!(NAMES.vendors.len() > 10_000 && NAMES.classes.len() > 100);
    }
}

#[cfg(not(feature = "pci-names"))]
mod embedded {
    pub(super) fn vendor(_: u16) -> Option<&'static str> {
        None
    }

    pub(super) fn device(_: u16, _: u16) -> Option<&'static str> {
        None
    }

    pub(super) fn class(_: u8) -> Option<&'static str> {
        None
    }

    pub(super) fn subclass(_: u8, _: u8) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\n\
        1022  Advanced Micro Devices\n\
        \t14db  Raphael bridge\n\
        \t\t1022 14db  A subsystem\n\
        10de  NVIDIA\n\
        \t2d04  A card\n\
        xyz\n\
        \t14db  Belongs to nobody\n\
        C 03  Display controller\n\
        \t00  VGA thing\n\
        \t\t00  VGA\n";

    fn function(vendor: u16, device: u16, class: u32) -> PciFunction {
        PciFunction {
            vendor: Reading::Read(vendor),
            device: Reading::Read(device),
            class: Reading::Read(class),
            ..PciFunction::default()
        }
    }

    #[test]
    fn the_hosts_file_names_its_functions_and_no_others_are_kept() {
        let card = function(0x10de, 0x2d04, 0x03_0000);
        let names = PciNames::parse(FILE, std::slice::from_ref(&card));
        assert_eq!(card.vendor_name(&names), Some("NVIDIA"));
        assert_eq!(card.device_name(&names), Some("A card"));
        assert_eq!(card.class_name(&names), Some("VGA thing"));
        assert_eq!(PciNames::parse(&names.to_text(), std::slice::from_ref(&card)), names);
        let json = serde_json::to_string(&names).unwrap();
        assert!(!json.contains("Advanced"), "{json}");
        assert_eq!(serde_json::from_str::<PciNames>(&json).unwrap(), names);
        // An unknown subclass has at least the name of its class.
        let other = function(0xffff, 0xffff, 0x03_7700);
        let names = PciNames::parse(FILE, std::slice::from_ref(&other));
        assert_eq!(other.class_name(&names), Some("Display controller"));
        assert_eq!(other.device_name(&names), None);
    }

    #[cfg(feature = "pci-names")]
    #[test]
    fn the_program_knows_names_by_itself() {
        let names = PciNames::default();
        let bridge = function(0x1022, 0x14db, 0x06_0400);
        assert_eq!(bridge.vendor_name(&names), Some("Advanced Micro Devices, Inc. [AMD]"));
        assert_eq!(bridge.device_name(&names), Some("Raphael/Granite Ridge GPP Bridge"));
        assert_eq!(bridge.class_name(&names), Some("PCI bridge"));
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_an_answer_not_a_panic(text in "(.|\n|\t)*") {
            PciNames::parse(&text, &[function(1, 2, 3)]);
        }
    }
}
