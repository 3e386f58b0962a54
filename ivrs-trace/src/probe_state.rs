//! How a probe stands: for what attaches it, what records how it stood, and what prints it.

use serde::{Deserialize, Deserializer, Serialize};

/// How a probe stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProbeState {
    /// At work.
    Attached,
    /// Its module is not loaded; it is attached when the module comes.
    Waiting,
    /// This kernel has neither the function nor what it would show.
    NotNeeded,
    /// Disabled by the caller.
    LeftOut,
    /// It cannot be attached.
    Missing {
        /// Why, one line; empty where a recording does not say.
        #[serde(default, deserialize_with = "or_empty")]
        reason: String,
        /// What stood in the way, each once; empty in recordings of version 0.1.0.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        obstacles: Vec<Obstacle>,
    },
    /// A recording of a later version has another state.
    #[serde(other)]
    Unknown,
}

/// What keeps a probe from being attached in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The kernel was built without kprobes: it has no such source of perf events.
    NoKprobes,
    /// The process may not attach kprobes (`perf_event_open`).
    KprobesDenied,
    /// The kernel does not load programs for BPF trampolines (fentry, fexit).
    NoTrampolines,
    /// The kernel has no such function or tracepoint, or the compiler inlined it.
    NoFunction,
    /// Another one: the reason says it.
    #[serde(other)]
    Other,
}

fn or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ProbeState {
    /// Its name in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Waiting => "waiting",
            Self::NotNeeded => "not_needed",
            Self::LeftOut => "left_out",
            Self::Missing { .. } => "missing",
            Self::Unknown => "unknown",
        }
    }

    /// Why the probe is missing, where that is known.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Missing { reason, .. } if !reason.is_empty() => Some(reason),
            _ => None,
        }
    }

    /// What stood in the way of a missing probe.
    #[must_use]
    pub fn obstacles(&self) -> &[Obstacle] {
        match self {
            Self::Missing { obstacles, .. } => obstacles,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let missing =
            |reason: &str| ProbeState::Missing { reason: reason.to_owned(), obstacles: Vec::new() };
        let hindered = ProbeState::Missing {
            reason: "no kprobes".to_owned(),
            obstacles: vec![Obstacle::NoKprobes, Obstacle::NoFunction],
        };
        for state in [
            ProbeState::Attached,
            ProbeState::Waiting,
            ProbeState::NotNeeded,
            ProbeState::LeftOut,
            missing("inlined"),
            hindered,
        ] {
            let json = serde_json::to_value(&state).unwrap();
            assert_eq!(json["state"], state.name());
            assert_eq!(json.get("reason").and_then(|reason| reason.as_str()), state.reason());
            assert_eq!(serde_json::from_value::<ProbeState>(json).unwrap(), state);
        }
        for (json, expected) in [
            (json!({"state": "attached", "reason": null, "symbol": "x"}), ProbeState::Attached),
            (json!({"state": "missing", "reason": null}), missing("")),
            (json!({"state": "missing"}), missing("")),
            (
                json!({"state": "missing", "obstacles": ["of_later"]}),
                ProbeState::Missing { reason: String::new(), obstacles: vec![Obstacle::Other] },
            ),
            (json!({"state": "asleep", "reason": "later"}), ProbeState::Unknown),
        ] {
            assert_eq!(serde_json::from_value::<ProbeState>(json).unwrap(), expected);
        }
    }
}
