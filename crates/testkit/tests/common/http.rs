//! Requests to an admin address, as bytes that a test chooses.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Far longer than a header or a body may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn connect(admin: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(admin).expect("connected");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout is set");
    socket
}

/// Everything that comes until the site closes the connection.
pub fn rest(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        // Closed with bytes of ours unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection is still open: {error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The answer to a request with these headers, `Host` as given.
pub fn ask(admin: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut socket = connect(admin);
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    rest(socket)
}
