//! `ivrs-trace` without a command, and `ivrs-trace tui`: runs the dashboard. It feeds it with facts and
//! keys, and does what it asks for.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use crossterm::event::Event as Input;
use etcetera::BaseStrategy as _;
use rustix::thread::CapabilitySet;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc as queue,
    time::sleep_until,
};

use super::{
    events::FollowArgs,
    io::{
        facts::{self, Facts},
        save, source,
        terminal::{self, Screen},
    },
    report,
};
use crate::{
    escape::printable,
    facts::Clocks,
    live::{
        self, Live,
        record::{self, Output},
        rights,
    },
    model::Model,
    output,
    privilege::{Caller, for_modules},
    report::{
        letters::input::{Case, Origin},
        redact::Redactor,
        stream,
    },
    tui::{App, Config, Effect, Keys, Message, Reader, Replay, Scene, Stage, ThemeName, Watch},
};

/// Time between two drawings at least: 30 a second.
const FRAME: Duration = Duration::from_millis(33);
/// How often losses, probes and the state of a recording are asked for, while anything happens.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes that a configuration may have.
const MAX_CONFIG: u64 = 64 * 1024;

const MORE: &str = "\
Exit status:
  0  the user quit
  2  error

Examples:
  sudo ivrs-trace tui
      This host, live
  sudo ivrs-trace tui --vm win11
      Only the VM win11
  ivrs-trace tui --from trace.ivt
      A recording, without root";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Show another host: a recording, with a time line, or a folder with copies of its /sys and
    /// /proc
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// The theme: dark, light, high-contrast, 16 (the terminal's own colours) or none. By default
    /// none if `NO_COLOR` is set, else the theme of the configuration, else dark
    #[arg(long, value_name = "NAME", value_parser = theme)]
    theme: Option<ThemeName>,
    /// The configuration file, for theme and keys; by default ivrs-trace/config.toml in
    /// `XDG_CONFIG_HOME`, else in ~/.config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowArgs,
}

