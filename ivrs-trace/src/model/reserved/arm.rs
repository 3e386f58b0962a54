//! A host whose IOMMU is ARM's.

use std::collections::BTreeMap;

use super::memory::AT_MOST;
use crate::{host::RegionKind, model::known::Known};

/// What there is to say of an ARM host, whose tables are not read: the regions, and where they come
/// from.
pub(crate) fn regions(model: &Known) -> String {
    let mut ranges: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for group in model.groups() {
        for region in group.regions.value().into_iter().flatten() {
            if region.kind == RegionKind::Direct {
                let groups = ranges.entry((region.start, region.end_inclusive)).or_default();
                groups.push(group.id.to_string());
            }
        }
    }
    let told: Vec<String> = ranges
        .iter()
        .take(AT_MOST)
        .map(|((start, end), groups)| {
            format!("{start:#x} to {end:#x} (group {})", groups.join(", "))
        })
        .collect();
    let what = if told.is_empty() {
        "the IOMMU of this host is ARM's, and no group has a direct region; one".to_owned()
    } else {
        format!("the IOMMU of this host is ARM's, with direct regions {}; each", told.join(", "))
    };
    format!(
        "{what} would come from an RMR node of the ACPI table IORT, or from a reserved-memory node \
         with iommu-addresses in the device tree; these are not read here"
    )
}
