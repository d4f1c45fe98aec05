//! Germany, Austria, Switzerland, the Netherlands, Belgium, Ireland, France.

use crate::detect::{
    Anchor, Match,
    check::{Digits, day, luhn, mod11_10, short_day},
    detector::detectors,
};

detectors! {
    "de-tax-id" => DeTaxId {
        anchor: Anchor::Digits(11),
        pattern: r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        validate: |found, near| if found.named(near) { found.lawful(steuer_id) } else { None },
        near: &["steuer", "idnr", "tax id", "tin "],
        finds: ["Steuer-ID: ⟦36 574 261 809⟧"],
        leaves: ["Steuer-ID 36574261808", "36574261809 x", "Steuer-ID 12345678903"],
    }
    "de-social-security" => DeSocialSecurity {
        anchor: Anchor::Alnum(11),
        pattern: r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}",
        validate: |found, _| {
            let digits = lettered(found.text);
            let born = day(digits.number(4..6), digits.number(2..4) % 50);
            let lawful = crossed(&digits, &[2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]) % 10 == digits.at(12);
            if born && lawful { found.whole_number() } else { None }
        },
        finds: ["15070649C103", "15 070649 C 103"],
        leaves: ["15070649C100", "15071349C103"],
    }
    "de-health-insurance" => DeHealthInsurance {
        anchor: Anchor::Alnum(9),
        pattern: r"[A-Z][0-9]{9}",
        validate: |found, near| {
            let digits = lettered(found.text);
            let lawful = crossed(&digits, &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2]) % 10 == digits.at(10);
            if lawful && found.named(near) { found.whole_number() } else { None }
        },
        near: &["kvnr", "krankenvers", "versichertennummer", "health insurance", "gesundheitskarte"],
        finds: ["KVNR: ⟦A123456780⟧"],
        leaves: ["KVNR A123456781", "part A123456780"],
    }
    "de-lanr" => DeLanr {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{9}",
        named: |digits| (10 - digits.weighted(&[4, 9, 4, 9, 4, 9]) % 10) % 10 == digits.at(6) && !digits.uniform(),
        near: &["lanr", "arztnummer"],
        finds: ["LANR: ⟦123456601⟧"],
        leaves: ["LANR 123456701", "123456601 x"],
    }
    "de-bsnr" => DeBsnr {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{9}",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| !digits.uniform()) } else { None },
        near: &["bsnr", "betriebsstätten"],
        finds: ["BSNR: ⟦711234500⟧"],
        leaves: ["711234500", "BSNR 71123450"],
    }
    "de-id-card" => DeIdCard {
        anchor: Anchor::Alnum(1),
        pattern: r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}[0-9]?",
        validate: |found, near| {
            let weighted = |text: &str| -> u32 {
                text.chars().zip([7, 3, 1].iter().cycle()).map(|(c, weight)| c.to_digit(36).unwrap_or_default() * weight).sum()
            };
            let lawful = match found.text.split_at_checked(9) {
                Some((serial, check)) if !check.is_empty() => check.parse() == Ok(weighted(serial) % 10),
                _ => found.text.bytes().filter(u8::is_ascii_digit).count() >= 2,
            };
            if lawful && found.labelled(near) { found.whole_number() } else { None }
        },
        near: &["personalausweis", "ausweis", "reisepass", "german passport", "passport", "pass nr"],
        finds: ["Personalausweis ⟦L01X00T471⟧", "Reisepass: ⟦C01X00T47⟧"],
        leaves: ["L01X00T471", "Ausweis L01X00T472"],
    }
    "at-svnr" => AtSvnr {
        anchor: Anchor::Digits(10),
        pattern: r"[1-9][0-9]{3} ?[0-9]{6}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                digits.weighted(&[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == digits.at(3) && day(digits.number(6..8), digits.number(4..6))
            };
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["svnr", "sozialvers", "versicherungsnummer", "sv nummer"],
        finds: ["SVNR ⟦1237 010180⟧"],
        leaves: ["SVNR 1238 010180", "1237 010180"],
    }
    "ch-ahv" => ChAhv {
        anchor: Anchor::Digits(13),
        pattern: r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}|756[0-9]{10}",
        law: |digits| digits.weighted(&[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10),
        near: &["ahv", "avs", "navs", "oasi", "sozialvers"],
        finds: ["756.9217.0769.85", "AHV ⟦7569217076985⟧"],
        leaves: ["756.9217.0769.84", "7569217076985 x"],
    }
    "nl-bsn" => NlBsn {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}",
        validate: |found, near| {
            // Eleven-test: the last digit counts minus one.
            let law = |digits: &Digits| digits.weighted(&[9, 8, 7, 6, 5, 4, 3, 2, 10]).is_multiple_of(11) && !digits.uniform();
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["bsn", "burgerservice", "sofi"],
        finds: ["BSN: ⟦111222333⟧"],
        leaves: ["BSN 111222334", "111222333 x"],
    }
    "be-nrn" => BeNrn {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{2}\.?[0-9]{2}\.?[0-9]{2}-?[0-9]{3}\.?[0-9]{2}",
        law: |digits| {
            let check = |number: u64| 97 - number % 97 == digits.number(9..11);
            (short_day(digits.head(6)) || digits.number(2..4) == 0) && (check(digits.head(9)) || check(2_000_000_000 + digits.head(9)))
        },
        near: &["rijksregister", "national number", "registre national", "nrn", "insz", "niss"],
        finds: ["85.07.30-033.28", "rijksregisternummer ⟦85073003328⟧"],
        leaves: ["85.07.30-033.29", "85073003328 x"],
    }
    "ie-ppsn" => IePpsn {
        anchor: Anchor::Alnum(7),
        pattern: r"[0-9]{7}[A-W][A-IW]?",
        validate: |found, near| {
            let digits = Digits::of(found.text);
            let letter = |index: usize| found.text.chars().nth(index).map_or(0, |c| (c.to_digit(36).unwrap_or(9) - 9) % 23);
            let sum = digits.weighted(&[8, 7, 6, 5, 4, 3, 2]) + letter(8) * 9;
            if sum % 23 == letter(7) && found.named(near) { found.whole_number() } else { None }
        },
        near: &["pps", "ppsn", "personal public service"],
        finds: ["PPS: ⟦1234567FA⟧", "PPSN ⟦6433435F⟧"],
        leaves: ["PPS 1234567GA", "6433435F x"],
    }
    "fr-nir" => FrNir {
        anchor: Anchor::Alnum(13),
        pattern: r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        validate: |found, _| {
            // The two parts of Corsica count as 19 and 18.
            let plain = found.text.replace("2A", "19").replace("2B", "18");
            let digits = Digits::of(&plain);
            let lawful = 97 - digits.head(13) % 97 == digits.number(13..15);
            if lawful { found.whole_number() } else { None }
        },
        finds: ["2 95 10 99 126 111 93", "295109912611193"],
        leaves: ["295109912611194", "2951099126111930"],
    }
    "fr-siren" => FrSiren {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}(?: ?[0-9]{5})?",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| luhn(digits.all()) && !digits.uniform()) } else { None },
        near: &["siren", "siret", "rcs "],
        finds: ["SIREN ⟦552 008 443⟧", "SIRET: ⟦73282932000074⟧"],
        leaves: ["SIREN 552 008 444", "552 008 443 x"],
    }
    "fr-cni" => FrCni {
        anchor: Anchor::Alnum(2),
        pattern: r"[0-9A-Z]{2}[0-9A-Z]{7}(?:[0-9]{3})?",
        validate: |found, near| {
            let digits = found.text.bytes().filter(u8::is_ascii_digit).count();
            if digits >= 3 && found.labelled(near) { found.whole_number() } else { None }
        },
        near: &["carte nationale", "carte d identite", "carte d identité", "cni "],
        finds: ["carte d'identité ⟦880692310285⟧"],
        leaves: ["880692310285", "carte nationale VERDURE"],
    }
}

fn steuer_id(digits: &Digits) -> bool {
    // One digit of the first ten stands there two or three times, and at least one not at all.
    let head = digits.all().get(..10).unwrap_or_default();
    let most = (0..10).map(|digit| head.iter().filter(|other| **other == digit).count()).max();
    matches!(most, Some(2 | 3)) && mod11_10(digits.all())
}

/// The digits, each letter as two: A is 01.
fn lettered(text: &str) -> Digits {
    let plain: String = text
        .chars()
        .map(|c| match c {
            'A'..='Z' => format!("{:02}", c.to_digit(36).unwrap_or(9) - 9),
            other => other.to_string(),
        })
        .collect();
    Digits::of(&plain)
}

/// The sum of the digits of each product.
fn crossed(digits: &Digits, weights: &[u32]) -> u32 {
    digits
        .all()
        .iter()
        .zip(weights)
        .map(|(digit, weight)| digit * weight)
        .map(|product| product / 10 + product % 10)
        .sum()
}
