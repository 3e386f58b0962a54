//! What letters say of Intel's DMAR: the RMRRs that hold devices of the host.

use super::{input::Case, markup::Letter};
use crate::{
    firmware::Rmrr,
    model::{DmarTable, RmrrCoverage},
    pci::Bdf,
    report::{decode::rmrr_memory_text, hex_bytes},
};

/// Addresses that are told one by one.
const ADDRESSES: usize = 32;

/// The RMRRs that a verdict or a refusal rests on, with their reach, in table order.
pub(crate) fn culprits<'a>(case: &Case<'a>) -> Vec<(&'a Rmrr, RmrrCoverage)> {
    let of_devices = case.verdicts.devices.iter().flat_map(|device| &device.causes);
    let mut indices: Vec<usize> = of_devices.filter_map(|cause| cause.rmrr()).collect();
    for rejection in case.refused().flat_map(|attempt| &attempt.rejections) {
        indices.extend(case.model.causes(rejection).iter().filter_map(|cause| cause.rmrr()));
    }
    indices.sort_unstable();
    indices.dedup();
    let one = |index| Some((case.model.rmrr(index)?, case.model.rmrr_coverage(index)?));
    indices.into_iter().filter_map(one).collect()
}

/// The RMRRs that hold devices in a sentence, or why none can be named.
pub(crate) fn in_words(case: &Case<'_>) -> String {
    let found = culprits(case);
    if !found.is_empty() {
        let told: Vec<String> = found
            .iter()
            .map(|(rmrr, _)| {
                format!(
                    "RMRR {} at offset {:#x}, {} for {}",
                    rmrr.index,
                    rmrr.offset,
                    rmrr_memory_text(rmrr),
                    scopes(rmrr)
                )
            })
            .collect();
        return format!("Entries of the DMAR (Intel's table): {}.", told.join("; "));
    }
    match case.model.dmar() {
        DmarTable::Read(dmar) if dmar.rmrr.is_empty() => "The DMAR has no RMRR.".to_owned(),
        DmarTable::Read(dmar) => format!(
            "The DMAR has RMRRs ({}), none of which holds a PCI function of this host that was found.",
            dmar.rmrr.len()
        ),
        DmarTable::Absent => "This host has no DMAR that could be read.".to_owned(),
        DmarTable::Unreadable(why) => format!("The DMAR was not read: {}.", case.redact.text(why)),
        DmarTable::Malformed(error) => format!("The DMAR is malformed: {error}."),
    }
}

/// Each RMRR that holds devices, with its bytes.
pub(crate) fn rows(letter: &mut Letter, case: &Case<'_>) {
    for (rmrr, coverage) in culprits(case) {
        let mut rows = vec![
            ("RMRR", format!("{} at offset {:#x}", rmrr.index, rmrr.offset)),
            ("memory", rmrr_memory_text(rmrr)),
            ("segment", rmrr.segment.to_string()),
            ("scopes", scopes(rmrr)),
        ];
        for (number, line) in rmrr.bytes.chunks(16).enumerate() {
            rows.push((if number == 0 { "bytes" } else { " " }, hex_bytes(line)));
        }
        rows.push(("is", case.memory(rmrr.base, rmrr.limit).unwrap_or_default()));
        rows.push((
            "covers",
            format!(
                "{} of {} functions behind the Intel IOMMU: {}",
                coverage.devices.len(),
                coverage.of_devices,
                addresses(&coverage.devices)
            ),
        ));
        if !coverage.relaxable.is_empty() {
            let whom = addresses(&coverage.relaxable);
            rows.push(("relaxed", format!("{whom} (USB or display: not refused for it)")));
        }
        letter.rows(rows);
    }
}

fn addresses(devices: &[Bdf]) -> String {
    let mut told: Vec<String> = devices.iter().take(ADDRESSES).map(ToString::to_string).collect();
    if let Some(more) = devices.len().checked_sub(ADDRESSES).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

/// The device scopes of an RMRR.
fn scopes(rmrr: &Rmrr) -> String {
    let scopes: Vec<String> = rmrr.scopes.iter().map(ToString::to_string).collect();
    if scopes.is_empty() { "nobody".to_owned() } else { scopes.join(", ") }
}
