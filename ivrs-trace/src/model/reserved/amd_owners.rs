//! For whom firmware likely wrote an IVMD block.
//!
//! A table does not say. What it names inside the block's range is a hint: devices that ACPI
//! describes (IVHD entries of type 0xf0), IO-APICs and HPETs (type 0x48), or the one PCI function
//! that the block is for. So an owner is likely, and never more than that.

use serde::Serialize;

use crate::{
    escape::printable,
    firmware::amd::{
        device_entry::{Content, Entry, SpecialKind, Uid},
        ivrs::{IvhdKind, IvmdKind},
    },
    model::Known,
    pci::Bdf,
};

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

/// The likely owners of the IVMD block with that index, by address.
pub(crate) fn of_entry(model: &Known, ivmd: usize) -> Vec<Owner> {
    let (Some(ivrs), Some(view)) = (model.table().ivrs(), model.table().view()) else {
        return Vec::new();
    };
    let (Some(block), Some(entry)) = (model.ivmd(ivmd), model.entry(ivmd)) else {
        return Vec::new();
    };
    let mut owners: Vec<Owner> = ivrs
        .ivhd
        .iter()
        .filter(|ivhd| view.uses(ivhd))
        .flat_map(|ivhd| {
            let named = move |one: &Entry| named(model, ivhd.kind, one);
            ivhd.entries(ivrs).iter().filter_map(named).collect::<Vec<_>>().into_iter().map(
                |(devid, kind, name, device)| Owner {
                    kind,
                    bdf: Bdf::new(ivhd.segment, devid),
                    name,
                    device,
                },
            )
        })
        .filter(|owner| entry.matches(owner.bdf))
        .collect();
    if owners.is_empty() && block.kind == IvmdKind::Device {
        let bdf = Bdf::new(block.segment, block.devid);
        owners.extend(model.function(bdf).map(|_| Owner {
            kind: OwnerKind::Pci,
            bdf,
            name: bdf.to_string(),
            device: None,
        }));
    }
    owners.sort_by(|one, other| {
        (one.bdf, one.kind, &one.name).cmp(&(other.bdf, other.kind, &other.name))
    });
    owners.dedup();
    owners
}

type Named = (crate::pci::Devid, OwnerKind, String, Option<String>);

fn named(model: &Known, block: IvhdKind, entry: &Entry) -> Option<Named> {
    match &entry.content {
        // The kernel heeds those in blocks of type 0x40 only.
        Content::Acpi(device) if block == IvhdKind::Type40 => {
            let name = match &device.uid {
                Uid::Text(uid) => format!("{} ({uid})", device.hid),
                Uid::None | Uid::Integer { .. } | Uid::Unknown { .. } => device.hid.clone(),
            };
            Some((device.devid, OwnerKind::Acpi, name, kernel_device(model, &device.hid)))
        }
        Content::Special { handle, devid, kind, .. } => {
            let (kind, name) = match kind {
                SpecialKind::IoApic => (OwnerKind::IoApic, format!("IO-APIC {handle}")),
                SpecialKind::Hpet => (OwnerKind::Hpet, format!("HPET {handle}")),
                SpecialKind::Other(_) => return None,
            };
            Some((*devid, kind, name, None))
        }
        _ => None,
    }
}

/// The name of the one ACPI device that has this hardware id.
fn kernel_device(model: &Known, hid: &str) -> Option<String> {
    let mut devices = model.host().acpi_devices.value()?.iter().filter(|device| device.hid == hid);
    let one = devices.next().filter(|_| devices.next().is_none())?;
    Some(printable(one.device.value().unwrap_or(&one.name)))
}
