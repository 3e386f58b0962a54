//! One JSON object a line: the host, every event, every attempt, and how it ended.

use serde::Serialize;

use crate::{
    escape::printable,
    event::Event,
    facts::{Clocks, Lost, ProbeFact},
    host::{HexBytes, Reading},
    model::{Model, Verdicts},
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

/// The host.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Host {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/export/1")))]
    pub schema: &'static str,
    /// Name and version of the program that wrote this.
    pub tool: &'static str,
    /// `uname -r`; null where it was not read, as with all that follows.
    pub kernel_release: Option<String>,
    /// The kernel command line.
    pub command_line: Option<String>,
    /// Maker of the machine.
    pub sys_vendor: Option<String>,
    /// Name of the machine.
    pub product_name: Option<String>,
    /// Maker of the board.
    pub board_vendor: Option<String>,
    /// Name of the board.
    pub board_name: Option<String>,
    /// Version of the firmware.
    pub bios_version: Option<String>,
    /// Date of the firmware, as it writes it.
    pub bios_date: Option<String>,
    /// The bytes of the IVRS, two hex digits each.
    pub ivrs: Option<String>,
    /// The clocks when tracing began; null where nothing was traced.
    pub began: Option<Began>,
    /// The probes as they stood at the end.
    pub probes: Vec<Probe>,
    /// What `check` says.
    pub check: Check,
}

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Began {
    /// `CLOCK_MONOTONIC`, ns: the clock of the events.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub realtime_ns: u64,
}

impl From<Clocks> for Began {
    fn from(clocks: Clocks) -> Self {
        Self { monotonic_ns: clocks.monotonic_ns, realtime_ns: clocks.realtime_ns }
    }
}

/// A probe.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Probe {
    /// The kernel function or the tracepoint.
    pub symbol: String,
    /// How it is attached.
    pub how: Vec<String>,
    /// `attached`, `waiting`, `not_needed`, `left_out` or `missing`.
    pub state: &'static str,
    /// Why it is missing.
    pub reason: Option<String>,
}

/// How it ended.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct End {
    /// Events before this.
    pub events: u64,
    /// Attempts before this.
    pub attempts: usize,
    /// How many older attempts were dropped for want of room.
    pub attempts_dropped: u64,
    /// What did not arrive.
    pub lost: Lost,
}

/// The line of the host.
#[must_use]
pub fn host<'a>(
    model: &Model,
    verdicts: Verdicts,
    probes: &[ProbeFact],
    began: Option<Clocks>,
) -> Line<'a> {
    let host = model.host();
    let text = |reading: &Reading<String>| reading.value().map(|text| printable(text));
    Line::Host(Box::new(Host {
        schema: "ivrs-trace/export/1",
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        kernel_release: text(&host.kernel_release),
        command_line: text(&host.command_line),
        sys_vendor: text(&host.dmi.sys_vendor),
        product_name: text(&host.dmi.product_name),
        board_vendor: text(&host.dmi.board_vendor),
        board_name: text(&host.dmi.board_name),
        bios_version: text(&host.dmi.bios_version),
        bios_date: text(&host.dmi.bios_date),
        ivrs: host.ivrs.value().map(|bytes: &HexBytes| String::from(bytes.clone())),
        began: began.map(Began::from),
        probes: probes
            .iter()
            .map(|probe| Probe {
                symbol: printable(&probe.symbol),
                how: probe.how.iter().map(|how| printable(how)).collect(),
                state: probe.state.name(),
                reason: probe.state.reason().map(printable),
            })
            .collect(),
        check: json::check(model, verdicts),
    }))
}

/// The line of an event.
#[must_use]
pub fn event(number: u64, event: &Event) -> Line<'_> {
    Line::Event(json::EventLine { number, event })
}

/// The lines of all attempts, and of the end.
pub fn rest<'a>(
    model: &Model,
    events: u64,
    lost: Lost,
) -> impl Iterator<Item = Line<'a>> + use<'a> {
    let attempts = json::run(model, lost, None).attempts;
    let end = Line::End(End {
        events,
        attempts: attempts.len(),
        attempts_dropped: model.attempts_dropped(),
        lost,
    });
    attempts.into_iter().map(|attempt| Line::Attempt(Box::new(attempt))).chain([end])
}
