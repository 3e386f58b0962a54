//! What will not help where the kernel refuses a device for a 1:1 map, and what may.

use crate::{
    codes::Code,
    model::{Cause, Model},
    pci::Bdf,
};

/// What will not help. `itself`: firmware asks for a map of the device, not only of another one of its
/// group.
pub(super) fn will_not(model: &Model, causes: &[Cause], itself: bool) -> Vec<String> {
    let vendor = if model.is_intel_host() { "intel" } else { "amd" };
    let mut items = vec![
        "other settings of the virtual machine, libvirt or QEMU: the kernel refuses before they \
         matter"
            .to_owned(),
        format!(
            "another bootloader, `iommu=pt` or other iommu= and {vendor}_iommu= options, Resizable \
             BAR or Above 4G decoding: none of them changes what firmware asks for"
        ),
    ];
    if itself {
        items.push(
            "ACS override: it only splits groups, and firmware asks for a map of the device itself"
                .to_owned(),
        );
    }
    items.extend(another_slot(model, causes));
    items
}

fn another_slot(model: &Model, causes: &[Cause]) -> Option<String> {
    let (coverage, entry) = causes
        .iter()
        .filter_map(Cause::ivmd)
        .filter_map(|ivmd| Some((model.coverage(ivmd)?, model.entry(ivmd)?)))
        .max_by_key(|(coverage, _)| coverage.devices.len())?;
    let (count, all) = (coverage.devices.len(), coverage.of_devices);
    let (first, last) = (entry.devid_start, entry.devid_end);
    if count < 2 || first == last {
        None
    } else if count == all && coverage.gap.is_none() {
        Some(format!("another device: the entry covers all {all} behind this host's AMD IOMMU"))
    } else {
        Some(format!(
            "another slot or card in the range: {first}-{last} is covered, whatever is there \
             ({}{count} of {all} devices here)",
            if coverage.gap.is_some() { "at least " } else { "" }
        ))
    }
}

/// What may help. `tied` is a device that only its group keeps; with `boards`, the reports of users are
/// told in full.
pub(super) fn may(model: &Model, causes: &[Cause], tied: Option<Bdf>, boards: bool) -> Vec<String> {
    let mut items = Vec::new();
    if let Some(bdf) = tied {
        items.push(format!(
            "another slot, or whatever else gives {bdf} a group of its own (functions of one card \
             may stay together): firmware asks for no 1:1 map of {bdf} itself, only the group ties \
             it to the device that blocks"
        ));
    }
    let protection = model.table().ivrs().is_some_and(|ivrs| {
        ivrs.ivinfo.dma_remap() && ivrs.ivmd.iter().any(|block| block.flags.exclusion())
    });
    if protection && causes.iter().any(|cause| cause.ivmd().is_some()) {
        let code = Code::IvrsDmaProtection;
        let reports: Vec<String> = code
            .explanation()
            .switches()
            .map(|one| format!("\"{}\" ({}; {})", one.setting, one.board, one.source))
            .collect();
        let reports = if boards {
            format!("such settings removed the entries: {}", reports.join("; "))
        } else {
            format!(
                "switching off \"Kernel DMA Protection Indicator\" or \"Pre-boot DMA Protection\" \
                 removed the entries (`ivrs-trace explain {code}`)"
            )
        };
        items.push(format!(
            "a BIOS setting for DMA protection before boot: IVinfo bit 1 is set beside exclusion \
             ranges; this matches such protection being on, but proves nothing. Users report that \
             {reports}. The price: without it the machine is open to DMA attacks while it boots, \
             and some laptops need it to sleep"
        ));
    }
    items.push(
        "a newer BIOS, which may have another table: `ivrs-trace check` tells at once".to_owned(),
    );
    items.push(
        "the board's vendor, who alone can change the table: `ivrs-trace report --for vendor` \
         writes the entries, their bytes and whom they hold"
            .to_owned(),
    );
    items
}
