//! What the DMAR says of a host beside the verdicts.

use super::{
    amd_findings::how_to_read,
    intel::{self, of_structure as evidence_of},
    memory::{AT_MOST, NOT_COMPARED, at_most, compared, not_reserved},
};
use crate::{
    codes::{Code, Severity},
    escape::printable,
    firmware::{Finding, Rmrr, intel::findings},
    model::{bounds, known::Known, table::DmarTable},
};

/// What there is to say of the DMAR as a whole.
pub(super) fn of_table(model: &Known) -> Option<Finding> {
    let intel = model.is_intel_host();
    let (code, message) = match model.dmar() {
        DmarTable::Absent if intel => (
            Code::DmarAbsent,
            "there is no /sys/firmware/acpi/tables/DMAR: the verdicts have direct regions, but not \
             the RMRRs behind them"
                .to_owned(),
        ),
        DmarTable::Unreadable(why) if intel => (
            Code::DmarUnreadable,
            format!(
                "{}, so no verdict names the RMRR behind a direct region; {}",
                printable(why),
                how_to_read(model, "only root may read the DMAR table")
            ),
        ),
        DmarTable::Malformed(error) => (
            Code::DmarMalformed,
            format!("/sys/firmware/acpi/tables/DMAR cannot be decoded: {error}"),
        ),
        // Only where the kernel gave the IOMMU up is this the likely reason.
        DmarTable::Read(dmar) if !intel => {
            (Code::DmarRefused, format!("the DMAR table: {}", dmar.fatal()?))
        }
        DmarTable::Read(_) | DmarTable::Absent | DmarTable::Unreadable(_) => return None,
    };
    Some(Finding::new(code, message))
}

/// What there is to say of the DMAR's entries on this host.
pub(super) fn of_entries(model: &Known) -> Vec<Finding> {
    let Some(dmar) = model.dmar().dmar() else { return Vec::new() };
    let intel = model.is_intel_host();
    let mut findings: Vec<Finding> = findings::of_table(dmar)
        .into_iter()
        .filter(|finding| finding.severity > Severity::Note)
        .collect();
    for (rmrr, scope, bdf) in intel::mismatches(model).take(AT_MOST) {
        let message = format!(
            "RMRR {} names {bdf} as another kind of device than it is ({scope}): Linux gives the \
             IOMMU up for that at boot",
            rmrr.index
        );
        findings.push(of_structure(Code::RmrrScopeMismatch, message, rmrr));
    }
    if !intel {
        return findings;
    }
    let (mut relaxable, mut absent) = (Vec::new(), Vec::new());
    for one in &model.rmrr_coverages().0 {
        let Some(rmrr) = dmar.rmrr.get(one.rmrr) else { continue };
        relaxable.extend(one.relaxable.iter().map(|bdf| (rmrr, *bdf)));
        let named = rmrr.scopes.iter().any(|scope| scope.kind.names_a_function());
        if one.gap.is_none() && named && one.devices.is_empty() && one.relaxable.is_empty() {
            let scopes: Vec<String> =
                rmrr.scopes.iter().take(AT_MOST).map(ToString::to_string).collect();
            let message = format!(
                "RMRR {} names {}, where this host has no PCI function: it blocks nothing now",
                rmrr.index,
                scopes.join(", ")
            );
            absent.push(of_structure(Code::RmrrAbsentDevice, message, rmrr));
        }
    }
    findings.extend(at_most(absent));
    findings.extend(memory(model, &dmar.rmrr));
    if !relaxable.is_empty() {
        let mut names: Vec<String> = relaxable
            .iter()
            .take(AT_MOST)
            .map(|(rmrr, bdf)| format!("{bdf} (RMRR {})", rmrr.index))
            .collect();
        if let Some(more) = relaxable.len().checked_sub(AT_MOST).filter(|more| *more > 0) {
            names.push(format!("and {more} more"));
        }
        let message = format!(
            "RMRRs of USB controllers and display devices do not block VFIO: {}",
            names.join(", ")
        );
        findings.push(Finding::new(Code::RmrrRelaxable, message));
    }
    findings
}

fn of_structure(code: Code, message: String, rmrr: &Rmrr) -> Finding {
    let evidence = vec![evidence_of(rmrr)];
    Finding { place: Some(rmrr.place()), evidence, ..Finding::new(code, message) }
}

/// RMRRs for memory that is not kept from the operating system.
fn memory(model: &Known, rmrrs: &[Rmrr]) -> Vec<Finding> {
    let compared = compared(model, rmrrs.len());
    let left_out = bounds::untold(rmrrs.len() - compared, NOT_COMPARED);
    let told = rmrrs.iter().take(compared).filter_map(|rmrr| rmrr_memory(model, rmrr));
    at_most(told).into_iter().chain(left_out).collect()
}

/// An RMRR for memory that is not kept from the operating system.
fn rmrr_memory(model: &Known, rmrr: &Rmrr) -> Option<Finding> {
    if rmrr.limit < rmrr.base {
        return None;
    }
    let (told, lines) = not_reserved(model, rmrr.base, rmrr.limit)?;
    let message = format!(
        "RMRR {} asks for {:#x} to {:#x}, which {told}: Linux may use unreserved memory for \
         something else",
        rmrr.index, rmrr.base, rmrr.limit
    );
    let mut finding = of_structure(Code::RmrrNotReserved, message, rmrr);
    finding.evidence.extend(lines);
    Some(finding)
}
