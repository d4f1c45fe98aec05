//! The United Kingdom.

use crate::detect::{Anchor, Match, check::Digits, detector::detectors};

detectors! {
    "uk-nhs" => UkNhs {
        anchor: Anchor::Digits(10),
        pattern: r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}",
        // With hyphens it is written like a telephone number.
        validate: |found, near| {
            let told = found.text.contains(' ') || found.labelled(near);
            if told { found.lawful(nhs) } else { None }
        },
        near: &["nhs", "national health", "patient number"],
        finds: ["943 476 5919", "NHS number ⟦9434765919⟧"],
        leaves: ["9434765919 items", "943-476-5919", "943 476 5918", "NHS 1111111111"],
    }
    "uk-nino" => UkNino {
        anchor: Anchor::Alnum(6),
        // HM Revenue & Customs: prefixes that are not used.
        pattern: r"(?i:[A-CEGHJ-PRSTW-Z][A-CEGHJ-NPRSTW-Z])(?: ?[0-9]{2}){3} ?[A-Da-d]",
        validate: |found, _| {
            let prefix = found.text.get(..2)?.to_ascii_uppercase();
            let unused = ["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix.as_str());
            if unused { None } else { found.whole_number() }
        },
        finds: ["AA 12 34 56 B", "ab123456c"],
        leaves: ["AA 12 34 56 H", "FQ 00 00 00 C", "BG123612A", "AA123456BX"],
    }
    "uk-utr" => UkUtr {
        anchor: Anchor::Digits(10),
        pattern: r"[0-9]{5} ?[0-9]{5}",
        named: |digits| {
            let rest = digits.weighted(&[0, 6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
            "21987654321".chars().nth(rest as usize).and_then(|c| c.to_digit(10)) == Some(digits.at(0))
        },
        near: &["utr", "unique taxpayer", "tax reference"],
        finds: ["UTR: ⟦1955839661⟧"],
        leaves: ["UTR 2955839661", "number 1955839661"],
    }
    "uk-driving-licence" => UkDrivingLicence {
        anchor: Anchor::Alnum(6),
        pattern: r"(?i:[A-Z9]{5})[0-9][0156][0-9][0-3][0-9]{2}(?i:[A-Z9]{2})[0-9](?i:[A-Z]{2})",
        validate: |found, _| {
            let month = found.text.get(7..8)?.parse::<u32>().ok()? + found.text.get(6..7)?.parse::<u32>().ok()? % 5 * 10;
            let letters = found.text.starts_with(|c: char| c.is_ascii_alphabetic());
            if letters && (1..=12).contains(&month) { found.whole_number() } else { None }
        },
        finds: ["MORGA657054SM9IJ", "JONES710153J99EF"],
        leaves: ["MORGA637054SM9IJ", "99999657054SM9IJ", "MORGA657054SM9IJ2"],
    }
    "uk-passport" => UkPassport {
        anchor: Anchor::Alnum(7),
        pattern: r"(?:[0-9]{9}|[A-Za-z]{2}[0-9]{7})",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["uk passport", "british passport", "hm passport"],
        finds: ["UK passport ⟦925665416⟧"],
        leaves: ["925665416", "UK passport 92566541"],
    }
    "uk-postcode" => UkPostcode {
        anchor: Anchor::Alnum(2),
        pattern: r"(?:GIR ?0AA|[A-PR-UWYZ](?:[0-9]{1,2}|[A-HK-Y][0-9]|[A-HK-Y][0-9][0-9ABEHMNPRV-Y]|[0-9][A-HJKPSTUW]) ?[0-9][ABD-HJLNP-UW-Z]{2})",
        validate: |found, near| if found.named(near) { found.whole_number() } else { None },
        near: &["postcode", "post code", "postal code"],
        finds: ["postcode ⟦EC1A 1BB⟧", "M60 1NW"],
        leaves: ["in EC1A 1BB", "M1 1CA"],
    }
}

fn nhs(digits: &Digits) -> bool {
    let check = 11 - digits.weighted(&[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    check % 11 == digits.at(9) && check != 10 && !digits.uniform()
}
