//! Canada, Australia, India, South Africa, Nigeria.

use crate::detect::{
    Anchor, Match,
    check::{Digits, luhn, short_day, verhoeff},
    detector::detectors,
};

detectors! {
    "ca-sin" => CaSin {
        anchor: Anchor::Digits(9),
        pattern: r"[1-79][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}",
        validate: |found, near| {
            let law = |digits: &Digits| luhn(digits.all()) && !digits.uniform();
            if found.named(near) || found.text.contains('-') { found.lawful(law) } else { None }
        },
        near: &["sin ", "sin", "social insurance", "assurance sociale"],
        finds: ["SIN: ⟦130 692 544⟧", "130-692-544"],
        leaves: ["130 692 544 inhabitants", "SIN 130692545", "046 454 286"],
    }
    "ca-ohip" => CaOhip {
        anchor: Anchor::Digits(10),
        pattern: r"[1-9][0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}(?:[ -]?[A-Z]{2})?",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| luhn(digits.all())) } else { None },
        near: &["ohip", "health card", "ontario health"],
        finds: ["OHIP ⟦1234-567-897-XY⟧"],
        leaves: ["OHIP 1234-567-898", "1234-567-897"],
    }
    "ca-bc-phn" => CaBcPhn {
        anchor: Anchor::Digits(10),
        pattern: r"9[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}",
        validate: |found, near| {
            let law = |digits: &Digits| 11 - digits.weighted(&[0, 2, 4, 8, 5, 10, 9, 7, 3]) % 11 == digits.at(9);
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["phn", "personal health", "care card", "services card"],
        finds: ["PHN: ⟦9698 658 215⟧"],
        leaves: ["PHN: 9698 658 216", "9698 658 215"],
    }
    "ca-postal-code" => CaPostalCode {
        anchor: Anchor::Alnum(3),
        pattern: r"[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z][ -]?[0-9][ABCEGHJ-NPRSTV-Z][0-9]",
        validate: |found, near| if found.named(near) { found.whole_number() } else { None },
        near: &["postal code", "code postal", "postcode", "zip"],
        finds: ["postal code ⟦K1A 0B1⟧"],
        leaves: ["part K1A 0B1", "postal code D1A 0B1"],
    }
    "au-tfn" => AuTfn {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}",
        named: |digits| digits.weighted(&[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !digits.uniform(),
        near: &["tfn", "tax file"],
        finds: ["TFN ⟦123 456 782⟧"],
        leaves: ["TFN 123 456 783", "123 456 782 of them"],
    }
    "au-abn" => AuAbn {
        anchor: Anchor::Digits(11),
        pattern: r"[1-9][0-9](?: ?[0-9]{3}){3}",
        validate: |found, near| {
            // The first digit less one; 89 is added so that nothing is below zero.
            let law = |digits: &Digits| (digits.weighted(&[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) + 79).is_multiple_of(89);
            if found.named(near) || found.text.contains(' ') { found.lawful(law) } else { None }
        },
        near: &["abn", "australian business"],
        finds: ["51 824 753 556", "ABN ⟦51824753556⟧"],
        leaves: ["51 824 753 557", "number 51824753556"],
    }
    "au-acn" => AuAcn {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        named: |digits| (10 - digits.weighted(&[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == digits.at(8),
        near: &["acn", "australian company"],
        finds: ["ACN ⟦004 085 616⟧"],
        leaves: ["ACN 004 085 617", "004 085 616 of"],
    }
    "au-medicare" => AuMedicare {
        anchor: Anchor::Digits(10),
        pattern: r"[2-6][0-9]{3} ?[0-9]{5} ?[0-9](?:[ /]?[1-9])?",
        named: |digits| digits.weighted(&[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == digits.at(8) && !digits.uniform(),
        near: &["medicare"],
        finds: ["Medicare card ⟦2123 45670 1⟧"],
        leaves: ["Medicare 2123 45671 1", "2123456701 x"],
    }
    "in-aadhaar" => InAadhaar {
        anchor: Anchor::Digits(12),
        pattern: r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}",
        law: |digits| verhoeff(digits.all()) && !digits.uniform(),
        near: &["aadhaar", "aadhar", "uidai", "uid "],
        finds: ["2341 2341 2346", "Aadhaar: ⟦234123412346⟧"],
        leaves: ["2341 2341 2347", "234123412346 bytes", "2222 2222 2222"],
    }
    "in-pan" => InPan {
        anchor: Anchor::Alnum(4),
        pattern: r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]",
        validate: |found, _| found.whole_number(),
        finds: ["ACUPA7085R"],
        leaves: ["ACUXA7085R", "ACUPA7085", "XACUPA7085R"],
    }
    "in-gstin" => InGstin {
        anchor: Anchor::Alnum(6),
        pattern: r"[0-3][0-9][A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]",
        validate: |found, _| found.whole_number().filter(|_| gstin(found.text)),
        finds: ["27AAPFU0939F1ZV"],
        leaves: ["27AAPFU0939F1ZW", "27AAPFU0939F1Z"],
    }
    "in-voter" => InVoter {
        anchor: Anchor::Alnum(7),
        pattern: r"[A-Z]{3}[0-9]{7}",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["voter", "epic ", "election", "elector"],
        finds: ["Voter ID ⟦XGB1234567⟧"],
        leaves: ["part XGB1234567", "voter XGB123456"],
    }
    "in-passport" => InPassport {
        anchor: Anchor::Alnum(7),
        pattern: r"[A-PR-WY][1-9][0-9] ?[0-9]{4}[1-9]",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["indian passport", "passport"],
        finds: ["passport ⟦A2096457⟧"],
        leaves: ["A2096457", "passport Q2096457"],
    }
    "za-id" => ZaIdNumber {
        anchor: Anchor::Digits(13),
        pattern: r"[0-9]{6} ?[0-9]{4} ?[01][0-9]{2}",
        law: |digits| short_day(digits.head(6)) && luhn(digits.all()),
        near: &["sa id", "south african", "id number", "identity number", "rsa id", "za id", "id no"],
        finds: ["SA ID ⟦7503305044089⟧", "id number: ⟦750330 5044 089⟧"],
        leaves: ["7503305044089 ns", "id number 7513305044089"],
    }
    "ng-nin" => NgNin {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{11}",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| !digits.uniform()) } else { None },
        near: &["nin ", "nin", "national identification number", "nimc"],
        finds: ["NIN: ⟦12345678901⟧"],
        leaves: ["12345678901", "NIN 1234567890"],
    }
}

/// Goods and Services Tax: base 36, weights one and two, digits of the products summed.
fn gstin(text: &str) -> bool {
    let Some((last, head)) =
        text.char_indices().next_back().and_then(|(at, last)| Some((last, text.get(..at)?)))
    else {
        return false;
    };
    let sum: u32 = head
        .chars()
        .enumerate()
        .map(|(place, c)| {
            let product = c.to_digit(36).unwrap_or_default() * if place % 2 == 0 { 1 } else { 2 };
            product / 36 + product % 36
        })
        .sum();
    last.to_digit(36) == Some((36 - sum % 36) % 36)
}
