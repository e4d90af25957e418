//! One connection: what each side has sent and the other not yet read, and what each side knows of
//! the other's end.
//!
//! Pure: the time is an argument, and whether packets get through is asked by the caller.

use super::GIVES_UP_AFTER;
use bytes::{Buf, Bytes};
use std::{collections::VecDeque, io, task::Waker};
use tokio::{io::ReadBuf, time::Instant};

/// Bytes that one side may send before the other reads.
const WINDOW_BYTES: usize = 256 << 10;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller = 0,
    Called = 1,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Caller, Side::Called];

    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Called,
            Side::Called => Side::Caller,
        }
    }
}

pub(super) struct Conn {
    ends: [End; 2],
    /// A device between the hosts has forgotten the connection.
    frozen: bool,
}

struct End {
    host: usize,
    /// On its way to this end, or here and not read.
    incoming: VecDeque<(Instant, Packet)>,
    incoming_bytes: usize,
    /// The last packet sent from this end arrives then; the next one not earlier.
    last_arrival: Instant,
    /// This end hears at that time that the connection is no more.
    reset_at: Option<Instant>,
    /// Since when this end has sent what nobody acknowledges.
    unheard_since: Option<Instant>,
    /// Why nothing works any more at this end.
    broken: Option<io::ErrorKind>,
    /// Nobody holds this end any more.
    closed: bool,
    /// Its host lost its power: it does not even say so.
    silent: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Packet {
    Bytes(Bytes),
    Fin,
}

/// The result of a read or write.
pub(super) enum Attempt<T> {
    Done(T),
    /// Nothing yet; look again then, or when woken.
    Wait(Option<Instant>),
}

impl Conn {
    pub fn new(caller: usize, called: usize, now: Instant) -> Conn {
        let end = |host| End {
            host,
            incoming: VecDeque::new(),
            incoming_bytes: 0,
            last_arrival: now,
            reset_at: None,
            unheard_since: None,
            broken: None,
            closed: false,
            silent: false,
            reader: None,
            writer: None,
        };
        Conn {
            ends: [end(caller), end(called)],
            frozen: false,
        }
    }

    pub fn host(&self, side: Side) -> usize {
        self.ends[side as usize].host
    }

    pub fn joins(&self, one: usize, other: usize) -> bool {
        let hosts = (self.ends[0].host, self.ends[1].host);
        hosts == (one, other) || hosts == (other, one)
    }

    pub fn touches(&self, host: usize) -> bool {
        self.ends.iter().any(|end| end.host == host)
    }

    pub fn side_of(&self, host: usize) -> Side {
        if self.ends[0].host == host {
            Side::Caller
        } else {
            Side::Called
        }
    }

    pub fn is_closed(&self) -> bool {
        self.ends.iter().all(|end| end.closed)
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Reads at one end. `through`: whether packets get through to it.
    pub fn read(
        &mut self,
        side: Side,
        buf: &mut ReadBuf<'_>,
        now: Instant,
        through: bool,
    ) -> io::Result<Attempt<()>> {
        self.check(side, now, through)?;
        let end = &mut self.ends[side as usize];
        let mut next = end.deadline();
        match end.incoming.front_mut() {
            Some((at, packet)) if through && *at <= now => match packet {
                Packet::Fin => return Ok(Attempt::Done(())),
                Packet::Bytes(bytes) => {
                    let taken = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..taken]);
                    bytes.advance(taken);
                    if bytes.is_empty() {
                        end.incoming.pop_front();
                    }
                    end.incoming_bytes -= taken;
                    wake(&mut self.ends[side.other() as usize].writer);
                    return Ok(Attempt::Done(()));
                }
            },
            Some((at, _)) if through => next = earliest(next, Some(*at)),
            Some(_) | None => {}
        }
        Ok(Attempt::Wait(next))
    }

