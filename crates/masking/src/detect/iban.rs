//! Bank accounts.

use super::{
    Anchor, Match,
    boundary::{in_word, word_start},
    check::mod97_10,
    detector::detectors,
};

detectors! {
    "iban" => Iban {
        anchor: Anchor::Alnum(1),
        // Written together, in groups, or character by character; with a break of the line; with the letters a scanner
        // of paper takes for digits.
        pattern: r"[A-Za-z]{2}[ -]?(?:[0-9][ .-]?[0-9lIO]|[lIO][ .-]?[0-9])(?:(?:[ .-]|\n{1,2})?[0-9A-Za-z]){11,30}",
        begins: word_start,
        validate: iban,
        near: &[
            "iban", "account", "acct", "bank", "konto", "konta", "rachunk", "rachunek", "compte", "cuenta", "conto", "rekening",
            "conta ", "transfer",
        ],
        finds: [
            "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "NO9386011117947",
            "gb82west12345698765432", "PL61-1090-1014-0000-0712-1981-2874", "PL6 1 1 0 9 0 1 0 1 4 0 0 0 0 0 7 1 2 1 9 8 1 2 8 7 4",
            "PL6.1.1.0.9.0.1.0.1.4.0.0.0.0.0.7.1.2.1.9.8.1.2.8.7.4", "PL611O9O1O14OOOOO7l2l98l2874", "PL61109010140000\n071219812874",
            "⟦DE89 3704 0044 0532 0130 00⟧ is mine", "account: ⟦PL62109010140000071219812874⟧",
        ],
        leaves: [
            "DE88370400440532013000", "DE8937040044053201300", "XX89370400440532013000", "AB12 3456", "PL62109010140000071219812874",
            "in 20 of the 40 cases we had 3 or 4", "following steps will be taken",
        ],
    }
    "pl-nrb" => Iban {
        anchor: Anchor::Digits(26),
        // An account of Poland without its country.
        pattern: r"[0-9]{2}(?:[ -]?[0-9]{4}){6}",
        validate: |found, _| {
            let digits: String = found.text.chars().filter(char::is_ascii_digit).collect();
            if mod97_10(&format!("PL{digits}")) == Some(1) { found.whole_number() } else { None }
        },
        finds: ["61 1090 1014 0000 0712 1981 2874", "61109010140000071219812874"],
        leaves: ["62109010140000071219812874", "611090101400000712198128741"],
    }
}

/// Countries and the lengths of their accounts (SWIFT IBAN registry, and those who use the format unregistered).
const LENGTHS: &str = "\
    AD24 AE23 AL28 AO25 AT20 AZ28 BA20 BE16 BF28 BG22 BH22 BI27 BJ28 BR29 BY28 CF27 CG27 CH21 CI28 CM27 CR22 \
    CV25 CY28 CZ24 DE22 DJ27 DK18 DO28 DZ26 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GA27 GB22 GE22 GI23 GL18 GQ27 \
    GR27 GT28 GW25 HN28 HR21 HU28 IE22 IL23 IQ23 IR26 IS26 IT27 JO30 KM27 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 \
    LV21 LY25 MA28 MC27 MD24 ME22 MG27 MK19 ML28 MN20 MR27 MT31 MU30 MZ25 NE28 NI28 NL18 NO15 OM23 PK24 PL28 \
    PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SN28 SO23 ST25 SV28 TD27 TG28 TL23 TN24 \
    TR26 UA29 VA22 VG24 XK20 YE30";

/// Countries whose banks are named by four letters.
const LETTERS: &str = "AZ BG BH GB GI IE IQ JO KW LC LV NL PK PS QA RO SC SV VG";

/// Countries whose accounts have digits only.
const DIGITS: &str = "AT BA BE CZ DE DK EE ES FI FO GL HR HU IL IS LT ME NO PL PT RS SE SI SK TN XK";

/// As many characters as the country has, with a word ending behind them.
fn iban(found: &Match<'_>, near: &[&str]) -> Option<usize> {
    let country = found.text.get(..2)?.to_ascii_uppercase();
    let at = LENGTHS.as_bytes().chunks(5).position(|entry| entry.starts_with(country.as_bytes()))?;
    let length: usize = LENGTHS.get(at * 5 + 2..at * 5 + 4)?.parse().ok()?;
    let last = found.text.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).nth(length - 1)?.0;
    let (text, rest) = found.text.split_at_checked(last + 1)?;
    if rest.chars().next().or(found.next).is_some_and(in_word) {
        return None;
    }
    let characters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let read = read_as_digits(&characters)?;
    let bban = characters.get(4..)?;
    let shaped = match () {
        () if LETTERS.contains(&country) => bban.bytes().take(4).all(|b| b.is_ascii_alphabetic()),
        () if DIGITS.contains(&country) => read.get(4..)?.bytes().all(|b| b.is_ascii_digit()),
        () => true,
    };
    // Words have few digits.
    let written = 2 * characters.bytes().filter(u8::is_ascii_digit).count() >= characters.len() - 6;
    if !shaped || !written {
        return None;
    }
    if mod97_10(&characters) == Some(1) || mod97_10(&read) == Some(1) {
        return Some(text.len());
    }
    // With a mistake in it, it is still somebody's account where it is named as one.
    let numeric = read.get(2..)?.bytes().all(|b| b.is_ascii_digit());
    let plausible = numeric && !read.get(4..)?.bytes().all(|b| b == b'0');
    (plausible && found.labelled(near)).then_some(text.len())
}

/// The letters that look like digits read as such, behind the country.
fn read_as_digits(characters: &str) -> Option<String> {
    let (country, rest) = characters.split_at_checked(2)?;
    let digit = |c| match c {
        'l' | 'I' => '1',
        'O' => '0',
        other => other,
    };
    Some(country.chars().chain(rest.chars().map(digit)).collect())
}
