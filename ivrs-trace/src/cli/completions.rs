//! `ivrs-trace completions`: what a shell needs to complete this program's command line.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::output;

const MORE: &str = "\
Exit status:
  0  the script is complete
  2  error

Examples:
  ivrs-trace completions bash > ~/.local/share/bash-completion/completions/ivrs-trace
      For bash; takes effect in the next shell
  ivrs-trace completions fish > ~/.config/fish/completions/ivrs-trace.fish
      For fish
  ivrs-trace completions zsh > ~/.zfunc/_ivrs-trace
      For zsh, if .zshrc adds ~/.zfunc to fpath before it calls compinit";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script. It is made in memory first, as its maker knows no errors of writing.
pub(super) fn command(args: &Args, program: &Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let mut shown = shown(program);
    let name = shown.get_name().to_owned();
    clap_complete::generate(args.shell, &mut shown, name, &mut script);
    output::print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The same without what is hidden from the help, which the scripts would offer.
fn shown(command: &Command) -> Command {
    let mut shown = Command::new(command.get_name().to_owned());
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|one| !one.is_hide_set()).map(self::shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_offer_every_command_and_nothing_hidden() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let mut script = Vec::new();
            let program = crate::cli::definition();
            clap_complete::generate(shell, &mut shown(&program), "x", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in program.get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("snapshot-only") && !script.contains("leave-out"), "{shell}");
        }
    }
}
