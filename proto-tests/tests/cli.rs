//! The command line as people and scripts use it: `produce` and `consume` in pipes, output that
//! nobody takes, wrong addresses and data directories, and `gnomon pair` on a busy port.

use proto_tests::pair::{Pair, link_file};
use proto_tests::process::{self, CommandResult, Process};
use proto_tests::site::{Site, gnomon};
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{load, place};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(gnomon());
    command.args(arguments).env_remove("FAILPOINTS");
    command
}

fn run(arguments: &[&str], input: &[u8]) -> CommandResult {
    process::run(command(arguments), Some(input), PATIENCE)
}

/// Standard output as it is: keys and values need not be text.
fn bytes_of(arguments: &[&str]) -> Vec<u8> {
    let mut command = command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = process::spawn(command).expect("started");
    let mut bytes = Vec::new();
    let mut out = child.stdout.take().expect("a pipe was asked for");
    out.read_to_end(&mut bytes).expect("read");
    assert!(child.wait().expect("ended").success(), "{arguments:?}");
    bytes
}

fn site(root: &Path) -> Site {
    let mut site = Site::new(root, "cli", 21);
    site.start();
    site
}

#[test]
fn cli_a_typed_line_arrives_before_the_input_ends() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let site = site(root.path());
    let mut produce = command(&["produce", "typed", "-b", &site.kafka]);
    produce.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut produce = process::spawn(produce).expect("started");
    let mut input = produce.stdin.take().expect("a pipe was asked for");
    input.write_all(b"first\n").expect("typed");
    until("the line is read", PATIENCE, || {
        let read = run(&["consume", "typed", "-b", &site.kafka], b"");
        holds(read.out.ends_with("\tfirst\n"), || format!("{read:?}"))
    });
    drop(input);
    assert!(produce.wait().expect("ended").success());
}

#[test]
fn cli_many_small_lines_become_batches_that_the_broker_takes() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let site = site(root.path());
    let lines: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    let said = run(&["produce", "many", "-b", &site.kafka], lines.as_bytes()).expect("produce");
    assert_eq!(said, "200000 records written to many\n");
    assert_eq!(load::end_of(&site.kafka, "many", 0), 200_000);
    // A topic that takes less than our batches: they are split, and a line that is too large alone
    // is named.
    let small = ["--config", "max.message.bytes=1000", "-b", &site.kafka];
    run(&[&["topic", "create", "small"], &small[..]].concat(), b"").expect("topic create");
    let lines = format!("{}{}\n", "tiny\n".repeat(3_000), "x".repeat(2_000));
    let said = run(&["produce", "small", "-b", &site.kafka], lines.as_bytes());
    assert!(
        !said.succeeded() && said.err.contains("line 3001 is too large for small-0"),
        "{said:?}"
    );
}

#[test]
fn cli_bytes_stay_bytes_and_keys_choose_partitions_as_other_clients_do() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let site = site(root.path());
    let at = ["-b", &site.kafka];
    let run = |arguments: &[&str], input: &[u8]| run(&[arguments, &at].concat(), input);
    run(&["topic", "create", "bytes"], b"").expect("topic create");
    run(
        &["produce", "bytes", "-k", ":"],
        b"k\xff:v\xfe\xfd\nafter\n",
    )
    .expect("produce");
    let read = bytes_of(&[&["consume", "bytes"], &at[..]].concat());
    let lines: Vec<&[u8]> = read.split(|byte| *byte == b'\n').collect();
    assert!(lines[0].ends_with(b"\tk\xff\tv\xfe\xfd"), "{read:?}");
    assert!(lines[1].ends_with(b"\tnull\tafter"), "{read:?}");

    run(&["topic", "create", "keyed", "-p", "4"], b"").expect("topic create");
    run(&["produce", "keyed", "-k", ":"], b"21:a\nfoobar:b\nabc:c\n").expect("produce");
    // murmur2 of Kafka's own test, its sign bit dropped, modulo 4.
    for (partition, expected) in [("0", "21\ta\n"), ("2", "foobar\tb\n"), ("3", "abc\tc\n")] {
        let read = run(&["consume", "keyed", "-p", partition], b"").expect("consume");
        assert!(
            read.ends_with(&format!("\t{expected}")),
            "{partition}: {read}"
        );
    }
    let read = run(&["consume", "keyed", "-p", "1"], b"").expect("consume");
    assert_eq!(read, "");
}

