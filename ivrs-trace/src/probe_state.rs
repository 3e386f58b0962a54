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
    },
    /// A recording of a later version has another state.
    #[serde(other)]
    Unknown,
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
            Self::Missing { reason } if !reason.is_empty() => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let missing = |reason: &str| ProbeState::Missing { reason: reason.to_owned() };
        for state in [
            ProbeState::Attached,
            ProbeState::Waiting,
            ProbeState::NotNeeded,
            ProbeState::LeftOut,
            missing("inlined"),
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
            (json!({"state": "asleep", "reason": "later"}), ProbeState::Unknown),
        ] {
            assert_eq!(serde_json::from_value::<ProbeState>(json).unwrap(), expected);
        }
    }
}
