//! Anything worth telling of a table or a host that is not a verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    acpi::{self, Header},
    fact::Fact,
    reserved::{Place, TableName},
};
use crate::{
    codes::{Code, Severity},
    fmt::count,
};

/// Anything worth telling that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// A name that stays; `ivrs-trace explain` knows it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where it is, in bytes from the start of its table, if it is at one place of one table.
    #[serde(rename = "offset")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::hex::Hex<u64>>"))]
    pub place: Option<Place>,
    /// Index of the IVMD block that it is about, if the table alone gives rise to it.
    #[serde(skip)]
    pub ivmd: Option<usize>,
    /// What this rests on beside what the sentence says.
    pub evidence: Vec<Fact>,
}

impl Finding {
    /// A finding that is all in its sentence, as severe as its code.
    #[must_use]
    pub fn new(code: Code, message: String) -> Self {
        let severity = code.explanation().severity;
        Self { code, severity, message, place: None, ivmd: None, evidence: Vec::new() }
    }
}

/// How many findings of one code are told one by one; of the others the number is told. Only a table
/// made to annoy has more.
pub(super) const AT_MOST: usize = 32;

/// Collects, and holds back what is too much of the same.
pub(super) struct Found {
    table: TableName,
    findings: Vec<Finding>,
    counts: BTreeMap<Code, usize>,
}

impl Found {
    pub(super) fn of(table: TableName) -> Self {
        Self { table, findings: Vec::new(), counts: BTreeMap::new() }
    }

    /// The checksum of `table` where it is wrong; `effect` is what Linux does then.
    pub(super) fn checksum(&mut self, code: Code, header: &Header, table: &[u8], effect: &str) {
        if header.checksum_ok {
            return;
        }
        let sum = acpi::sum(table);
        let right = header.checksum.wrapping_sub(sum);
        let message = format!(
            "The checksum is {:#04x} where {right:#04x} would be right{effect}.",
            header.checksum
        );
        if let Some(finding) = self.add(code, 9, message) {
            let bytes = vec![header.checksum];
            finding.evidence.push(Fact::Bytes { offset: 9, bytes, more: false });
            finding.evidence.push(Fact::Sum(sum));
        }
    }

    /// Bytes that follow the end of the table in what was given.
    pub(super) fn trailing(
        &mut self,
        code: Code,
        header: &Header,
        table: &[u8],
        trailing: usize,
    ) -> Option<&mut Finding> {
        if trailing == 0 {
            return None;
        }
        let message = format!(
            "{} follow the table's end at {:#x}, and Linux does not read them.",
            count(trailing, "byte", "bytes"),
            header.length
        );
        self.add(code, table.len(), message)
    }

    pub(super) fn add(
        &mut self,
        code: Code,
        offset: usize,
        message: String,
    ) -> Option<&mut Finding> {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count > AT_MOST {
            return None;
        }
        self.findings.push(Finding {
            place: Some(Place { table: self.table, offset }),
            ..Finding::new(code, message)
        });
        self.findings.last_mut()
    }

    pub(super) fn finish(mut self) -> Vec<Finding> {
        for (code, count) in self.counts {
            if let Some(more) = count.checked_sub(AT_MOST).filter(|more| *more > 0) {
                let message = format!("There are {more} more of this kind.");
                self.findings.push(Finding::new(code, message));
            }
        }
        self.findings
    }
}
