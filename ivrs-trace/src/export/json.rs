//! One JSON object a line: the host, every event, every attempt, and how it ended.

use serde::Serialize;

use crate::{
    escape::printable,
    event::Event,
    facts::{Clocks, Lost, ProbeFact},
    host::Reading,
    model::{Model, Verdicts},
    object::object,
    report::json::{self, Check, RunAttempt},
};

/// A line.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The host. The first line, and the only one of its kind.
    Host(Box<Host>),
    /// An event. They follow in the order of their numbers.
    Event(json::EventLine<'a>),
    /// An attempt to take a device. They follow the events, in the order in which they began.
    Attempt(Box<RunAttempt>),
    /// How it ended. The last line: where it is missing, so is something before it.
    End(End),
}

object! {
    /// The host.
    Host schema "ivrs-trace/export/1" of (
        model: &Model, verdicts: Verdicts, probes: &[ProbeFact], began: Option<Clocks>
    ) using {
        let host = model.host();
        let text = |reading: &Reading<String>| reading.value().map(|text| printable(text));
    } {
        /// Name and version of the program that wrote this.
        tool: &'static str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        /// `uname -r`; null where it was not read, as with all that follows.
        kernel_release: Option<String> = text(&host.kernel_release),
        /// The kernel command line.
        command_line: Option<String> = text(&host.command_line),
        /// Maker of the machine.
        sys_vendor: Option<String> = text(&host.dmi.sys_vendor),
        /// Name of the machine.
        product_name: Option<String> = text(&host.dmi.product_name),
        /// Maker of the board.
        board_vendor: Option<String> = text(&host.dmi.board_vendor),
        /// Name of the board.
        board_name: Option<String> = text(&host.dmi.board_name),
        /// Version of the firmware.
        bios_version: Option<String> = text(&host.dmi.bios_version),
        /// Date of the firmware, as it writes it.
        bios_date: Option<String> = text(&host.dmi.bios_date),
        /// The bytes of the IVRS, two hex digits each.
        ivrs: Option<String> = host.ivrs.value().cloned().map(String::from),
        /// The clocks when tracing began; null where nothing was traced.
        began: Option<Began> = began.map(Began::of),
        /// The probes as they stood at the end.
        probes: Vec<Probe> = probes.iter().map(Probe::of).collect(),
        /// What `check` says.
        check: Check = json::check(model, verdicts),
    }

    /// Two clocks at one moment.
    Began of (clocks: Clocks) {
        /// `CLOCK_MONOTONIC`, ns: the clock of the events.
        monotonic_ns: u64 = clocks.monotonic_ns,
        /// `CLOCK_REALTIME`, ns since 1970.
        realtime_ns: u64 = clocks.realtime_ns,
    }

    /// A probe.
    Probe of (probe: &ProbeFact) {
        /// The kernel function or the tracepoint.
        symbol: String = printable(&probe.symbol),
        /// How it is attached.
        how: Vec<String> = probe.how.iter().map(|how| printable(how)).collect(),
        /// `attached`, `waiting`, `not_needed`, `left_out`, `missing` or `unknown`.
        state: &'static str = probe.state.name(),
        /// Why it is missing.
        reason: Option<String> = probe.state.reason().map(printable),
    }

    /// How it ended.
    End of (events: u64, attempts: usize, attempts_dropped: u64, lost: Lost) {
        /// Events before this.
        events: u64 = events,
        /// Attempts before this.
        attempts: usize = attempts,
        /// How many older attempts were dropped for want of room.
        attempts_dropped: u64 = attempts_dropped,
        /// What did not arrive.
        lost: Lost = lost,
    }
}

/// The line of the host.
#[must_use]
pub fn host<'a>(
    model: &Model,
    verdicts: Verdicts,
    probes: &[ProbeFact],
    began: Option<Clocks>,
) -> Line<'a> {
    Line::Host(Box::new(Host::of(model, verdicts, probes, began)))
}

/// The line of an event.
#[must_use]
pub fn event(number: u64, event: &Event) -> Line<'_> {
    Line::Event(json::EventLine::of(number, event))
}

/// The lines of all attempts, and of the end.
pub fn rest(model: &Model, events: u64, lost: Lost) -> impl Iterator<Item = Line<'_>> {
    let attempts = model.attempts();
    let end = Line::End(End::of(events, attempts.len(), model.attempts_dropped(), lost));
    let line = |attempt| Line::Attempt(Box::new(RunAttempt::of(model, attempt)));
    attempts.iter().map(line).chain([end])
}
