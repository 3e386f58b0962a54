//! What a copy of a host lacks may be on the host all the same: where other parts of the copy show that
//! it must be, or nothing shows that it is not, it was only not copied.

use super::{
    tree::Reading,
    types::{Group, HexBytes, PciFunction},
};

/// Makes a table unreadable where the copy has not `any` ACPI table.
pub(super) fn settle_table(table: Reading<HexBytes>, name: &str, any: bool) -> Reading<HexBytes> {
    match table {
        Reading::Absent if !any => missing(&format!("sys/firmware/acpi/tables/{name}")),
        table => table,
    }
}

/// Makes unreadable what is absent of groups and functions for want of a copy; `units` are the IOMMUs.
pub(super) fn settle(
    groups: &mut Reading<Vec<Group>>,
    functions: &mut Reading<Vec<PciFunction>>,
    units: &Reading<Vec<String>>,
) {
    let mut grouped = groups.value().is_some_and(|groups| !groups.is_empty());
    let mut served = units.value().is_some_and(|units| !units.is_empty());
    if let Reading::Read(functions) = &mut *functions {
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
    let all_listed = groups.value().is_some_and(|groups| groups.iter().all(Group::lists_members));
    if let (Reading::Read(functions), false) = (&mut *functions, all_listed) {
        functions.iter_mut().filter(|one| one.group == Reading::Absent).for_each(lost_group);
    }
    let empty = |list: Option<usize>| list == Some(0);
    if empty(groups.value().map(Vec::len)) && (served || grouped) {
        *groups = missing("sys/kernel/iommu_groups/*");
    }
    if empty(functions.value().map(Vec::len)) && (served || grouped) {
        *functions = missing("sys/bus/pci/devices/*");
    }
}

/// Makes unreadable the group of a function, and its IOMMU if none is shown.
pub(super) fn lost_group(function: &mut PciFunction) {
    let folder = format!("sys/bus/pci/devices/{}", function.bdf);
    function.group = missing(&format!("{folder}/iommu_group"));
    let device = function.class.value().is_some() && !function.is_iommu();
    if device && function.iommu == Reading::Absent {
        function.iommu = missing(&format!("{folder}/iommu"));
    }
}

/// What was not copied from there.
pub(super) fn missing<T>(path: &str) -> Reading<T> {
    Reading::Unreadable(format!("{path}: is not in this copy of a host"))
}
