//! Runs scripts against a machine: `testdata/*.txt` in, events through the machine, its effects
//! printed and compared.
//!
//! A script reads as a story. It is made of blocks: one or more command lines, `----`, the effects
//! of the machine, an empty line. Lines that begin with `#` are for the reader and stay as they are.
//! `UPDATE_SCRIPTS=1` rewrites the effects after each `----`; read the diff.
//!
//! ```text
//! # Two members join; the second one's join starts a rebalance.
//! join g client=c1
//! ----
//! reply 1: member c1-1, generation 1, leader
//! ```
//!
//! Commands the harness knows itself, on any machine:
//! - `advance 3s` (or `250ms`, `2m`, `1h`, `7d`): time passes; every deadline on the way is ticked
//!   at its own moment.
//! - `restart`: the process dies and comes back: `Durable` is rebuilt from the encoded records,
//!   `Soft` is new, `led` is called.
//! - `resign`: `resigned` is called, its replies printed; then as `restart`.
//! - `snapshot`: the log is replaced by the snapshot's records, which are printed.
//! - `show ...`: whatever the dialect prints.
//!
//! All other words belong to the machine's [`Dialect`]. The harness holds the machine's contract:
//! no caller is answered twice, and after every block `Durable` equals what the encoded records
//! rebuild, and the state that its encoded snapshot rebuilds.
//!
//! This file reads and writes files and environment variables, the one exception in a pure crate:
//! it is test code, behind the feature `harness`, and no normal dependency turns that on.

use crate::{DurableRecord, Effects, EncodedRecord, Machine, Mono, Now, ReplyToken, Wall};
use std::{collections::BTreeSet, env, fmt::Debug, fs, path::Path};

/// One command line: words, and `key=value` pairs in any place. A value in double quotes may hold
/// spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub name: String,
    /// The other plain words, in order.
    pub words: Vec<String>,
    /// The `key=value` pairs, in order; a key may come more than once.
    pub pairs: Vec<(String, String)>,
}

impl Command {
    /// Splits a line into words and pairs. An error names the fault of the line.
    pub fn parse(line: &str) -> Result<Command, String> {
        let mut command = Command::default();
        for token in tokens(line)? {
            match token {
                Token::Word(word) if command.name.is_empty() => command.name = word,
                Token::Word(word) => command.words.push(word),
                Token::Pair(key, value) => command.pairs.push((key, value)),
            }
        }
        if command.name.is_empty() {
            Err(format!("no command in {line:?}"))
        } else {
            Ok(command)
        }
    }

    /// The word at this place after the command's name.
    pub fn word(&self, at: usize) -> Result<&str, String> {
        self.words
            .get(at)
            .map(String::as_str)
            .ok_or_else(|| format!("{}: word {} is missing", self.name, at + 1))
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str) -> Result<&str, String> {
        self.get(key)
            .ok_or_else(|| format!("{}: {key}= is missing", self.name))
    }

    /// Whether this plain word stands anywhere on the line, as a flag.
    pub fn flag(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }

    /// A number by key, or the default.
    pub fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T, String> {
        match self.get(key) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("{}: {key}={text} is not a number", self.name)),
        }
    }

    /// A duration by key in milliseconds (`6s`, `250ms`), or the default.
    pub fn milliseconds(&self, key: &str, default: u64) -> Result<u64, String> {
        self.get(key).map_or(Ok(default), milliseconds)
    }

    /// A list by key, split at commas; empty when the key is not there or its value is empty.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            None | Some("") => Vec::new(),
            Some(text) => text.split(',').map(str::to_owned).collect(),
        }
    }
}

enum Token {
    Word(String),
    Pair(String, String),
}

fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let (mut found, mut text, mut key, mut quoted, mut any) =
        (Vec::new(), String::new(), None, false, false);
    for c in line.chars().chain([' ']) {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '=' if !quoted && key.is_none() && !text.is_empty() => {
                key = Some(std::mem::take(&mut text))
            }
            c if c.is_whitespace() && !quoted => {
                if let Some(key) = key.take() {
                    found.push(Token::Pair(key, std::mem::take(&mut text)));
                } else if any || !text.is_empty() {
                    found.push(Token::Word(std::mem::take(&mut text)));
                }
                any = false;
            }
            c => text.push(c),
        }
    }
    if quoted {
        Err(format!("a quote is not closed in {line:?}"))
    } else {
        Ok(found)
    }
}

/// Reads `250ms`, `3s`, `2m`, `1h`, `7d` as milliseconds.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("{text:?}: {other:?} is not one of ms, s, m, h, d")),
    };
    let count = text[..digits].parse::<u64>().ok();
    count
        .and_then(|count| count.checked_mul(unit))
        .ok_or_else(|| format!("{text:?} is not a duration"))
}

