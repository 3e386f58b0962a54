//! Taking probes out of the kernel without waiting for it.
//!
//! Whoever closes the last descriptor of a probe waits until no CPU can still be inside it: for a
//! trampoline two grace periods of RCU tasks (`ftrace_shutdown`, kernel/trace/ftrace.c, 6.12), a tenth of
//! a second, for a kprobe one of RCU. The kernel holds a lock meanwhile (`ftrace_lock`, `event_mutex`), so
//! threads that close side by side wait for each other; and the end of a process closes what it has.
//! So a process of its own closes them: it has nothing else, does nothing else, and ends with it, by
//! whatever signal too.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd},
};

use rustix::pipe::{PipeFlags, pipe_with};

/// Closes the descriptors, in another process where one can be made.
pub(super) fn close(held: Vec<OwnedFd>) {
    if held.is_empty() {
        return;
    }
    let Ok((end, open)) = pipe_with(PipeFlags::CLOEXEC) else { return };
    let mut kept: Vec<RawFd> = held.iter().map(AsRawFd::as_raw_fd).collect();
    kept.push(end.as_raw_fd());
    kept.sort_unstable();
    // SAFETY: the child makes system calls only, as a process with threads must.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // A child of the child is nobody's to wait for.
        // SAFETY: as above.
        if unsafe { libc::fork() } == 0 {
            // Where the others stay open, this end must not.
            // SAFETY: nothing in this process uses it any more.
            unsafe { libc::close(open.as_raw_fd()) };
            close_all_but(&kept);
            wait_for_end(&end);
        }
        // SAFETY: it runs nothing of this program.
        unsafe { libc::_exit(0) };
    }
    if child > 0 {
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
    // In this order: the other process goes on when the pipe has ended, and is the last to hold them.
    drop(held);
    drop(open);
}

/// Closes all descriptors but these, which are in order: files and pipes of this program must not stay
/// open on account of its probes.
fn close_all_but(kept: &[RawFd]) {
    let mut first = 0;
    for fd in kept.iter().copied().chain([RawFd::MAX]) {
        if fd > first {
            // SAFETY: nothing in this process uses what is closed. It fails before 5.9, where they stay
            // open for as long as this takes.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
    }
}

fn wait_for_end(end: &OwnedFd) {
    let mut byte = [0];
    while rustix::io::read(end.as_fd(), &mut byte) == Err(rustix::io::Errno::INTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_goes_and_nothing_else_is_kept_open() {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
        let ((held, to_hold), (other, to_drop)) = (pipe(), pipe());
        close(vec![to_hold]);
        drop(to_drop);
        // Each ends when nobody has its other end any more.
        wait_for_end(&other);
        wait_for_end(&held);
    }
}