#[test]
fn cli_reading_begins_where_it_is_told() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let site = site(root.path());
    run(&["produce", "ten", "-b", &site.kafka], b"0\n1\n2\n3\n4\n").expect("produce");
    for (start, expected) in [
        ("end", 0),
        ("beginning", 5),
        ("3", 2),
        ("-1", 1),
        ("-99", 5),
    ] {
        let arguments = ["consume", "ten", "-o", start, "-b", &site.kafka];
        let read = run(&arguments, b"").expect("consume");
        assert_eq!(read.lines().count(), expected, "{start}: {read}");
    }
    let wrong = run(&["consume", "ten", "-o", "middle", "-b", &site.kafka], b"");
    assert!(wrong.err.contains("beginning, end"), "{wrong:?}");
    let none = run(&["consume", "ten", "-p", "7", "-b", &site.kafka], b"");
    assert!(none.err.contains("there is no partition ten-7"), "{none:?}");
}

#[test]
fn cli_a_closed_pipe_ends_a_command_quietly_and_a_full_device_with_an_error() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let pair = Pair::start();
    let site = &pair.b;
    pair.in_contact();
    run(&["produce", "b_read", "-b", &site.kafka], b"1\n2\n").expect("produce");
    let data = site.data.display().to_string();
    let log = log_file(&site.data);
    let (kafka, admin) = (["-b", &site.kafka], ["--admin", &site.admin]);
    let commands: Vec<Vec<&str>> = vec![
        [&["topic", "list"], &kafka[..]].concat(),
        [&["topic", "describe", "b_read"], &kafka[..]].concat(),
        [&["consume", "b_read"], &kafka[..]].concat(),
        [&["produce", "b_read"], &kafka[..]].concat(),
        [&["link", "list"], &admin[..]].concat(),
        [&["link", "status", "from-a"], &admin[..]].concat(),
        [
            &["link", "status", "from-a", "--format", "json"],
            &admin[..],
        ]
        .concat(),
        vec!["log", "hash", &data, "b_read-0"],
        vec!["log", "check", &data],
        vec!["log", "check", &data, "--format", "json"],
        vec!["log", "dump", &log],
        vec!["--help"],
    ];
    for arguments in &commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, said) = printed_to(arguments, writer.into(), root.path());
        let quiet = if arguments[1..].contains(&"check") {
            2
        } else {
            0
        };
        assert_eq!((code, said.as_str()), (Some(quiet), ""), "{arguments:?}");
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("opened");
        let (code, said) = printed_to(arguments, full.into(), root.path());
        assert!(
            matches!(code, Some(1 | 2)) && said.contains("cannot write to standard output"),
            "{arguments:?}: {code:?} {said}"
        );
    }
}

/// Exit code, and standard error.
fn printed_to(arguments: &[&str], out: Stdio, folder: &Path) -> (Option<i32>, String) {
    let errors = folder.join("errors");
    let mut command = command(arguments);
    command.stdin(Stdio::null()).stdout(out);
    command.stderr(File::create(&errors).expect("made"));
    let status = process::spawn(command).expect("started").wait();
    let said = fs::read_to_string(errors).expect("read");
    (status.expect("ended").code(), said)
}

fn log_file(data: &Path) -> String {
    let mut folders = vec![data.join("partitions")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                return path.display().to_string();
            }
        }
    }
    panic!("no log below {}", data.display());
}

#[test]
fn cli_a_site_does_not_start_on_what_is_not_its_data() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let host = place::address();
    let (kafka, admin) = (format!("{host}:9092"), format!("{host}:9644"));
    let serve_at = |kafka: &str, arguments: &[&str]| {
        let mut command = command(&["serve", "--listen", kafka, "--admin", &admin]);
        command.args(arguments).current_dir(root.path());
        command
    };
    let serve = |arguments: &[&str]| serve_at(&kafka, arguments);
    let said = |serve: Command| {
        let outcome = process::run(serve, None, PATIENCE);
        assert!(!outcome.succeeded(), "{outcome:?}");
        outcome.err
    };
    let refused = |arguments: &[&str]| said(serve(arguments));
    // A configuration without `data`, named without a folder: the default, in the working
    // directory.
    fs::write(root.path().join("gnomon.toml"), "site-name = \"s\"\n").expect("written");
    let log = root.path().join("serve.log");
    let mut running = Process::start(serve(&["--config", "gnomon.toml"]), &log);
    let ready = running.wait_for_line(PATIENCE, |line| line.starts_with("site s"));
    assert!(ready.ends_with("data gnomon-data"), "{ready}");
    assert!(root.path().join("gnomon-data/format").exists());
    running.signal(Signal::TERM);
    assert!(
        running
            .wait(PATIENCE)
            .is_some_and(|status| status.success())
    );
    let printed = running.printed();
    assert!(
        printed.contains("starting") && printed.contains("SIGTERM") && printed.contains("stopped"),
        "{printed}"
    );

    let other_name = refused(&["--site-name", "t"]);
    assert!(other_name.contains("belongs to site 's'"), "{other_name}");
    fs::create_dir(root.path().join("home")).expect("made");
    fs::write(root.path().join("home/letter.txt"), "dear").expect("written");
    let foreign = refused(&["--data", "home"]);
    assert!(foreign.contains("it has letter.txt"), "{foreign}");
    fs::remove_file(root.path().join("gnomon-data/format")).expect("removed");
    let unmarked = refused(&["--site-name", "s"]);
    assert!(unmarked.contains("no `format` file"), "{unmarked}");
    let two = refused(&["--data", "new", "--owns", "a b"]);
    assert!(two.contains("no topic can begin with that"), "{two}");
    let address = said(serve_at("192.0.2.1:9092", &["--data", "new"]));
    assert!(
        address.contains("this machine has no such address"),
        "{address}"
    );
    assert!(!root.path().join("new").exists(), "nothing is left behind");
}