/// The language of one machine's scripts: reads its commands, and prints each effect as a line,
/// without the words `record`, `reply`, `action` at its beginning.
pub trait Dialect {
    type M: Machine<Durable: PartialEq + Debug>;

    /// The events of this command line. It may change `soft` (a setting) and have no event. An
    /// error names the fault of the line.
    fn events(
        &mut self,
        command: &Command,
        soft: &mut <Self::M as Machine>::Soft,
    ) -> Result<Vec<<Self::M as Machine>::Event>, String>;

    /// One record as a line.
    fn record(&mut self, record: &<Self::M as Machine>::Record) -> String;

    /// One reply. If it has several lines, the harness indents all but the first.
    fn reply(&mut self, reply: &<Self::M as Machine>::Reply) -> String;

    /// One action as a line.
    fn action(&mut self, action: &<Self::M as Machine>::Action) -> String;

    /// The text that `show ...` prints.
    fn show(
        &mut self,
        command: &Command,
        durable: &<Self::M as Machine>::Durable,
        soft: &<Self::M as Machine>::Soft,
    ) -> Result<String, String>;

    /// A new `Soft`, at the beginning and after each restart; the place for settings.
    fn soft(&mut self) -> <Self::M as Machine>::Soft {
        Default::default()
    }
}

/// Runs every `*.txt` of a directory, in order of names, each from an empty state made by
/// `dialect`.
///
/// # Panics
/// When the effects of a script differ from its text, with the first difference, or when the
/// machine broke its contract. Also when the directory has no script, because the test would test
/// nothing.
pub fn run_scripts<D: Dialect>(directory: impl AsRef<Path>, mut dialect: impl FnMut() -> D) {
    let directory = directory.as_ref();
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no script in {}", directory.display());
    let update = env::var_os("UPDATE_SCRIPTS").is_some_and(|value| value == "1");
    for path in paths {
        let said =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let found = run_script(&said, dialect())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if said == found {
            continue;
        }
        if update {
            fs::write(&path, found).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        } else {
            panic!(
                "{}: {}\nIf this is right, run again with UPDATE_SCRIPTS=1 and read the diff.",
                path.display(),
                first_difference(&said, &found)
            );
        }
    }
}

/// Runs one script's text and gives it back with the effects that were found.
pub fn run_script<D: Dialect>(text: &str, dialect: D) -> Result<String, String> {
    let mut run = Run::new(dialect);
    let (mut found, mut commands) = (String::new(), Vec::new());
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        found.push_str(line);
        found.push('\n');
        if line == "----" {
            let mut printed = Vec::new();
            for (number, command) in commands.drain(..) {
                run.command(&command, &mut printed)
                    .map_err(|error| format!("line {number}: {error}"))?;
            }
            run.law()
                .map_err(|error| format!("line {}: {error}", number + 1))?;
            if printed.is_empty() {
                printed.push("(nothing)".to_owned());
            }
            for line in printed {
                found.push_str(&line);
                found.push('\n');
            }
            for (_, line) in lines.by_ref() {
                if line.is_empty() {
                    found.push('\n');
                    break;
                }
            }
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            commands.push((
                number + 1,
                Command::parse(line).map_err(|error| format!("line {}: {error}", number + 1))?,
            ));
        }
    }
    match commands.first() {
        Some((number, command)) => Err(format!(
            "line {number}: {:?} has no ---- after it",
            command.name
        )),
        None => Ok(found),
    }
}

fn first_difference(said: &str, found: &str) -> String {
    let (mut said, mut found, mut line) = (said.lines(), found.lines(), 1);
    loop {
        match (said.next(), found.next()) {
            (s, f) if s == f && s.is_some() => line += 1,
            (s, f) => {
                return format!(
                    "line {line}:\n  the script says: {}\n  it is:           {}",
                    s.unwrap_or("(end)"),
                    f.unwrap_or("(end)")
                );
            }
        }
    }
}

/// One machine with its log in memory and its clock in hand.
struct Run<D: Dialect> {
    dialect: D,
    durable: <D::M as Machine>::Durable,
    soft: <D::M as Machine>::Soft,
    log: Vec<EncodedRecord>,
    now: Now,
    tokens: u64,
    answered: BTreeSet<ReplyToken>,
}

impl<D: Dialect> Run<D> {
    fn new(mut dialect: D) -> Self {
        let now = Now {
            mono: Mono(0),
            wall: Wall(0),
        };
        let durable = Default::default();
        let mut soft = dialect.soft();
        let _ = D::M::led(&durable, &mut soft, now);
        Run {
            dialect,
            durable,
            soft,
            log: Vec::new(),
            now,
            tokens: 0,
            answered: BTreeSet::new(),
        }
    }

