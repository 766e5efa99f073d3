//! The fields (17): each is in the template, is no signing factor, and leaves in no wider form than the template
//! allows. The whole value is wider than characters at positions, and those are wider than a derived code.
//!
//! Not checked here: whether positions lie within the value. Only the strongroom knows its length.

use cofre_model::credential::FieldRequest;
use cofre_model::reason::Reason;
use cofre_model::registry::Template;
use cofre_model::wording::{Class, Form};

use super::{Checked, ensure};
use crate::facts::{Evidence, Facts};

/// Everything asked for may leave in the form asked for. Seeds never leave in any form yet.
pub(super) fn narrow(facts: &Facts) -> Checked {
    let (Evidence::Genuine(credential), Some(template)) = (&facts.credential, &facts.template) else {
        return Err(Reason::FieldNotReleasable.into());
    };
    let fields = &facts.request.fields;
    let releasable = facts.request.class == Class::Login
        && template.institution == credential.institution
        && template.version == credential.template_version
        && !fields.is_empty()
        && fields.iter().all(|field| may_leave(field, template))
        && fields.iter().enumerate().all(|(at, field)| fields.iter().skip(at + 1).all(|other| other.key != field.key));
    ensure(releasable, Reason::FieldNotReleasable)
}

fn may_leave(asked: &FieldRequest, template: &Template) -> bool {
    let allowed = template.fields.iter().find(|field| field.key == asked.key);
    well_formed(asked)
        && allowed.is_some_and(|field| !field.signing_factor && width(asked.form) <= width(field.release_form))
}

/// Positions come with [`Form::Positions`] and with nothing else; they count from 1 and ascend.
fn well_formed(asked: &FieldRequest) -> bool {
    let ascending = asked.positions.iter().zip(asked.positions.iter().skip(1)).all(|(one, next)| one < next);
    match asked.form {
        Form::Positions => asked.positions.first().is_some_and(|first| *first >= 1) && ascending,
        Form::Full | Form::Code => asked.positions.is_empty(),
    }
}

const fn width(form: Form) -> u8 {
    match form {
        Form::Code => 1,
        Form::Positions => 2,
        Form::Full => 3,
    }
}
