//! From facts to verdicts, attempts and causes.
//!
//! A [`Model`] is made from a snapshot of the host and told every event in order; everything else
//! is asked of it. It does no I/O, knows no clock and no aya, so a live host and files of one are
//! judged by the same code.

mod attempt;
mod bounds;
mod change;
mod contradiction;
pub mod diff;
mod diff_blocks;
pub mod health;
mod host_findings;
mod kernel_flag;
mod known;
mod listing;
mod no_iommu;
mod observe;
mod options;
mod reserved;
mod table;
mod unity_map;
mod verdict;
pub mod what_if;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use attempt::{
    Attempt, Call, DriverChange, DriverSource, Evidence, Further, HostDriver, MAX_ATTEMPTS,
    Outcome, Process, Reason, Rejection, RequestedFrom, Via,
};
pub use contradiction::Contradiction;
pub use known::Known;
pub(crate) use known::Service;
#[cfg(feature = "tui")]
pub(crate) use known::member_name;
pub use listing::{Listed, Listing};
pub(crate) use no_iommu::EFFECT as WITHOUT_IOMMU_GROUP;
pub use no_iommu::{Covered, NoIommu};
pub use observe::Model;
pub use reserved::{
    Cause, CauseKind, Coverage, EntryCoverage, Gap, Owner, OwnerKind, RmrrCoverage, RmrrMatch,
};
pub use table::{DmarTable, IvrsTable, Table};
pub use unity_map::{UnityMap, UnityRow};
pub use verdict::{DeviceVerdict, GroupVerdict, Verdict, Verdicts};
pub use what_if::{Change, ChangeError, WhatIf};

pub use crate::{
    codes::Severity,
    facts::{FlagSource, KernelFlag, OpenFile, RequireDirect},
    firmware::Finding,
};
