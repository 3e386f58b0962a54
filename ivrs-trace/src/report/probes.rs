//! The probe table as it stands on a host: what `probes` prints. It knows nothing of BPF; what
//! attaches the probes fills in how each stands.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Document, Style};
use crate::{
    escape::printable,
    facts::ProbeFact,
    probe_state::{Obstacle, ProbeState as State},
};

/// What `probes --json` prints: every probe, and how it stands on this host.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProbesDocument {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/probes/1")))]
    pub schema: &'static str,
    /// Whether the kernel has `dev_iommu.require_direct`, without which it refuses nothing.
    pub require_direct: bool,
    /// The probes, in the order of attaching.
    pub probes: Vec<ProbeDocument>,
}

impl ProbesDocument {
    /// Name and version of the layout.
    pub const SCHEMA: &'static str = "ivrs-trace/probes/1";
}

/// One probe.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProbeDocument {
    /// The kernel function, or the tracepoint.
    pub symbol: &'static str,
    /// The module that has it; null for the kernel image.
    pub module: Option<&'static str>,
    /// What is learnt there.
    pub explains: &'static str,
    /// A verdict rests on it; else it adds context.
    pub required: bool,
    /// How it stands.
    pub state: ProbeState,
    /// By what it is attached, or will be, like `fentry and fexit`; empty if by nothing.
    pub how: String,
    /// Why a better way was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Why it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a probe stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It can be attached.
    Attached,
    /// Its module is not loaded; it is attached when the module comes.
    Waiting,
    /// This kernel has neither the function nor what it would show.
    NotNeeded,
    /// It was left out on purpose.
    LeftOut,
    /// It cannot be attached.
    Missing,
}

/// What is missing of the probes and what that costs, in one line; `None` where nothing is.
#[must_use]
pub fn summary(probes: &[ProbeFact]) -> Option<String> {
    let missing = probes.iter().filter(|probe| matches!(probe.state, State::Missing { .. }));
    let (needed, other): (Vec<_>, Vec<_>) = missing.partition(|probe| probe.required);
    let disabled = probes.iter().filter(|probe| probe.state == State::LeftOut).count();
    let count = needed.len() + other.len() + disabled;
    if count == 0 {
        return None;
    }
    let sees = |probe: &&ProbeFact| probe.required && probe.state == State::Attached;
    let attached: Vec<&ProbeFact> = probes.iter().filter(sees).collect();
    let cost = match (&attached[..], &needed[..]) {
        // The kernel's messages say that it refuses a device, not for whom.
        ([console], [_, ..]) if console.symbol == "console" => {
            "of a refusal only the kernel's message is seen, not who asked".to_owned()
        }
        (_, [one]) => format!("the trace does not show {}", one.explains),
        (_, [_, ..]) => "a refusal may go unseen or unexplained".to_owned(),
        (_, []) => "explanations say less, none is wrong".to_owned(),
    };
    let all = probes.len();
    let are = if count == 1 { "is" } else { "are" };
    let why = match why(probes) {
        why if why.is_empty() => why,
        why => format!(" ({why})"),
    };
    let line = format!("{count} of {all} probes {are} missing{why}: {cost}");
    Some(printable(&line))
}

/// Why probes are missing: each obstacle once.
#[must_use]
pub fn why(probes: &[ProbeFact]) -> String {
    let obstacles: BTreeSet<Obstacle> =
        probes.iter().flat_map(|probe| probe.state.obstacles().iter().copied()).collect();
    let mut words: Vec<&str> = obstacles.iter().filter_map(|one| of_kernel(*one)).collect();
    if probes.iter().any(|probe| probe.state == State::LeftOut) {
        words.push("some are disabled");
    }
    words.join(", ")
}

/// What an obstacle says of the whole kernel or process; `None` where it is of one function.
fn of_kernel(obstacle: Obstacle) -> Option<&'static str> {
    match obstacle {
        Obstacle::NoKprobes => Some("this kernel has no kprobes"),
        Obstacle::KprobesDenied => Some("this process may not attach kprobes"),
        Obstacle::NoTrampolines => Some("the kernel refuses BPF trampolines"),
        Obstacle::NoFunction | Obstacle::Other => None,
    }
}

/// A line for every probe that is missing or disabled, without those of modules that are not loaded.
#[must_use]
pub fn details(probes: &[ProbeFact]) -> Vec<String> {
    let line = |probe: &ProbeFact| match &probe.state {
        State::Missing { reason, .. } => {
            let module = probe.module.as_ref().map(|module| format!(" [{module}]"));
            Some(printable(&format!(
                "no probe on {}{}, which would show {}: {reason}",
                probe.symbol,
                module.unwrap_or_default(),
                probe.explains,
            )))
        }
        State::LeftOut => Some(printable(&format!("the probe on {} is disabled", probe.symbol))),
        _ => None,
    };
    probes.iter().filter_map(line).collect()
}

