//! Every API in every version that we advertise is answered: a valid request, whatever it asks for,
//! never ends its connection.
//!
//! A response that cannot be encoded in the version asked for would show here, for the broker
//! closes the connection rather than answer wrongly.

use bytes::{Buf, BufMut, BytesMut};
use gnomon_protocol::{api::APIS, sample};

use gnomon_testkit::{MemDisk, Site};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Requests of each version.
const SAMPLES: u64 = 12;

/// A request that waits longer than this has been parked: a long poll, a join.
const PARKED_AFTER: Duration = Duration::from_millis(150);

const PRODUCE: i16 = 0;

/// The end of a request.
enum RequestFate {
    Answered,
    Parked,
    Closed,
}

fn ask(site: &Site, frame: &[u8], correlation_id: i32) -> io::Result<RequestFate> {
    let mut stream = TcpStream::connect(site.kafka())?;
    stream.set_read_timeout(Some(PARKED_AFTER))?;
    let mut framed = BytesMut::new();
    framed.put_i32(frame.len() as i32);
    framed.put_slice(frame);
    stream.write_all(&framed)?;
    let mut head = [0; 8];
    match stream.read_exact(&mut head) {
        Ok(()) => {
            let mut head = &head[..];
            head.get_i32();
            assert_eq!(head.get_i32(), correlation_id);
            Ok(RequestFate::Answered)
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Ok(RequestFate::Parked)
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(RequestFate::Closed)
        }
        Err(error) => Err(error),
    }
}

#[test]
fn every_api_answers_in_every_version() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let mut closed = Vec::new();
    for api in APIS {
        let mut answered = 0;
        for version in api.min.max(api.decode_min)..=api.max {
            for seed in 0..SAMPLES {
                let mut random =
                    StdRng::seed_from_u64(seed << 16 | (api.key as u64) << 8 | version as u64);
                let correlation_id = random.random();
                let Some(frame) = sample::request(api.key, version, correlation_id, &mut |below| {
                    random.random_range(0..below)
                }) else {
                    continue;
                };
                match ask(&site, &frame, correlation_id).expect("a connection") {
                    RequestFate::Answered => answered += 1,
                    RequestFate::Parked => {}
                    // acks=0 has no response, and a failed one ends the connection.
                    RequestFate::Closed if api.key == PRODUCE => {}
                    RequestFate::Closed => {
                        closed.push(format!("{} version {version} seed {seed}", api.name))
                    }
                }
            }
        }
        assert!(answered > 0, "{} was never answered", api.name);
    }
    assert!(closed.is_empty(), "closed on:\n{}", closed.join("\n"));
    site.stop();
}
