//! `cargo xtask planted`: checks the checkers. Each planted bug is switched on by its name
//! (`FAILPOINTS`), and its test, which does not know of it, must fail; without it the same test
//! must pass. A bug that survives is a hole in the tests.
//!
//! The bugs are fail points in the code, a readable line each, and not there in a build without the
//! feature `failpoints`.

use crate::tests_of::{Test, TestResult, build};
use std::time::{Duration, Instant};

/// A bug, and the test that is to catch it.
struct Planted {
    /// The fail point's name.
    name: &'static str,
    /// The action of the fail point (crate `fail`): `return` always, `1*return` once.
    action: &'static str,
    /// The fault, for the table that is printed.
    story: &'static str,
    test: Test,
}

const fn storage(program: &'static str, filter: &'static str) -> Test {
    Test {
        package: "gnomon-storage",
        program,
        filter,
    }
}

const fn partition(program: &'static str, filter: &'static str) -> Test {
    Test {
        package: "gnomon-partition",
        program,
        filter,
    }
}

const fn driver(filter: &'static str) -> Test {
    Test {
        package: "gnomon-driver",
        program: "lib",
        filter,
    }
}

const fn replication(program: &'static str, filter: &'static str) -> Test {
    Test {
        package: "gnomon-replication",
        program,
        filter,
    }
}

const fn broker(filter: &'static str) -> Test {
    Test {
        package: "gnomon-broker",
        program: "lib",
        filter,
    }
}

const fn site(program: &'static str, filter: &'static str) -> Test {
    Test {
        package: "gnomon-testkit",
        program,
        filter,
    }
}

const fn bug(name: &'static str, story: &'static str, test: Test) -> Planted {
    Planted {
        name,
        action: "return",
        story,
        test,
    }
}

/// Every planted bug.
#[rustfmt::skip]
const BUGS: &[Planted] = &[
    bug("skip_fsync", "a flush does not sync", storage("model", "agrees_with_a_vec")),
    bug("skip_fsync", "the same, seen by clients", site("power_loss", "takes_nothing_that_was_promised")),
    bug("skip_name_sync", "a new segment's name is not synced", storage("model", "agrees_with_a_vec")),
    bug("ack_before_append", "an append is answered and never written", storage("model", "agrees_with_a_vec")),
    bug("swap_batches", "batches of one append change places", storage("log", "appends_roll_and_read_back")),
    bug("cut_one_batch_too_far", "recovery cuts a whole batch", storage("torn", "torn_tail")),
    bug("keep_torn_batch", "recovery keeps a torn batch", storage("torn", "torn_tail")),
    bug("drop_truncated_index_entry", "a truncation forgets to drop index entries", storage("log", "truncation_at_every_offset")),
    bug("serve_bad_crc", "checksums are not looked at", storage("damage", "flipped_bits")),
    bug("serve_wrong_epoch", "leader epochs are not looked at", storage("damage", "flipped_bits")),
    bug("pass_over_damage", "damage is passed over without a word", storage("damage", "flipped_bits")),
    bug("trim_one_too_far", "a trim takes one offset more", storage("log", "the_start_moves")),
    bug("ack_before_flush", "the watermark runs ahead of the disk", partition("model", "what_was_written_to_it")),
    bug("visible_before_flush", "consumers see what a power cut takes back", partition("append", "readers_see_what_is_durable")),
    bug("forget_producer_state", "a restart forgets sequences", partition("append", "survive_every_kind_of_restart")),
    bug("forget_refused_batches", "a later batch in flight overtakes one that was refused for the moment", partition("pipelines", "a_java_producer")),
    bug("start_lags", "a log start that retention moved is not seen in memory", partition("faults", "the_log_start_is_readable")),
    bug("forget_snapshot", "a log that is emptied forgets what its producers sent", partition("races", "a_checkpoint_that_is_overtaken")),
    bug("timeless_never_ages", "records without timestamps are kept for ever", storage("age", "as_old_as_its_file")),
    bug("believe_in_removed_files", "what is written to a removed file is acknowledged", partition("lost", "removed_while_it_is_written")),
    bug("forget_presence", "nobody remembers that a partition had files", partition("lost", "takes_no_writes_until_the_loss_is_accepted")),
    bug("hold_no_handle_back", "connections take the handles that syncs need", storage("starved", "logs_go_on")),
    bug("accept_gap", "a copy accepts missing offsets", partition("copy", "all_of_a_response_or_none")),
    bug("trust_clients", "batches that no consumer can read are acknowledged", partition("records", "batches_that_no_consumer_can_read_are_refused")),
    bug("believe_max_timestamp", "a client's maximum timestamp is stored as it came", partition("records", "the_maximum_timestamp_is_that_of_the_records")),
    bug("trust_sources", "a source's batch that no consumer can read is copied", partition("records", "a_source_that_sends_what_no_consumer_can_read")),
    bug("index_believes_headers", "an index made again believes a copied header", storage("timestamps", "where_a_header_cannot_be_right")),
    bug("fence_ignored", "a late answer of the source is appended after a fence", partition("copy", "a_late_response_meets_the_fence")),
    Planted { action: "1*return", ..bug("one_lost_wakeup", "one wake-up of a waiting fetch is lost", partition("durability", "every_single_change")) },
    bug("snapshot_without_marker", "a machine's snapshot has no end", driver("a_long_log_is_rewritten")),
    bug("reply_before_durable", "a machine answers before the disk has it", driver("what_was_answered_survives_power_loss")),
    bug("timers_after_events", "a machine's timers wait until no event does", driver("a_timer_that_is_due_runs")),
    bug("idle_sessions_stay", "fetch sessions that are not used keep others out", broker("two_large_idle_sessions_keep_nobody_out")),
    bug("never_yield", "a request of many elements keeps its thread", broker("a_long_loop_yields_once_for_so_many_elements")),
    bug("never_yield", "the same, in whole handlers", broker("requests_of_many_elements_let_others_run")),
    bug("lose_group_commit", "a commit is answered and never written", site("power_loss", "takes_nothing_that_was_promised")),
    bug("same_epoch_after_restart", "a restart uses its epoch again", site("power_loss", "takes_nothing_that_was_promised")),
    bug("skip_fsync", "the same, between two sites", site("simulation", "an_hour_of_trouble")),
    bug("copy_rewrites", "a copied batch gets an epoch of our own", site("simulation", "an_hour_of_trouble")),
    bug("trim_too_far", "a shadow trims one offset more than its source", site("simulation", "an_hour_of_trouble")),
    bug("shadow_writable", "clients may write a shadow", site("simulation", "an_hour_of_trouble")),
    bug("cut_short", "a failover's cut misses the last record", site("simulation", "an_hour_of_trouble")),
    bug("failover_epoch_plus_one", "the old owner's elections reach the new epochs", site("simulation", "an_hour_of_trouble")),
    bug("leave_open", "a failover leaves copied transactions open", site("simulation", "an_hour_of_trouble")),
    bug("own_markers_count_as_copied", "a failover is not taken up after a second kill", partition("copy", "goes_on_under_every_later_incarnation")),
    bug("forget_aborted", "read_committed does not hear what was aborted", site("simulation", "an_hour_of_trouble")),
    bug("open_is_stable", "read_committed is shown open transactions", site("simulation", "an_hour_of_trouble")),
    bug("create_unowned", "a name that a link claims is made by clients", site("simulation", "an_hour_of_trouble")),
    bug("offsets_outrun_data", "a group's positions come before their data", site("simulation", "an_hour_of_trouble")),
    bug("link_gives_up", "a link that failed once does not try again", site("simulation", "an_hour_of_trouble")),
    bug("admin_takes_every_request", "a page in an operator's browser reaches the admin address", site("admin_address", "a_page_in_an_operators_browser")),
    bug("show_offsets_of_deleted_topics", "a group is shown what it committed on an earlier topic of the name", site("name_used_again", "")),
    bug("silence_is_level", "a link whose source is cut off looks level", replication("it", "cut_off_is_not_level")),
    bug("believe_topic_ids", "a late sync of offsets erases what was committed on the topic created since", site("late_sync", "")),
];

