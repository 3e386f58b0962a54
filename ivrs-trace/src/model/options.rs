//! What the kernel command line says about the IOMMU. It only picks options out; what they do is
//! the kernel's.

use crate::host::Snapshot;

/// How options begin that bear on the IOMMU and VFIO.
const PREFIXES: [&str; 10] = [
    "iommu=",
    "iommu.",
    "amd_iommu",
    "intel_iommu",
    "ivrs_",
    "vfio",
    "iommufd",
    "pcie_acs_override",
    "pci=noats",
    "efi=disable_early_pci_dma",
];

/// The options that bear on the IOMMU and VFIO, as they are written, in their order.
pub(super) fn of(host: &Snapshot) -> impl Iterator<Item = &str> {
    words(host).filter(|option| PREFIXES.iter().any(|prefix| option.starts_with(prefix)))
}

fn words(host: &Snapshot) -> impl Iterator<Item = &str> {
    let line = host.command_line.value().map_or("", String::as_str);
    // What follows `--` is for init.
    line.split_whitespace().take_while(|option| *option != "--")
}

/// Options that keep interrupts from being remapped (`setup_nointremap` and `setup_irqremap`,
/// `drivers/iommu/irq_remapping.c`; without IO-APIC or IOMMU there is nothing to remap with).
pub(super) fn no_remapping(host: &Snapshot) -> impl Iterator<Item = &str> {
    words(host).filter(|option| {
        let (name, values) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "nointremap" | "noapic" | "nolapic" => true,
            "intremap" | "iommu" | "amd_iommu" => values.split(',').any(|value| value == "off"),
            _ => false,
        }
    })
}

/// Whether x2APIC is to be used though the DMAR says no (`setup_irqremap`,
/// `drivers/iommu/irq_remapping.c`).
pub(super) fn ignores_x2apic_opt_out(host: &Snapshot) -> bool {
    let values = words(host).filter_map(|option| option.strip_prefix("intremap="));
    values.flat_map(|values| values.split(',')).any(|value| value == "no_x2apic_optout")
}

/// The option that asks for relaxed unity maps, if there is one: `amd_iommu=relax_unity`, alone or
/// in a list. No mainline kernel up to 7.3 knows it; a patch that was posted does.
pub(super) fn relax_unity(host: &Snapshot) -> Option<&str> {
    of(host).find(|option| {
        let values = option.strip_prefix("amd_iommu=");
        values.is_some_and(|values| values.split(',').any(|value| value == "relax_unity"))
    })
}

/// Whether the command line asks for relaxed unity maps.
pub(super) fn relaxes_unity(host: &Snapshot) -> bool {
    relax_unity(host).is_some()
}
