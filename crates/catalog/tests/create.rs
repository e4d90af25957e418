//! The limits of one request to create topics: no request is so large that it cannot be recorded,
//! and no name hides another.

use gnomon_catalog::*;
use gnomon_machine::{Machine, Mono, Now, ReplyToken, Wall};
use gnomon_protocol::ids::Uuid;

const NOW: Now = Now {
    mono: Mono(0),
    wall: Wall(0),
};

fn step(image: &mut Image, event: Event) -> (Reply, usize) {
    let effects = Catalog::step(image, &mut Soft::default(), NOW, event, ReplyToken(1));
    effects
        .records
        .iter()
        .for_each(|record| Catalog::replay(image, record));
    let (_, reply) = effects
        .replies
        .into_iter()
        .next()
        .expect("an answer at once");
    (reply, effects.records.len())
}

fn registered() -> Image {
    let mut image = Image::default();
    let register = Register {
        fresh_cluster_id: Uuid::from_u128(1),
        name: "a".into(),
        broker_id: 0,
        producer_tag: Some(1),
        owns: Vec::new(),
        endpoints: Vec::new(),
    };
    step(&mut image, Event::Register(register));
    image
}

fn create(
    image: &mut Image,
    topics: &[(&str, i32)],
) -> Vec<Result<CreatedTopic, CreateTopicError>> {
    let topic = |(at, (name, partitions)): (usize, &(&str, i32))| NewTopic {
        partitions: *partitions,
        ..NewTopic::named(
            *name,
            Uuid::from_u128(image.topics.len() as u128 * 100 + at as u128 + 10),
        )
    };
    let topics = topics.iter().enumerate().map(topic).collect();
    let asked = CreateTopics {
        topics,
        origin: Origin::Client,
        validate_only: false,
    };
    match step(image, Event::CreateTopics(asked)).0 {
        Reply::CreateTopics(made) => made.into_iter().map(|made| made.result).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn topics_of_one_request_share_the_most_that_one_may_have() {
    let mut image = registered();
    let max = gnomon_catalog::Settings::default().partitions_max;
    let made = create(
        &mut image,
        &[
            ("small", 1),
            ("huge", max - 1),
            ("one-more", 1),
            ("as-well", -1),
        ],
    );
    assert!(made[0].is_ok() && made[1].is_ok());
    let refused = |name: &str| {
        Err(CreateTopicError::TooManyAtOnce {
            name: name.into(),
            max,
        })
    };
    assert_eq!(made[2..], [refused("one-more"), refused("as-well")]);
    assert!(
        create(&mut image, &[("one-more", max)])[0].is_ok(),
        "the next request has room again"
    );
}

#[test]
fn names_that_differ_in_dots_and_underscores_collide_with_what_is_there_and_what_comes_along() {
    let mut image = registered();
    assert!(
        create(&mut image, &[("a.b_c", 1), ("plain", 1)])
            .iter()
            .all(Result::is_ok)
    );
    let made = create(
        &mut image,
        &[("a_b.c", 1), ("x.y", 1), ("x_y", 1), ("x-y", 1)],
    );
    let collides = |name: &str, other: &str| {
        Err(CreateTopicError::Collision {
            name: name.into(),
            other: other.into(),
        })
    };
    assert_eq!(
        (&made[0], &made[2]),
        (&collides("a_b.c", "a.b_c"), &collides("x_y", "x.y"))
    );
    assert!(made[1].is_ok() && made[3].is_ok());
}
