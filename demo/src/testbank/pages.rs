//! The pages a person would see. Every form field carries the name the institution's template gives it.

use cofre_testkit::institutions::{FieldType, Institution, LoginField};
use maud::{DOCTYPE, Markup, html};

use super::books::Answer;
use super::portfolio::{Positions, Transaction};

/// The login form.
pub(super) fn login(institution: &Institution) -> Markup {
    frame(
        institution,
        "Log in",
        &html! {
            form method="post" action=(format!("/{}/login", institution.slug)) autocomplete="off" {
                @for field in &institution.fields { (input(field)) }
                button type="submit" { "Log in" }
            }
        },
    )
}

fn input(field: &LoginField) -> Markup {
    let kind = match field.field_type {
        FieldType::Password | FieldType::Pin => "password",
        FieldType::Date => "date",
        FieldType::Text | FieldType::Document | FieldType::Choice => "text",
    };
    html! {
        label {
            (field.label.en)
            @if field.field_type == FieldType::Choice {
                select name=(field.key) required[field.required] {
                    @for choice in &field.choices { option value=(choice) { (choice) } }
                }
            } @else {
                input type=(kind) name=(field.key) required[field.required];
            }
        }
    }
}

/// What follows a submitted form, for those who read HTML.
pub(super) fn answer(institution: &Institution, answer: &Answer) -> Markup {
    let text = match answer {
        Answer::SignedIn => "You are logged in.".to_owned(),
        Answer::CodeNeeded { length, hint, .. } => {
            return frame(institution, "Confirm it is you", &code_form(institution, *length, hint));
        }
        Answer::WrongLogin { attempts_left } => format!("Wrong login. {attempts_left} attempts left."),
        Answer::WrongCode { attempts_left } => format!("Wrong code. {attempts_left} attempts left."),
        Answer::CodeExpired => "The code has expired. Log in again.".to_owned(),
        Answer::Locked { .. } => "Your access is locked. Try again later.".to_owned(),
        Answer::PasswordExpired => "Your password has expired. Choose a new one at a branch.".to_owned(),
        Answer::FieldMissing { field } => format!("Please fill in {field}."),
        Answer::SignInFirst => "Please log in first.".to_owned(),
        Answer::SiteDown => "Closed for maintenance.".to_owned(),
    };
    frame(institution, "Log in", &html! { p { (text) } (navigation(institution, answer)) })
}

fn code_form(institution: &Institution, length: u32, hint: &str) -> Markup {
    html! {
        p { "Type the " (length) " digits from " (hint) "." }
        form method="post" action=(format!("/{}/second-factor", institution.slug)) {
            input name="code" inputmode="numeric" maxlength=(length) required;
            button type="submit" { "Confirm" }
        }
    }
}

fn navigation(institution: &Institution, answer: &Answer) -> Markup {
    html! {
        @if *answer == Answer::SignedIn {
            nav {
                @for page in ["positions", "transactions", "transfer"] {
                    a href=(format!("/{}/{page}", institution.slug)) { (page) } " "
                }
            }
        }
    }
}

/// The holdings.
pub(super) fn positions(institution: &Institution, held: &Positions) -> Markup {
    frame(
        institution,
        "Positions",
        &html! {
            p { "As of " (held.as_of) ", cash " (held.currency) " " (minor(held.cash_minor)) }
            table {
                tr { th { "ISIN" } th { "Name" } th { "Quantity" } th { "Price" } th { "Value" } }
                @for p in &held.positions {
                    tr {
                        td { (p.isin) } td { (p.name) }
                        td { (p.quantity_milli / 1_000) "." (format!("{:03}", p.quantity_milli % 1_000)) }
                        td { (minor(p.price_minor)) } td { (minor(p.value_minor)) }
                    }
                }
            }
        },
    )
}

/// The bookings.
pub(super) fn transactions(institution: &Institution, booked: &[Transaction]) -> Markup {
    frame(
        institution,
        "Transactions",
        &html! {
            table {
                tr { th { "Date" } th { "Kind" } th { "ISIN" } th { "Amount" } }
                @for t in booked {
                    tr {
                        td { (t.date) } td { (t.kind) } td { (t.isin) }
                        td { @if t.amount_minor < 0 { "-" } (minor(t.amount_minor.unsigned_abs())) }
                    }
                }
            }
        },
    )
}

/// What stands where transfers would be.
pub(super) fn transfer(institution: &Institution) -> Markup {
    frame(institution, "Transfer", &html! { p { "This visit was recorded and your session has ended." } })
}

fn minor(amount: u64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

fn frame(institution: &Institution, title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (institution.name) " - " (title) } }
            body { h1 { (institution.name) } h2 { (title) } (content) }
        }
    }
}
