//! Value added tax: numbers that begin with their country (Council Directive 2006/112/EC article 215).

use crate::detect::{
    Anchor, Match,
    check::{Digits, luhn, mod11_10},
    detector::detectors,
};

detectors! {
    "eu-vat" => Vat {
        anchor: Anchor::Alnum(5),
        pattern: r"ATU[0-9]{8}|BE ?[01][0-9]{9}|BG ?[0-9]{9,10}|CHE[ -]?[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}(?: ?(?:MWST|TVA|IVA))?|CY ?[0-9]{8}[A-Z]|CZ ?[0-9]{8,10}|DE ?[0-9]{9}|DK ?[0-9]{8}|EE ?[0-9]{9}|EL ?[0-9]{9}|ES ?[A-Z0-9][0-9]{7}[A-Z0-9]|EU ?[0-9]{9}|FI ?[0-9]{8}|FR ?[A-HJ-NP-Z0-9]{2} ?[0-9]{9}|GB ?(?:[0-9]{9}|[0-9]{12}|GD[0-4][0-9]{2}|HA[5-9][0-9]{2})|HR ?[0-9]{11}|HU ?[0-9]{8}|IE ?[0-9][0-9A-Z+*][0-9]{5}[A-W][A-I]?|IT ?[0-9]{11}|LT ?(?:[0-9]{9}|[0-9]{12})|LU ?[0-9]{8}|LV ?[0-9]{11}|MT ?[0-9]{8}|NL ?[0-9]{9}B[0-9]{2}|NO ?[0-9]{9}(?:MVA)?|PL ?[0-9]{10}|PT ?[0-9]{9}|RO ?[0-9]{2,10}|SE ?[0-9]{12}|SI ?[0-9]{8}|SK ?[0-9]{10}",
        validate: vat,
        near: &["vat", "ust id", "ustid", "umsatzsteuer", "btw", "tva", "iva", "mwst", "moms", "alv", "nip", "tax id", "tax number", "dph", "steuer"],
        finds: ["DE136695976", "IT00743110157", "VAT ID: ⟦FR83404833048⟧", "ATU12345675", "NL123456782B90", "VAT ⟦GB980780684⟧"],
        leaves: ["DE136695975", "part SE123456789012", "DE12345678", "IT00743110158"],
    }
}

/// By the country's law where it is a plain one; by its name else.
fn vat(found: &Match<'_>, near: &[&str]) -> Option<usize> {
    let digits = Digits::of(found.text);
    let law = match found.text.get(..2)? {
        "DE" => Some(mod11_10(digits.all())),
        "HR" => Some(mod11_10(digits.all())),
        "IT" => Some(luhn(digits.all())),
        "AT" => Some({
            let doubled = |digit: u32| digit * 2 / 10 + digit * 2 % 10;
            let sum: u32 =
                (0..7).map(|at| if at % 2 == 1 { doubled(digits.at(at)) } else { digits.at(at) }).sum();
            (10 - (sum + 4) % 10) % 10 == digits.at(7)
        }),
        "PL" => Some(digits.weighted(&[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == digits.at(9)),
        "BE" => Some(97 - digits.head(8) % 97 == digits.number(8..10)),
        _ => None,
    };
    let written =
        found.text.ends_with("MWST") || (found.text.starts_with("NL") && found.text.get(11..12) == Some("B"));
    let fits = match law {
        Some(lawful) => lawful,
        None => written || found.named(near),
    };
    if fits { found.whole_number() } else { None }
}
