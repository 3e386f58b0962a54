//! Which entries of the firmware's tables hold which functions.

pub(crate) mod amd;
pub(crate) mod amd_owners;
pub(crate) mod amd_relaxation;
pub(crate) mod amd_unity;
pub(crate) mod intel;
