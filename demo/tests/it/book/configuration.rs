//! What the reference says of each key, tried on the parser: a key that has to be there is missed, a default is what
//! holds without the key, an example is taken.

use cofre_demo::reference::{Key, keys};
use cofre_server::config::{Config, ConfigError};
use toml::{Table, Value};

use super::{root, text};

fn sample() -> Table {
    text("docs/reference/cofred.toml").parse().expect("the sample")
}

fn parse(whole: &Table) -> Result<Config, ConfigError> {
    Config::parse(&toml::to_string(whole).expect("tables of strings"))
}

fn steps(path: &str) -> Vec<String> {
    path.replace("<name>", "hsm-1").split('.').map(str::to_owned).collect()
}

/// The table a key stands in.
fn holder<'a>(whole: &'a mut Table, steps: &[String]) -> &'a mut Table {
    steps[..steps.len() - 1].iter().fold(whole, |table, step| {
        let below = table.entry(step.clone()).or_insert_with(|| Value::Table(Table::new()));
        below.as_table_mut().expect("a table")
    })
}

fn value(toml: &str) -> Value {
    format!("it = {toml}").parse::<Table>().unwrap_or_else(|error| panic!("{toml}: {error}")).remove("it").expect("it")
}

fn with(mut whole: Table, key: &Key, toml: &str) -> Table {
    let steps = steps(&key.path);
    holder(&mut whole, &steps).insert(steps.last().expect("a key").clone(), value(toml));
    whole
}

fn without(mut whole: Table, path: &str) -> Table {
    let steps = steps(path);
    holder(&mut whole, &steps).remove(steps.last().expect("a key"));
    whole
}

fn beside<'a>(all: &'a [Key], key: &Key) -> Vec<&'a Key> {
    let folder = |path: &str| path.rsplit_once('.').map(|(folder, _)| folder.to_owned());
    all.iter().filter(|other| other.path != key.path && folder(&other.path) == folder(&key.path)).collect()
}

#[test]
fn keys_that_have_to_be_there_are_missed_by_name() {
    let all = keys(&root()).expect("keys");
    let mut missed = 0;
    // Some keys are read by one form only of the table they stand in; those that the sample has are in force.
    for key in all.iter().filter(|key| !key.optional) {
        let present = steps(&key.path).iter().try_fold(Value::Table(sample()), |at, step| at.get(step).cloned());
        if present.is_none() {
            continue;
        }
        let error = parse(&without(sample(), &key.path)).expect_err(&key.path).to_string();
        let last = steps(&key.path).pop().expect("a key");
        let named = error.contains(&last) || last == "hsm-1" || error.contains("custod");
        assert!(named || error.contains("stores"), "{}: {error}", key.path);
        missed += 1;
    }
    assert!(missed >= 20, "{missed}");
}

#[test]
fn defaults_are_what_holds_without_the_key() {
    let all = keys(&root()).expect("keys");
    let mut tried = 0;
    for key in &all {
        let Some(default) = &key.default else { continue };
        assert!(key.optional, "{}: has a default and has to be there", key.path);
        let left_out = parse(&without(sample(), &key.path)).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        let written = parse(&with(sample(), key, default)).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        assert!(left_out == written, "{}: {default} is not its default", key.path);
        tried += 1;
    }
    assert!(tried >= 5, "{tried}");
}

#[test]
fn examples_are_taken() {
    let all = keys(&root()).expect("keys");
    let mut tried = 0;
    for key in &all {
        let Some(example) = &key.example else { continue };
        let whole = with(sample(), key, example);
        let beside = beside(&all, key);
        // Some keys stand for one another: the others are taken out then.
        let alone = beside.iter().fold(whole.clone(), |whole, other| without(whole, &other.path));
        let taken = parse(&whole).is_ok()
            || parse(&alone).is_ok()
            || beside.iter().any(|other| parse(&without(whole.clone(), &other.path)).is_ok());
        assert!(taken, "{}: {example} is not taken: {:?}", key.path, parse(&whole).err());
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}
