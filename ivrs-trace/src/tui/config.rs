//! The configuration of the dashboard: a file of TOML. It is read by whoever runs the dashboard.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use super::{Keys, KeysError, ThemeName};

/// What can be configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The theme; `dark` if it is not named, and `none` where `NO_COLOR` is set.
    pub(crate) theme: Option<ThemeName>,
    /// Keys by the name of their action: all keys that it is to have.
    pub(crate) keys: BTreeMap<String, Vec<String>>,
}

/// Why a configuration is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    /// It is not such TOML: where and why, on one line.
    #[error("line {line}: {message}")]
    Toml { line: usize, message: String },
    #[error("[keys]: {0}")]
    Keys(#[from] KeysError),
}

impl Config {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let message: Vec<&str> = error.message().split_whitespace().collect();
            ConfigError::Toml { line: before.matches('\n').count() + 1, message: message.join(" ") }
        })?;
        Keys::new(&config.keys)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_and_keys_are_read() {
        let config = Config::parse("theme = \"high-contrast\"\n[keys]\nquit = [\"Q\"]\n").unwrap();
        assert_eq!(config.theme, Some(ThemeName::HighContrast));
        assert_eq!(config.keys.get("quit"), Some(&vec!["Q".to_owned()]));
        assert_eq!(Config::parse(""), Ok(Config::default()));
        for theme in ThemeName::ALL {
            let config = Config::parse(&format!("theme = {:?}", theme.name())).unwrap();
            assert_eq!(config.theme, Some(theme));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("\n\ntheme = \"pink\"", "line 3: unknown variant"),
            ("colour = 1", "line 1: unknown field"),
            ("[keys]\nfly = [\"x\"]", "[keys]: there is no action \"fly\""),
            ("[keys]\nquit = 3", "line 2: invalid type"),
            ("theme", "line 1: "),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
        }
    }
}
