//! What there is to tell of a host beside the verdicts. What its tables say of it is in
//! [`reserved`](super::reserved).

use std::collections::BTreeSet;

use super::{
    known::{Known, Service},
    options,
    reserved::arm,
};
use crate::{
    codes::Code, escape::printable, facts::RequireDirect, firmware::Finding, host::Reading,
};

/// What there is to say of the host as a whole.
pub(super) fn of_host(model: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut push = |code, message| findings.push(Finding::new(code, message));
    let host = model.host();
    let units: BTreeSet<&str> = host.units().collect();
    let no_groups = model.groups().next().is_none();
    if let Reading::Unreadable(why) = &host.groups {
        push(Code::GroupsUnreadable, format!("IOMMU groups: {}", printable(why)));
    } else if no_groups {
        push(
            Code::NoIommuGroups,
            "this host has no IOMMU groups: its IOMMU is absent or switched off (firmware set-up, \
             or the kernel command line), so VFIO can claim no device and there is nothing to judge"
                .to_owned(),
        );
    } else if units.is_empty() {
        let shown = match &host.iommus {
            Reading::Unreadable(why) => printable(why),
            _ => "/sys/class/iommu shows no IOMMU, though there are groups".to_owned(),
        };
        push(
            Code::NoIommuShown,
            format!(
                "{shown}: nothing shows whose IOMMUs serve the devices, so no verdict names an entry \
                 of the IVRS or the DMAR"
            ),
        );
    } else if host.has_unit("smmu") {
        push(Code::ArmRegions, arm::regions(model));
    } else if model.maker() == Service::Other {
        let names: Vec<String> = units.iter().map(|name| printable(name)).collect();
        push(
            Code::NotAmd,
            format!(
                "the IOMMU of this host is neither AMD's nor Intel's ({}): direct regions come from \
                 another table than IVRS and DMAR, so no verdict names an entry",
                names.join(", ")
            ),
        );
    }
    findings.extend(model.table_findings());
    findings.extend(of_kernel(model, no_groups));
    findings
}

/// What there is to say of the kernel.
fn of_kernel(model: &Known, no_groups: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut push = |code, message| findings.push(Finding::new(code, message));
    if model.refuses() == RequireDirect::Unknown && !no_groups {
        push(
            Code::NoBtf,
            format!(
                "whether this kernel refuses devices with direct regions is not known: {}",
                model.refuses_by().join("; ")
            ),
        );
    }
    if let Some(option) = options::relax_unity(model.host()) {
        push(
            Code::RelaxUnity,
            format!(
                "the kernel command line has {}, which no released kernel knows: one patched for \
                 it gives devices away although firmware may still use their memory, any other \
                 ignores it; the verdicts follow the types of the regions that the kernel shows",
                printable(option)
            ),
        );
    }
    findings
}

impl Known {
    /// What there is to say of the host as a whole, before any device is judged.
    #[must_use]
    pub fn host_findings(&self) -> Vec<Finding> {
        of_host(self)
    }
}