#[test]
fn cli_a_wrong_port_is_recognised() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let site = site(root.path());
    let http = run(&["topic", "list", "-b", &site.admin], b"");
    assert!(http.err.contains("it answers with HTTP"), "{http:?}");
    let kafka = run(&["link", "list", "--admin", &site.kafka], b"");
    assert!(
        kafka.err.contains("--admin may name a Kafka address"),
        "{kafka:?}"
    );
    let missing = root.path().join("x/00000000000000000000.log");
    let missing = run(&["log", "dump", missing.to_str().expect("text")], b"");
    assert!(missing.err.contains("No such file"), "{missing:?}");
}

#[test]
fn cli_sites_that_chose_no_producer_tag_can_shadow_each_other() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut sites: Vec<Site> = ["one", "two"]
        .map(|name| Site::new(root.path(), name, 0).without_producer_tag())
        .into();
    sites.iter_mut().for_each(Site::start);
    let file = link_file(root.path(), "from-one", &sites[0].kafka, "one_");
    let admin = ["--admin", &sites[1].admin];
    let file = file.to_str().expect("text");
    run(&[&["link", "create", file], &admin[..]].concat(), b"").expect("link create FILE");
    until("the link is in contact", PATIENCE, || {
        let status = sites[1].status("from-one")?;
        holds(status.0["source"]["cluster_id"].is_string(), || {
            format!("{:#}", status.0)
        })
    });
    let all = run(&[&["link", "status"], &admin[..]].concat(), b"").expect("link status");
    assert!(
        all.contains("from-one") && all.contains("last contact") && !all.contains("FAULTED"),
        "{all}"
    );
    // The tag is kept: the same directory starts again without one, and not with another.
    sites[0].restart();
}

#[test]
fn cli_a_failover_from_a_source_that_answers_is_asked_for_twice() {
    let mut pair = Pair::start();
    pair.in_contact();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 5);
    pair.level("a_orders", 1);
    let admin = pair.b.admin.clone();
    let failover = |more: &[&str]| {
        let arguments = ["link", "failover", "from-a", "--all", "--admin", &admin];
        run(&[&arguments[..], more].concat(), b"")
    };
    let refused = failover(&["--yes"]);
    assert!(
        !refused.succeeded()
            && refused.out.contains("both sites take writes")
            && refused.err.contains("--yes --source-alive"),
        "{refused:?}"
    );
    assert!(pair.b.status_text("from-a").contains("ACTIVE"));
    // A source that is gone does not answer, however short ago it did.
    pair.a.kill();
    let done = failover(&["--yes"]).expect("failover");
    assert!(done.contains("FAILED_OVER"), "{done}");
}

#[test]
fn cli_a_pair_on_a_busy_port_leaves_nothing_behind_and_one_that_stops_says_so() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (one, other) = (place::address(), place::address());
    let data = root.path().join("data");
    let pair = || {
        let mut command = command(&["pair", "--data"]);
        command.arg(&data);
        command.args(["--kafka", &format!("{one}:9092,{other}:9092")]);
        command.args(["--admin", &format!("{one}:9644,{other}:9644")]);
        command
    };
    let busy = std::net::TcpListener::bind(format!("{other}:9644")).expect("a port");
    let refused = process::run(pair(), None, PATIENCE);
    assert!(
        !refused.succeeded()
            && refused
                .err
                .contains(&format!("{other}:9644: another process")),
        "{refused:?}"
    );
    assert!(!data.exists(), "nothing is left behind");
    drop(busy);
    for round in 0..2 {
        let log = root.path().join(format!("pair-{round}.log"));
        let mut running = Process::start(pair(), &log);
        for link in ["link from-a", "link from-b"] {
            running.wait_for_line(PATIENCE, |line| line.starts_with(link));
        }
        if round == 0 {
            load::write(&format!("{one}:9092"), "a_new", 0, 1);
            running.wait_for_line(PATIENCE, |line| {
                line.starts_with("link from-a") && line.contains("topics 1")
            });
        }
        running.signal(Signal::INT);
        assert!(
            running
                .wait(PATIENCE)
                .is_some_and(|status| status.success())
        );
        let said = running.printed();
        assert!(said.contains("stopped; the data are in "), "{said}");
    }
}
