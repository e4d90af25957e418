//! The tables of legal moves: whole, without doubles, and their errors name both states.

use gnomon_links::{LinkState, Task, TaskState, TopicState, link_state, task_state, topic_state};
use std::collections::BTreeSet;

#[test]
fn no_move_stands_twice_and_none_goes_nowhere() {
    let topics: BTreeSet<_> = topic_state::MOVES
        .iter()
        .map(|(from, to, _)| (from, to))
        .collect();
    assert_eq!(topics.len(), topic_state::MOVES.len());
    assert!(topics.iter().all(|(from, to)| from != to));
    let tasks: BTreeSet<_> = task_state::MOVES.iter().collect();
    assert_eq!(tasks.len(), task_state::MOVES.len());
    assert!(tasks.iter().all(|(from, to)| from != to));
    let links: BTreeSet<_> = link_state::MOVES.iter().collect();
    assert_eq!(links.len(), link_state::MOVES.len());
}

#[test]
fn a_topic_becomes_ours_through_failing_over_only_and_stays_so() {
    for from in TopicState::ALL {
        for to in TopicState::ALL {
            let legal = topic_state::step(from, to);
            if to.is_ours() {
                assert_eq!(
                    legal.is_ok(),
                    from == TopicState::FailingOver,
                    "{from} to {to}"
                );
            }
            if from.is_ours() {
                assert!(legal.is_err(), "{from} to {to}");
            }
            if from.is_shadow() && to == TopicState::FailingOver {
                assert!(legal.is_ok(), "{from} can be failed over");
            }
        }
    }
    // PROMOTING can be called off, FAILING_OVER cannot.
    assert!(topic_state::step(TopicState::Promoting, TopicState::Active).is_ok());
    assert!(topic_state::step(TopicState::FailingOver, TopicState::Active).is_err());
    assert_eq!(
        topic_state::step(TopicState::FailedOver, TopicState::Active)
            .unwrap_err()
            .to_string(),
        "a shadow topic that is FAILED_OVER cannot become ACTIVE"
    );
}

#[test]
fn a_resting_task_learns_nothing() {
    assert!(task_state::step(TaskState::Paused, TaskState::LinkUnavailable).is_err());
    assert!(task_state::step(TaskState::LinkUnavailable, TaskState::Active).is_ok());
    assert_eq!(
        task_state::step(TaskState::Paused, TaskState::Faulted)
            .unwrap_err()
            .to_string(),
        "a task that is PAUSED cannot become FAULTED"
    );
}

#[test]
fn names_are_the_same_as_text_and_as_json() {
    for state in TopicState::ALL {
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            format!("\"{state}\"")
        );
        assert_eq!(
            TopicState::from_name(&state.name().to_lowercase()),
            Some(state)
        );
    }
    for state in TaskState::ALL {
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            format!("\"{state}\"")
        );
    }
    for state in LinkState::ALL {
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            format!("\"{state}\"")
        );
    }
    for task in Task::ALL {
        assert_eq!(serde_json::to_string(&task).unwrap(), format!("\"{task}\""));
    }
    assert_eq!(TopicState::from_name("LOST"), None);
}
