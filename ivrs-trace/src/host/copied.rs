//! What a copy of a host lacks may be on the host all the same: where other parts of the copy show that
//! it must be, or nothing shows that it is not, it was only not copied.

use super::{Reading, Snapshot};

/// Makes unreadable in a copy what is absent for want of a copy. `tables` is whether the copy has any
/// ACPI table.
pub(super) fn settle(host: &mut Snapshot, tables: bool) {
    for (name, table) in [("IVRS", &mut host.ivrs), ("DMAR", &mut host.dmar)] {
        if !tables && *table == Reading::Absent {
            *table = missing(&format!("sys/firmware/acpi/tables/{name}"));
        }
    }
    let mut grouped = host.groups.value().is_some_and(|groups| !groups.is_empty());
    let mut served = host.iommus.value().is_some_and(|units| !units.is_empty());
    if let Reading::Read(functions) = &mut host.functions {
        for function in functions {
            grouped |= function.group.value().is_some();
            served |= function.iommu.value().is_some();
            // Only what an IOMMU serves gets a group (`iommu_init_device`, drivers/iommu/iommu.c).
            if function.group.value().is_some() && function.iommu == Reading::Absent {
                function.iommu = missing(&format!("sys/bus/pci/devices/{}/iommu", function.bdf));
            }
        }
    }
    // A group that lists nobody may be that of any function.
    let all_listed =
        host.groups.value().is_some_and(|groups| groups.iter().all(super::Group::lists_members));
    if let (Reading::Read(functions), false) = (&mut host.functions, all_listed) {
        for function in functions.iter_mut().filter(|one| one.group == Reading::Absent) {
            function.group = missing(&format!("sys/bus/pci/devices/{}/iommu_group", function.bdf));
        }
    }
    let empty = |list: Option<usize>| list == Some(0);
    if empty(host.groups.value().map(Vec::len)) && (served || grouped) {
        host.groups = missing("sys/kernel/iommu_groups/*");
    }
    if empty(host.functions.value().map(Vec::len)) && (served || grouped) {
        host.functions = missing("sys/bus/pci/devices/*");
    }
}

/// What was not copied from there.
pub(super) fn missing<T>(path: &str) -> Reading<T> {
    Reading::Unreadable(format!("{path}: is not in this copy of a host"))
}
