//! For whom an entry likely was written.

use serde::Serialize;

use crate::pci::Bdf;

/// What an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A device that ACPI describes.
    Acpi,
    /// An IO-APIC.
    IoApic,
    /// A high precision event timer.
    Hpet,
    /// The one PCI function that the block names.
    Pci,
}

/// A likely owner of an IVMD block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Under which address the IOMMU sees it.
    pub bdf: Bdf,
    /// Its ACPI hardware id such as `MSFT0201`, or what it is and its number, printable.
    pub name: String,
    /// The device of that hardware id that the running kernel has, if there is just one, printable.
    pub device: Option<String>,
}