/// The table as text: a probe and how it stands, what it explains, and why it stands so where that
/// is not as one would wish.
#[must_use]
pub fn text(document: &ProbesDocument) -> String {
    let mut page = Document::default();
    for probe in &document.probes {
        let place = match probe.module {
            Some(module) => format!("{} [{module}]", probe.symbol),
            None => probe.symbol.to_owned(),
        };
        let state = match (probe.state, probe.module) {
            (ProbeState::Attached, _) => probe.how.clone(),
            (ProbeState::Waiting, Some(module)) => format!("waits for the module {module}"),
            (ProbeState::Waiting, None) => "waits".to_owned(),
            (ProbeState::NotNeeded, _) => "not in this kernel, and not needed".to_owned(),
            (ProbeState::LeftOut, _) => "left out".to_owned(),
            (ProbeState::Missing, _) => "MISSING".to_owned(),
        };
        page.lines(vec![format!("{place:<50} {state}")]);
        page.fact(4, probe.explains);
        if let Some(why) = &probe.fallback {
            page.fact(4, format!("not by the best way: {why}"));
        }
        if let Some(why) = &probe.reason {
            let need = if probe.required { "a verdict rests on it" } else { "context" };
            page.fact(4, format!("{need}; {why}"));
        }
    }
    page.blank();
    page.text(
        0,
        if document.require_direct {
            "This kernel refuses devices for which firmware asks for a 1:1 map \
             (dev_iommu.require_direct)."
        } else {
            "This kernel refuses no device for a 1:1 map: it has no dev_iommu.require_direct. \
             Kernels from 6.6 on have it."
        },
    );
    page.terminal(Style::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::valid::parsed;

    fn probe(
        symbol: &'static str,
        module: Option<&'static str>,
        state: ProbeState,
    ) -> ProbeDocument {
        ProbeDocument {
            symbol,
            module,
            explains: "who claims a group",
            required: true,
            state,
            how: String::new(),
            fallback: None,
            reason: None,
        }
    }

    #[test]
    fn what_is_missing_is_one_line_that_names_the_cause_and_the_cost() {
        let fact = |symbol: &str, required, state| ProbeFact {
            symbol: symbol.to_owned(),
            module: None,
            explains: "who claims a group".to_owned(),
            required,
            how: Vec::new(),
            fallback: None,
            state,
        };
        let missing = |obstacles: &[Obstacle]| State::Missing {
            reason: "a call failed: Operation not permitted\u{202e}".to_owned(),
            obstacles: obstacles.to_vec(),
        };
        let none = [Obstacle::NoTrampolines, Obstacle::NoKprobes];
        let probes = [
            fact("console", true, State::Attached),
            fact("iommu_group_claim_dma_owner", true, missing(&none)),
            fact("_dev_warn", false, missing(&none[1..])),
            fact("vfio_fops_unl_ioctl", false, State::Waiting),
        ];
        assert_eq!(
            summary(&probes).unwrap(),
            "2 of 4 probes are missing (this kernel has no kprobes, the kernel refuses BPF \
             trampolines): of a refusal only the kernel's message is seen, not who asked"
        );
        let seen = [&probes[1..], &[fact("other", true, State::Attached)]].concat();
        assert!(summary(&seen).unwrap().ends_with("the trace does not show who claims a group"));
        assert!(summary(&seen[1..]).unwrap().ends_with("explanations say less, none is wrong"));
        assert_eq!(summary(&probes[..1]), None);
        let disabled = [fact("console", true, State::LeftOut)];
        assert!(
            summary(&disabled).unwrap().starts_with("1 of 1 probes is missing (some are disab")
        );
        // Each of them is told to whoever asks, with nothing that a terminal would obey.
        let details = details(&probes);
        assert_eq!(details.len(), 2);
        assert!(details.iter().all(|line| !line.contains('\u{202e}')), "{details:?}");
    }

    #[test]
    fn every_state_says_what_it_means() {
        let attached = ProbeDocument {
            how: "kprobe and kretprobe".to_owned(),
            fallback: Some("trampolines are left out".to_owned()),
            ..probe("a", None, ProbeState::Attached)
        };
        let missing = ProbeDocument {
            reason: Some("no such function".to_owned()),
            ..probe("e", None, ProbeState::Missing)
        };
        let document = ProbesDocument {
            schema: ProbesDocument::SCHEMA,
            require_direct: false,
            probes: vec![
                attached,
                probe("b", Some("vfio"), ProbeState::Waiting),
                probe("c", None, ProbeState::NotNeeded),
                probe("d", None, ProbeState::LeftOut),
                missing,
            ],
        };
        insta::assert_snapshot!(text(&document));
        assert_eq!(parsed(&document)["probes"][4]["state"], "missing");
    }
}
