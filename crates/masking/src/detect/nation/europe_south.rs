//! Spain, Portugal, Italy, Greece, Turkey, Israel.

use crate::detect::{
    Anchor, Match,
    check::{Digits, luhn},
    detector::detectors,
};

detectors! {
    "es-nif" => EsNif {
        anchor: Anchor::Alnum(7),
        pattern: r"[0-9]{7,8}-?[A-Za-z]",
        validate: |found, near| {
            let digits = Digits::of(found.text);
            let letter = found.text.chars().last();
            let told = found.text.contains('-') || digits.len() == 8 || found.named(near);
            if told && letter.map(|c| c.to_ascii_uppercase()) == dni(digits.head(8)) { found.whole_number() } else { None }
        },
        near: &["dni", "nif"],
        finds: ["54362315K", "DNI ⟦54362315-k⟧"],
        leaves: ["54362315L", "5436231K"],
    }
    "es-nie" => EsNie {
        anchor: Anchor::Alnum(7),
        pattern: r"[XYZxyz]-?[0-9]{7}-?[A-Za-z]",
        validate: |found, _| {
            let first = match found.text.chars().next()? {
                'X' | 'x' => 0,
                'Y' | 'y' => 1,
                _ => 2,
            };
            let number = first * 10_000_000 + Digits::of(found.text).head(7);
            let letter = found.text.chars().last().map(|c| c.to_ascii_uppercase());
            if letter == dni(number) { found.whole_number() } else { None }
        },
        finds: ["X2482300W", "X-2482300-W"],
        leaves: ["X2482300A", "W2482300W"],
    }
    "es-cif" => EsCif {
        anchor: Anchor::Alnum(7),
        pattern: r"[A-HJNP-SUVW][0-9]{7}[0-9A-J]",
        validate: |found, _| found.whole_number().filter(|_| cif(found.text)),
        finds: ["J99216582"],
        leaves: ["J99216583", "I99216582"],
    }
    "es-nss" => EsNss {
        anchor: Anchor::Digits(12),
        pattern: r"[0-9]{2}[ /-]?[0-9]{8}[ /-]?[0-9]{2}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let (province, number) = (digits.head(2), digits.number(2..10));
                let all = if number < 10_000_000 { province * 10_000_000 + number } else { digits.head(10) };
                all % 97 == digits.number(10..12)
            };
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["nss", "naf ", "seguridad social", "afiliación", "afiliacion"],
        finds: ["NSS: ⟦28/12345678/40⟧"],
        leaves: ["NSS 28/12345678/41", "281234567840"],
    }
    "es-passport" => EsPassport {
        anchor: Anchor::Alnum(6),
        pattern: r"[A-Za-z]{3}[0-9]{6}",
        validate: |found, near| if found.named(near) { found.whole_number() } else { None },
        near: &["pasaporte", "passport"],
        finds: ["pasaporte ⟦XDB123456⟧"],
        leaves: ["ref XDB123456", "pasaporte XDB12345"],
    }
    "pt-nif" => PtNif {
        anchor: Anchor::Digits(9),
        pattern: r"[1-35689][0-9]{2} ?[0-9]{3} ?[0-9]{3}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let rest = digits.weighted(&[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
                (if rest < 2 { 0 } else { 11 - rest }) == digits.at(8)
            };
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["nif ", "nif", "contribuinte", "nipc"],
        finds: ["NIF ⟦501964843⟧"],
        leaves: ["NIF 501964844", "501 964 843 x"],
    }
    "it-fiscal-code" => ItFiscalCode {
        anchor: Anchor::Alnum(4),
        // Where two people would have the same, digits are replaced by letters.
        pattern: r"(?i:[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z])",
        validate: |found, _| found.whole_number().filter(|_| codice(found.text)),
        finds: ["RCCMNL83S18D969H", "rccmnl83s18d969h"],
        leaves: ["RCCMNL83S18D969I", "RCCMNL83S18D969"],
    }
    "it-vat-code" => ItVatCode {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{11}",
        named: |digits| luhn(digits.all()) && digits.head(7) > 0 && (digits.number(7..10) <= 100 || digits.number(7..10) >= 120),
        near: &["p iva", "partita iva", "piva", "vat"],
        finds: ["P. IVA ⟦00743110157⟧"],
        leaves: ["P. IVA 00743110158", "00743110157 x", "00000000000"],
    }
    "it-identity-card" => ItIdentityCard {
        anchor: Anchor::Alnum(5),
        pattern: r"(?:[A-Za-z]{2} ?[0-9]{5}[A-Za-z]{2}|[0-9]{7}[A-Za-z]{2}|[A-Za-z]{2} ?[0-9]{7})",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["carta d identita", "carta d identità", "identity card", "cie "],
        finds: ["carta d'identità ⟦CA00000AA⟧"],
        leaves: ["CA00000AA", "carta d'identità CA0000"],
    }
    "it-driver-license" => ItDriverLicense {
        anchor: Anchor::Alnum(1),
        pattern: r"(?:[A-Z]{2}[0-9]{7}[A-Z]|U1[B-DF-HJ-NP-TV-Z0-9]{7}[A-Z])",
        validate: |found, near| if found.named(near) { found.whole_number() } else { None },
        near: &["patente", "driving licence", "driving license", "driver"],
        finds: ["patente ⟦U1K711J11M⟧", "patente: ⟦AA1234567B⟧"],
        leaves: ["patente U1H00A000B", "ref AA1234567B"],
    }
    "gr-amka" => GrAmka {
        anchor: Anchor::Digits(11),
        pattern: r"[0-3][0-9][01][0-9]{8}",
        law: |digits| luhn(digits.all()) && crate::detect::check::day(digits.number(2..4), digits.number(0..2)),
        near: &["amka", "αμκα"],
        finds: ["AMKA ⟦01013099997⟧"],
        leaves: ["AMKA 01013099998", "01013099997 x"],
    }
    "tr-national-id" => TrNationalId {
        anchor: Anchor::Digits(11),
        pattern: r"[1-9][0-9]{10}",
        law: |digits| {
            let odd: u32 = [0, 2, 4, 6, 8].iter().map(|at| digits.at(*at)).sum();
            let even: u32 = [1, 3, 5, 7].iter().map(|at| digits.at(*at)).sum();
            (odd * 7 + 10 * 9 - even) % 10 == digits.at(9) && (odd + even + digits.at(9)) % 10 == digits.at(10)
        },
        near: &["tckn", "kimlik", "tc no", "t c "],
        finds: ["T.C. kimlik no ⟦17291716060⟧"],
        leaves: ["kimlik 17291716061", "17291716060 x"],
    }
    "il-id" => IlIdNumber {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{8}-?[0-9]",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| luhn(digits.all()) && !digits.uniform()) } else { None },
        near: &["teudat", "israeli id", "id number", "ת.ז", "תעודת"],
        finds: ["Teudat Zehut ⟦039337423⟧"],
        leaves: ["Teudat 039337424", "039337423"],
    }
}

