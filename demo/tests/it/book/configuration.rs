//! What the reference says of each key, tried on the parser: a key that has to be there is missed, a default is what
//! holds without the key, an example is taken.

use cofre_demo::reference::{Key, keys, samples};
use cofre_server::config::{Config, ConfigError};
use toml::{Table, Value};

use super::root;

/// The whole files of the reference.
fn wholes() -> Vec<Table> {
    let samples = samples(&root()).expect("samples");
    assert!(samples.first().is_some_and(|(name, _)| name == "cofred.toml"), "{samples:?}");
    samples.iter().map(|(name, text)| text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))).collect()
}

/// Whether a place is in a whole file.
fn stands(whole: &Table, steps: &[String]) -> bool {
    let mut at = Some(Value::Table(whole.clone()));
    for step in steps {
        at = at.and_then(|at| at.get(step).cloned());
    }
    at.is_some()
}

fn parse(whole: &Table) -> Result<Config, ConfigError> {
    Config::parse(&toml::to_string(whole).expect("tables of strings"))
}

/// The place of a key in a whole file; `<name>` is the custodian there that is of the key's kind, or the first.
fn steps(whole: &Table, path: &str) -> Vec<String> {
    let custodians = whole.get("custodians").and_then(Value::as_table).expect("a file has custodians");
    let kind = path.split('.').nth(2).unwrap_or_default();
    let of_kind = custodians.iter().find(|(_, table)| table.get(kind).is_some());
    let (name, _) = of_kind.or_else(|| custodians.iter().next()).expect("a file has a custodian");
    path.replace("<name>", name).split('.').map(str::to_owned).collect()
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
    let steps = steps(&whole, &key.path);
    holder(&mut whole, &steps).insert(steps.last().expect("a key").clone(), value(toml));
    whole
}

fn without(mut whole: Table, path: &str) -> Table {
    let steps = steps(&whole, path);
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
    for key in all.iter().filter(|key| !key.optional) {
        let whole = wholes().into_iter().find(|whole| stands(whole, &steps(whole, &key.path)));
        let whole = whole.unwrap_or_else(|| panic!("{}: no docs/reference/cofred*.toml has it", key.path));
        let error = parse(&without(whole, &key.path)).expect_err(&key.path).to_string();
        // A name of one's own is missed by whoever refers to it.
        let last = if key.path.ends_with("<name>") { "custod" } else { key.path.rsplit('.').next().expect("a key") };
        assert!(error.contains(last), "{}: {error}", key.path);
    }
    assert!(all.iter().filter(|key| !key.optional).count() >= 20);
}

#[test]
fn defaults_are_what_holds_without_the_key() {
    let all = keys(&root()).expect("keys");
    let mut tried = 0;
    for key in &all {
        let Some(default) = &key.default else { continue };
        assert!(key.optional, "{}: has a default and has to be there", key.path);
        let holds = |whole: &Table| {
            let steps = steps(whole, &key.path);
            stands(whole, &steps[..steps.len() - 1])
        };
        let whole = wholes().into_iter().find(holds);
        let whole = whole.unwrap_or_else(|| panic!("{}: no docs/reference/cofred*.toml has its table", key.path));
        let left_out =
            parse(&without(whole.clone(), &key.path)).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        let written = parse(&with(whole, key, default)).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        assert!(left_out == written, "{}: {default} is not its default", key.path);
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
}

#[test]
fn examples_are_taken() {
    let all = keys(&root()).expect("keys");
    let mut tried = 0;
    for key in &all {
        let Some(example) = &key.example else { continue };
        let taken = wholes().into_iter().any(|whole| is_taken(&with(whole, key, example), &beside(&all, key)));
        assert!(taken, "{}: {example} is taken by none of docs/reference/cofred*.toml", key.path);
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

/// Whether a whole file is taken, as it is or without what the key stands instead of.
fn is_taken(whole: &Table, beside: &[&Key]) -> bool {
    let alone = beside.iter().fold(whole.clone(), |whole, other| without(whole, &other.path));
    let one_less = || beside.iter().any(|other| parse(&without(whole.clone(), &other.path)).is_ok());
    parse(whole).is_ok() || parse(&alone).is_ok() || one_less()
}