    /// Writes at one end; what is written arrives at `arrival` if packets get `through`.
    pub fn write(
        &mut self,
        side: Side,
        bytes: &[u8],
        now: Instant,
        arrival: Instant,
        through: bool,
    ) -> io::Result<Attempt<usize>> {
        self.check(side, now, through)?;
        let far = &mut self.ends[side.other() as usize];
        if far.closed && !far.silent {
            // Nobody is there: the answer to this packet is a reset.
            self.reset(side, arrival);
            return Ok(Attempt::Done(bytes.len()));
        }
        let room = WINDOW_BYTES
            .saturating_sub(far.incoming_bytes)
            .min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Ok(Attempt::Wait(self.ends[side as usize].deadline()));
        }
        self.send(
            side,
            Packet::Bytes(Bytes::copy_from_slice(&bytes[..room])),
            arrival,
        );
        if !through || self.ends[side.other() as usize].silent {
            self.ends[side as usize].unheard_since.get_or_insert(now);
            wake(&mut self.ends[side as usize].reader);
        }
        Ok(Attempt::Done(room))
    }

    pub fn wait_to_read(&mut self, side: Side, waker: &Waker) {
        self.ends[side as usize].reader = Some(waker.clone());
    }

    pub fn wait_to_write(&mut self, side: Side, waker: &Waker) {
        self.ends[side as usize].writer = Some(waker.clone());
    }

    /// This end says that it will send no more.
    pub fn finish(&mut self, side: Side, arrival: Instant) {
        self.send(side, Packet::Fin, arrival);
    }

    /// Nobody holds this end any more: what has come and was not read is answered with a reset, as
    /// TCP does.
    pub fn close(&mut self, side: Side, arrival: Instant) {
        let end = &mut self.ends[side as usize];
        let unread = end
            .incoming
            .iter()
            .any(|(_, packet)| matches!(packet, Packet::Bytes(_)));
        let broken = end.broken.is_some();
        self.abandon(side);
        match (broken, unread) {
            (true, _) => {}
            (false, true) => self.reset(side.other(), arrival),
            (false, false) => self.finish(side, arrival),
        }
    }

    /// The process that held this end is gone.
    pub fn abandon(&mut self, side: Side) {
        let end = &mut self.ends[side as usize];
        end.closed = true;
        end.broken.get_or_insert(io::ErrorKind::ConnectionReset);
        end.incoming.clear();
        end.wake();
    }

    /// The host of this end has no power any more: the other side is left in the belief that all is
    /// well.
    pub fn silenced(&mut self, side: Side, now: Instant) {
        self.ends[side as usize].silent = true;
        // What is on the wire still comes; what waits after a cut has nobody to send it again.
        let far = &mut self.ends[side.other() as usize];
        far.incoming.retain(|(arrival, _)| *arrival <= now);
        far.incoming_bytes = far.incoming.iter().map(|(_, packet)| packet.len()).sum();
    }

    /// The host of this end has power again, and knows nothing of the connection: a peer that sent
    /// something hears so at `at`, who did not stays in his belief.
    pub fn rebooted(&mut self, side: Side, at: Instant) {
        if std::mem::take(&mut self.ends[side as usize].silent)
            && self.ends[side.other() as usize].unheard_since.is_some()
        {
            self.reset(side.other(), at);
        }
    }

    /// One end learns at `at` that the connection is no more.
    pub fn reset(&mut self, side: Side, at: Instant) {
        let end = &mut self.ends[side as usize];
        end.reset_at = Some(end.reset_at.map_or(at, |known| known.min(at)));
        end.wake();
    }

    pub fn freeze(&mut self, now: Instant) {
        self.frozen = true;
        self.blocked(now);
    }

    /// Packets do not get through any more, in one direction at least.
    pub fn blocked(&mut self, now: Instant) {
        for side in Side::BOTH {
            if self.ends[side.other() as usize]
                .incoming
                .iter()
                .any(|(arrival, _)| *arrival > now)
            {
                self.ends[side as usize].unheard_since.get_or_insert(now);
            }
            self.ends[side as usize].wake();
        }
    }

    /// They do again; what is on its way arrives at `arrival` or later.
    pub fn unblocked(&mut self, arrival: Instant) {
        for side in Side::BOTH {
            let far_is_silent = self.ends[side.other() as usize].silent;
            let end = &mut self.ends[side as usize];
            if !self.frozen && !far_is_silent {
                end.unheard_since = None;
            }
            for (at, _) in &mut end.incoming {
                *at = (*at).max(arrival);
            }
            end.last_arrival = end.last_arrival.max(arrival);
            end.wake();
        }
    }

    /// Fails if this end has learnt, or finds out now, that the connection is dead.
    fn check(&mut self, side: Side, now: Instant, through: bool) -> io::Result<()> {
        let end = &mut self.ends[side as usize];
        if end.broken.is_none() {
            if through && end.reset_at.is_some_and(|at| at <= now) {
                end.broken = Some(io::ErrorKind::ConnectionReset);
            } else if end
                .unheard_since
                .is_some_and(|since| since + GIVES_UP_AFTER <= now)
            {
                end.broken = Some(io::ErrorKind::TimedOut);
            }
        }
        match end.broken {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn send(&mut self, side: Side, packet: Packet, arrival: Instant) {
        let arrival = arrival.max(self.ends[side as usize].last_arrival);
        self.ends[side as usize].last_arrival = arrival;
        let far = &mut self.ends[side.other() as usize];
        if !far.closed {
            far.incoming_bytes += packet.len();
            far.incoming.push_back((arrival, packet));
            wake(&mut far.reader);
        }
    }
}

impl Packet {
    fn len(&self) -> usize {
        match self {
            Packet::Bytes(bytes) => bytes.len(),
            Packet::Fin => 0,
        }
    }
}

impl End {
    /// When this end will find out that it is dead, as things stand.
    fn deadline(&self) -> Option<Instant> {
        earliest(
            self.reset_at,
            self.unheard_since.map(|since| since + GIVES_UP_AFTER),
        )
    }

    fn wake(&mut self) {
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
