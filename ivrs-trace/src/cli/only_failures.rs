//! `record --only-failures`: a recording that stays only where somebody was not given a device.
//!
//! It is written beside the file that was asked for and takes its name when it is to stay, so that a
//! start that goes well leaves the recording of an earlier failure alone.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    model::Model,
    recording::{CreateError, rotated},
    report,
};

/// Arguments of `record` about it.
#[derive(Debug, clap::Args)]
pub(super) struct OnlyFailuresArgs {
    /// Keep the file only if an attempt to claim a device failed
    ///
    /// record then prints one line about the failure, else nothing. Until the end, the file is named
    /// FILE.part. A failure does not count if a later attempt of the same process succeeds.
    #[arg(long, conflicts_with = "snapshot_only")]
    pub(super) only_failures: bool,
    /// With --only-failures: count only failures of this VM (QEMU -name)
    ///
    /// Failures of processes whose VM is unknown count too.
    #[arg(long, value_name = "NAME", requires = "only_failures")]
    vm: Option<String>,
}

impl OnlyFailuresArgs {
    /// The file to write to for now, for a recording that is asked for as `path`. Without `force`,
    /// what is there under the names that the recording may get is an error.
    pub(super) fn part(path: &Path, force: bool) -> Result<PathBuf, CreateError> {
        for name in [path.to_owned(), rotated(path)] {
            if !force && name.symlink_metadata().is_ok() {
                return Err(CreateError::Exists(name));
            }
        }
        let mut part = OsString::from(path);
        part.push(".part");
        Ok(part.into())
    }

    /// What failed, in a line; `None` if nothing did.
    pub(super) fn failed(&self, model: &Model) -> Option<String> {
        report::failures_line(model, &report::failures(model, self.vm.as_deref()))
    }
}
