//! Cards and payments.

use super::{
    Anchor, Match,
    boundary::word_start,
    check::{Digits, luhn},
    country::is_country,
    detector::detectors,
};

detectors! {
    "credit-card" => CreditCard {
        anchor: Anchor::Digits(12),
        // The first two digits are an issuer's.
        pattern: r"(?:1[ .-]?8|2[ .-]?[1-7]|3[ .-]?[04-9]|[4-6][ .-]?[0-9]|8[ .-]?[12]|9[ .-]?7)(?:[ .-]?[0-9]){10,17}",
        // Nor the digits of a fraction.
        begins: |before| word_start(before) && before != Some('.'),
        validate: |found, _| found.longest(card),
        finds: [
            "4111 1111 1111 1111", "5500-0055-5555-5559", "378282246310005", "6011000990139424", "2223003122003222",
            "4222222222222", "3530.1113.3330.0000", "⟦4111 1111 1111 1111⟧ 12/29", "180000000000002",
        ],
        leaves: [
            "4111 1111 1111 1112", "1795374808302", "41111111111111111111111", "9999 9999 9999 9995", "4111", "0.3001188417760337", "50-502640-266068-7", "4000 0000 0000 000",
        ],
    }
    "card-track" => CardTrack {
        anchor: Anchor::Prefix(&["%B", ";"]),
        // ISO/IEC 7813: track 1 and 2 of the magnetic stripe.
        pattern: r"%B[0-9]{12,19}\^[^^\n]{2,26}\^[0-9]{7}[^?\n]{0,40}\?|;[0-9]{12,19}=[0-9]{7}[0-9]{0,20}\?",
        begins: |_| true,
        validate: |found, _| {
            let digits: String = found.text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            card(&digits).then_some(found.text.len())
        },
        finds: ["%B4111111111111111^DOE/JANE^29121010000000000000?", ";4111111111111111=29121010000000000?"],
        leaves: ["%B4111111111111112^DOE/JANE^29121010000000000000?", ";123=2912?"],
    }
    "card-verification" => Cvv {
        anchor: Anchor::Digits(3),
        pattern: r"[0-9]{3,4}",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["cvv", "cvc", "cvv2", "cvc2", "cid ", "card verification", "card security code", "security code"],
        finds: ["CVV: ⟦123⟧", "card security code is ⟦4567⟧", "\"cvc\":\"⟦987⟧\""],
        leaves: ["123", "cvv 12345", "code 123"],
    }
    "card-expiry" => CardExpiry {
        anchor: Anchor::Digits(4),
        pattern: r"(?:0[1-9]|1[0-2]) ?[/-] ?(?:20)?[2-4][0-9]",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["exp ", "expiry", "expires", "expiration", "valid thru", "valid until", "good thru", "card expire"],
        finds: ["exp. ⟦12/29⟧", "\"expiration-date\": \"⟦03/2033⟧\""],
        leaves: ["12/29", "exp 13/29", "expires 12/2/29"],
    }
    "aba-routing" => AbaRouting {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{4}-?[0-9]{4}-?[0-9]",
        validate: |found, near| {
            if found.labelled(near) { found.lawful(routing) } else { None }
        },
        near: &["routing", "aba", "rtn", "transit", "bank number"],
        finds: ["routing number ⟦322070381⟧", "ABA: ⟦2631-7017-5⟧", "\"routing_number\": \"⟦124303065⟧\""],
        leaves: ["order 322070381", "routing 426317017", "routing 789456124", "ABA 32207038"],
    }
    "swift-bic" => Swift {
        anchor: Anchor::Alnum(0),
        pattern: r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?",
        validate: bic,
        near: &["swift", "bic ", "bank identifier", "bank code"],
        finds: ["SWIFT: ⟦DEUTDEFF⟧", "bic ⟦NEDSZAJJXXX⟧", "\"swift_code\": \"⟦VGWKGB4D⟧\""],
        leaves: ["the word DEUTDEFF", "pagesize", "swift: DEUTZZFF", "swift moving", "bic DEUTDEF"],
    }
    "swift-bic-lower" => Swift {
        anchor: Anchor::Value,
        pattern: r"[a-z]{6}[a-z0-9]{2}(?:[a-z0-9]{3})?",
        begins: |before| before.is_none_or(|c| matches!(c, ' ' | '"' | '\'' | ':' | '=')),
        validate: bic,
        near: &["swift", "bic ", "bank identifier"],
        finds: ["\"swift\": \"⟦yfcmgbbx⟧\""],
        leaves: ["swift traditional", "\"name\": \"yfcmgbbx\""],
    }
    "bank-account" => BankAccount {
        anchor: Anchor::Alnum(7),
        pattern: r"(?:[A-Za-z]{4})?[0-9](?:[ -]?[0-9]){6,17}",
        validate: |found, near| {
            if found.labelled(near) { found.lawful(|digits| !digits.uniform()) } else { None }
        },
        near: &[
            "account number", "account no", "account nr", "account #", "acct", "bank account", "bankaccount", "bban", "bic ", "a c no",
            "kontonummer", "konto nr", "numéro de compte", "número de cuenta", "direct deposit", "checking account", "savings account",
        ],
        finds: ["account number: ⟦945456787654⟧", "\"bank_account\": \"⟦QITG34159150811530⟧\"", "acct ⟦12345678⟧"],
        leaves: ["945456787654", "account 1", "account number 11111111", "my account since 20261122"],
    }
}

/// A payment card number: issuer, length and check digit.
fn card(text: &str) -> bool {
    if text.len() < 12 {
        return false;
    }
    let digits = Digits::of(text);
    // Devices are written 2-6-6-1.
    let device = || text.split('-').map(str::len).eq([2, 6, 6, 1]);
    issuer(&digits) && luhn(digits.all()) && !device()
}

/// Issuer ranges (ISO/IEC 7812) with the lengths they use.
fn issuer(digits: &Digits) -> bool {
    let (two, three, four) = (digits.head(2), digits.head(3), digits.head(4));
    let len = digits.len();
    match two {
        40..=49 => matches!(len, 13 | 16 | 19),
        34 | 37 => len == 15,
        51..=55 => len == 16,
        22..=27 if (2221..=2720).contains(&four) => len == 16,
        22 if (2200..=2204).contains(&four) => (16..=19).contains(&len),
        // JCB issues 3528 to 3589; test data has all of 35.
        35 => len == 16 || ((3528..=3589).contains(&four) && (17..=19).contains(&len)),
        18 | 21 => matches!(four, 1800 | 2131) && len == 15,
        30 => (matches!(three, 300..=305 | 309)) && (14..=19).contains(&len),
        36 | 38 | 39 => (14..=19).contains(&len),
        60 | 62 | 64 | 65 | 81 | 82 => {
            (16..=19).contains(&len) || (matches!(two, 60 | 62 | 64 | 65) && (12..=19).contains(&len))
        }
        97 => four == 9792 && len == 16,
        50 | 56..=69 => (12..=19).contains(&len),
        _ => false,
    }
}

/// ISO 9362: the country stands behind the bank.
fn bic(found: &Match<'_>, near: &[&str]) -> Option<usize> {
    let country = found.text.get(4..6).is_some_and(|code| is_country(&code.to_ascii_uppercase()));
    if country && found.labelled(near) { found.whole_number() } else { None }
}

/// American Bankers Association: weights 3-7-1, and the districts that are assigned.
fn routing(digits: &Digits) -> bool {
    let district = digits.head(2);
    let assigned = matches!(district, 0..=12 | 21..=32 | 61..=72 | 80);
    assigned && !digits.uniform() && digits.weighted(&[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}