/// Spain: the letter of a number.
fn dni(number: u64) -> Option<char> {
    "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth(usize::try_from(number % 23).ok()?)
}

fn cif(text: &str) -> bool {
    let digits = Digits::of(text.get(1..8).unwrap_or_default());
    let double = |digit: u32| digit * 2 / 10 + digit * 2 % 10;
    let sum: u32 = digits
        .all()
        .iter()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 0 { double(*digit) } else { *digit })
        .sum();
    let check = (10 - sum % 10) % 10;
    let last = text.chars().last().unwrap_or_default();
    last.to_digit(10) == Some(check) || "JABCDEFGHI".chars().nth(check as usize) == Some(last)
}

/// Italy: odd places by a table, even ones by value, mod 26.
fn codice(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value =
        |c: char| c.to_digit(36).map(|value| if value > 9 { value - 10 } else { value }).unwrap_or_default();
    let odd = |value: u32| ODD.get(value as usize).copied().unwrap_or_default();
    let sum: u32 = text
        .chars()
        .take(15)
        .enumerate()
        .map(|(at, c)| if at % 2 == 0 { odd(value(c)) } else { value(c) })
        .sum();
    // Months, and days that are more by forty for women.
    let born = text.get(9..11).unwrap_or_default().parse::<u32>().map_or(true, |day| (1..=71).contains(&day));
    born && text.chars().last().map(value) == Some(sum % 26)
}
