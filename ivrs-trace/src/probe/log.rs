//! What the BPF programs log of themselves (`--features bpf-log`), on standard error.
//!
//! For work on the programs only: it carries no event, and no answer rests on it.

use std::{fs, os::fd::AsRawFd as _};

use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::{
    error::{TraceError, load_error},
    status::ProbeStatus,
};

pub(super) struct ProgramLog(EbpfLogger<StandardError>);

impl ProgramLog {
    /// They all log to one map, which is found by any of them.
    pub(super) fn open(probes: &[ProbeStatus]) -> Result<Self, TraceError> {
        let id = probes.iter().flat_map(|probe| &probe.programs).find_map(|program| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()));
            info.ok()?.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
        });
        EbpfLogger::init_from_id_with_logger(id.unwrap_or_default(), StandardError)
            .map(Self)
            .map_err(|error| load_error(&error))
    }

    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("bpf: {}", crate::escape::printable(&record.args().to_string()));
    }

    fn flush(&self) {}
}
