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

/// Two letters, two digits and at least eleven more of either, with or without spaces (ISO 13616).
fn names_an_iban(text: &str) -> bool {
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = joined.as_bytes();
    bytes.windows(24).any(|window| {
        let (head, tail) = window.split_at(4);
        matches!(head, [a, b, c, d] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit())
            && tail.iter().filter(|b| b.is_ascii_digit()).count() >= 16
            && tail.iter().all(u8::is_ascii_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::looks_like_an_order;

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
    fn logins_pass() {
        for login in [
            "Introduzca el código que hemos enviado por SMS",
            "Enter the 6-digit code from your authenticator",
            "Saisissez le code reçu par SMS pour accéder à vos comptes",
            "Introduza o código do seu dispositivo",
            "Code valid for 5 minutes, attempt 1 of 3",
        ] {
            assert!(!looks_like_an_order(login), "{login}");
        }
    }
}
