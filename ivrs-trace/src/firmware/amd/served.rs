//! Which devids the IVHD blocks in use hand to an IOMMU: those for which the kernel's
//! `rlookup_table` has one (`init_iommu_from_acpi` and `set_dev_entry_from_acpi`,
//! drivers/iommu/amd/init.c, 6.1 to 7.3). Only they get a group (`check_device`, amd/iommu.c).

use std::collections::BTreeMap;

use super::{
    device_entry::{AcpiDevice, Content},
    ivrs::{Ivhd, IvhdKind, Ivrs},
};
use crate::pci::{Bdf, Devid, Segment};

/// First and last devids, by first devid and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served(BTreeMap<Segment, Vec<(Devid, Devid)>>);

impl Served {
    /// Of the blocks that are used, none behind the last devid of its segment.
    pub(super) fn of<'a>(
        table: &Ivrs,
        used: impl Iterator<Item = &'a Ivhd>,
        last_bdf: &BTreeMap<Segment, Devid>,
    ) -> Self {
        let mut served: BTreeMap<Segment, Vec<(Devid, Devid)>> = BTreeMap::new();
        for ivhd in used {
            let ranges = served.entry(ivhd.segment).or_default();
            let last = last_bdf.get(&ivhd.segment).copied().unwrap_or_default();
            let mut add = |first: Devid, end: Devid| {
                if first <= end && first <= last {
                    ranges.push((first, end.min(last)));
                }
            };
            // An end without a start counts from the last start before it.
            let mut start = Devid(0);
            for entry in ivhd.entries(table) {
                match entry.content {
                    Content::All(_) => add(Devid(0), last),
                    Content::Device(devices) => {
                        add(devices.first, devices.last);
                        if let Some(source) = devices.source {
                            add(source, source);
                        }
                    }
                    Content::Range { devices, .. } => {
                        start = devices.first;
                        add(devices.first, devices.last);
                        let source = devices.source.filter(|_| devices.first <= devices.last);
                        if let Some(source) = source {
                            add(source, source);
                        }
                    }
                    Content::StartWithoutEnd(devices) => start = devices.first,
                    Content::EndWithoutStart { last } => add(start, last),
                    Content::Special { devid, .. } => add(devid, devid),
                    Content::Acpi(AcpiDevice { devid, .. }) if ivhd.kind == IvhdKind::Type40 => {
                        add(devid, devid);
                    }
                    Content::Acpi(_)
                    | Content::Padding
                    | Content::Reserved
                    | Content::Cut
                    | Content::NoLength => {}
                }
            }
        }
        for ranges in served.values_mut() {
            ranges.sort_unstable();
            // A range swallows those that begin inside it or right behind it.
            ranges.dedup_by(|next, kept| {
                let touches = next.0.0 <= kept.1.0.saturating_add(1);
                if touches {
                    kept.1 = kept.1.max(next.1);
                }
                touches
            });
        }
        Self(served)
    }

    /// What they are in a segment.
    pub(crate) fn ranges(&self, segment: Segment) -> &[(Devid, Devid)] {
        self.0.get(&segment).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a function's requests reach an IOMMU.
    pub(crate) fn contains(&self, Bdf { segment, devid }: Bdf) -> bool {
        let ranges = self.ranges(segment);
        let behind = ranges.partition_point(|(first, _)| *first <= devid);
        let last = behind.checked_sub(1).and_then(|index| ranges.get(index));
        last.is_some_and(|(_, last)| devid <= *last)
    }
}
