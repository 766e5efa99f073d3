//! What an account holds: invented, plausible, and the same each time for the same account.
//! Amounts are whole minor units of the currency and quantities thousandths, so nothing is ever rounded in a float.

use serde::Serialize;
use time::{Date, Duration, OffsetDateTime};

use super::codes;

/// Start of every invented history.
const FIRST_DAY: i32 = 2_460_000; // Julian day: 2023-02-24

/// Names to choose holdings from, each with the country of its ISIN.
const NAMES: [(&str, &str); 12] = [
    ("IE", "Global Equity Index Fund"),
    ("LU", "Euro Government Bond Fund"),
    ("ES", "Iberian Utilities SA"),
    ("FR", "Industries du Midi SA"),
    ("US", "Northwind Semiconductors Inc"),
    ("DE", "Rheinwerk Chemie AG"),
    ("LU", "Emerging Markets Income Fund"),
    ("IE", "Short Duration Credit Fund"),
    ("NL", "Polder Payments NV"),
    ("GB", "Harbour Shipping plc"),
    ("PT", "Energias do Tejo SA"),
    ("CH", "Alpenrose Pharma AG"),
];

/// An account's positions.
#[derive(Debug, Serialize)]
pub(super) struct Positions {
    /// `YYYY-MM-DD`.
    pub(super) as_of: String,
    /// ISO 4217.
    pub(super) currency: &'static str,
    /// Minor units.
    pub(super) cash_minor: u64,
    pub(super) positions: Vec<Position>,
}

/// One holding.
#[derive(Debug, Serialize)]
pub(super) struct Position {
    pub(super) isin: String,
    pub(super) name: &'static str,
    /// Thousandths of a unit.
    pub(super) quantity_milli: u64,
    /// Minor units for one unit.
    pub(super) price_minor: u64,
    /// Minor units for all.
    pub(super) value_minor: u64,
}

/// One booking.
#[derive(Debug, Serialize)]
pub(super) struct Transaction {
    /// `YYYY-MM-DD`.
    pub(super) date: String,
    /// BUY, DIVIDEND or FEE.
    pub(super) kind: &'static str,
    pub(super) isin: String,
    pub(super) quantity_milli: u64,
    /// Minor units, negative when paid by the customer.
    pub(super) amount_minor: i64,
}

/// The positions of an account at a moment.
pub(super) fn positions(account: &str, now: u64) -> Positions {
    let day = i64::try_from(now).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    Positions {
        as_of: day.map(|d| d.date().to_string()).unwrap_or_default(),
        currency: "EUR",
        cash_minor: number(account, "cash", 0) % 5_000_000,
        positions: holdings(account),
    }
}

/// The bookings that led to the positions, oldest first.
pub(super) fn transactions(account: &str) -> Vec<Transaction> {
    let mut all = Vec::new();
    for (at, holding) in holdings(account).into_iter().enumerate() {
        let paid = i64::try_from(holding.value_minor).unwrap_or(i64::MAX);
        let bought = number(account, "day", at) % 600;
        let booking = |after: u64, kind, quantity_milli, amount_minor| Transaction {
            date: day(bought + after),
            kind,
            isin: holding.isin.clone(),
            quantity_milli,
            amount_minor,
        };
        all.push(booking(0, "BUY", holding.quantity_milli, -paid));
        all.push(booking(0, "FEE", 0, -995));
        all.push(booking(200, "DIVIDEND", 0, paid / 50));
    }
    all.sort_by(|a, b| a.date.cmp(&b.date));
    all
}

fn holdings(account: &str) -> Vec<Position> {
    let count = 3 + number(account, "count", 0) % 5;
    let first = number(account, "first", 0);
    (0..count)
        .zip(NAMES.iter().cycle().skip(usize::try_from(first % 12).unwrap_or(0)))
        .enumerate()
        .map(|(at, (_, (country, name)))| {
            let quantity_milli = 1_000 + number(account, "quantity", at) % 400_000;
            let price_minor = 500 + number(account, "price", at) % 40_000;
            Position {
                isin: isin(country, number(name, "isin", 0) % 1_000_000_000),
                name,
                quantity_milli,
                price_minor,
                value_minor: quantity_milli * price_minor / 1_000,
            }
        })
        .collect()
}

/// A number fixed by the account and what it is for.
fn number(account: &str, what: &str, at: usize) -> u64 {
    let hash = codes::digest(format!("{account}/{what}/{at}").as_bytes());
    hash.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn day(after: u64) -> String {
    let first = Date::from_julian_day(FIRST_DAY).unwrap_or(Date::MIN);
    let after = Duration::days(i64::try_from(after).unwrap_or(0));
    first.saturating_add(after).to_string()
}

/// An ISIN (ISO 6166): country, nine characters, check digit.
fn isin(country: &str, number: u64) -> String {
    let body = format!("{country}{number:09}");
    let check = check_digit(&body);
    format!("{body}{check}")
}

/// The check digit: letters become 10 to 35, then every second digit from the right is doubled and all digits are added.
fn check_digit(body: &str) -> u32 {
    let digits: Vec<u32> = body
        .chars()
        .filter_map(|c| c.to_digit(36))
        .flat_map(|v| if v < 10 { vec![v] } else { vec![v / 10, v % 10] })
        .collect();
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(at, d)| if at % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { *d }).sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_of_published_isins() {
        for isin in ["US0378331005", "ES0113900J37", "FR0000120271", "DE000BASF111", "IE00B4L5Y983"] {
            let (body, digit) = isin.split_at(11);
            assert_eq!(check_digit(body).to_string(), digit, "{isin}");
        }
    }

    #[test]
    fn the_same_account_holds_the_same() {
        let one = serde_json::to_string(&positions("banc-valles-0001", 1_800_000_000)).unwrap();
        assert_eq!(one, serde_json::to_string(&positions("banc-valles-0001", 1_800_000_000)).unwrap());
        let other = serde_json::to_string(&positions("banc-valles-0002", 1_800_000_000)).unwrap();
        assert_ne!(one, other);
        assert!(one.contains("\"as_of\":\"2027-01-15\""), "{one}");
    }

    #[test]
    fn bookings_name_what_is_held_in_order_of_time() {
        let held = positions("courtier-bourse-0003", 1_800_000_000).positions;
        let booked = transactions("courtier-bourse-0003");
        assert!(held.len() >= 3);
        assert_eq!(booked.len(), held.len() * 3);
        assert!(booked.iter().all(|t| held.iter().any(|p| p.isin == t.isin)));
        assert!(booked.is_sorted_by(|a, b| a.date <= b.date));
    }
}
