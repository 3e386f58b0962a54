//! A writer for the archive format that Linux unpacks as its first root file system: `newc`
//! cpio, uncompressed.
//!
//! It writes regular files, folders and symbolic links, all owned by root. It does not read
//! archives, and knows neither devices (the kernel mounts devtmpfs) nor hard links.
//!
//! The format and the rule that several archives may follow one another are in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::files;

const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive being written to `out`. Nothing is complete before [`Archive::finish`].
pub(crate) struct Archive<W> {
    out: W,
    /// Bytes written so far: every header and every content starts on a multiple of four.
    written: usize,
    /// Each member needs an inode number of its own, or the kernel would link them together.
    inode: u32,
    folders: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, written: 0, inode: 0, folders: BTreeSet::new() }
    }

    /// Adds a regular file at `path` (relative to the root, no leading slash) with the permission
    /// bits `mode`, and the folders above it that are not there yet.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.member(path, REGULAR | mode, content)
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.member(path, LINK | 0o777, target.as_bytes())
    }

    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.parents(path)?;
        if self.folders.insert(path.to_owned()) {
            self.member(path, FOLDER | mode, &[])?;
        }
        Ok(())
    }

    /// Adds all files below `folder` with their permission bits, and the folders above them. What is
    /// neither file nor folder is an error.
    pub(crate) fn tree(&mut self, folder: &Path) -> Result<()> {
        self.branch(folder, "")
    }

    fn branch(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for from in files::list(folder)? {
            let data = fs::symlink_metadata(&from)?;
            let name = from.file_name().unwrap_or_default().to_string_lossy();
            let path = format!("{prefix}{name}");
            if data.is_dir() {
                self.branch(&from, &format!("{path}/"))?;
                continue;
            }
            ensure!(data.is_file(), "{} is neither a file nor a folder", from.display());
            self.file(&path, data.permissions().mode() & 0o777, &files::read(&from)?)?;
        }
        Ok(())
    }

    /// Writes the trailer and returns the writer. The length is a multiple of four, so that
    /// another archive can follow directly.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.header("TRAILER!!!", 0, 0, 0)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        path.rsplit_once('/').map_or(Ok(()), |(parent, _)| self.folder(parent, 0o755))
    }

    fn member(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        ensure!(
            !path.is_empty() && !path.starts_with('/'),
            "archive member {path:?} is not a relative path"
        );
        let size = u32::try_from(content.len())
            .ok()
            .with_context(|| format!("{path} is over 4 GiB, too large for a cpio archive"))?;
        self.inode += 1;
        self.header(path, self.inode, mode, size)?;
        self.put(content)?;
        self.pad()?;
        Ok(())
    }

    fn header(&mut self, path: &str, inode: u32, mode: u32, size: u32) -> Result<()> {
        // The name is written with the NUL that ends it.
        let name_size = u32::try_from(path.len() + 1).context("archive member name too long")?;
        let (uid, gid, links, time, device, check) = (0, 0, 1, 0, 0, 0);
        let fields = [
            inode, mode, uid, gid, links, time, size, device, device, device, device, name_size,
            check,
        ];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08x}").as_bytes())?;
        }
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[6 + n * 8..14 + n * 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            let start = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(bytes.len(), start);
                return found;
            }
            let content = bytes[start..start + size].to_vec();
            found.push((name, u32::try_from(mode).unwrap(), content));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn members_come_in_order_with_the_folders_above_them_once() {
        let mut archive = Archive::new(Vec::new());
        archive.file("usr/bin/odd", 0o755, b"12345").unwrap();
        archive.link("usr/bin/other", "odd").unwrap();
        archive.folder("tmp", 0o1777).unwrap();
        archive.folder("usr", 0o755).unwrap();
        let bytes = archive.finish().unwrap();
        assert!(bytes.len().is_multiple_of(4));
        let expected = [
            ("usr", 0o040_755, &b""[..]),
            ("usr/bin", 0o040_755, b""),
            ("usr/bin/odd", 0o100_755, b"12345"),
            ("usr/bin/other", 0o120_777, b"odd"),
            ("tmp", 0o041_777, b""),
        ];
        let found = members(&bytes);
        let found: Vec<_> = found.iter().map(|(n, m, c)| (n.as_str(), *m, c.as_slice())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tree_is_added_in_the_order_of_names_with_its_modes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        for (path, mode) in [("usr/bin/run", 0o755), ("usr/text", 0o600)] {
            let path = folder.path().join(path);
            fs::write(&path, b"x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut archive = Archive::new(Vec::new());
        archive.tree(folder.path()).unwrap();
        let found = members(&archive.finish().unwrap());
        let found: Vec<_> = found.iter().map(|(path, mode, _)| (path.as_str(), *mode)).collect();
        let expected = [
            ("usr", 0o040_755),
            ("usr/bin", 0o040_755),
            ("usr/bin/run", 0o100_755),
            ("usr/text", 0o100_600),
        ];
        assert_eq!(found, expected);
        std::os::unix::fs::symlink("text", folder.path().join("usr/link")).unwrap();
        let error = Archive::new(Vec::new()).tree(folder.path()).unwrap_err();
        assert!(error.to_string().contains("usr/link"), "{error}");
    }

    #[test]
    fn inode_numbers_differ_so_that_nothing_is_hard_linked() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a", 0o644, b"").unwrap();
        archive.file("b", 0o644, b"").unwrap();
        let bytes = archive.finish().unwrap();
        let inodes = (&bytes[6..14], &bytes[112 + 6..112 + 14]);
        assert_ne!(inodes.0, inodes.1);
    }

    #[test]
    fn an_absolute_path_is_an_error() {
        assert!(Archive::new(Vec::new()).file("/init", 0o755, b"").is_err());
    }
}
