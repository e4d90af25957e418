//! Damage of every kind to every message: nothing panics, nothing aborts. The tests run under the
//! system's allocator, where one reservation of a few hundred gigabytes ends the process.

use super::rng::Rng;
use bytes::Bytes;
use gnomon_protocol::{
    api::{APIS, keys},
    batch::{BatchView, Codec, records},
    header::peek,
    internal,
    layout::Direction,
    produce::decode_produce,
    request, sample,
};

const DAMAGED: u64 = 150;

/// Everything that a broker does with a frame before it knows what it holds.
fn receive(mut frame: Bytes) -> bool {
    let Ok(header) = peek(&mut frame) else {
        return false;
    };
    if header.api_key == keys::PRODUCE {
        let Ok(produce) = decode_produce(header.api_version, frame.clone()) else {
            return false;
        };
        for partition in produce
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let mut rest = partition.records.unwrap_or_default();
            while let Ok(Some(view)) = BatchView::parse_first(&mut rest) {
                let _records = records(&view, 1 << 16).map(Iterator::count);
            }
        }
    }
    request::decode(&header, frame).is_ok()
}

#[test]
fn damaged_requests() {
    let (mut taken, mut all) = (0, 0);
    for api in APIS {
        for version in api.decode_min..=api.max {
            for seed in 0..DAMAGED {
                let mut rng = Rng::new(seed + 1_000_000);
                let mut frame = sample::request(api.key, version, 1, &mut |n| rng.below(n))
                    .expect("decodes")
                    .to_vec();
                assert!(
                    receive(Bytes::from(frame.clone())),
                    "{} v{version} is valid before",
                    api.name
                );
                rng.damage(&mut frame);
                all += 1;
                taken += usize::from(receive(Bytes::from(frame)));
            }
        }
    }
    assert!(
        taken > 0 && taken < all,
        "the damage is neither nothing nor everything: {taken} of {all}"
    );
}

#[test]
fn cut_anywhere() {
    for api in APIS {
        for version in api.decode_min..=api.max {
            let mut rng = Rng::new(u64::from(version.unsigned_abs()));
            let frame =
                sample::request(api.key, version, 1, &mut |n| rng.below(n)).expect("decodes");
            for length in 0..frame.len() {
                assert!(
                    !receive(frame.slice(..length)),
                    "{} v{version} cut at {length} of {}",
                    api.name,
                    frame.len()
                );
            }
        }
    }
}

#[test]
fn damaged_responses() {
    for api in APIS {
        for version in api.decode_min..=api.max {
            for seed in 0..DAMAGED {
                let mut rng = Rng::new(seed + 2_000_000);
                let body =
                    sample::body(Direction::Response, api.key, version, &mut |n| rng.below(n))
                        .expect("decodes");
                let mut frame = vec![0, 0, 0, 1];
                if gnomon_protocol::api::response_header_version(api.key, version) >= 1 {
                    frame.push(0);
                }
                frame.extend_from_slice(&body);
                rng.damage(&mut frame);
                let _any = request::decode_response(api.key, version, Bytes::from(frame));
            }
        }
    }
}

#[test]
fn noise() {
    let mut rng = Rng::new(5);
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..rng.below(200)).map(|_| rng.below(256) as u8).collect();
        let noise = Bytes::from(noise);
        receive(noise.clone());
        let api = &APIS[rng.below(APIS.len() as u32) as usize];
        let version = rng.below(20) as i16;
        let _any = request::decode_response(api.key, version, noise.clone());
        let _any = decode_produce(version, noise.clone());
        for codec in Codec::ALL {
            let _any = gnomon_protocol::batch::compress::decompress(codec, &noise, 1 << 16);
        }
        let _any = internal::Key::decode(&noise);
        let _any = internal::OffsetCommit::decode(&noise);
        let _any = internal::GroupMetadata::decode(&noise);
        let _any = internal::Subscription::decode(&noise);
        let _any = internal::Assignment::decode(&noise);
    }
}
