//! What can be wrong with an input, in words for the one who pasted it.

use thiserror::Error;

use super::{
    form::{Form, INPUT_LIMIT, TABLE_LIMIT},
    view::{Side, View},
};

/// ARM's counterpart, which another file of the documentation is about.
const IORT: &str = "IORT";
const OF_ARM: &str = "docs/intel-and-arm.md tells how to find the RMR node that reserves memory";
const TABLES: &str =
    "give /sys/firmware/acpi/tables/IVRS (AMD) or DMAR (Intel), or a text dump of it";

/// Why no table was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DumpError {
    /// More than [`INPUT_LIMIT`] bytes.
    #[error(
        "the input has {length} bytes, and more than {INPUT_LIMIT} are not read: give the table \
         alone"
    )]
    InputTooLarge {
        /// Bytes of the input.
        length: usize,
    },
    /// Nothing but white space.
    #[error("the input is empty: reading /sys/firmware/acpi/tables needs root")]
    Empty,
    /// Neither text nor a table that is read.
    #[error("the input is {}", match signature.as_deref() {
        Some(IORT) => format!("an {IORT}, the table of ARM machines, which is not decoded: {OF_ARM}"),
        Some(name) => format!(
            "a binary that begins with \"{name}\", not with \"IVRS\" or \"DMAR\": {TABLES}"
        ),
        None => format!("neither text nor an IVRS or DMAR table: {TABLES}"),
    })]
    NotText {
        /// The first four bytes, if they could be the signature of an ACPI table.
        signature: Option<String>,
    },
    /// Text in which no form was found.
    #[error(
        "nothing in this text was recognised: give an IVRS or DMAR table as acpidump, xxd, hexdump, \
         od, base64 or iasl -d print it, or the lines of a kernel or Xen log that begin with AMD-Vi, \
         DMAR or [VT-D]"
    )]
    Unrecognised,
    /// What was found after something was undone.
    #[error("{}: {error}", match view {
        View::QuotedPrintable => "this is quoted-printable mail",
        View::Diff(Side::New) => "this is a diff, of which the \"+\" side is read",
        View::Diff(Side::Old) => "this is a diff, of which the \"-\" side is read",
        View::Unprefixed => "read without what precedes the bytes in each line",
    })]
    In {
        /// What was undone.
        view: View,
        /// What is wrong then.
        error: Box<DumpError>,
    },
    /// A form that fits up to a place.
    #[error("taken for {form}{}: {problem}; {}", at(*line), problem.advice())]
    Bad {
        /// The form that fits best.
        form: Form,
        /// The line at which it stops making sense, from 1; none for a binary.
        line: Option<usize>,
        /// What is wrong there.
        problem: Problem,
    },
}

impl DumpError {
    /// The line of the input at which a form stops making sense.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Bad { line, .. } => *line,
            Self::In { error, .. } => error.line(),
            _ => None,
        }
    }
}

