//! How the probes stand, and what they counted.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use ivrs_trace_common::ProbeStats;

use super::{
    btf::Btf,
    table::{Need, ProbeSpec, ProgramSpec},
};
use crate::{facts::ProbeFact, probe_state::ProbeState};

pub(crate) struct ProbeStatus {
    pub(crate) spec: &'static ProbeSpec,
    pub(crate) state: ProbeState,
    /// The programs that are attached, or will be when the module comes.
    pub(crate) way: &'static [ProgramSpec],
    /// Why a better way was not taken, one line.
    pub(crate) fallback: Option<String>,
    /// The programs of the way, while they wait for the module or may have to be attached anew.
    pub(super) programs: Vec<OwnedFd>,
    /// What holds them where they are attached, and since when.
    pub(super) links: Vec<OwnedFd>,
    pub(super) attached_ns: u64,
    /// Attempts to attach while the module was there.
    pub(super) tries: u32,
}

impl ProbeStatus {
    pub(crate) fn fact(&self) -> ProbeFact {
        ProbeFact {
            symbol: self.spec.symbol.to_owned(),
            module: self.spec.home.module().map(str::to_owned),
            explains: self.spec.explains.to_owned(),
            required: self.spec.need == Need::Verdict,
            how: self.way.iter().map(|program| program.how.name().to_owned()).collect(),
            fallback: self.fallback.clone(),
            state: self.state.clone(),
        }
    }
}

/// What a probe counted, over all CPUs.
pub(crate) type Counts = BTreeMap<&'static str, ProbeStats>;

/// Whether the kernel whose BTF this is has the flag that makes it refuse.
pub(crate) fn has_require_direct(btf: &Btf) -> bool {
    btf.member("dev_iommu", "require_direct").is_some()
}

/// The same, or `None` where the BTF does not even have the struct: it is none of a kernel with
/// IOMMUs.
pub(crate) fn require_direct(btf: &Btf) -> Option<bool> {
    btf.has_struct("dev_iommu").then(|| has_require_direct(btf))
}
