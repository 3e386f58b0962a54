//! Lines of `reserved_regions` in sysfs.
//!
//! The kernel (`iommu_group_show_resv_regions`, drivers/iommu/iommu.c) writes one line a region:
//! `0x%016llx 0x%016llx TYPE`, the end inclusive. It merges overlapping and adjacent regions of one
//! type over all devices of the group, so a line is not an IVMD block.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum RegionKind {
    Direct,
    /// Must be mapped one to one until a driver of the machine's owner takes the device.
    DirectRelaxable,
    Reserved,
    /// Interrupt messages, of hardware or of software.
    Msi,
    /// A word that the kernels known here do not write.
    Other(String),
}

impl RegionKind {
    /// Whether it is a word of the kernel's that is not the begin of another.
    pub(super) fn is_whole_word(&self) -> bool {
        !matches!(self, Self::Direct | Self::Other(_))
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::DirectRelaxable => "direct-relaxable",
            Self::Reserved => "reserved",
            Self::Msi => "msi",
            Self::Other(word) => word,
        })
    }
}

impl From<RegionKind> for String {
    fn from(kind: RegionKind) -> Self {
        kind.to_string()
    }
}

impl From<String> for RegionKind {
    fn from(word: String) -> Self {
        match word.as_str() {
            "direct" => Self::Direct,
            "direct-relaxable" => Self::DirectRelaxable,
            "reserved" => Self::Reserved,
            "msi" => Self::Msi,
            _ => Self::Other(word),
        }
    }
}

/// One region of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedRegion {
    /// First byte.
    pub start: u64,
    /// Last byte. One below `start` (wrapping) for a map of zero length, which blocks a device like
    /// any other.
    pub end_inclusive: u64,
    /// What it is for.
    pub kind: RegionKind,
}

impl ReservedRegion {
    /// Length in bytes; 0 also for the one region of all 2^64 bytes, which is written the same.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end_inclusive.wrapping_sub(self.start).wrapping_add(1)
    }
}

/// A line of `reserved_regions` that is not a region.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{line:?} is not a reserved region (expected 0xSTART 0xEND TYPE)")]
pub struct ParseRegionError {
    pub line: String,
}

impl FromStr for ReservedRegion {
    type Err = ParseRegionError;

    fn from_str(line: &str) -> Result<Self, ParseRegionError> {
        let parse = || {
            let mut words = line.split_ascii_whitespace();
            let start = address(words.next()?)?;
            let end_inclusive = address(words.next()?)?;
            let kind = RegionKind::from(words.next()?.to_owned());
            let in_order = end_inclusive >= start || end_inclusive == start.wrapping_sub(1);
            (words.next().is_none() && in_order).then_some(Self { start, end_inclusive, kind })
        };
        parse().ok_or_else(|| ParseRegionError { line: line.to_owned() })
    }
}

fn address(word: &str) -> Option<u64> {
    let digits = word.strip_prefix("0x")?;
    // `from_str_radix` alone would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u64::from_str_radix(digits, 16).ok()
}