fn at(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

/// Where a form stops making sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Something that is not a number of the dump, where bytes are missing.
    #[error("{token:?} is no number like the others in the dump, and bytes are missing there")]
    BadDigits {
        /// The word, cut if it is long.
        token: String,
    },
    /// An offset too high.
    #[error(
        "the offset is {found:#x}, but {expected:#x} should follow: a line above it is missing or \
         damaged"
    )]
    Jump {
        /// Bytes read up to there, from the table's start.
        expected: u64,
        /// The offset in the line.
        found: u64,
    },
    /// An offset too low.
    #[error(
        "the offset goes back to {found:#x}, but {expected:#x} should follow: lines are doubled or \
         out of order"
    )]
    Back {
        /// Bytes read up to there, from the table's start.
        expected: u64,
        /// The offset in the line.
        found: u64,
    },
    /// The first line is missing.
    #[error("the dump begins at offset {offset:#x}: the lines before it are missing")]
    NoStart {
        /// The first offset.
        offset: u64,
    },
    /// The dump of memory that is no table.
    #[error("the dump begins at address {address:#x}, and no table begins there")]
    NoTableAt {
        /// The first address.
        address: u64,
    },
    /// Tables, but none that is read.
    #[error("there is no IVRS or DMAR table, only: {}", found.join(", "))]
    OtherTables {
        /// Their signatures, the first few.
        found: Vec<String>,
    },
    /// Words in the order of the machine, in a form whose last word cannot be told from text.
    #[error("the bytes are swapped within words")]
    Swapped,
    /// A dump with `-c`.
    #[error("the dump shows bytes as characters")]
    Characters,
    /// A binary that went through a program for text.
    #[error("a program took the bytes for text and replaced some of them: those are lost")]
    Replaced,
    /// Hex digits, but not of a table.
    #[error("the bytes begin with \"{found}\", not with \"IVRS\" or \"DMAR\"")]
    NoSignature {
        /// The first four bytes, escaped.
        found: String,
    },
    /// The end is missing.
    #[error("the dump ends after {have} bytes{}", match length {
        Some(length) => format!(", but the table's header says that it has {length}"),
        None => ", within the table's header".to_owned(),
    })]
    Cut {
        /// Bytes there.
        have: usize,
        /// The header's length field, if it is there.
        length: Option<u32>,
    },
    /// Longer than any real table.
    #[error("the table would have {length} bytes, and more than {TABLE_LIMIT} are not read")]
    TooLong {
        /// Its length, or what is known of it.
        length: usize,
    },
    /// A line of a kernel log without one of its fields, where no other line is read.
    #[error("the line is cut or damaged: it has no readable {field:?}")]
    LogField {
        /// The field as the kernel names it.
        field: &'static str,
    },
    /// A kernel log of a boot without `amd_iommu_dump`.
    #[error("it has lines of the AMD IOMMU, but not those that list the IVRS")]
    LogWithoutDump,
    /// A kernel log with lines of Intel's driver, but none of its table.
    #[error("it has lines of Intel's IOMMU, but not those that list the DMAR")]
    LogWithoutDmar,
    /// A log of Xen that lists no table.
    #[error("it is Xen's, and has no lines that list the IVRS or DMAR")]
    XenWithoutTable,
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::BadDigits { .. } | Self::Jump { .. } | Self::Back { .. } => {
                "copy the dump again, whole, or give the file itself"
            }
            Self::NoStart { .. } => "copy the dump again from its first line on",
            Self::OtherTables { found } if found.iter().any(|name| name == IORT) => OF_ARM,
            Self::NoSignature { found } if found == IORT => OF_ARM,
            Self::OtherTables { .. } | Self::NoTableAt { .. } | Self::NoSignature { .. } => TABLES,
            Self::Swapped => "print single bytes, as xxd does without -e",
            Self::Characters => "print them in hex, as od -t x1 and hexdump -C do",
            Self::Replaced => "give the file itself, or what base64 makes of it",
            Self::Cut { .. } => "copy the dump again to its last line",
            Self::TooLong { .. } => {
                "check that it is an IVRS or DMAR table, which has a few hundred bytes"
            }
            Self::LogField { .. } => "copy the line again, whole",
            Self::LogWithoutDmar => {
                "take the log from its beginning (journalctl -k), or give \
                 /sys/firmware/acpi/tables/DMAR"
            }
            Self::XenWithoutTable => {
                "boot once with iommu=verbose,debug on Xen's command line, or boot Linux without Xen \
                 and give /sys/firmware/acpi/tables/IVRS (AMD) or DMAR (Intel)"
            }
            Self::LogWithoutDump => {
                "boot once with amd_iommu_dump on the kernel command line and take the log of that"
            }
        }
    }
}

/// How much an attempt that failed had found. The one that found most explains the input best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Digits that begin like no table.
    Digits,
    /// Another table, or the middle of one.
    Other,
    /// The beginning of the table that is looked for, or an IVMD line.
    Wanted,
}

/// Why one form does not fit.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) rank: Rank,
    /// Lines understood before it.
    pub(super) progress: usize,
    pub(super) error: DumpError,
}
