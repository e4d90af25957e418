//! One end of a connection, as tokio reads and writes it. Dropping it closes it.

use super::{
    Net, State,
    conn::{Attempt, Side},
};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

pub(super) struct SimStream {
    pub net: Net,
    pub conn: u64,
    pub side: Side,
    pub reading: Option<Pin<Box<Sleep>>>,
    pub writing: Option<Pin<Box<Sleep>>>,
}

impl SimStream {
    pub fn new(net: Net, conn: u64, side: Side) -> SimStream {
        SimStream {
            net,
            conn,
            side,
            reading: None,
            writing: None,
        }
    }
}

/// Polls a timer for `at`; ready when it has passed.
fn poll_timer(
    timer: &mut Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(at) = at else {
        *timer = None;
        return Poll::Pending;
    };
    let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
    if sleep.deadline() != at {
        sleep.as_mut().reset(at);
    }
    sleep.as_mut().poll(cx)
}

impl State {
    /// Whether packets get through to this end, and when one sent now arrives at the other.
    fn way(&mut self, id: u64, side: Side) -> Option<(bool, bool, Instant)> {
        let conn = self.conns.get(&id)?;
        let (near, far) = (conn.host(side), conn.host(side.other()));
        let frozen = conn.is_frozen();
        let inward = !frozen && !self.is_cut(far, near);
        let both = inward && !self.is_cut(near, far);
        Some((inward, both, Instant::now() + self.delay(near, far)))
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let next = {
                let state = &mut *this.net.0.lock();
                let Some((inward, ..)) = state.way(this.conn, this.side) else {
                    return Poll::Ready(Err(gone()));
                };
                let Some(conn) = state.conns.get_mut(&this.conn) else {
                    return Poll::Ready(Err(gone()));
                };
                match conn.read(this.side, buf, Instant::now(), inward) {
                    Ok(Attempt::Done(())) => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Attempt::Wait(next)) => {
                        conn.wait_to_read(this.side, cx.waker());
                        next
                    }
                }
            };
            // What is due already and did not come waits for a path, not for a time.
            let next = next.filter(|at| *at > Instant::now());
            if poll_timer(&mut this.reading, next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let next = {
                let state = &mut *this.net.0.lock();
                let Some((_, both, arrival)) = state.way(this.conn, this.side) else {
                    return Poll::Ready(Err(gone()));
                };
                let Some(conn) = state.conns.get_mut(&this.conn) else {
                    return Poll::Ready(Err(gone()));
                };
                match conn.write(this.side, bytes, Instant::now(), arrival, both) {
                    Ok(Attempt::Done(count)) => return Poll::Ready(Ok(count)),
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Attempt::Wait(next)) => {
                        conn.wait_to_write(this.side, cx.waker());
                        next
                    }
                }
            };
            let next = next.filter(|at| *at > Instant::now());
            if poll_timer(&mut this.writing, next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.net.0.lock();
        let Some((.., arrival)) = state.way(self.conn, self.side) else {
            return Poll::Ready(Ok(()));
        };
        if let Some(conn) = state.conns.get_mut(&self.conn) {
            conn.finish(self.side, arrival);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let state = &mut *self.net.0.lock();
        let Some((.., arrival)) = state.way(self.conn, self.side) else {
            return;
        };
        if let Some(conn) = state.conns.get_mut(&self.conn) {
            conn.close(self.side, arrival);
        }
        state.forget_closed();
    }
}
