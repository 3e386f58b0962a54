//! The word to systemd that a service is ready (`sd_notify(3)`), for units of `Type=notify`.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Says that the service is ready, where somebody waits for that.
pub(crate) fn ready() -> io::Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(name) if !name.is_empty() => send(&name),
        _ => Ok(()),
    }
}

fn send(name: &OsStr) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Who does not read must not keep this waiting.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(b"READY=1", &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_by_path_and_one_by_name_get_the_word() {
        let folder = env::temp_dir().join(format!("notify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let abstract_name = format!("ivrs-trace-test-{}", std::process::id());
        let sockets = [
            (path.clone().into_os_string(), SocketAddr::from_pathname(&path).unwrap()),
            (
                format!("@{abstract_name}").into(),
                SocketAddr::from_abstract_name(&abstract_name).unwrap(),
            ),
        ];
        for (name, address) in sockets {
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            send(&name).unwrap();
            let mut bytes = [0; 16];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(send(OsStr::new("/nowhere/at/all")).is_err());
    }
}
