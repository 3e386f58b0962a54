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
mod once;
mod owner;
mod tables;

pub use cause::{Cause, CauseKind, Coverage, EntryCoverage, Gap, RmrrCoverage};
pub(super) use coherence::Direct;
pub use intel::RmrrMatch;
pub(super) use once::{Across, Judged, Shown};
pub use owner::{Owner, OwnerKind};
pub(super) use tables::Tables;
