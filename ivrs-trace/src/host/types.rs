//! What a snapshot is made of.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    region::{ParseRegionError, ReservedRegion},
    tree::Reading,
};
use crate::pci::Bdf;

/// Bytes that are a hex string where they are written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HexBytes(pub Vec<u8>);

/// The text is not pairs of hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a string of bytes in hex: wrong at character {at}")]
pub struct ParseHexBytesError {
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

/// A device that ACPI describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiDevice {
    /// Its name on the ACPI bus, such as `MSFT0201:00`.
    pub name: String,
    /// Its hardware id (`_HID`), such as `MSFT0201`.
    pub hid: String,
    /// Its unique id (`_UID`) among those of the same hardware id; absent if it has none.
    pub uid: Reading<String>,
    /// Its path in the ACPI name space, such as `\_SB_.PCI0.PSP_`.
    pub path: Reading<String>,
    /// The device that the kernel made of it: a platform device such as `MSFT0201:00` or a PCI
    /// function; absent if it made none.
    pub device: Reading<String>,
}

/// Something found that could not be placed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    pub path: String,
    pub why: String,
}

/// Board and firmware, `/sys/class/dmi/id`; no serial numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmi {
    pub sys_vendor: Reading<String>,
    pub product_name: Reading<String>,
    pub board_vendor: Reading<String>,
    pub board_name: Reading<String>,
    pub bios_version: Reading<String>,
    /// Date of the firmware, as it writes it (mostly month/day/year).
    pub bios_date: Reading<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Those of the members that `devices` does not list, but whose own link leads to this group.
    #[serde(default)]
    pub by_link: Vec<Bdf>,
}

impl Group {
    /// Whether `devices` lists members: where it lists none, it was not copied, since no group of
    /// the kernel is empty.
    pub fn lists_members(&self) -> bool {
        self.members.value().is_some_and(|members| members.len() > self.by_link.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    Pci(Bdf),
    /// Any other device, such as the ACPI device `MSFT0201:00`.
    Other(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFunction {
    pub bdf: Bdf,
    pub vendor: Reading<u16>,
    pub device: Reading<u16>,
    /// Class, subclass and programming interface in the low 24 bits.
    pub class: Reading<u32>,
    /// Name of the driver bound to it; absent if there is none.
    pub driver: Reading<String>,
    /// Number of its IOMMU group; absent if it has none.
    pub group: Reading<u32>,
    /// Name of the IOMMU that serves it, such as `ivhd0`; absent if none does.
    pub iommu: Reading<String>,
    /// Vendor id of the card or board that it is on.
    #[serde(default)]
    pub subsystem_vendor: Reading<u16>,
    /// Device id that this vendor gave.
    #[serde(default)]
    pub subsystem_device: Reading<u16>,
    #[serde(default)]
    pub revision: Reading<u8>,
    /// The bridge above it; absent on a root bus.
    #[serde(default)]
    pub parent: Reading<Bdf>,
    /// The bus right below it; absent if it is not a bridge, or one without a bus.
    #[serde(default)]
    pub secondary_bus: Reading<u8>,
    /// The physical function that it is a virtual function of; absent if it is not virtual.
    #[serde(default)]
    pub physical_function: Reading<Bdf>,
}

impl PciFunction {
    /// One that is known by its name alone, and why.
    pub(crate) fn named(bdf: Bdf, why: &str) -> Self {
        let unread = || Reading::Unreadable(why.to_owned());
        Self {
            bdf,
            vendor: Reading::Unreadable(why.to_owned()),
            device: Reading::Unreadable(why.to_owned()),
            class: Reading::Unreadable(why.to_owned()),
            driver: unread(),
            group: Reading::Unreadable(why.to_owned()),
            iommu: unread(),
            ..Self::default()
        }
    }

    /// Whether it is a PCI-to-PCI bridge (classes 0x0604 and 0x0609), by its class.
    pub fn is_bridge(&self) -> Option<bool> {
        self.class.value().map(|class| matches!(class >> 8, 0x0604 | 0x0609))
    }

    /// Whether it is an IOMMU: by its class (0x0806), or by the ids of virtio-iommu, which has no class
    /// of its own.
    pub(crate) fn is_iommu(&self) -> bool {
        let ids = (self.vendor.value(), self.device.value());
        self.class.value().is_some_and(|class| class >> 8 == 0x0806)
            || ids == (Some(&0x1af4), Some(&0x1057))
    }
}
