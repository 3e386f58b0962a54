//! `cargo xtask demo`: from nothing to the explanation of a refusal on the screen.
//!
//! It boots the lab's guest with the firmware of many desktop boards and traces two attaches in
//! it: one that the guest's kernel refuses and one that it grants. It fails if either ends
//! otherwise. With `--tui` it hands over the dashboard in that guest, where the first of the two is
//! repeated.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::vm::{self, Guest};
use crate::{ebpf, setup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show the dashboard while it happens, on this terminal
    #[arg(long)]
    tui: bool,
}

/// What runs in the guest. The tool's words and the command's come through one pipe, so that
/// they stay in order.
const SCRIPT: &str = r#"
exec 2>&1
traced() {
    printf '\n%s\n' "$1"
    shift
    printf '$ ivrs-trace run -- %s\n\n' "$*"
    ivrs-trace run -- "$@"
    status=$?
    printf '\n(exit status %s)\n' $status
}
traced 'Attach a device that the firmware has claimed:' vfio-attach 00:03.0
refused=$status
printf '\nThe kernel itself wrote no more than this:\n'
dmesg | grep 'Firmware has requested'
traced 'Attach a device on a bus above 0x0f, which the firmware left alone:' vfio-attach 21:00.0
[ $refused = 1 ] && [ $status = 0 ]
"#;

/// What runs in the guest with `--tui`. The dashboard has the terminal when it is raw.
const DASHBOARD: &str = "
clear
cat << 'END'

  This guest's firmware has claimed every device on buses 0x00 to 0x0f.

  Press Enter, and the dashboard of ivrs-trace starts. Some seconds later, and
  then every 20 seconds, a program attaches 00:03.0, as a virtual machine
  would at its start, and the guest's kernel refuses.

  When the last line says so:

    Enter   explains the refusal
    c       goes to the bytes in the firmware that are behind it
    Esc     goes back
    ?       shows all keys
    q       leaves the dashboard and ends the demonstration

END
read -r _ || exit
(
    until stty -F /dev/ttyS1 -a | grep -q -e '-icanon'; do sleep 1; done
    sleep 3
    while sleep 2; do
        vfio-attach 00:03.0
        sleep 18
    done
) > /dev/null 2>&1 &
exec ivrs-trace
";

pub(crate) fn command(args: &Args) -> Result<()> {
    let started = Instant::now();
    ensure!(
        !args.tui || io::stdin().is_terminal() && io::stdout().is_terminal(),
        "the dashboard needs a terminal for standard input and output; without --tui none is needed"
    );
    let stop = vm::stopped_by_signals()?;
    let guest = Guest { firmware: "am5-desktop".parse()?, ..Guest::default() };

    println!("[1/3] Getting what is missing of QEMU, a kernel and busybox");
    setup::qemu()?;
    setup::kernel(&guest.kernel)?;
    setup::busybox()?;
    println!("[2/3] Building the BPF programs and ivrs-trace");
    ebpf::ensure_object()?;
    vm::programs()?;
    println!(
        "[3/3] Booting {} on an emulated AMD IOMMU; its IVRS has three exclusion ranges for all \
         devices on buses 0x00 to 0x0f",
        guest.kernel
    );
    if args.tui {
        println!("      That takes 10 to 20 seconds.");
        let status = guest.on_terminal(DASHBOARD, &stop)?;
        ensure!(status == 0, "the dashboard ended with {status}");
        return Ok(());
    }
    let mut timer = Some(timer());
    let (status, _) = guest.run_streaming(SCRIPT, &stop, |_, bytes| {
        // The first output ends the wait.
        if let Some((stop, thread)) = timer.take() {
            drop(stop);
            // It cannot fail, and nothing would follow from it.
            let _ = thread.join();
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).context("cannot write the guest's output")
    })?;
    ensure!(
        status == 0,
        "the kernel of the guest was to refuse 00:03.0 and to grant 21:00.0, and did not"
    );
    println!("\nThe demonstration took {:.0} s.", started.elapsed().as_secs_f32());
    Ok(())
}

/// Shows the seconds that pass, on a terminal in place, until the sender is dropped.
fn timer() -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel();
    let in_place = io::stderr().is_terminal();
    let period = Duration::from_secs(if in_place { 1 } else { 5 });
    let thread = thread::spawn(move || {
        let started = Instant::now();
        while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            let seconds = started.elapsed().as_secs();
            if in_place {
                eprint!("\r    {seconds} s");
            } else {
                eprintln!("    {seconds} s");
            }
        }
        if in_place {
            eprintln!();
        }
    });
    (stop, thread)
}
