use std::sync::Arc;

use super::*;
use crate::samples::{self, field};
use crate::slab::Slab;

fn login(slab: &Arc<Slab>) -> Opened {
    let dek = Dek::generate(slab).expect("key");
    let sealed: Vec<_> = [("username", "user-1"), ("password", "contraseña"), ("pin", "493817")]
        .into_iter()
        .map(|(key, value)| {
            let plain = Plain::copy_of(slab, value.as_bytes()).expect("room");
            (field(key), dek.seal_field(&samples::secret(), &field(key), plain).expect("sealed"))
        })
        .collect();
    open(dek, &sealed, &samples::secret()).expect("opened")
}

fn ask(key: &str, form: Form, positions: &[u16]) -> FieldRequest {
    FieldRequest { key: field(key), form, positions: positions.to_vec() }
}

fn narrowed(slab: &Arc<Slab>, requests: &[FieldRequest]) -> Result<Vec<(String, Form, String)>, Error> {
    let Narrowed(fields) = login(slab).narrow(requests)?;
    let text = |plain: &Plain| plain.with_bytes(|bytes| String::from_utf8(bytes.to_vec()).expect("text"));
    Ok(fields.iter().map(|f| (f.key.to_string(), f.form, text(&f.value))).collect())
}

#[test]
fn the_least_that_serves() {
    let slab = samples::slab();
    let full = narrowed(&slab, &[ask("password", Form::Full, &[])]).expect("narrowed");
    assert_eq!(full, [("password".into(), Form::Full, "contraseña".into())]);
    let some = narrowed(&slab, &[ask("pin", Form::Positions, &[1, 3, 6]), ask("username", Form::Full, &[])]);
    assert_eq!(
        some.expect("narrowed"),
        [("pin".into(), Form::Positions, "437".into()), ("username".into(), Form::Full, "user-1".into())]
    );
    assert_eq!(slab.counters().in_use, 0, "what was not asked for was wiped, and so was the data key");
}

#[test]
fn positions_count_characters_from_one() {
    let slab = samples::slab();
    let last = narrowed(&slab, &[ask("password", Form::Positions, &[1, 9, 10])]).expect("narrowed");
    assert_eq!(last[0].2, "cña");
    for bad in [&[][..], &[0], &[0, 1], &[11], &[1, 1], &[2, 1], &[10, 11], &[u16::MAX]] {
        assert_eq!(narrowed(&slab, &[ask("password", Form::Positions, bad)]), Err(Error::Position), "{bad:?}");
    }
}

#[test]
fn everything_else_is_refused() {
    let slab = samples::slab();
    let full = |key| ask(key, Form::Full, &[]);
    assert_eq!(narrowed(&slab, &[full("birth_date")]), Err(Error::FieldAbsent));
    assert_eq!(narrowed(&slab, &[full("pin"), full("pin")]), Err(Error::FieldRepeated));
    assert_eq!(narrowed(&slab, &[full("pin"), ask("pin", Form::Positions, &[1])]), Err(Error::FieldRepeated));
    assert_eq!(narrowed(&slab, &[ask("pin", Form::Code, &[])]), Err(Error::FormRefused));
    assert_eq!(narrowed(&slab, &[ask("pin", Form::Full, &[1])]), Err(Error::FormRefused));
    assert_eq!(slab.counters().in_use, 0);
}

#[test]
fn positions_of_what_is_no_text_are_refused() {
    let slab = samples::slab();
    let opened = Opened(vec![(field("seed"), Plain::copy_of(&slab, &[0xff, 0xfe]).expect("room"))]);
    assert_eq!(opened.narrow(&[ask("seed", Form::Positions, &[1])]).err(), Some(Error::NotText));
}

#[test]
fn one_field_that_does_not_open_closes_all() {
    let slab = samples::slab();
    let dek = Dek::generate(&slab).expect("key");
    let seal = |key: &str| {
        dek.seal_field(&samples::secret(), &field(key), Plain::copy_of(&slab, b"x").expect("room")).expect("sealed")
    };
    // The rows of two fields changed places.
    let swapped = [(field("username"), seal("password")), (field("password"), seal("username"))];
    let mixed = [(field("username"), seal("username")), (field("password"), seal("username"))];
    assert_eq!(open(dek, &swapped, &samples::secret()).err(), Some(Error::Commitment));
    assert_eq!(slab.counters().in_use, 0);
    let other = Dek::generate(&slab).expect("key");
    assert_eq!(open(other, &mixed, &samples::secret()).err(), Some(Error::Commitment));
    assert_eq!(slab.counters().in_use, 0);
}
