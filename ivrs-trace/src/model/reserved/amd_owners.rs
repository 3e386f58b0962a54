//! For whom firmware likely wrote an IVMD block.
//!
//! A table does not say. What it names inside the block's range is a hint: devices that ACPI
//! describes (IVHD entries of type 0xf0), IO-APICs and HPETs (type 0x48), or the one PCI function
//! that the block is for. So an owner is likely, and never more than that.

use std::collections::BTreeMap;

use super::owner::{Owner, OwnerKind};
use crate::{
    escape::printable,
    firmware::amd::{
        device_entry::{Content, Entry, SpecialKind, Uid},
        ivrs::{IvhdKind, IvmdKind},
    },
    host::AcpiDevice,
    model::{Known, bounds::OWNERS},
    pci::Bdf,
};

/// The likely owners of the IVMD block with that index, by address.
pub(crate) fn of_entry(model: &Known, ivmd: usize) -> Vec<Owner> {
    let (Some(block), Some(entry)) = (model.ivmd(ivmd), model.entry(ivmd)) else {
        return Vec::new();
    };
    let named = model.named.get_or_init(|| all(model));
    let first = Bdf::new(entry.segment, entry.devid_start);
    let begin = named.partition_point(|owner| owner.bdf < first);
    let within = named.iter().skip(begin).take_while(|owner| entry.matches(owner.bdf));
    let mut owners: Vec<Owner> = within.take(OWNERS).cloned().collect();
    if owners.is_empty() && block.kind == IvmdKind::Device {
        let bdf = Bdf::new(block.segment, block.devid);
        owners.extend(model.function(bdf).map(|_| Owner {
            kind: OwnerKind::Pci,
            bdf,
            name: bdf.to_string(),
            device: None,
        }));
    }
    owners
}

/// All that the IVHD blocks in use name, by address.
fn all(model: &Known) -> Vec<Owner> {
    let (Some(ivrs), Some(view)) = (model.table().ivrs(), model.table().view()) else {
        return Vec::new();
    };
    let devices = kernel_devices(model);
    let mut owners = Vec::new();
    for ivhd in ivrs.ivhd.iter().filter(|ivhd| view.uses(ivhd)) {
        let entries = ivhd.entries(ivrs);
        let named = entries.iter().filter_map(|entry| named(&devices, ivhd.kind, entry));
        owners.extend(named.map(|(devid, kind, name, device)| Owner {
            kind,
            bdf: Bdf::new(ivhd.segment, devid),
            name,
            device,
        }));
    }
    owners.sort_by(|one, other| {
        (one.bdf, one.kind, &one.name).cmp(&(other.bdf, other.kind, &other.name))
    });
    owners.dedup();
    owners
}

type Named = (crate::pci::Devid, OwnerKind, String, Option<String>);

fn named(
    devices: &BTreeMap<&str, Option<&AcpiDevice>>,
    block: IvhdKind,
    entry: &Entry,
) -> Option<Named> {
    match &entry.content {
        // The kernel heeds those in blocks of type 0x40 only.
        Content::Acpi(device) if block == IvhdKind::Type40 => {
            let name = match &device.uid {
                Uid::Text(uid) => format!("{} ({uid})", device.hid),
                Uid::None | Uid::Integer { .. } | Uid::Unknown { .. } => device.hid.clone(),
            };
            let known = devices.get(device.hid.as_str()).copied().flatten();
            let known = known.map(|one| printable(one.device.value().unwrap_or(&one.name)));
            Some((device.devid, OwnerKind::Acpi, name, known))
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

/// The one ACPI device that has a hardware id; none where several have it.
fn kernel_devices(model: &Known) -> BTreeMap<&str, Option<&AcpiDevice>> {
    let mut devices = BTreeMap::new();
    for device in model.host().acpi_devices.value().into_iter().flatten() {
        devices.entry(device.hid.as_str()).and_modify(|one| *one = None).or_insert(Some(device));
    }
    devices
}
