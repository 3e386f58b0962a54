//! What the BPF programs log of themselves (`--features bpf-log`), on standard error.
//!
//! For work on the programs only: it carries no event, and no answer rests on it.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::error::{TraceError, load_error};

pub(super) struct ProgramLog(EbpfLogger<StandardError>);

impl ProgramLog {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, TraceError> {
        EbpfLogger::init_with_logger(ebpf, StandardError)
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
