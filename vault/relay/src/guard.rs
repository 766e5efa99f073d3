//! The read-only guard: a challenge whose text speaks of an order is refused before anybody sees it. A payment's
//! second factor is bound to amount and payee (RTS 2018/389, Article 5), so its text gives it away.

/// Words of orders in the four languages of the notices, in lower case.
const ORDER_WORDS: &[&str] = &[
    // Spanish
    "transferencia",
    "traspaso",
    "pago",
    "orden de compra",
    "orden de venta",
    "beneficiario",
    "importe",
    "bizum",
    // English
    "transfer",
    "payment",
    "payee",
    "beneficiary",
    "amount",
    "buy order",
    "sell order",
    // French
    "virement",
    "paiement",
    "bénéficiaire",
    "montant",
    "ordre d'achat",
    "ordre de vente",
    // Portuguese
    "transferência",
    "pagamento",
    "beneficiário",
    "montante",
    "ordem de compra",
    "ordem de venda",
];

const CURRENCIES: &[&str] = &["€", "$", "£", "eur", "usd", "gbp", "chf"];

/// Whether the text of a challenge looks like an order.
#[must_use]
pub(crate) fn looks_like_an_order(text: &str) -> bool {
    let text = text.to_lowercase();
    ORDER_WORDS.iter().any(|word| text.contains(word)) || names_an_amount(&text) || names_an_iban(&text)
}

/// A number beside a currency: `1.250,00 €`, `eur 40`.
fn names_an_amount(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        digits > 0 && word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',')
    };
    let currency = |word: &str| CURRENCIES.iter().any(|c| word.trim_end_matches(['.', ',']) == *c);
    words.windows(2).any(|pair| matches!(pair, [a, b] if (number(a) && currency(b)) || (currency(a) && number(b))))
        || words.iter().any(|word| {
            CURRENCIES.iter().any(|c| {
                word.strip_prefix(c).is_some_and(|rest| number(rest.trim_end_matches('.')))
                    || word.trim_end_matches('.').strip_suffix(c).is_some_and(number)
            })
        })
}

/// The registry of ISO 13616: country and length of its account numbers.
#[rustfmt::skip]
const IBANS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16), (b"BG", 22),
    (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22), (b"CY", 28), (b"CZ", 24),
    (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18),
    (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27),
    (b"GT", 28), (b"HN", 28), (b"HR", 21), (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26),
    (b"IT", 27), (b"JO", 30), (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20),
    (b"LU", 20), (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20),
    (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23), (b"PK", 24),
    (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24),
    (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SO", 23), (b"ST", 25),
    (b"SV", 28), (b"TL", 23), (b"TN", 24), (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20),
    (b"YE", 30),
];
/// Country and check digits.
const IBAN_HEAD: usize = 4;
/// What an account number of a country that is not registered here may have.
const ANY_LENGTH: std::ops::RangeInclusive<usize> = 15..=34;
/// Plain words have fewer digits behind them.
const DIGITS: usize = 8;

/// An international account number, however it is spaced: shape and length of ISO 13616 and its check digits, so that
/// words and codes that only look like one pass.
fn names_an_iban(text: &str) -> bool {
    let joined: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-' && *c != '.')
        // What is neither letter nor digit of an account number ends it.
        .map(|c| u8::try_from(c).map_or(b' ', |byte| byte.to_ascii_uppercase()))
        .collect();
    (0..joined.len()).filter_map(|at| joined.get(at..)).any(begins_with_an_iban)
}

fn begins_with_an_iban(text: &[u8]) -> bool {
    let [a, b, c, d, ..] = text else { return false };
    if !(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return false;
    }
    match IBANS.iter().find(|(country, _)| **country == [*a, *b]) {
        Some((_, length)) => text.get(..*length).is_some_and(checks),
        // Of an unknown country only what stands alone: any run of words would offer twenty lengths to be right by
        // chance.
        None => {
            let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            ANY_LENGTH.contains(&length) && text.get(..length).is_some_and(checks)
        }
    }
}

