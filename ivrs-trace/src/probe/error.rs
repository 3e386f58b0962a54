//! Why a host cannot be traced.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::btf::KERNEL_BTF;
use crate::{facts::ProbeFact, privilege, report::probes};

#[derive(Debug, Error)]
pub(crate) enum TraceError {
    #[error(
        "tracing needs root, or CAP_BPF and CAP_PERFMON: this process lacks {missing}; run it with sudo"
    )]
    Privilege { missing: String },
    #[error(
        "{KERNEL_BTF} cannot be used: {0}; tracing needs a kernel built with CONFIG_DEBUG_INFO_BTF, \
         whose struct layouts are read there"
    )]
    Btf(String),
    #[error("the kernel rejected the BPF object: {reason}{hint}")]
    Load { reason: String, hint: &'static str },
    /// How all probes stand.
    #[error(
        "no probe that shows a refusal can be attached{hint}: {why}",
        hint = privilege::lockdown_hint(), why = probes::why(.0)
    )]
    NoVerdict(Vec<ProbeFact>),
}

/// Why a program cannot be loaded or attached.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("the BPF object has no such program")]
    NoProgram,
    #[error("the BPF_PROG_LOAD syscall returned {error}. Verifier output: {log}")]
    Load { error: io::Error, log: String },
    #[error("`{}`: {error}", path.display())]
    Kprobes { path: PathBuf, error: io::Error },
    #[error("`{call}` failed: {error}")]
    Call { call: &'static str, error: io::Error },
}

pub(super) fn load_error(error: &dyn std::error::Error) -> TraceError {
    TraceError::Load { reason: one_line(error), hint: privilege::lockdown_hint() }
}

/// An error with its causes on one line; of a verifier log, the line that says what was refused.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let own = error.to_string();
        let own = own.trim();
        let line = match own.split_once('\n') {
            Some((first, rest)) => {
                // The log closes with statistics.
                let statistics = ["verification time", "stack depth", "processed "];
                let refusal = rest.lines().rev().map(str::trim).find(|line| {
                    !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start))
                });
                format!("{} … {}", first.trim(), refusal.unwrap_or_default())
            }
            None => own.to_owned(),
        };
        if !text.contains(&line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&line);
        }
        next = error.source();
    }
    crate::escape::printable(&text)
}