    fn command(&mut self, command: &Command, printed: &mut Vec<String>) -> Result<(), String> {
        match command.name.as_str() {
            "advance" => return self.advance(milliseconds(command.word(0)?)?, printed),
            "restart" => return self.restart(printed),
            "resign" => {
                for (token, reply) in D::M::resigned(&mut self.soft) {
                    self.answer(token, &reply, printed)?;
                }
                return self.restart(printed);
            }
            "snapshot" => {
                let records = D::M::snapshot(&self.durable);
                self.log = records.iter().map(DurableRecord::encode).collect();
                printed.extend(
                    records
                        .iter()
                        .map(|record| format!("record: {}", self.dialect.record(record))),
                );
                return Ok(());
            }
            "show" => {
                let text = self.dialect.show(command, &self.durable, &self.soft)?;
                printed.extend(text.lines().map(str::to_owned));
                return Ok(());
            }
            _ => {}
        }
        for event in self.dialect.events(command, &mut self.soft)? {
            self.tokens += 1;
            let effects = D::M::step(
                &self.durable,
                &mut self.soft,
                self.now,
                event,
                ReplyToken(self.tokens),
            );
            self.take(effects, printed)?;
        }
        Ok(())
    }

    fn advance(&mut self, milliseconds: u64, printed: &mut Vec<String>) -> Result<(), String> {
        let (until, mut idle) = (self.now.mono.after(milliseconds), 0);
        while let Some(deadline) = D::M::deadline(&self.soft).filter(|deadline| *deadline <= until)
        {
            self.set_time(self.now.mono.max(deadline));
            let before = printed.len();
            let effects = D::M::tick(&self.durable, &mut self.soft, self.now);
            self.take(effects, printed)?;
            idle = if printed.len() == before { idle + 1 } else { 0 };
            if idle > 10_000 {
                return Err(
                    "10,000 ticks did nothing: does a deadline stay in the past?".to_owned(),
                );
            }
        }
        self.set_time(until);
        Ok(())
    }

    fn set_time(&mut self, mono: Mono) {
        let passed = mono.0 - self.now.mono.0;
        self.now = Now {
            mono,
            wall: Wall(self.now.wall.0 + passed as i64),
        };
    }

    fn restart(&mut self, printed: &mut Vec<String>) -> Result<(), String> {
        self.durable = rebuild::<D::M>(&self.log)?;
        self.soft = self.dialect.soft();
        let effects = D::M::led(&self.durable, &mut self.soft, self.now);
        self.take(effects, printed)
    }

    fn take(&mut self, effects: Effects<D::M>, printed: &mut Vec<String>) -> Result<(), String> {
        for record in &effects.records {
            let encoded = record.encode();
            D::M::replay(&mut self.durable, record);
            self.log.push(encoded);
            printed.push(format!("record: {}", self.dialect.record(record)));
        }
        for (token, reply) in &effects.replies {
            self.answer(*token, reply, printed)?;
        }
        for action in &effects.actions {
            printed.push(format!("action: {}", self.dialect.action(action)));
        }
        Ok(())
    }

    fn answer(
        &mut self,
        token: ReplyToken,
        reply: &<D::M as Machine>::Reply,
        printed: &mut Vec<String>,
    ) -> Result<(), String> {
        if !self.answered.insert(token) {
            return Err(format!("caller {} is answered twice", token.0));
        }
        let text = self.dialect.reply(reply);
        let mut lines = text.lines();
        printed.push(format!(
            "reply {}: {}",
            token.0,
            lines.next().unwrap_or_default()
        ));
        printed.extend(lines.map(|line| format!("  {line}")));
        Ok(())
    }

    /// Checks the replay law: the encoded log and the encoded snapshot rebuild the state.
    fn law(&self) -> Result<(), String> {
        let rebuilt = rebuild::<D::M>(&self.log)?;
        if rebuilt != self.durable {
            return Err(format!(
                "the log does not rebuild the state\n  live:    {:?}\n  rebuilt: {rebuilt:?}",
                self.durable
            ));
        }
        let encoded: Vec<_> = D::M::snapshot(&self.durable)
            .iter()
            .map(DurableRecord::encode)
            .collect();
        let restored = rebuild::<D::M>(&encoded)?;
        if restored != self.durable {
            return Err(format!(
                "the snapshot does not rebuild the state\n  live:    {:?}\n  rebuilt: {restored:?}",
                self.durable
            ));
        }
        Ok(())
    }
}

/// The state that a start rebuilds from the bytes of a log.
pub(crate) fn rebuild<M: Machine>(log: &[EncodedRecord]) -> Result<M::Durable, String> {
    let mut durable = M::Durable::default();
    for record in log {
        let record = M::Record::decode(record.key.as_deref(), record.value.as_deref())
            .map_err(|error| error.to_string())?;
        M::replay(&mut durable, &record);
    }
    Ok(durable)
}
