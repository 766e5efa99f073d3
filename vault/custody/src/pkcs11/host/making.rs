//! Keys made by a host of its own, so that the same environment and walls hold as when it serves.

use cofre_envelope::Slab;

use super::wire::{self, Opening, Purpose, Word};
use super::{Hosting, line};
use crate::fault::{Cause, Operation};
use crate::pkcs11::ceremony::Ensured;
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
    let opening = |cells, pin_len| Opening {
        purpose: Purpose::MakeKeys,
        settings: settings.clone(),
        sandbox: hosting.sandbox.clone(),
        backing: slab.backing(),
        cells,
        pin_len,
        standing: Standing::Untried,
        known: None,
    };
    let (line, mut incoming) = line::launch(hosting, pin, opening, (slab.backing(), 1))?;
    let mut trying = false;
    let made = loop {
        match wire::word(&mut incoming) {
            Ok(Word::Made(made)) => break made,
            Ok(Word::Walls(walls)) => tracing::info!(custodian = settings.id.as_str(), walls, "custody host walled in"),
            Ok(Word::Noted(note)) => {
                note.log(settings.id.as_str());
                if let Note::Pin(standing) = note {
                    trying = standing == Standing::Trying;
                }
            }
            // Whether the try counted nobody knows.
            Err(_) if trying => break Err(Trouble::of(Operation::LogIn, Cause::PinInDoubt)),
            Ok(Word::Attached(_) | Word::Answered { .. }) | Err(_) => {
                break Err(Trouble::told(
                    Operation::MakeKey,
                    Cause::Crashed,
                    Session::Sound,
                    Some("what was made before stays; a second call goes on from there".to_owned()),
                ));
            }
        }
    };
    line.end();
    made
}
