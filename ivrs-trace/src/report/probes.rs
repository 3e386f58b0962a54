//! The probe table as it stands on a host: what `probes` prints. It knows nothing of BPF; what
//! attaches the probes fills in how each stands.

use serde::Serialize;

use super::{Document, Style};

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
