//! Which entries of the firmware's tables hold which functions: the one door from verdicts to the
//! vendors. A function is asked about here, and whoever serves it answers.

mod amd;
mod amd_diff;
mod amd_findings;
mod amd_owners;
mod amd_relaxation;
mod amd_unity;
pub(super) mod arm;
mod cause;
mod coherence;
pub(super) mod diff;
mod door;
mod intel;
mod intel_diff;
mod intel_findings;
mod judged;
mod memory;
mod owner;
mod tables;

pub use cause::{Cause, CauseKind, Coverage, EntryCoverage, Gap};
pub(super) use coherence::{Direct, HYPER_TRANSPORT};
pub(super) use intel::Across;
pub use intel::{RmrrCoverage, RmrrMatch};
pub(super) use judged::Judged;
pub use owner::{Owner, OwnerKind};
pub(super) use tables::Tables;
