//! Korea, Japan, China, Taiwan, Hong Kong, Singapore, Thailand, Indonesia, the Philippines, Malaysia.

use crate::detect::{
    Anchor, Match,
    check::{Digits, day, mod11_2, short_day},
    detector::detectors,
};

detectors! {
    "kr-rrn" => KrRrn {
        anchor: Anchor::Digits(13),
        pattern: r"[0-9]{6}-?[1-4][0-9]{6}",
        validate: |found, near| resident(found, near, 11),
        near: &["rrn", "resident registration", "주민등록", "주민번호"],
        finds: ["960121-1234567", "주민등록번호 ⟦9601211234567⟧"],
        leaves: ["961321-1234567", "9601211234567 x"],
    }
    "kr-frn" => KrFrn {
        anchor: Anchor::Digits(13),
        pattern: r"[0-9]{6}-?[5-8][0-9]{6}",
        validate: |found, near| resident(found, near, 13),
        near: &["frn", "foreigner registration", "외국인등록"],
        finds: ["911124-5678901"],
        leaves: ["911324-5678901", "9111245678901 x"],
    }
    "kr-brn" => KrBrn {
        anchor: Anchor::Digits(10),
        pattern: r"[0-9]{3}-?[0-9]{2}-?[0-9]{5}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let sum = digits.weighted(&[1, 3, 7, 1, 3, 7, 1, 3, 5]) + digits.at(8) * 5 / 10;
                (10 - sum % 10) % 10 == digits.at(9)
            };
            if found.text.contains('-') || found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["brn", "business registration", "사업자"],
        finds: ["116-82-00276", "BRN ⟦1168200276⟧"],
        leaves: ["116-82-00277", "1168200276"],
    }
    "kr-passport" => KrPassport {
        anchor: Anchor::Alnum(7),
        pattern: r"[MSROGDmsrogd][0-9]{3}(?:[A-Za-z][0-9]{4}|[0-9]{5})",
        validate: |found, near| {
            let lettered = found.text.chars().nth(4).is_some_and(|c| c.is_ascii_alphabetic());
            let told = found.labelled(near) || (lettered && found.is_whole_text());
            if told { found.whole_number() } else { None }
        },
        near: &["passport", "여권"],
        finds: ["passport ⟦M123A4567⟧"],
        leaves: ["ref M123A4567", "M12345678"],
    }
    "kr-driver-license" => KrDriverLicense {
        anchor: Anchor::Digits(12),
        pattern: r"(?:1[1-9]|2[0-68])-[0-9]{2}-[0-9]{6}-[0-9]{2}",
        validate: |found, _| found.whole_number(),
        finds: ["11-22-123456-12"],
        leaves: ["99-22-123456-12", "11-22-12345-12"],
    }
    "jp-my-number" => JpMyNumber {
        anchor: Anchor::Digits(12),
        pattern: r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let rest = digits.weighted(&[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
                (if rest < 2 { 0 } else { 11 - rest }) == digits.at(11) && !digits.uniform()
            };
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["my number", "mynumber", "マイナンバー", "個人番号", "individual number"],
        finds: ["マイナンバー: ⟦1234 5678 9018⟧"],
        leaves: ["my number 1234 5678 9019", "1234 5678 9018"],
    }
    "cn-resident-id" => CnResidentId {
        anchor: Anchor::Digits(17),
        pattern: r"[1-9][0-9]{5}(?:18|19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx]",
        validate: |found, _| {
            let digits = Digits::of(found.text);
            let born = day(digits.number(10..12), digits.number(12..14));
            if born && mod11_2(found.text) { found.whole_number() } else { None }
        },
        finds: ["360426199101010071"],
        leaves: ["360426199101010072", "360426199113010071"],
    }
    "tw-national-id" => TwNationalId {
        anchor: Anchor::Alnum(9),
        pattern: r"[A-Z][1289][0-9]{8}",
        validate: |found, near| {
            let place = "ABCDEFGHJKLMNPQRSTUVXYWZIO".find(|c| found.text.starts_with(c))?;
            let place = u32::try_from(place).ok()? + 10;
            let digits = Digits::of(found.text);
            let sum = place / 10 + place % 10 * 9 + digits.weighted(&[8, 7, 6, 5, 4, 3, 2, 1, 1]);
            if sum.is_multiple_of(10) && found.named(near) { found.whole_number() } else { None }
        },
        near: &["taiwan", "身分證", "national id", "id number", "id no"],
        finds: ["身分證 ⟦A123456789⟧"],
        leaves: ["身分證 A123456788", "part A123456789"],
    }
    "hk-id" => HkIdCard {
        anchor: Anchor::Alnum(6),
        pattern: r"[A-Z]{1,2}[0-9]{6}\([0-9A]\)",
        validate: |found, _| {
            let body = found.text.split('(').next()?;
            let value = |c: char| c.to_digit(36).unwrap_or_default();
            let blank = if body.len() == 7 { 36 * 9 } else { 0 };
            let sum: u32 = body.chars().rev().zip(2..).map(|(c, weight)| value(c) * weight).sum::<u32>() + blank;
            let check = (11 - sum % 11) % 11;
            let last = found.text.chars().rev().nth(1).map(value);
            (last == Some(check)).then_some(found.text.len())
        },
        finds: ["A123456(3)"],
        leaves: ["A123456(4)", "123456(3)"],
    }
    "sg-nric" => SgNric {
        anchor: Anchor::Alnum(7),
        pattern: r"[STFGM][0-9]{7}[A-Z]",
        validate: |found, _| {
            let first = found.text.chars().next()?;
            let offset = match first {
                'T' | 'G' => 4,
                'M' => 3,
                _ => 0,
            };
            let sum = Digits::of(found.text).weighted(&[2, 7, 6, 5, 4, 3, 2]) + offset;
            let letters = match first {
                'S' | 'T' => "JZIHGFEDCBA",
                'M' => "XWUTRQPNJLK",
                _ => "XWUTRQPNMLK",
            };
            let letter = letters.chars().nth(usize::try_from(sum % 11).ok()?);
            if found.text.chars().last() == letter { found.whole_number() } else { None }
        },
        finds: ["S1234567D"],
        leaves: ["S1234567E", "A1234567D"],
    }
    "sg-uen" => SgUen {
        anchor: Anchor::Alnum(6),
        pattern: r"(?:[0-9]{8,9}[A-Z]|[TSR][0-9]{2}[A-Z]{2}[0-9]{4}[A-Z])",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["uen", "unique entity", "acra"],
        finds: ["UEN ⟦00192200M⟧", "UEN: ⟦T16FC0137B⟧"],
        leaves: ["00192200M", "UEN 0019220M"],
    }
    "th-tnin" => ThTnin {
        anchor: Anchor::Digits(13),
        pattern: r"[1-8][ -]?[0-9]{4}[ -]?[0-9]{5}[ -]?[0-9]{2}[ -]?[0-9]",
        law: |digits| {
            let check = (11 - digits.weighted(&[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 10;
            check == digits.at(12) && digits.number(1..3) >= 10 && !digits.uniform()
        },
        near: &["thai", "บัตรประชาชน", "national id", "tnin"],
        finds: ["1-2345-45678-78-1", "national ID ⟦1234545678781⟧"],
        leaves: ["1-2345-45678-78-2", "1234545678781 x"],
    }
    "id-nik" => IdNik {
        anchor: Anchor::Digits(16),
        pattern: r"[1-9][0-9]{5}[0-7][0-9][01][0-9]{3}[0-9]{4}",
        validate: |found, near| {
            let law = |digits: &Digits| day(digits.number(8..10), digits.number(6..8) % 40);
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["nik ", "nik", "ktp", "induk kependudukan"],
        finds: ["NIK ⟦3171011708450001⟧"],
        leaves: ["3171011708450001", "NIK 3171011713450001"],
    }
    "ph-tin" => PhTin {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{3}-?[0-9]{3}-?[0-9]{3}(?:-?[0-9]{3,5})?|[0-9]{4}-[0-9]{7}-[0-9]",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| !digits.uniform()) } else { None },
        near: &["tin ", "tin", "umid", "crn", "philippine"],
        finds: ["TIN ⟦123-456-789-000⟧", "UMID ⟦0111-2345678-9⟧"],
        leaves: ["123-456-789-000", "TIN 12345"],
    }
    "my-nric" => MyNric {
        anchor: Anchor::Digits(12),
        pattern: r"[0-9]{6}-?[0-9]{2}-?[0-9]{4}",
        validate: |found, near| {
            let told = found.text.matches('-').count() == 2 || found.labelled(near);
            if told { found.lawful(|digits| short_day(digits.head(6)) && digits.number(6..8) > 0) } else { None }
        },
        near: &["nric", "mykad", "my kad", "ic no", "ic number", "kad pengenalan"],
        finds: ["770305-02-1234", "MyKad ⟦770305021234⟧"],
        leaves: ["771305-02-1234", "770305021234"],
    }
}

/// Korea: a date; its check digit was given up in October 2020, so that it counts only where nothing else speaks.
fn resident(found: &Match<'_>, near: &[&str], base: u32) -> Option<usize> {
    let law = |digits: &Digits| {
        (base - digits.weighted(&[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10 == digits.at(12)
    };
    let told = found.text.contains('-') || found.labelled(near);
    found.lawful(|digits| short_day(digits.head(6)) && (told || (found.is_whole_text() && law(digits))))
}
