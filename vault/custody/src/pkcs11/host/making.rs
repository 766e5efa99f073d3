//! Keys made by a host of its own, so that the same environment and walls hold as when it serves.

use cofre_envelope::Slab;

use super::wire::{self, Opening, Purpose, Word};
use super::{Hosting, line};
use crate::fault::{Cause, Operation};
use crate::pkcs11::ceremony::{Ensured, Performance, Performed};
use crate::pkcs11::login::Standing;
use crate::pkcs11::message::Note;
use crate::pkcs11::trouble::{Session, Trouble};
use crate::pkcs11::{Pin, Settings};

/// Has a host of its own make the keys that are missing. Blocks.
pub(in crate::pkcs11) fn make_keys(
    settings: &Settings,
    hosting: &Hosting,
    pin: &Pin,
    slab: &Slab,
) -> Result<Ensured, Trouble> {
    let made = |word| match word {
        Word::Made(made) => Some(made),
        _ => None,
    };
    let crashed = "what was made before stays; a second call goes on from there";
    let notes = |note: Note| note.log(settings.id.as_str());
    one_word((settings, hosting), (pin, slab), Purpose::MakeKeys, crashed, &notes, made)
}

/// Has a host of its own perform a ceremony. Blocks; what it notes meanwhile is passed on as it comes.
pub(in crate::pkcs11) fn perform(
    settings: &Settings,
    hosting: &Hosting,
    pin: &Pin,
    (slab, what): (&Slab, Performance),
    notes: &dyn Fn(Note),
) -> Result<Performed, Trouble> {
    let performed = |word| match word {
        Word::Performed(performed) => Some(performed.map(|performed| *performed)),
        _ => None,
    };
    let crashed = "what was made before stays on the token; another ceremony needs other labels";
    one_word((settings, hosting), (pin, slab), Purpose::Perform(what), crashed, notes, performed)
}

/// Starts a host for one purpose and waits for the word that ends it.
fn one_word<T>(
    (settings, hosting): (&Settings, &Hosting),
    (pin, slab): (&Pin, &Slab),
    purpose: Purpose,
    crashed: &str,
    notes: &dyn Fn(Note),
    last: impl Fn(Word) -> Option<Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let opening = |cells, pin_len| Opening {
        purpose,
        settings: settings.clone(),
        sandbox: hosting.sandbox.clone(),
        backing: slab.backing(),
        cells,
        pin_len,
        standing: Standing::Untried,
        known: None,
    };
    let (line, mut incoming) = line::launch(hosting, pin, opening, (slab.backing(), 1))?;
    let lost = || Trouble::told(Operation::MakeKey, Cause::Crashed, Session::Sound, Some(crashed.to_owned()));
    let mut trying = false;
    let said = loop {
        match wire::word(&mut incoming) {
            Ok(Word::Walls(walls)) => tracing::info!(custodian = settings.id.as_str(), walls, "custody host walled in"),
            Ok(Word::Noted(note)) => {
                if let Note::Pin(standing) = note {
                    trying = standing == Standing::Trying;
                }
                notes(note);
            }
            // Whether the try counted nobody knows.
            Err(_) if trying => break Err(Trouble::of(Operation::LogIn, Cause::PinInDoubt)),
            Ok(word) => break last(word).unwrap_or_else(|| Err(lost())),
            Err(_) => break Err(lost()),
        }
    };
    line.end();
    said
}