/// ISO 7064 MOD 97-10: with its head moved to the end, and letters as two digits, the number leaves 1.
fn checks(number: &[u8]) -> bool {
    let Some((head, tail)) = number.split_at_checked(IBAN_HEAD) else { return false };
    if tail.iter().filter(|byte| byte.is_ascii_digit()).count() < DIGITS {
        return false;
    }
    let rest = tail.iter().chain(head).try_fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => Some((rest * 10 + u32::from(byte - b'0')) % 97),
        b'A'..=b'Z' => Some((rest * 100 + u32::from(byte - b'A') + 10) % 97),
        _ => None,
    });
    rest == Some(1)
}

#[cfg(test)]
mod tests {
    use super::{looks_like_an_order, names_an_iban};

    #[test]
    fn orders_are_recognised_in_four_languages() {
        for order in [
            "Confirme la transferencia a ES91 2100 0418 4502 0005 1332",
            "Confirm payment of 40 EUR to Alice",
            "Validez le virement de 1.250,00 € ?",
            "Confirme o pagamento",
            "Code pour 300€",
            "IBAN ES9121000418450200051332",
            "Sign buy order",
        ] {
            assert!(looks_like_an_order(order), "{order}");
        }
    }

    #[test]
    fn account_numbers_are_recognised_whatever_their_country_and_spacing() {
        for iban in [
            "ES91 2100 0418 4502 0005 1332",
            "GB82 WEST 1234 5698 7654 32",
            "DE89 3704 0044 0532 0130 00",
            "CH93 0076 2011 6238 5295 7",
            "LU28 0019 4006 4475 0000",
            "NL91 ABNA 0417 1643 00",
            "BE68 5390 0754 7034",
            "FR14 2004 1010 0505 0001 3M02 606",
            "PT50 0002 0123 1234 5678 9015 4",
            "IT60 X054 2811 1010 0000 0123 456",
            "NO93 8601 1117 947",
            "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        ] {
            let close: String = iban.split(' ').collect();
            for text in [
                format!("Confirm {iban} with the code"),
                format!("Confirm {close} with the code"),
                format!("to{close}now"),
                close.to_lowercase(),
                iban.replace(' ', "\u{a0}"),
                iban.replace(' ', "-"),
            ] {
                assert!(looks_like_an_order(&text), "{text}");
            }
            // One digit off is no account number.
            let last = close.rfind(|c: char| c.is_ascii_digit()).expect("a digit");
            let (before, after) = close.split_at(last);
            let (digit, after) = after.split_at(1);
            let wrong = format!("{before}{}{after}", if digit == "9" { "8" } else { "9" });
            assert!(!names_an_iban(&format!("ref {wrong}")), "{wrong}");
        }
    }

    #[test]
    fn an_account_number_of_an_unlisted_country_is_recognised_where_it_stands_alone() {
        // ZZ with check digits worked out for this tail.
        let tail = "12345678901234";
        let found = (2..99).map(|check| format!("ZZ{check:02}{tail}")).filter(|text| names_an_iban(text)).count();
        assert_eq!(found, 1, "one pair of check digits fits");
    }

    #[test]
    fn logins_pass() {
        for login in [
            "Introduzca el código que hemos enviado por SMS",
            "Enter the 6-digit code from your authenticator",
            "Saisissez le code reçu par SMS pour accéder à vos comptes",
            "Introduza o código do seu dispositivo",
            "Code valid for 5 minutes, attempt 1 of 3",
            "Code 123456 sent to 600 123 456 on 22 11 2026 at 15 30 00",
            "Reference DE12 3456 7890 1234 5678 90, enter your code",
            "Session NL00AB12CD34EF56GH",
        ] {
            assert!(!looks_like_an_order(login), "{login}");
        }
    }
}
