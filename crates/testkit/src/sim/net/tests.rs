//! The simulated network behaves as TCP does where that shows.

use super::{Death, GIVES_UP_AFTER, Net};
use crate::sim::rng::Rng;
use gnomon_broker::{Accept, Accepted, Network};
use gnomon_client::{Net as _, Stream};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

const A: &str = "10.0.0.1:9092";
const SOON: Duration = Duration::from_secs(2);

async fn listen(net: &Net) -> Box<dyn Accept> {
    net.host("a").bind(A.parse().unwrap()).await.unwrap()
}

/// A caller on b, and what a accepted.
async fn pair(net: &Net) -> (Box<dyn Stream>, Accepted) {
    let mut listener = listen(net).await;
    let caller = net.host("b").connect("a:9092").await.unwrap();
    let called = listener.accept().await.unwrap();
    (caller, called)
}

fn net() -> Net {
    Net::new(Rng::new(1), &["a", "b"])
}

async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<u8> {
    from.read_u8().await
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_in_order_and_the_end_behind_them() {
    let net = net();
    let (mut caller, mut called) = pair(&net).await;
    net.delay("b", "a", 1..500);
    let sent: Vec<u8> = (0..200).collect();
    for byte in &sent {
        caller.write_u8(*byte).await.unwrap();
    }
    drop(caller);
    let mut got = Vec::new();
    called.reader.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, sent);
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_a_reader() {
    let net = net();
    let (mut caller, mut called) = pair(&net).await;
    let large = vec![7; 1 << 20];
    assert!(
        timeout(SOON, caller.write_all(&large)).await.is_err(),
        "nobody reads"
    );
    let mut some = vec![0; 600 << 10];
    let (wrote, got) = tokio::join!(
        timeout(SOON, caller.write_all(&large[..300 << 10])),
        called.reader.read_exact(&mut some[..500 << 10])
    );
    wrote.unwrap().unwrap();
    got.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_nobody_is_there_and_a_cut() {
    let net = net();
    let b = net.host("b");
    let connect = async || timeout(SOON, b.connect("a:9092")).await;
    assert_eq!(
        connect().await.unwrap().err().map(|error| error.kind()),
        Some(io::ErrorKind::ConnectionRefused)
    );
    let listener = listen(&net).await;
    assert!(connect().await.unwrap().is_ok());
    net.cut("a", "b");
    assert!(
        connect().await.is_err(),
        "a connection needs both directions"
    );
    net.heal();
    assert!(connect().await.unwrap().is_ok());
    drop(listener);
    net.crash("a", Death::Power);
    assert!(connect().await.is_err(), "not even a refusal");
    net.boot("a");
    assert!(connect().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cut_holds_bytes_back_and_healing_brings_them() {
    let net = net();
    let (mut caller, mut called) = pair(&net).await;
    net.cut("b", "a");
    caller.write_u8(1).await.unwrap();
    assert!(timeout(SOON, read(&mut called.reader)).await.is_err());
    called.writer.write_u8(2).await.unwrap();
    assert_eq!(
        timeout(SOON, read(&mut caller)).await.unwrap().unwrap(),
        2,
        "the other direction is whole"
    );
    net.heal();
    assert_eq!(
        timeout(SOON, read(&mut called.reader))
            .await
            .unwrap()
            .unwrap(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_sender_gives_up_and_the_other_side_never_hears_of_it() {
    let net = net();
    let (mut caller, mut called) = pair(&net).await;
    net.freeze("a", "b");
    caller.write_u8(1).await.unwrap();
    let began = Instant::now();
    assert_eq!(
        read(&mut caller).await.map_err(|error| error.kind()),
        Err(io::ErrorKind::TimedOut)
    );
    assert!(began.elapsed() >= GIVES_UP_AFTER);
    assert!(
        timeout(10 * GIVES_UP_AFTER, read(&mut called.reader))
            .await
            .is_err(),
        "half open"
    );
    net.heal();
    assert!(
        timeout(SOON, read(&mut called.reader)).await.is_err(),
        "what froze stays frozen"
    );
    let mut fresh = net.host("b").connect("a:9092").await;
    assert!(
        fresh
            .as_mut()
            .err()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
        "and others work: nobody listens"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_heard_on_both_sides() {
    let net = net();
    let (mut caller, mut called) = pair(&net).await;
    net.reset("a", "b");
    for kind in [read(&mut caller).await, read(&mut called.reader).await]
        .map(|read| read.map_err(|error| error.kind()))
    {
        assert_eq!(kind, Err(io::ErrorKind::ConnectionReset));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_is_missed_at_once_and_a_host_without_power_is_not() {
    let net = net();
    let (mut caller, called) = pair(&net).await;
    net.crash("a", Death::Process);
    let ended = timeout(SOON, read(&mut caller)).await.unwrap();
    assert!(ended.is_err(), "closed or reset");
    drop((caller, called));

    let (mut caller, mut called) = pair(&net).await;
    net.crash("a", Death::Power);
    assert!(
        called.writer.write_u8(1).await.is_err(),
        "the dead write nothing"
    );
    assert!(
        timeout(GIVES_UP_AFTER / 2, read(&mut caller))
            .await
            .is_err(),
        "no word comes"
    );
    net.boot("a");
    assert!(
        timeout(GIVES_UP_AFTER / 2, read(&mut caller))
            .await
            .is_err(),
        "nor when it is up again, until something is sent"
    );
    caller.write_u8(2).await.unwrap();
    assert_eq!(
        timeout(SOON, read(&mut caller))
            .await
            .unwrap()
            .map_err(|error| error.kind()),
        Err(io::ErrorKind::ConnectionReset)
    );
}
