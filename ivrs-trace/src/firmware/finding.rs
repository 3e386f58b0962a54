//! Anything worth telling of a table or a host that is not a verdict.

use serde::Serialize;

use super::{fact::Fact, reserved::Place};
use crate::codes::{Code, Severity};

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
