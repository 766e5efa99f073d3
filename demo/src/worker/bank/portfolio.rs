//! What a worker brings home, parsed: an ISIN with a wrong check digit or an amount that is no number stops here.

use serde::Deserialize;

/// The holdings of a login.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Positions {
    /// Day they were true, `YYYY-MM-DD`.
    pub as_of: String,
    /// ISO 4217.
    pub currency: String,
    /// Cash in minor units of the currency.
    pub cash_minor: u64,
    /// The holdings.
    pub positions: Vec<Position>,
}

/// One holding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Position {
    /// What is held.
    pub isin: Isin,
    /// Its name at the bank.
    pub name: String,
    /// Thousandths of a unit.
    pub quantity_milli: u64,
    /// Minor units for one unit.
    pub price_minor: u64,
    /// Minor units for all.
    pub value_minor: u64,
}

/// One booking.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The bank's word for it.
    pub kind: String,
    /// What was bought or paid.
    pub isin: Isin,
    /// Thousandths of a unit.
    pub quantity_milli: u64,
    /// Minor units, negative when paid by the customer.
    pub amount_minor: i64,
}

/// An ISIN whose check digit is right (ISO 6166).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Isin(String);

/// Not an ISIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ISIN: two letters, nine letters or digits and the right check digit")]
pub struct NotAnIsin;

impl Isin {
    /// The twelve characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Isin {
    type Error = NotAnIsin;

    fn try_from(text: String) -> Result<Self, NotAnIsin> {
        let shaped = text.len() == 12
            && text.bytes().take(2).all(|b| b.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            && text.ends_with(|c: char| c.is_ascii_digit());
        if shaped && luhn(&text) { Ok(Self(text)) } else { Err(NotAnIsin) }
    }
}

/// The Luhn sum over the digits, letters counting as 10 to 35, is a multiple of ten.
fn luhn(text: &str) -> bool {
    let (mut sum, mut double) = (0, false);
    for value in text.chars().rev().filter_map(|c| c.to_digit(36)) {
        let figures = if value > 9 { [Some(value % 10), Some(value / 10)] } else { [Some(value), None] };
        for figure in figures.into_iter().flatten() {
            sum += match double {
                true if figure > 4 => figure * 2 - 9,
                true => figure * 2,
                false => figure,
            };
            double = !double;
        }
    }
    sum % 10 == 0
}
