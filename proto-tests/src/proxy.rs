//! A forwarder: an address that leads to a server, and can be made to lead to another one, or to
//! nowhere.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Forwards until dropped.
pub struct Proxy {
    target: Arc<Mutex<Option<String>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
    address: String,
}

impl Proxy {
    /// Listens on `address`, which must be free, and leads to `target`.
    pub fn start(address: &str, target: &str) -> Proxy {
        let listener = crate::wait::until(
            &format!("listen on {address}"),
            crate::wait::PATIENCE,
            || TcpListener::bind(address).map_err(|error| error.to_string()),
        );
        let proxy = Proxy {
            target: Arc::new(Mutex::new(Some(target.into()))),
            open: Arc::default(),
            ended: Arc::default(),
            address: address.into(),
        };
        let (target, open, ended) = (
            proxy.target.clone(),
            proxy.open.clone(),
            proxy.ended.clone(),
        );
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let leads_to = target.lock().expect("the target").clone();
                let Some(server) = leads_to.and_then(|target| TcpStream::connect(target).ok())
                else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (
                        from.try_clone().expect("a socket"),
                        to.try_clone().expect("a socket"),
                    );
                    std::thread::spawn(move || forward(from, to));
                }
                open.lock()
                    .expect("the connections")
                    .extend([client, server]);
            }
        });
        proxy
    }

    /// From now on leads there (`None`: refuses); what is open is cut.
    pub fn lead_to(&self, target: Option<&str>) {
        *self.target.lock().expect("the target") = target.map(Into::into);
        self.cut();
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        for socket in self.open.lock().expect("the connections").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(&self.address);
    }
}