/// A test that takes longer than this hangs: for a lost wake-up that is how it fails.
const DEADLINE: Duration = Duration::from_secs(300);

/// The same for a simulation, which is minutes of work.
const SIMULATION_DEADLINE: Duration = Duration::from_secs(1_500);

fn deadline(test: &Test) -> Duration {
    match test.program {
        "simulation" => SIMULATION_DEADLINE,
        _ => DEADLINE,
    }
}

/// Whether every chosen bug was caught.
pub fn run(chosen: &[String]) -> Result<bool, String> {
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !BUGS.iter().any(|bug| bug.name == name.as_str()))
    {
        let mut names: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
        names.dedup();
        return Err(format!(
            "no bug is called {unknown}; there are {}",
            names.join(", ")
        ));
    }
    let bugs: Vec<&Planted> = BUGS
        .iter()
        .filter(|bug| chosen.is_empty() || chosen.iter().any(|name| name == bug.name))
        .collect();
    let tests: Vec<Test> = bugs.iter().map(|bug| bug.test).collect();
    let programs = build(&tests, Some("failpoints"))?;
    let began = Instant::now();
    let mut sound: Vec<(Test, bool)> = Vec::new();
    let mut survived = 0;
    for bug in &bugs {
        let known = sound
            .iter()
            .find(|(test, _)| *test == bug.test)
            .map(|(_, sound)| *sound);
        let is_sound = match known {
            Some(is_sound) => is_sound,
            None => {
                let is_sound = matches!(
                    programs.run(&bug.test, &[], deadline(&bug.test))?,
                    TestResult::Passed(_)
                );
                sound.push((bug.test, is_sound));
                is_sound
            }
        };
        let points = format!("{}={}", bug.name, bug.action);
        let (caught, by) = match programs.run(
            &bug.test,
            &[("FAILPOINTS", points.as_str())],
            deadline(&bug.test),
        )? {
            _ if !is_sound => (
                false,
                "its test fails or is not found without it".to_owned(),
            ),
            TestResult::Failed(printed) => (true, format!("caught by {}", failed(&printed))),
            TestResult::Hung => (true, format!("caught by {}, which hangs", bug.test.filter)),
            TestResult::Passed(_) => (false, "SURVIVES".to_owned()),
            TestResult::NotFound => (false, "its test is not found".to_owned()),
        };
        survived += usize::from(!caught);
        println!(
            "{:28} {:54} {}::{} {by}",
            bug.name, bug.story, bug.test.package, bug.test.program
        );
    }
    println!(
        "{} planted, {} caught, {survived} not; {} s",
        bugs.len(),
        bugs.len() - survived,
        began.elapsed().as_secs()
    );
    Ok(survived == 0)
}

/// The names of the tests that failed.
fn failed(printed: &str) -> String {
    let names = printed.lines().filter_map(|line| {
        line.strip_prefix("test ")?
            .split_once(" ... ")
            .filter(|(_, how)| how.ends_with("FAILED"))
    });
    let named: Vec<&str> = names.map(|(name, _)| name).collect();
    if !named.is_empty() {
        return named.join(", ");
    }
    // With its output in between, a failing test's name stands in the list at the end.
    let list = printed.rsplit("failures:\n").next().unwrap_or_default();
    list.lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}
