//! What is worth telling about a DMAR table, from the table alone.

use crate::{
    codes::Code,
    firmware::{
        Fact, Finding, TableName,
        acpi::Truncation,
        finding::Found,
        intel::dmar::{Dmar, Rmrr, ScopeFault, structure_name},
    },
    fmt::sentence,
};

const PAGE: u64 = 4096;

/// The findings of `table`, in the order of what they are about.
#[must_use]
pub fn of_table(table: &Dmar) -> Vec<Finding> {
    let mut found = Found::of(TableName::Dmar);
    header(&mut found, table);
    for other in table.others.iter().filter(|other| structure_name(other.kind).is_none()) {
        let message = format!(
            "Linux does not know structure type {} and steps over the structure.",
            other.kind
        );
        found.add(Code::DmarBlockUnknown, other.offset, message);
    }
    for rmrr in &table.rmrr {
        memory(&mut found, rmrr);
        scopes(&mut found, rmrr);
    }
    found.finish()
}

fn header(found: &mut Found, table: &Dmar) {
    let (header, bytes) = (&table.header, table.bytes());
    let effect = "; Linux warns and uses the table all the same";
    found.checksum(Code::DmarChecksum, header, bytes, effect);
    found.trailing(Code::DmarTrailing, header, bytes, table.trailing);
    if table.width < 11 {
        let bits = u16::from(table.width) + 1;
        let message = format!("Addresses have {bits} bits: Linux gives the table up.");
        found.add(Code::DmarWidth, 36, message);
    }
    if table.flags & 1 == 0 {
        let message =
            "The flags lack INTR_REMAP (bit 0): Linux does not remap interrupts, and VFIO \
                       attaches no device (EPERM)."
                .to_owned();
        if let Some(finding) = found.add(Code::DmarNoRemapping, 37, message) {
            let value = u64::from(table.flags);
            finding.evidence.push(Fact::Field { offset: 37, name: "flags", value });
        }
    }
    if table.drhd.is_empty() {
        let message = "The table has no DRHD: Linux finds no IOMMU in it.".to_owned();
        found.add(Code::DmarNoDrhd, crate::firmware::intel::dmar::HEADER_LENGTH, message);
    }
    if let Some(truncation) = table.truncation {
        let code = match truncation {
            Truncation::ZeroLength { .. } => Code::DmarBlockZero,
            Truncation::BeyondEnd { .. }
            | Truncation::FieldsBeyondEnd { .. }
            | Truncation::HeaderCut { .. } => Code::DmarBlockEnd,
        };
        found.add(code, truncation.offset(), sentence(&truncation.to_string()));
    }
    for drhd in &table.drhd {
        if drhd.address == 0 {
            let message = "The DRHD has its registers at address 0: Linux reports a broken BIOS, \
                           gives the whole table up, and has no IOMMU."
                .to_owned();
            if let Some(finding) = found.add(Code::DmarDrhdZero, drhd.offset, message) {
                let offset = drhd.offset.saturating_add(8);
                finding.evidence.push(Fact::Bytes { offset, bytes: vec![0; 8], more: false });
            }
        }
        if let Some(fault) = drhd.fault {
            scope_fault(found, fault);
        }
    }
}

fn memory(found: &mut Found, rmrr: &Rmrr) {
    let (index, base, limit) = (rmrr.index, rmrr.base, rmrr.limit);
    if base < PAGE && limit >= base {
        let message = format!(
            "rmrr:{index} starts in page 0 of memory (at {base:#x}); few devices need that page, \
             and the firmware often just never filled the field in."
        );
        of_rmrr(found, Code::RmrrPage0, rmrr, message);
    }
    if limit < base {
        let message = format!(
            "rmrr:{index} ends at {limit:#x}, below its start {base:#x}: Linux complains and uses it \
             all the same."
        );
        of_rmrr(found, Code::RmrrEndBelowBase, rmrr, message);
    } else if base % PAGE != 0 || limit.wrapping_add(1) % PAGE != 0 || limit <= base {
        let message = format!(
            "rmrr:{index} is {base:#x} to {limit:#x}, not whole pages: Linux complains and uses it \
             all the same."
        );
        of_rmrr(found, Code::RmrrUnaligned, rmrr, message);
    }
}

/// `field` are the base and the limit.
fn of_rmrr(found: &mut Found, code: Code, rmrr: &Rmrr, message: String) {
    if let Some(finding) = found.add(code, rmrr.offset, message) {
        let at = rmrr.offset.saturating_add(8);
        let bytes = rmrr.bytes.get(8..24).unwrap_or_default().to_vec();
        finding.evidence.push(Fact::Bytes { offset: at, bytes, more: false });
    }
}

fn scopes(found: &mut Found, rmrr: &Rmrr) {
    let index = rmrr.index;
    if let Some(fault) = rmrr.fault {
        scope_fault(found, fault);
    }
    if rmrr.scopes.is_empty() && rmrr.fault.is_none() {
        let message = format!("rmrr:{index} names no device: Linux uses it for none.");
        found.add(Code::RmrrNoScope, rmrr.offset, message);
    }
    for scope in &rmrr.scopes {
        let (code, message) = if !scope.kind.names_a_function() {
            (
                Code::RmrrScopeType,
                format!(
                    "rmrr:{index} has a device scope that names no PCI function ({scope}); Linux \
                     ignores it."
                ),
            )
        } else if scope.path.is_empty() {
            (
                Code::RmrrScopeEmpty,
                format!(
                    "rmrr:{index} has a device scope of {} bytes without a path: it names no device.",
                    scope.length
                ),
            )
        } else {
            continue;
        };
        if let Some(finding) = found.add(code, scope.offset, message) {
            let (offset, bytes) = (scope.offset, scope.bytes.clone());
            finding.evidence.push(Fact::Bytes { offset, bytes, more: false });
        }
    }
}

fn scope_fault(found: &mut Found, fault: ScopeFault) {
    let (code, then) = match fault {
        ScopeFault::ZeroLength { .. } => (Code::DmarScopeZero, "Linux would loop on it for ever"),
        ScopeFault::BeyondEnd { .. } => (Code::DmarScopeEnd, "Linux does not check"),
    };
    found.add(code, fault.offset(), sentence(&format!("{fault}; {then}")));
}