fn theme(text: &str) -> Result<ThemeName, String> {
    let found = ThemeName::ALL.into_iter().find(|theme| theme.name() == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = ThemeName::ALL.iter().map(|theme| theme.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Shows the dashboard until it is left.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let config = configuration(args.config.as_deref())?;
    let keys = Keys::new(&config.keys)?;
    let bare = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let fallback = if bare { ThemeName::Plain } else { ThemeName::default() };
    let theme = args.theme.or(config.theme.filter(|_| !bare)).unwrap_or(fallback);
    let mut app = App::new(keys, theme);
    app.follow(args.follow.filters()?, args.follow.alternatives());
    live::runtime::runtime()?.block_on(run(args, app))?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration: that of a file that is named, else that of its usual place, if there is one.
fn configuration(named: Option<&Path>) -> anyhow::Result<Config> {
    let usual = || {
        let folders = etcetera::choose_base_strategy().ok()?;
        let path = folders.config_dir().join("ivrs-trace").join("config.toml");
        path.is_file().then_some(path)
    };
    let Some(path) = named.map(Path::to_owned).or_else(usual) else {
        return Ok(Config::default());
    };
    let shown = printable(&path.display().to_string());
    let cannot = || format!("cannot read the configuration {shown}");
    let mut text = String::new();
    let file = std::fs::File::open(&path).with_context(cannot)?;
    let length = file.take(MAX_CONFIG + 1).read_to_string(&mut text).with_context(cannot)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > MAX_CONFIG {
        bail!("the configuration {shown} is longer than {MAX_CONFIG} bytes");
    }
    Config::parse(&text).map_err(|error| {
        anyhow::anyhow!("cannot use the configuration {shown}: {}", printable(&error.to_string()))
    })
}

enum Source {
    Live { live: Box<Live>, stage: Stage, watch: Watch, name: Option<PathBuf>, read: u32 },
    Files { model: Box<Model>, stage: Stage, watch: Watch },
    Replay(Box<Replay>),
}

impl Source {
    fn open(from: Option<&Path>) -> anyhow::Result<Self> {
        match from {
            None => Ok(Self::this_host()),
            Some(path) if path.as_os_str() == "-" => {
                bail!("the dashboard needs standard input for its keys: give the recording's file")
            }
            Some(path) if path.is_dir() => {
                let Facts { model, verdicts, origin, .. } =
                    facts::gather(Some(path), facts::Ask::Everything, |_, _, _| {})?;
                let mut stage = Stage::new(&model, origin, Clocks::default());
                stage.verdicts = verdicts;
                Ok(Self::files(model, stage))
            }
            Some(path) => {
                let tape = source::tape(path)?;
                let origin = facts::origin(tape.start.as_ref(), tape.end.as_ref());
                let mut notes =
                    facts::notes(tape.start.as_ref(), &tape.condition, tape.continues.as_ref());
                if tape.left_out > 0 {
                    notes.push(format!(
                        "{} events at its end are left out: the dashboard holds no more than {}",
                        tape.left_out,
                        crate::replay::MAX_TAPE
                    ));
                }
                Ok(Self::Replay(Box::new(Replay::new(tape, origin, notes))))
            }
        }
    }

    /// This host: its kernel is asked through probes where that is allowed, else files alone are
    /// read.
    fn this_host() -> Self {
        let mut why_not = "this host has no IOMMU group".to_owned();
        if live::can_show() {
            output::complain("attaching probes and reading the host");
            let mut first = Vec::new();
            match Live::start(|number, event| first.push((number, event.clone()))) {
                Ok(live) => {
                    // A recording that is begun later reads the host again.
                    let reading = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_PTRACE;
                    rights::give_up(for_modules() | reading, Caller::of_sudo());
                    let origin = Origin::Live { traced: true };
                    let mut stage = Stage::new(&live.model, origin, live.began());
                    stage.notes =
                        crate::report::probes::summary(&live.probes()).into_iter().collect();
                    for (number, event) in &first {
                        stage.observe(*number, event);
                    }
                    stage.touch();
                    stage.refresh(&live.model);
                    let watch = Watch::Live { recording: None };
                    let mut source =
                        Self::Live { live: Box::new(live), stage, watch, name: None, read: 0 };
                    source.look();
                    return source;
                }
                Err(error) => why_not = format!("{error:#}"),
            }
        }
        let model = source::this_host();
        let mut stage = Stage::new(&model, Origin::Live { traced: false }, record::clocks());
        stage.notes = vec![format!("the kernel is not traced: {}", printable(&why_not))];
        Self::files(model, stage)
    }

    fn files(model: Model, stage: Stage) -> Self {
        Self::Files { model: Box::new(model), stage, watch: Watch::Live { recording: None } }
    }

    fn scene(&self) -> Scene<'_> {
        match self {
            Self::Live { live, stage, watch, .. } => Scene { model: &live.model, stage, watch },
            Self::Files { model, stage, watch } => Scene { model, stage, watch },
            Self::Replay(replay) => replay.scene(),
        }
    }

    /// Waits until there is something to take in; for ever where nothing comes.
    async fn ready(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Live { live, .. } => live.ready().await,
            Self::Replay(replay) if replay.is_playing() => {
                tokio::time::sleep(FRAME).await;
                Ok(())
            }
            Self::Files { .. } | Self::Replay(_) => std::future::pending().await,
        }
    }

    /// Takes in what has come, in so much time.
    fn take_in(&mut self, elapsed: Duration) {
        match self {
            Self::Live { live, stage, read, .. } => {
                live.pump(|number, event| stage.observe(number, event));
                if *read != live.snapshots() {
                    *read = live.snapshots();
                    stage.touch();
                }
            }
            Self::Replay(replay) => replay.advance(elapsed),
            Self::Files { .. } => {}
        }
    }

    /// Judges again, where something has come: before a drawing, not for every event.
    fn refresh(&mut self) {
        if let Self::Live { live, stage, .. } = self {
            stage.refresh(&live.model);
        }
    }

    /// Asks how probes, losses and recording stand.
    fn look(&mut self) {
        let Self::Live { live, stage, watch, name, .. } = self else { return };
        stage.probes = live.probes();
        // That the counts cannot be had now is no reason to stop.
        if let Ok(loss) = live.loss() {
            stage.lost = loss.as_lost();
            stage.lost.queue = stage.lost.queue.saturating_add(live.undecoded());
            stage.loss = loss;
        }
        let status = live.recorded();
        let shown = |path: &PathBuf| printable(&path.display().to_string());
        *watch = Watch::Live { recording: name.as_ref().map(shown).zip(status) };
    }
}

async fn run(args: &Args, mut app: App) -> anyhow::Result<()> {
    let mut ends = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let _full = record::outlive_file_limit()?;
    let mut source = Source::open(args.from.as_deref())?;
    let mut screen = Screen::take()?;
    let mut keys = terminal::inputs().context("cannot read keys from the terminal")?;
    let (tell, told) = mpsc::channel();
    let result = watch(&mut app, &mut source, &mut screen, &mut keys, &mut ends, (&tell, &told));
    let result = result.await;
    let ended = end_recording(&mut source, "interrupted");
    drop(screen);
    if let Some(said) = ended {
        output::complain(&said);
    }
    result
}

/// The loop: what comes is taken in at once, and drawn at most 30 times a second.
async fn watch(
    app: &mut App,
    source: &mut Source,
    screen: &mut Screen,
    keys: &mut queue::Receiver<std::io::Result<Input>>,
    ends: &mut [Signal; 3],
    (tell, told): (&Sender<String>, &Receiver<String>),
) -> anyhow::Result<()> {
    let [interrupted, terminated, hung_up] = ends;
    let mut dirty = true;
    let mut drawn = Instant::now().checked_sub(FRAME).unwrap_or_else(Instant::now);
    // When something came last, when was looked how probes and losses stand, and to when a replay has
    // played.
    let mut came = Instant::now();
    let (mut looked, mut played) = (came, came);
    loop {
        while let Ok(trouble) = told.try_recv() {
            app.say(Message::Trouble(printable(&trouble)));
            dirty = true;
        }
        if dirty && drawn.elapsed() >= FRAME {
            if looked.elapsed() >= LOOK {
                source.look();
                looked = Instant::now();
            }
            source.refresh();
            let scene = source.scene();
            screen.draw(|frame| app.draw(frame, &scene))?;
            (drawn, dirty) = (Instant::now(), false);
        }
        // A last look follows what has come, so that its counts are shown as well.
        let next =
            if dirty { Some(drawn + FRAME) } else { (looked < came).then_some(looked + LOOK) };
        tokio::select! {
            ready = source.ready() => {
                ready?;
                // It did not play while nobody asked.
                source.take_in(played.elapsed().min(FRAME * 4));
                (came, played) = (Instant::now(), Instant::now());
                dirty = true;
            }
            key = keys.recv() => {
                // The terminal has gone away.
                let Some(key) = key else { return Ok(()) };
                let key = key.context("cannot read keys from the terminal")?;
                if act(app, source, screen, &key, tell)? {
                    return Ok(());
                }
                dirty = true;
            }
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            () = until(next) => {
                if !dirty {
                    source.look();
                    looked = Instant::now();
                    dirty = true;
                }
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Takes in a key and does what comes of it; true if the dashboard is to be left.
fn act(
    app: &mut App,
    source: &mut Source,
    screen: &mut Screen,
    input: &Input,
    tell: &Sender<String>,
) -> anyhow::Result<bool> {
    source.refresh();
    for effect in app.input(input, &source.scene()) {
        let done = match effect {
            Effect::Quit => return Ok(true),
            Effect::Redraw => {
                screen.forget()?;
                continue;
            }
            Effect::Report(reader) => write_report(source, reader),
            Effect::Copy(text) => terminal::copy(&text),
            Effect::Record => record(source, tell),
            Effect::Seek(to) => {
                if let Source::Replay(replay) = source {
                    replay.seek(to);
                }
                continue;
            }
            Effect::Play => {
                if let Source::Replay(replay) = source {
                    replay.toggle();
                }
                continue;
            }
            Effect::Speed { faster } => {
                if let Source::Replay(replay) = source {
                    replay.change_speed(faster);
                }
                continue;
            }
        };
        app.say(match done {
            Ok(text) => Message::Done(text),
            Err(error) => Message::Trouble(format!("{error:#}")),
        });
    }
    Ok(false)
}

/// Writes a report to a new file in the working directory, and says where.
fn write_report(source: &Source, reader: Reader) -> anyhow::Result<String> {
    let (reader, word, suffix) = match reader {
        Reader::Kernel => (report::Reader::Kernel, "kernel", "txt"),
        Reader::Vendor => (report::Reader::Vendor, "vendor", "txt"),
        Reader::Forum => (report::Reader::Forum, "forum", "md"),
    };
    let Scene { model, stage, .. } = source.scene();
    let redact = if reader.is_redacted() {
        let own = if matches!(source, Source::Replay(_)) { Vec::new() } else { facts::own_names() };
        Redactor::on(model, own)
    } else {
        Redactor::off()
    };
    let case = Case {
        model,
        verdicts: &stage.verdicts,
        origin: &stage.origin,
        probes: &stage.probes,
        lost: stage.lost,
        notes: &stage.notes,
        trail: &stage.trail,
        redact: &redact,
    };
    let text = report::text(&case, reader, None);
    let path = PathBuf::from(format!("ivrs-trace-{word}-{}.{suffix}", now_words()));
    save::save(Some(&path), |out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(format!("report written to {}", path.display()))
}

/// Begins a recording, or ends the one that there is.
fn record(source: &mut Source, tell: &Sender<String>) -> anyhow::Result<String> {
    if let Some(said) = end_recording(source, "interrupted") {
        return Ok(said);
    }
    let Source::Live { live, name, .. } = source else {
        bail!("there is nothing to record: the kernel is not traced (see Health)")
    };
    let path = PathBuf::from(format!("ivrs-trace-{}.ivt", now_words()));
    let output = Output { path: &path, force: false, max_size: None, command: &[] };
    let tell = tell.clone();
    live.begin_recording(&output, move |line| {
        // Where nobody listens any more, the dashboard is being left.
        let _: Result<(), _> = tell.send(line.to_owned());
    })?;
    let said = format!("recording to {}", path.display());
    *name = Some(path);
    source.look();
    Ok(said)
}

/// Ends the recording, if there is one, and says what has become of it.
fn end_recording(source: &mut Source, reason: &str) -> Option<String> {
    let Source::Live { live, name, .. } = source else { return None };
    let path = name.take()?;
    let outcome = live.end_recording(reason, None)?;
    let output = Output { path: &path, force: false, max_size: None, command: &[] };
    let said = output.words(&outcome);
    source.look();
    Some(said)
}

/// The time, UTC, as part of a file's name.
fn now_words() -> String {
    let utc = stream::utc(record::clocks().realtime_ns);
    let whole = utc.split('.').next().unwrap_or_default();
    whole.chars().filter(char::is_ascii_alphanumeric).collect()
}
